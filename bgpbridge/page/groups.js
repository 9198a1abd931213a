// Next-hop groups: who is in them, who carries traffic and with what share, and why the others do not.

import { get } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { badge, bar, facts, note, section, table } from "./pieces.js";
import { count, counted } from "./words.js";

const SLOTS = 64;
const MOST = 100;
const COLOURS = "abcdefgh";

export const view = {
  title: (target) => (target ? `Group ${target}` : "Groups"),
  everyMs: 4000,
  load: async (_, signal) => {
    const [groups, adjacencies] = await Promise.all([get("groups", signal), get("adjacencies", signal)]);
    return { groups, adjacencies: new Map(adjacencies.map((one) => [one.id, one])) };
  },
  show: ({ groups, adjacencies }, target) => {
    if (!target) return all(groups, adjacencies);
    const group = groups.find((one) => String(one.id) === target);
    return group ? one(group, adjacencies) : note(`There is no group ${target} now. `, link("groups", "", "All groups"));
  },
};

function all(groups, adjacencies) {
  const used = groups.filter((group) => group.prefixes);
  const idle = groups.length - used.length;
  return [
    used.length ? null : note("No group: no prefix has a route."),
    ...used.slice(0, MOST).map((group) => make("section", { "data-key": group.id },
      make("h2", {}, link("groups", String(group.id), `Group ${group.id}`), make("small", {}, ` ${counted(group.prefixes, "prefix").replace("prefixs", "prefixes")}`)),
      latency(group), shares(group, adjacencies), members(group))),
    used.length > MOST ? note(`${count(used.length - MOST)} groups more, with fewer prefixes`) : null,
    idle ? note(`${counted(idle, "group")} that no prefix points to now`) : null,
  ].filter(Boolean);
}

function one(group, adjacencies) {
  return [
    facts([["prefixes", count(group.prefixes)], ["flags", group.flags]]),
    latency(group),
    section("Slots", shares(group, adjacencies)),
    section("Members", members(group)),
    make("p", {}, link("groups", "", "All groups")),
  ].filter(Boolean);
}

const latency = (group) => (group.latency ? note("Latency: ", group.latency) : null);

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
  const columns = [["peer"], ["next hop"], ["weight", "number"], ["state"], ["why"]];
  const rows = group.members.map((member) => [link("peers", member.peer), member.next_hop, count(member.weight), state(member), theirs(member.why)]);
  return table(`Members of group ${group.id}`, columns, rows);
}

function state(member) {
  const backup = member.backup ? "backup, " : "";
  if (!member.live) return badge(`${backup}dead`, "bad");
  return member.carries ? badge(`${backup}carries`, member.backup ? "warn" : "good") : badge(`${backup}ready`, "plain");
}
