// Path attributes in one line: those that are there.

import { make, theirs } from "./dom.js";

const ORDER = ["origin", "local_pref", "med", "weight", "communities", "large_communities", "extended_communities", "otc", "aigp",
  "aggregator", "originator_id", "cluster_list", "link_bandwidth", "link_local", "atomic_aggregate"];

const NAMES = { med: "MED", local_pref: "local preference", otc: "OTC", aigp: "AIGP" };

/** All but AS path and next hop, which have columns of their own; unknown ones by their number. */
export function attributesOf(attributes) {
  const known = ORDER.filter((name) => name in attributes).map((name) => [NAMES[name] || name.replaceAll("_", " "), text(attributes[name])]);
  const unknown = (attributes.unknown || []).map((one) => [`attribute ${one.type}`, one.value]);
  return [...known, ...unknown].map(([name, value]) => make("span", { class: "attribute" }, make("span", { class: "name" }, name), " ", theirs(value)));
}

function text(value) {
  if (Array.isArray(value)) return value.join(" ");
  return value === true ? "set" : String(value);
}
