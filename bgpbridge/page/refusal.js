// What the bridge would not answer, in its own words.

import { make } from "./dom.js";
import { Refused } from "./api.js";

/** A view for a Refused: what, what was expected, how to mend it. */
export function refusal(error) {
  return make("div", { class: "verdict bad", role: "alert" },
    make("p", {}, error.message),
    error.expected ? make("p", {}, `expected: ${error.expected}`) : null,
    error.mend ? make("p", {}, `mend: ${error.mend}`) : null);
}

/** True for an answer that another attempt will not change by itself. */
export const isFinal = (error) => error instanceof Refused && error.status < 500;
