// The whole at a glance, problems first.

import { get } from "./api.js";
import { link, make, theirs } from "./dom.js";
import { badge, facts, meter, problems, section, table } from "./pieces.js";
import { byName, count, counted, duration, moment, octets } from "./words.js";

export const view = {
  title: () => "Overview",
  everyMs: 3000,
  load: async (_, signal) => {
    const [status, events] = await Promise.all([get("status", signal), get("events", signal, { limit: 400 })]);
    return { status, events };
  },
  show: ({ status, events }) => [
    verdict(status),
    figures(status),
    planes(status),
    ...interfaces(status),
    section("Last warnings", lastWarnings(events)),
    facts([
      ["version", status.version],
      ["router id", status.router_id],
      ["running for", duration(status.uptime_s)],
      ["BPF loader", [status.loader, status.loader_note].filter(Boolean).join(": ")],
      ["memory", `${octets(status.memory.resident)} resident, ${octets(status.memory.maps_full)} for full maps`],
      ["commits", count(status.commits)],
      ["overrides", byName(status.overrides)],
    ]),
  ],
};

function verdict(status) {
  const found = [...troubles(status)];
  if (!found.length) return make("p", { class: "verdict good", role: "status" }, "Forwarding, and nothing is wrong.");
  return make("div", {}, problems(found));
}

function* troubles(status) {
  if (!status.xdp) yield ["warn", "XDP is not configured: the kernel forwards alone."];
  else if (status.beginning) yield ["warn", "XDP waits for the peers' tables: all packets go to the kernel until then."];
  else if (!status.forwarding) yield ["bad", "Forwarding in XDP is switched off: all packets go to the kernel (", make("code", {}, "bgpbridge on"), ")."];
  for (const one of status.interfaces) {
    if (one.mode === "none") yield ["bad", `No XDP on ${one.name}: ${one.note}`];
  }
  for (const peer of status.waiting) yield ["bad", "Peer ", link("peers", peer.name), ` is ${peer.state}`, peer.why ? [": ", theirs(peer.why)] : ""];
  const down = Object.entries(status.peers).filter(([state]) => state !== "established").reduce((sum, [, n]) => sum + n, 0);
  if (down > status.waiting.length) yield ["bad", link("peers", "", `${counted(down - status.waiting.length, "peer")} more not established`)];
  for (const one of status.limits) {
    const tone = one.level === "near" ? "warn" : "bad";
    yield [tone, "Peer ", link("peers", one.peer), ` is ${one.level} its limit for ${one.family}: ${count(one.used)} of ${count(one.limit)}, ${count(one.blocked)} blocked`];
  }
  for (const text of status.unhealthy) yield ["bad", link("health", "", theirs(text))];
  for (const text of status.rpki) yield ["warn", "RPKI: ", theirs(text)];
  yield* ofPlanes(status);
}

function* ofPlanes(status) {
  for (const [plane, seen] of [["XDP", status.xdp], ["kernel", status.kernel]]) {
    const refused = Object.values(seen?.refused || {}).reduce((sum, n) => sum + n, 0);
    if (refused) yield ["bad", `${counted(refused, "route")} refused by ${plane}`];
  }
  if (status.kernel?.last_error) yield ["warn", `Kernel: ${status.kernel.last_error}`];
  for (const text of status.kernel?.missing_nexthops || []) yield ["bad", `Kernel: ${text}`];
  if (status.kernel?.behind) yield ["note", `${counted(status.kernel.behind, "route")} wait to be written into the kernel`];
  if (status.next_hops_unreachable) yield ["warn", `${counted(status.next_hops_unreachable, "next hop")} in use cannot be reached`];
  if (status.adjacencies_down) yield ["warn", `${status.adjacencies_down} of ${counted(status.adjacencies, "neighbour")} down`];
  if (status.adopting) yield ["note", "What an earlier run left is being adopted"];
  const fallen = status.overrides["fallen back"];
  if (fallen) yield ["warn", link("overrides", "", `${counted(fallen, "override")} fallen back to BGP`)];
}

function figures(status) {
  const total = Object.values(status.peers).reduce((sum, n) => sum + n, 0);
  const cards = [
    ["forwarding", status.forwarding ? "in XDP" : "by the kernel", status.forwarding ? "good" : "warn", ""],
    ["peers", `${status.peers.established || 0} of ${total}`, (status.peers.established || 0) === total ? "good" : "bad", "peers"],
    ["routes", count(Object.values(status.routes).reduce((sum, n) => sum + n, 0)), "", ""],
    ["groups", count(status.groups), "", "groups"],
    ["next hops", count(status.next_hops), status.next_hops_unreachable ? "warn" : "", ""],
    ["neighbours", `${status.adjacencies - status.adjacencies_down} of ${status.adjacencies}`, status.adjacencies_down ? "warn" : "", "paths"],
  ];
  return make("ul", { class: "cards" }, cards.map(([name, figure, tone, view_]) => {
    const inside = [make("span", { class: "name" }, name), " ", make("strong", {}, figure)];
    return make("li", { class: tone }, view_ ? link(view_, "", ...inside) : inside);
  }));
}

function planes(status) {
  const columns = [["family"], ["BGP", "number"], ["in XDP", "number"], ["room in XDP"], ["left to the kernel", "number"], ["in the kernel", "number"]];
  const rows = Object.entries(status.routes).map(([family, routes]) => {
    const { xdp, kernel } = status;
    const capacity = xdp?.capacity[family];
    return [
      family,
      count(routes),
      xdp ? count(xdp.entries[family]) : "no XDP",
      xdp ? meter(xdp.entries[family], capacity, `of ${count(capacity)}`) : "",
      xdp ? count(xdp.punted[family]) : "",
      kernel ? count(kernel.installed[family]) : "no kernel plane",
    ];
  });
  return section("Routes", table("Prefixes with a route, and what both planes hold", columns, rows));
}

function interfaces(status) {
  if (!status.interfaces.length) return [];
  const rows = status.interfaces.map((one) => [one.name, badge(one.mode), one.note]);
  return [section("Interfaces", table("Where XDP runs", [["interface"], ["mode"], ["note"]], rows))];
}

function lastWarnings(events) {
  const bad = events.filter((event) => ["warning", "error"].includes(event.severity)).slice(-6).reverse();
  const rows = bad.map((event) => [moment(event.at), badge(event.severity), event.kind, theirs(event.subject), theirs(event.text)]);
  return table("The last warnings and errors", [["time"], ["severity"], ["kind"], ["subject"], ["text"]], rows, "none among the last 400 events");
}
