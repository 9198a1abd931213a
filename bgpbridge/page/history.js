// A ring of what was known of each way out, filled while the page is open: the bridge keeps no history of its own.
// Times are the browser's monotonic clock.

import { get } from "./api.js";
import { isFinal } from "./refusal.js";

const EVERY_MS = 5000;
const SELDOM_MS = 60000; // while nothing is probed
const KEEP = 720; // an hour

const ways = new Map(); // name -> [{at, srtt, p95, loss}]
let begun = false;

export const history = {
  /** Begin to ask; once for a page. */
  begin() {
    if (!begun) ask();
    begun = true;
  },

  /** Take in an answer of `paths` that a view has asked for. */
  take(paths) {
    const at = performance.now() / 1000;
    for (const exit of paths.exits) {
      for (const way of exit.targets) note(`${exit.id} ${way.target}`, at, way.facts);
    }
  },

  /** What is known of a target through an exit, oldest first. */
  of: (exit, target) => ways.get(`${exit.id} ${target}`) || [],
};

function note(name, at, facts) {
  const ring = ways.get(name) || [];
  if (!ways.has(name)) ways.set(name, ring);
  const last = ring.at(-1);
  if (last && at - last.at < 1) return; // a view and we have asked at once
  const known = facts && !facts.stale;
  ring.push({ at, srtt: known ? facts.srtt_s : null, p95: known ? facts.p95_s : null, loss: facts ? facts.loss : null });
  if (ring.length > KEEP) ring.shift();
}

async function ask() {
  let next = EVERY_MS;
  try {
    if (!document.hidden) {
      const paths = await get("paths");
      history.take(paths);
      if (!paths.exits.some((exit) => exit.targets.length)) next = SELDOM_MS;
    }
  } catch (error) {
    if (isFinal(error)) return; // a bridge that has no such path
    next = SELDOM_MS / 4;
  }
  setTimeout(ask, next);
}
