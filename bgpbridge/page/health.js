// Checks, BFD, and what health keeps from being announced.

import { get } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { badge, section, table } from "./pieces.js";
import { byName, count, duration, moment } from "./words.js";

export const view = {
  title: () => "Health",
  everyMs: 2000,
  load: (_, signal) => get("health", signal),
  show: (seen) => [
    section("Checks", checks(seen.checks)),
    section("BFD", bfd(seen.bfd), Object.keys(seen.refused).length ? make("p", { class: "quiet" }, `packets discarded: ${byName(seen.refused)}`) : ""),
    section("Withdrawn services", seen.withdrawn.length
      ? make("ul", {}, seen.withdrawn.map((prefix) => make("li", {}, link("explain", prefix))))
      : make("p", { class: "empty" }, "none")),
  ],
};

function checks(list) {
  const columns = [["subject"], ["check"], ["state"], ["since"], ["last run"], ["took", "number"], ["passed", "number"], ["failed", "number"], ["went bad", "number"]];
  const rows = list.map((one) => [
    theirs(one.subject),
    `${one.check} (${one.kind})`,
    make("span", {}, badge(one.state), one.suppressed_s ? ` ${duration(one.suppressed_s)} more` : ""),
    moment(one.since),
    make("span", {}, one.last ? badge(one.last) : "not yet", " ", theirs(one.text), one.mend ? make("span", { class: "line quiet" }, theirs(one.mend)) : null),
    one.latency_ms === null ? "" : `${one.latency_ms} ms`,
    count(one.passed), count(one.failed), count(one.failures),
  ]);
  return table("Every check at every subject", columns, rows, "none is configured");
}

function bfd(list) {
  const columns = [["peer"], ["verdict"], ["since"], ["session"], ["theirs"], ["every", "number"], ["detects in", "number"], ["failures", "number"], ["trouble"]];
  const rows = list.map((one) => [
    link("peers", one.peer), badge(one.verdict), moment(one.since), badge(one.state), one.remote_state,
    `${one.transmit_ms} ms`, `${one.detect_ms} ms`, count(one.downs), theirs([one.diagnostic, one.trouble].filter(Boolean).join("; ")),
  ]);
  return table("BFD with peers", columns, rows, "no peer has it");
}
