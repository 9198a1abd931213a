// Ways out: round-trip times over time, what probes found, and what latency does or would do about it.

import { get } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { history } from "./history.js";
import { badge, facts, note, section, table } from "./pieces.js";
import { plot } from "./plot.js";
import { count, counted, duration, millis, percent } from "./words.js";

const KINDS = "abcdefgh";

export const view = {
  title: () => "Paths",
  everyMs: 2000,
  load: async (_, signal) => {
    const [paths, would] = await Promise.all([get("paths", signal), get("paths/would", signal)]);
    history.take(paths);
    return { paths, would };
  },
  show: ({ paths, would }) => [
    facts([["mode", mode(paths)], ["moved", byKind(paths.counts)], ["left out of probing", paths.left_out ? count(paths.left_out) : ""]]),
    paths.trouble ? make("p", { class: "verdict bad" }, theirs(paths.trouble)) : null,
    paths.exits.length ? null : note("No next hop leads anywhere yet."),
    ...paths.exits.map((exit) => oneExit(exit, highest(paths))),
    would.length ? section("What latency decides", decisions(would)) : null,
  ].filter(Boolean),
};

function mode(paths) {
  const words = { off: "off: nothing is probed", observe: "observe: says what it would do, does nothing", act: "act: moves traffic within groups" };
  return words[paths.mode] || paths.mode;
}

const byKind = (counts) => Object.entries(counts).map(([kind, number]) => `${kind.replaceAll("_", " ")} ${count(number)}`).join(", ");

/** The same scale for all plots, so that they can be compared. */
function highest(paths) {
  const seen = paths.exits.flatMap((exit) => exit.targets.flatMap((way) => history.of(exit, way.target).map((point) => point.srtt || 0)));
  return Math.max(0, ...seen);
}

function oneExit(exit, most) {
  const series = exit.targets.map((way) => ({ name: way.target, points: history.of(exit, way.target).map(({ at, srtt }) => ({ at, value: srtt })) }));
  const head = make("h2", {}, `${exit.gateway} by ${exit.link} `, badge(exit.state));
  return make("section", { "data-key": exit.id }, head,
    make("p", { class: "quiet" }, counted(exit.next_hops, "next hop"), exit.peers.map((peer, at) => [at ? ", " : " of ", link("peers", peer)])),
    series.length ? plot(`round-trip times by ${exit.gateway}`, series, most) : null,
    series.length ? targets(exit) : null);
}

function targets(exit) {
  const columns = [["target"], ["probe"], ["RTT", "number"], ["jitter", "number"], ["p50", "number"], ["p95", "number"], ["p99", "number"], ["loss", "number"], ["age", "number"], ["trouble"]];
  const rows = exit.targets.map((way, at) => {
    const known = way.facts;
    const name = make("span", {}, make("span", { class: `dot ${KINDS[at % KINDS.length]}`, "aria-hidden": "true" }), ` ${way.target}`, way.target === way.address ? "" : ` (${way.address})`);
    const probe = way.port ? `${way.probe} ${way.port}` : way.probe;
    if (!known) return [name, probe, "", "", "", "", "", "", "", theirs(way.trouble || "no answer yet")];
    return [
      name, probe, ...["srtt_s", "jitter_s", "p50_s", "p95_s", "p99_s"].map((key) => millis(known[key])), percent(known.loss),
      make("span", {}, duration(known.age_s), known.stale ? badge("stale") : null), theirs(way.trouble),
    ];
  });
  return table(`Targets through ${exit.gateway}`, columns, rows);
}

function decisions(would) {
  const carriers = (list) => list.map((one) => `${one.exit} (weight ${one.weight})`).join(", ");
  const columns = [["prefixes", "number"], ["groups"], ["BGP"], ["latency"], [""], ["why"], ["such as"]];
  const rows = would.map((one) => [
    count(one.prefixes),
    one.groups.slice(0, 5).map((id, at) => [at ? ", " : "", link("groups", String(id))]),
    carriers(one.bgp),
    one.differs ? carriers(one.latency) : "the same",
    one.differs ? badge(one.acts ? "done" : "would be", one.acts ? "good" : "warn") : badge("as BGP", "plain"),
    one.why.map((line) => make("span", { class: "line" }, line)),
    one.examples.map((prefix) => make("span", { class: "line" }, link("explain", prefix))),
  ]);
  return table("Groups that choose among the same ways out", columns, rows);
}
