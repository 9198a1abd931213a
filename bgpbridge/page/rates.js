// UPDATEs and octets per second of each peer, between two answers. By the browser's monotonic clock, so that a wall
// clock that jumps does not matter.

const SHORTEST_S = 1;

/** A function that takes a peer's answer and gives {updates, octets} per second, 0 at first. */
export function rates() {
  const before = new Map();
  return (peer) => {
    const at = performance.now() / 1000;
    const last = before.get(peer.name);
    if (last && at - last.at < SHORTEST_S) return last.rate;
    const seconds = last ? at - last.at : 0;
    const per = (name) => (last && peer[name] >= last[name] ? (peer[name] - last[name]) / seconds : 0);
    const rate = { updates: per("updates"), octets: per("octets") };
    before.set(peer.name, { at, updates: peer.updates, octets: peer.octets, rate });
    return rate;
  };
}
