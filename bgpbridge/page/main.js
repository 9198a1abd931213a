// Which view is shown, by the address after `#`; what it shows is asked for again every few seconds while somebody
// looks. A view is {title(target), load(target, signal), show(data, target), everyMs}, or for one that lives by
// itself {title(target), open(place, target)}, which gives what ends it.

import { get } from "./api.js";
import { address, make } from "./dom.js";
import { patchChildren } from "./patch.js";
import { isFinal, refusal } from "./refusal.js";
import { history } from "./history.js";
import { view as events } from "./events.js";
import { view as explain } from "./explain.js";
import { view as groups } from "./groups.js";
import { view as health } from "./health.js";
import { view as overrides } from "./overrides.js";
import { view as overview } from "./overview.js";
import { view as paths } from "./paths.js";
import { view as peers } from "./peers.js";
import { view as rejected } from "./rejected.js";

const VIEWS = { "": overview, peers, groups, paths, health, rejected, overrides, events, explain };
const NAMES = {
  "": "Overview", peers: "Peers", groups: "Groups", paths: "Paths", health: "Health", rejected: "Rejected",
  overrides: "Overrides", events: "Events",
};
const place = document.getElementById("main");
const trouble = document.getElementById("trouble");
const asked = document.getElementById("asked");
let leave = () => {};
let router = "bgpbridge";

function where() {
  const [, name = "", ...rest] = location.hash.slice(1).split("/");
  const target = rest.map(decoded).join("/");
  return { name: name in VIEWS ? name : "", target };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone per cent sign that somebody typed
  }
}

function go(first = false) {
  leave();
  const { name, target } = where();
  const view = VIEWS[name];
  mark(name);
  document.title = `${view.title(target)} - ${router}`;
  place.replaceChildren(make("h1", { tabindex: -1 }, view.title(target)), make("div", { class: "view", "aria-busy": "true" }, "asking the bridge ..."));
  if (!first) {
    scrollTo(0, 0);
    place.querySelector("h1").focus({ preventScroll: true });
  }
  document.getElementById("target").value = name === "explain" ? target : "";
  const body = place.lastElementChild;
  leave = view.open ? opened(view, body, target) : polled(view, body, target);
}

function opened(view, body, target) {
  body.replaceChildren();
  body.removeAttribute("aria-busy");
  return view.open(body, target, said);
}

function polled(view, body, target) {
  const gone = new AbortController();
  let timer = 0;
  let asking = false;
  async function turn() {
    clearTimeout(timer);
    if (asking || (document.hidden && !body.hasAttribute("aria-busy"))) return; // asked when somebody looks again
    asking = true;
    await once();
    asking = false;
    if (!gone.signal.aborted && view.everyMs) timer = setTimeout(turn, view.everyMs);
  }
  async function once() {
    try {
      const data = await view.load(target, gone.signal);
      if (gone.signal.aborted) return;
      patchChildren(body, [view.show(data, target)].flat());
      said();
    } catch (error) {
      if (gone.signal.aborted) return;
      if (isFinal(error)) patchChildren(body, [refusal(error)]);
      else said(error);
    }
    body.removeAttribute("aria-busy");
  }
  turn();
  if (view.everyMs) document.addEventListener("visibilitychange", turn, { signal: gone.signal });
  return () => {
    gone.abort();
    clearTimeout(timer);
  };
}

function said(error = null) {
  const time = new Date().toLocaleTimeString("en-GB");
  trouble.hidden = !error;
  place.classList.toggle("old", Boolean(error)); // no green that nobody vouches for
  if (!error) asked.textContent = `as of ${time}`;
  else if (!trouble.textContent || !trouble.dataset.since) {
    trouble.dataset.since = time;
    trouble.textContent = `The bridge does not answer since ${time} (${error.message}). What stands below is older.`;
  }
  if (!error) {
    trouble.textContent = "";
    delete trouble.dataset.since;
  }
}

function mark(name) {
  document.getElementById("views").replaceChildren(...Object.entries(NAMES).map(([view, text]) =>
    make("a", { href: address(view), "aria-current": view === name ? "page" : null }, text)));
}

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const target = document.getElementById("target").value.trim();
  const asked = address(/[.:]/.test(target) ? "explain" : "peers", target);
  if (target && location.hash === asked) go();
  else if (target) location.hash = asked;
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  place.focus();
});
addEventListener("hashchange", () => go());
get("status").then((status) => {
  router = `${status.name}, AS${status.asn}`;
  document.getElementById("name").textContent = router;
  document.title = `${VIEWS[where().name].title(where().target)} - ${router}`;
}, said);
history.begin();
go(true);
