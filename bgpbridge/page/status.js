// The state of the whole, asked for every few seconds while somebody looks.
"use strict";

const EVERY_MS = 5000;

function rows(status) {
  const numbers = (counts) => Object.entries(counts).map(([name, count]) => `${count.toLocaleString()} ${name}`).join(", ");
  return [
    ["forwarding in XDP", status.forwarding ? "yes" : "no"],
    ["peers", numbers(status.peers)],
    ["routes", numbers(status.routes)],
    ["next-hop groups", status.groups.toLocaleString()],
    ["next hops", `${status.next_hops}, ${status.next_hops_unreachable} unreachable`],
    ["adjacencies", `${status.adjacencies}, ${status.adjacencies_down} down`],
    ["not established", status.waiting.map((peer) => `${peer.name}: ${peer.why || peer.state}`).join("; ") || "none"],
    ["version", status.version],
  ];
}

function show(status) {
  document.getElementById("name").textContent = `${status.name}, AS${status.asn}`;
  document.getElementById("said").textContent = `as of ${new Date().toLocaleTimeString()}`;
  const lines = rows(status).map(([name, value]) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const cell = document.createElement("td");
    cell.textContent = value;
    line.append(head, cell);
    return line;
  });
  document.getElementById("figures").replaceChildren(...lines);
}

async function ask() {
  try {
    const answer = await fetch("api/v1/status");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    document.getElementById("said").textContent = `the bridge does not answer: ${error.message}`;
  }
}

ask();
setInterval(() => { if (!document.hidden) ask(); }, EVERY_MS);
