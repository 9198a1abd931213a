// Peers, and a page for each.

import { get, part } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { peerPage } from "./peer.js";
import { badge, meter, table } from "./pieces.js";
import { rates } from "./rates.js";
import { count, duration } from "./words.js";

const measured = rates();

export const view = {
  title: (target) => (target ? `Peer ${target}` : "Peers"),
  everyMs: 3000,
  load: async (target, signal) => {
    if (!target) return { peers: await get("peers", signal) };
    const [peer, events] = await Promise.all([get(`peers/${part(target)}`, signal), get("events", signal, { limit: 2000 })]);
    return { peer, events: events.filter((event) => event.subject === peer.name) };
  },
  show: ({ peers, peer, events }) => (peer ? peerPage(peer, events, measured(peer)) : all(peers)),
};

function all(peers) {
  const columns = [["peer"], ["AS", "number"], ["state"], ["for"], ["received", "number"], ["accepted", "number"], ["rejected", "number"], ["best", "number"], ["updates", "number"], ["limit"]];
  const now = Date.now() / 1000;
  const rows = peers.map((peer) => [
    make("span", {}, link("peers", peer.name), peer.description ? make("span", { class: "line quiet" }, theirs(peer.description)) : null, why(peer)),
    String(peer.asn),
    badge(peer.state),
    peer.since ? duration(now - peer.since) : "",
    ...["received", "accepted", "rejected", "best"].map((name) => total(peer, name)),
    `${measured(peer).updates.toFixed(1)}/s`,
    Object.entries(peer.limits).map(([family, limit]) => make("span", { class: "line" }, meter(limit.used, limit.limit, `${family} ${count(limit.used)} of ${count(limit.limit)}`, limit.threshold / 100))),
  ]);
  return table("All peers in the order of the configuration", columns, rows);
}

function total(peer, name) {
  return count(Object.values(peer.routes).reduce((sum, routes) => sum + routes[name], 0));
}

function why(peer) {
  const text = peer.unhealthy || (peer.hold_off ? peer.hold_off.why : peer.state === "established" ? "" : peer.last_error && !peer.last_error.past ? peer.last_error.text : peer.last_down);
  return text ? make("span", { class: "line bad" }, theirs(text)) : null;
}
