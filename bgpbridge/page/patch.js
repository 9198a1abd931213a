// Makes what is shown like what is to be shown, by changing only what differs: focus, selection, open details and the
// place that one has scrolled to survive a refresh.

/** Turn `old`, a node of the document, into the likeness of `fresh`. */
export function patch(old, fresh) {
  if (old.nodeName !== fresh.nodeName || keyOf(old) !== keyOf(fresh)) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else {
    attributes(old, fresh);
    patchChildren(old, [...fresh.childNodes]);
  }
}

/** The same for all children of a node. */
export function patchChildren(parent, fresh) {
  const before = [...parent.childNodes];
  fresh.forEach((node, at) => (at < before.length ? patch(before[at], node) : parent.append(node)));
  before.slice(fresh.length).forEach((node) => node.remove());
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function attributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
}
