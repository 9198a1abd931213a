// One peer: its session, what it brought, what was wrong with it, and what happened to it.

import { link, make, theirs } from "./dom.js";
import { badge, facts, meter, section, table } from "./pieces.js";
import { count, duration, moment, octets } from "./words.js";

/** What is shown of a peer; `rate` is {updates, octets} per second. */
export function peerPage(peer, events, rate) {
  return [
    make("p", { class: `verdict ${peer.state === "established" ? "good" : "bad"}`, role: "status" },
      `${peer.state} for ${duration(Date.now() / 1000 - peer.since)}`),
    peer.hold_off ? make("p", { class: "verdict bad" }, held(peer.hold_off)) : null,
    peer.unhealthy ? make("p", { class: "verdict bad" }, "paths held down: ", theirs(peer.unhealthy)) : null,
    who(peer, rate),
    section("Routes", routes(peer)),
    Object.keys(peer.limits).length ? section("Limits", limits(peer)) : null,
    peer.session ? section("Session", session(peer.session)) : null,
    section("Mistakes in what it sent", findings(peer)),
    section("What the speaker noticed", notices(peer)),
    section("Events", recent(events)),
    make("p", {}, link("peers", "", "All peers")),
  ].filter(Boolean);
}

function held(off) {
  const until = off.left_s === null ? "until an operator clears it" : `for ${duration(off.left_s)} more`;
  return [`held off ${until}: `, theirs(off.why)];
}

function who(peer, rate) {
  return facts([
    ["description", theirs(peer.description)],
    ["address", peer.address],
    ["AS", `${peer.asn}, ours ${peer.local_asn} (${peer.ebgp ? "external" : "internal"})`],
    ["families", peer.families.join(", ")],
    ["import policy", peer.import_policy],
    ["announced to it", count(peer.announced)],
    ["sessions so far", count(peer.established)],
    ["UPDATEs", `${count(peer.updates)}, ${octets(peer.octets)}, now ${rate.updates.toFixed(1)}/s, last ${moment(peer.last_update)}`],
    ["End-of-RIB", peer.end_of_rib.join(", ") || "none"],
    ["families disabled", peer.disabled.join(", ")],
    ["last went down", peer.last_down ? make("span", {}, `${moment(peer.last_down_at)}: `, theirs(peer.last_down)) : "never"],
    ["last error", peer.last_error ? make("span", {}, `${moment(peer.last_error.at)}: `, theirs(peer.last_error.text)) : ""],
  ].filter(([name]) => name !== "description" || peer.description));
}

function routes(peer) {
  const names = ["received", "accepted", "rejected", "best", "stale"];
  const rows = Object.entries(peer.routes).map(([family, counts]) => [family, ...names.map((name) =>
    name === "rejected" && counts.rejected ? link("rejected", peer.name, count(counts.rejected)) : count(counts[name]))]);
  return table(`Routes of ${peer.name}`, [["family"], ...names.map((name) => [name, "number"])], rows);
}

function limits(peer) {
  const columns = [["family"], ["state"], ["used"], ["counted"], ["blocked", "number"], ["then"]];
  const rows = Object.entries(peer.limits).map(([family, limit]) => [
    family, badge(limit.level), meter(limit.used, limit.limit, `${count(limit.used)} of ${count(limit.limit)}`, limit.threshold / 100),
    limit.count, count(limit.blocked), limit.action,
  ]);
  return table("max-prefix", columns, rows);
}

function session(agreed) {
  const able = ["asn4", "extended_message", "extended_next_hop", "route_refresh", "enhanced_refresh"];
  return facts([
    ["router id", agreed.router_id],
    ["our address", agreed.local_address],
    ["hold time", `${agreed.hold_time_s} s`],
    ["families", agreed.families.join(", ")],
    ["ADD-PATH", agreed.add_path.join(", ")],
    ["graceful restart", agreed.graceful_restart_s === null ? "no" : `${agreed.graceful_restart_s} s`],
    ["agreed", able.filter((name) => agreed[name]).map((name) => name.replaceAll("_", " ")).join(", ")],
  ]);
}

function findings(peer) {
  const rows = peer.findings.map((one) => [badge(one.verdict, "warn"), one.attribute ? String(one.attribute) : "message", theirs(one.reason), count(one.count)]);
  return table("By what RFC 7606 does about them", [["verdict"], ["attribute"], ["reason"], ["times", "number"]], rows);
}

function notices(peer) {
  const rows = [...peer.notices].reverse().map((one) => [moment(one.at), one.kind, theirs(one.text), one.past ? "a session came up after it" : ""]);
  return table("Newest first", [["time"], ["kind"], ["text"], [""]], rows);
}

function recent(events) {
  const rows = events.slice(-20).reverse().map((event) => [moment(event.at), badge(event.severity), event.kind, theirs(event.text)]);
  return table("The last 20 about this peer", [["time"], ["severity"], ["kind"], ["text"]], rows);
}
