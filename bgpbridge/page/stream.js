// Server-sent events that come back. A browser reconnects by itself after a lost connection, with the id of the last
// event; it gives up for good on a refusal (too many listeners), and then we ask again.

const AGAIN_MS = 5000;
const REMEMBERED = 1000;

/** Calls `event(value)` for each event once, and `state(words)`; gives what ends it. */
export function follow(path, { event, state }) {
  const seen = new Set();
  let source = null;
  let timer = 0;

  function begin() {
    source = new EventSource(path);
    source.addEventListener("open", () => state("live"));
    source.addEventListener("message", ({ data, lastEventId }) => {
      if (seen.has(lastEventId)) return; // told again after we began anew
      seen.add(lastEventId);
      if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
      event(JSON.parse(data));
    });
    source.addEventListener("error", () => {
      const gone = source.readyState === EventSource.CLOSED;
      state(gone ? "refused; asking again in 5 s" : "the bridge does not answer; connecting again ...");
      if (gone) timer = setTimeout(begin, AGAIN_MS);
    });
  }

  begin();
  return () => {
    source.close();
    clearTimeout(timer);
  };
}
