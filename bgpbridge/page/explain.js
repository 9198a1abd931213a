// Why a packet goes where it goes: the verdict, the way it takes, what policy, RPKI and overrides said, all candidates
// with the step that decided, and what changed last.

import { get, part } from "./api.js";
import { chain } from "./chain.js";
import { link, make, theirs } from "./dom.js";
import { attributesOf } from "./attributes.js";
import { members } from "./groups.js";
import { badge, facts, note, section, table } from "./pieces.js";
import { duration, moment } from "./words.js";

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
      ["latency", seen.fib.detail?.latency],
    ])),
    section("Candidates, best first", candidates(seen)),
    seen.fib.detail ? section(`Members of group ${seen.fib.detail.id}`, members(seen.fib.detail)) : null,
    seen.foreign.length ? section("Routes of others beside ours", make("ul", {}, seen.foreign.map((line) => make("li", {}, line)))) : null,
    section("History", history(seen.history)),
  ].filter(Boolean);
}

function trouble(fib) {
  const lines = [...fib.refused.map((line) => ["bad", line])];
  if (fib.kernel_behind) lines.push(["note", `${fib.kernel_behind} routes wait to be written into the kernel`]);
  return lines.map(([tone, line]) => make("p", { class: tone }, line));
}

function override(one) {
  return section("An override decides", facts([
    ["what", one.what],
    ["state", make("span", {}, badge(one.state), one.why ? ` ${one.why}` : "")],
    ["of", one.scope],
    ["by", theirs([one.owner, one.source].filter(Boolean).join(", "))],
    ["reason", theirs(one.reason)],
    ["until", one.expires ? moment(one.expires) : "it is removed"],
    ["where", one.name],
  ]));
}

function policy(said) {
  const term = said.term ? `, term ${said.term}` : "";
  const verb = said.accepted ? "accepts" : "refuses";
  return make("span", {}, badge(said.accepted ? "accepted" : "refused", said.accepted ? "good" : "bad"),
    ` ${said.policy || "import"}${term} ${verb} the path from `, link("peers", said.peer), said.reason ? `: ${said.reason}` : "",
    said.place ? [" ", make("code", {}, said.place)] : null);
}

function rpki(said) {
  const covering = said.covering.length ? `covered by ${said.covering.join("; ")}` : "no VRP covers it";
  return make("span", {}, badge(said.state), ` ${said.origin ? `AS${said.origin}` : "no AS"} by `, theirs(said.peer), `, ${covering}`);
}

function candidates(seen) {
  const columns = [["", "number"], ["state"], ["peer"], ["next hop"], ["AS path"], ["attributes"], ["what decided"]];
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
  const words = [];
  if (path.reason) words.push(make("span", { class: "line" }, theirs(path.reason)));
  if (loss) words.push(make("span", { class: "line" }, lost(loss)));
  return words.length ? words : path.status === "best" ? "this one is best" : "";
}

function lost(loss) {
  if (loss.step < 0) return loss.winner ? `the override put ${loss.winner} first` : "left out by the override";
  if (!loss.step) return `step 0: next hop not reachable (${loss.rfc})`;
  return `lost at step ${loss.step}, ${loss.text} (${loss.rfc})${loss.winner ? `, to ${loss.winner}` : ""}`;
}

function history(entries) {
  const group = (number) => (number ? link("groups", String(number), `group ${number}`) : "none");
  const rows = entries.map((entry) => [`${duration(entry.ago_s)} ago`, String(entry.commit), make("span", {}, group(entry.old_group), " to ", group(entry.new_group)), theirs(entry.cause)]);
  return table("What changed this prefix last", [["when"], ["commit", "number"], ["what"], ["cause"]], rows, "no change is remembered");
}
