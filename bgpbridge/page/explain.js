// Why a packet goes where it goes: the verdict, the way it takes, what policy, RPKI and overrides said, all candidates
// with the step that decided, and what changed last. In the words of `bgpbridge explain` (cli/text/explain.py).

import { get, part } from "./api.js";
import { chain } from "./chain.js";
import { link, make, theirs } from "./dom.js";
import { attributesOf } from "./attributes.js";
import { latencyLines, members } from "./groups.js";
import { badge, facts, note, section, table } from "./pieces.js";
import { counted, duration, moment } from "./words.js";

const RESERVED = 2; // groups up to here say what becomes of a packet, and have no members

export const view = {
  title: (target) => (target ? `Way to ${target}` : "Way to an address"),
  everyMs: 3000,
  load: (target, signal) => (target ? get(`explain/${part(target)}`, signal) : null),
  show: (seen) => (seen ? shown(seen) : note("Type an address or a prefix above.")),
};

function shown(seen) {
  return [
    make("p", { class: `verdict ${seen.verdict.startsWith("forwarded") ? "good" : "warn"}`, role: "status" }, seen.verdict),
    seen.note ? note(seen.note) : null,
    seen.override ? override(seen.override) : null,
    section("The way of a packet", chain(seen.fib), ...trouble(seen.fib)),
    section("Why", facts([
      ["prefix", seen.prefix || "not in the table"],
      ["policy", seen.policy ? policy(seen.policy) : ""],
      ["RPKI", seen.rpki ? rpki(seen.rpki) : ""],
      ["latency", seen.fib.detail?.latency ? latencyLines(seen.fib.detail.latency) : ""],
    ])),
    section("Candidates, best first", candidates(seen)),
    seen.fib.detail ? section(`Members of group ${seen.fib.detail.id}`, members(seen.fib.detail)) : null,
    seen.foreign.length ? section("Routes of others beside ours", make("ul", {}, seen.foreign.map((line) => make("li", {}, line)))) : null,
    section("History", history(seen.history)),
  ].filter(Boolean);
}

function trouble(fib) {
  const lines = fib.refused.map((line) => ["bad", `refused: ${line}`]);
  const differs = fib.group > RESERVED && fib.xdp_value > RESERVED && fib.group !== fib.xdp_value;
  if (differs) lines.push(["bad", `XDP: ${fib.xdp_says}, but the Loc-RIB wants group ${fib.group}`]);
  if (fib.kernel_behind) lines.push(["note", `${counted(fib.kernel_behind, "route")} wait to be written into the kernel`]);
  return lines.map(([tone, line]) => make("p", { class: tone }, line));
}

function override(one) {
  const left = one.expires ? `, ends in ${duration(one.expires - Date.now() / 1000)}` : "";
  return section("Override", facts([
    ["state", make("span", {}, badge(one.state), one.why ? [": ", theirs(one.why)] : null)],
    ["what", `${one.what}, for ${one.scope}`],
    ["who and why", make("span", {}, "by ", theirs(one.owner), ": ", theirs(one.reason), left, " (", make("code", {}, one.name), ", ", theirs(one.source), ")")],
    ["until", one.expires ? moment(one.expires) : "it is removed"],
  ]));
}

function policy(said) {
  const term = said.term ? `, term ${said.term}` : "";
  const verb = said.accepted ? "accepts" : "refuses";
  return make("span", {}, `${said.policy || "import"}${term}`, said.place ? [", ", make("code", {}, said.place)] : null,
    ` ${verb} the path from `, link("peers", said.peer), said.reason ? `: ${said.reason}` : "");
}

function rpki(said) {
  const covering = said.covering.length ? `covered by ${said.covering.join("; ")}` : "no VRP covers it";
  return make("span", {}, badge(said.state), ": ", said.origin ? `AS ${said.origin}` : "no AS", " by ", link("peers", said.peer), `, ${covering}`);
}

function candidates(seen) {
  const columns = [["rank", "number"], ["state"], ["peer"], ["next hop"], ["AS path"], ["attributes"], ["what decided"]];
  const rows = seen.paths.map((path, at) => {
    const loss = seen.losses.find((one) => one.peer === path.peer && one.path_id === path.path_id);
    return [
      String(at + 1),
      make("span", {}, badge(path.status), path.stale ? badge("stale") : null),
      make("span", {}, link("peers", path.peer), path.path_id ? ` path ${path.path_id}` : ""),
      path.next_hop,
      path.attributes.as_path || "(empty)",
      attributesOf(path.attributes),
      why(path, loss),
    ];
  });
  return table("Every path that a peer has sent", columns, rows, "nobody has sent one");
}

function why(path, loss) {
  const line = (text, kind = "") => make("span", { class: `line ${kind}` }, theirs(text));
  if (loss && !loss.step) return [line(`left out at step 0, next hop not reachable (${loss.rfc}): ${path.reason}`, "bad")];
  return [path.reason ? line(`${path.status}: ${path.reason}`, "bad") : null, loss ? line(lost(loss)) : null];
}

function lost(loss) {
  if (loss.step < 0) return loss.winner ? `the override put ${loss.winner} first` : "left out by the override";
  return `lost at step ${loss.step}, ${loss.text} (${loss.rfc})${loss.winner ? `, to ${loss.winner}` : ""}`;
}

function history(entries) {
  const group = (number) => (number ? link("groups", String(number)) : "none");
  const rows = entries.map((entry) => [`${duration(entry.ago_s)} ago`, String(entry.commit), make("span", {}, "group ", group(entry.old_group), " to ", group(entry.new_group)), theirs(entry.cause)]);
  return table("What changed this prefix last", [["when"], ["commit", "number"], ["what"], ["by"]], rows, "no change is remembered");
}
