// Elements out of values. All text, ours and that of peers, becomes text nodes: nothing here or elsewhere on the page
// reads HTML out of a string, and the Content-Security-Policy (Trusted Types) holds us to it.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `make("a", {href: "#/"}, "text", child, [children], null)`. Null and false are left out. */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for pictures. */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Text that somebody else wrote: its writing direction is its own and does not reach what stands beside it. */
export function theirs(text) {
  return text ? make("bdi", {}, text) : null;
}

/** A link to a view. Parts are escaped, the slash of a prefix stays. */
export function link(view, target, ...children) {
  return make("a", { href: address(view, target) }, ...(children.length ? children : [theirs(target)]));
}

/** The address of a view: `#/explain/198.51.100.0/24`. */
export function address(view, target = "") {
  const part = encodeURIComponent(target).replaceAll("%2F", "/").replaceAll("%3A", ":");
  return part ? `#/${view}/${part}` : `#/${view}`;
}
