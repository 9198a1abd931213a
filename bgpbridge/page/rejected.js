// Routes that policy refused, with the line that did it. A table of a million is not asked for every few seconds: the
// first ones, once, and again when the reader says so.

import { get } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { note, table } from "./pieces.js";

const MOST = 200;

export const view = {
  title: (target) => (target ? `Rejected routes of ${target}` : "Rejected routes"),
  everyMs: 0,
  load: (target, signal) => get("routes", signal, { rejected: "1", limit: MOST, peer: target }),
  show: (routes, target) => {
    const columns = [["prefix"], ["peer"], ["next hop"], ["AS path"], ["reason"]];
    const rows = routes.map((route) => [
      link("explain", route.prefix), make("span", {}, link("rejected", route.peer), route.path_id ? ` path ${route.path_id}` : ""),
      route.next_hop, route.attributes.as_path || "(empty)", theirs(route.reason),
    ]);
    return [
      note(routes.length < MOST ? "All of them, as of now." : `The first ${MOST}; all by `, routes.length < MOST ? "" : make("code", {}, "bgpbridge routes --rejected --limit 0"),
        target ? [" ", link("rejected", "", "Those of all peers")] : ""),
      table("Routes that policy refused", columns, rows),
    ];
  },
};
