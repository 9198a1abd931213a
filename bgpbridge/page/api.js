// The bridge's answers. A refusal keeps the bridge's own words: what, what was expected, how to mend it.

const PATIENCE_MS = 15000;

export class Refused extends Error {
  constructor(status, said) {
    super(said.error || `status ${status}`);
    this.status = status;
    this.expected = said.expected || "";
    this.mend = said.mend || "";
  }
}

/** The answer of a path under /api/v1. Raises Refused, or TypeError when nobody answers. */
export async function get(path, signal = undefined, query = {}) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new TypeError("no answer within 15 s")), PATIENCE_MS);
  const leave = () => patience.abort(signal.reason);
  signal?.addEventListener("abort", leave);
  try {
    const asked = Object.entries(query).filter(([, value]) => value !== "");
    const more = asked.length ? `?${new URLSearchParams(asked)}` : "";
    const answer = await fetch(`api/v1/${path}${more}`, { signal: patience.signal, cache: "no-store" });
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
    return await answer.json();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

/** A part of a path, whatever stands in it. */
export const part = encodeURIComponent;
