// The path of a packet, drawn: prefix, group, neighbour, interface, as XDP goes and as the kernel goes. Lists, so that
// it reads in order without being seen; the arrows are the style's.

import { link, make } from "./dom.js";
import { bar } from "./pieces.js";
import { counted } from "./words.js";

const SLOTS = 64;

/** Both planes; `seen` is the answer of `fib`. */
export function chain(seen) {
  return make("div", { class: "chains" }, plane("XDP", xdp(seen)), plane("kernel", kernel(seen)));
}

function plane(name, steps) {
  return make("div", { class: "plane", role: "group", "aria-label": `the way through ${name}` },
    make("h3", {}, name),
    make("ol", { class: "chain" }, steps.map((boxes) => make("li", {}, boxes))));
}

function box(kind, title, ...lines) {
  return make("div", { class: kind.endsWith("down") ? "box down" : "box" }, make("span", { class: "kind" }, kind), make("strong", {}, title), lines.filter(Boolean).map((line) => make("span", {}, line)));
}

function xdp(seen) {
  const first = [box("packet to", seen.address)];
  const { detail } = seen;
  if (!detail || seen.xdp_value !== detail.id) return [first, [box("verdict", seen.xdp_says)]];
  const group = box("group", link("groups", String(detail.id), `group ${detail.id}`),
    counted(detail.prefixes, "prefix", "prefixes"), detail.flags === "valid" ? "" : detail.flags);
  if (!seen.adjacencies.length) return [first, [box("prefix", seen.prefix)], [group], [box("verdict", "no slot is filled: left to the kernel")]];
  const ways = seen.adjacencies.map((one) => neighbour(one, detail.slots[one.id]));
  const empty = detail.slots[0] ? [box("no neighbour", `${detail.slots[0]} of ${SLOTS} slots are empty`, "left to the kernel")] : [];
  return [first, [box("prefix", seen.prefix)], [group], [...ways, ...empty]];
}

function neighbour(one, slots) {
  return make("div", { class: "branch" },
    box(one.up ? "neighbour" : "neighbour down", one.gateway, `MAC ${one.mac || "unknown"}`, `${slots} of ${SLOTS} slots`, bar([[slots / SLOTS, "a"]]), one.up ? "" : one.reason),
    make("span", { class: "arrow", "aria-hidden": "true" }),
    box("out by", one.link, `MTU ${one.mtu}`));
}

function kernel(seen) {
  const first = [box("packet to", seen.address)];
  const route = seen.kernel;
  if (!route) return [first, [box("verdict", "no route")]];
  if (!route.prefix) return [first, [box("verdict", `${route.type}: dropped`)]];
  const whose = route.ours ? "ours" : `protocol ${route.protocol}`;
  const entry = box("prefix", route.prefix, `${whose}, metric ${route.metric}`, route.type === "unicast" ? "" : route.type);
  const steps = [first, [entry]];
  if (route.nexthop_id) steps.push([box("nexthop object", String(route.nexthop_id))]);
  if (!route.link) return [...steps, [box("verdict", route.type)]];
  steps.push([make("div", { class: "branch" },
    box("neighbour", route.gateway || "on the link itself"), make("span", { class: "arrow", "aria-hidden": "true" }), box("out by", route.link))]);
  return steps;
}
