// Next-hop groups: who is in them, who carries traffic and with what share, and why the others do not.

import { Refused, get, part } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { badge, bar, facts, note, section, table } from "./pieces.js";
import { count, counted } from "./words.js";

const SLOTS = 64;
const MOST = 100;
const COLOURS = "abcdefgh";

export const view = {
  title: (target) => (target ? `Group ${target}` : "Groups"),
  everyMs: 4000,
  load: async (target, signal) => {
    const asked = target ? [found(target, signal)] : [get("groups", signal, { limit: MOST }), get("status", signal)];
    const [adjacencies, groups, status] = await Promise.all([get("adjacencies", signal), ...asked]);
    return { groups, total: status?.groups, adjacencies: new Map(adjacencies.map((one) => [one.id, one])) };
  },
  show: ({ groups, total, adjacencies }, target) => {
    if (!target) return all(groups, total, adjacencies);
    return groups ? one(groups, adjacencies) : note(`There is no group ${target} now. `, link("groups", "", "All groups"));
  },
};

/** One group, null when it has gone. */
async function found(target, signal) {
  try {
    return await get(`groups/${part(target)}`, signal);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return null;
    throw error;
  }
}

function all(groups, total, adjacencies) {
  const used = groups.filter((group) => group.prefixes);
  const left = total - used.length;
  return [
    used.length ? null : note("No group: no prefix has a route."),
    ...used.map((group) => make("section", { "data-key": group.id },
      make("h2", {}, link("groups", String(group.id), `Group ${group.id}`), make("small", {}, ` ${counted(group.prefixes, "prefix", "prefixes")}`)),
      latency(group), shares(group, adjacencies), members(group))),
    left > 0 ? note(used.length < MOST ? `${counted(left, "group")} that no prefix points to now` : `${counted(left, "group")} more, with fewer prefixes`) : null,
  ].filter(Boolean);
}

function one(group, adjacencies) {
  return [
    facts([["prefixes", count(group.prefixes)], ["flags", group.flags]]),
    latency(group),
    group.members.length ? section("Slots", shares(group, adjacencies)) : null,
    group.members.length ? section("Members", members(group)) : null,
    make("p", {}, link("groups", "", "All groups")),
  ].filter(Boolean);
}

const latency = (group) => (group.latency ? make("div", { class: "note said" }, make("span", {}, "latency: "), latencyLines(group.latency)) : null);

/** What latency does, a line for who carries and one for each way out. */
export function latencyLines(text) {
  const lines = text.replace(/^(.*?\)): /, "$1:\n").replaceAll("; ", ";\n").split("\n");
  return lines.map((line) => [make("span", { class: "line" }, line), " "]);
}

/** The 64 slots by neighbour, as a bar with a legend. */
function shares(group, adjacencies) {
  const found = Object.entries(group.slots).map(([id, slots], at) => {
    const seen = adjacencies.get(Number(id));
    const name = seen ? `${seen.gateway} by ${seen.link}` : id === "0" ? "empty" : `neighbour ${id}`;
    return { name, slots, kind: id === "0" ? "none" : COLOURS[at % COLOURS.length] };
  });
  if (!found.length) return make("p", { class: "empty" }, "no slots: XDP is not configured");
  return make("div", { class: "shares" },
    bar(found.map((share) => [share.slots / SLOTS, share.kind])),
    make("ul", { class: "legend" }, found.map((share) => make("li", {}, make("span", { class: `dot ${share.kind}`, "aria-hidden": "true" }), ` ${share.slots} of ${SLOTS} slots to ${share.name}`))));
}

/** Everyone in the group, with what they do now. */
export function members(group) {
  const columns = [["peer"], ["next hop"], ["weight", "number"], ["member"]];
  const rows = group.members.map((member) => [known(member.peer), member.next_hop, count(member.weight), role(member)]);
  return table("Who carries traffic, and why the others do not", columns, rows);
}

/** A next hop of an override has a name in brackets, which no peer has. */
const known = (peer) => (peer.startsWith("(") ? peer : link("peers", peer));

function role(member) {
  const backup = member.backup ? "backup, " : "";
  if (member.why) return make("span", {}, badge(`${backup}dead`, "bad"), ": ", theirs(member.why));
  return member.carries ? badge(`${backup}carries traffic`, member.backup ? "warn" : "good") : badge(`${backup}ready`, "plain");
}
