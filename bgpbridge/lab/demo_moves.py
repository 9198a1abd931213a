"""The demo's scenes in which traffic is moved though every link is up: by latency, and by an operator's override."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from bgpbridge.api.client import Client
from bgpbridge.errors import LabError
from bgpbridge.lab import runner, shaper, telling
from bgpbridge.lab.demo_waiting import until
from bgpbridge.lab.measure import Report
from bgpbridge.lab.state import Lab
from bgpbridge.lab.topology import Daemon, Node
from bgpbridge.lab.traffic import Stream, StreamSpec

__all__ = ["latency", "override"]

NEAR_A = ("100.64.0.1", "100.64.8.1", "100.64.16.1")  # provider A is nearer, says BGP
PINNED, PREFIX = "100.64.0.1", "100.64.0.0/24"
RATE_PPS = 1000
DELAY_MS = 25.0  # each way
SETTLES_S = 1.5  # until the smoothed figures are those of the longer cable
BY_A, BY_B = "eth1", "eth2"  # the internet's interfaces
WIRE = Node("wire", 99, Daemon.WIRE)


def latency(console: Console, lab: Lab, api: Client) -> None:
    """The switch becomes a cable that can be made longer, and is."""
    _lay_wire(lab)
    stream = _traffic(lab, NEAR_A)
    control = lab.node_folder(WIRE.name) / "shaper.sock"
    shaper.change(control, delay_ms=DELAY_MS)
    with console.status("the cable of uplink A is 50 ms longer; bgpbridge looks on"):
        until(lambda: any(row["differs"] for row in api.get("/v1/paths/would")), 20, "latency's verdict")
    time.sleep(SETTLES_S)
    seen = runner.exec_in(lab, "edge", ["bgpbridge", "paths", "--peer", "isp-a"]).stdout
    would = api.get("/v1/paths/would")[0]
    began = time.monotonic()
    _mode(lab, api, "observe", "act")
    with console.status("the mode is `act` now"):
        until(lambda: _leaves_by(api, PINNED, "isp-b"), 20, "latency's move")
    took_s = time.monotonic() - began
    time.sleep(0.5)
    report = stream.stop()
    _mode(lab, api, "act", "observe")
    shaper.change(control, delay_ms=0)
    telling.latency(console, seen, would, _moved(report, BY_B), took_s)


def override(console: Console, lab: Lab, api: Client) -> None:
    """A prefix is pinned to provider B, and lifted again."""
    with console.status("traffic is back with provider A"):
        until(lambda: _leaves_by(api, PINNED, "isp-a"), 20, "plain BGP")
    stream = _traffic(lab, (PINNED,))
    add = ["bgpbridge", "override", "add", PREFIX, "pin", "--peer", "isp-b", "--owner", "demo"]
    _must(lab, [*add, "--reason", "to show it", "--for", "10m"])
    until(lambda: _leaves_by(api, PINNED, "isp-b"), 5, "the pin")
    time.sleep(0.3)
    pinned = _moved(stream.stop(), BY_B)
    explained = _must(lab, ["bgpbridge", "explain", PINNED])
    stream = _traffic(lab, (PINNED,))
    _must(lab, ["bgpbridge", "override", "remove", PREFIX])
    until(lambda: _leaves_by(api, PINNED, "isp-a"), 5, "BGP's own way")
    time.sleep(0.3)
    lifted = _moved(stream.stop(), BY_A)
    command = f"{' '.join(add[:7])} ... && bgpbridge explain {PINNED}"
    telling.override(console, command, explained, pinned, lifted)


def _lay_wire(lab: Lab) -> None:
    _must(lab, ["ip", "link", "del", "br0"], node="switch")
    runner.start_daemon(lab, WIRE, "switch")


def _mode(lab: Lab, api: Client, before: str, after: str) -> None:
    """Another mode in the lab's copy of the configuration, and a reload."""
    path: Path = lab.node_folder("edge") / "bgpbridge.yaml"
    path.write_text(path.read_text().replace(f"mode: {before}", f"mode: {after}"))
    api.post("/v1/reload")


def _leaves_by(api: Client, address: str, peer: str) -> bool:
    return f"from {peer}" in str(api.get(f"/v1/explain/{address}")["verdict"])


def _traffic(lab: Lab, addresses: tuple[str, ...]) -> Stream:
    return Stream.start(lab, StreamSpec("host", "internet", addresses, RATE_PPS))


def _moved(report: Report, way: str) -> Report:
    if report.last_way != way:
        raise LabError(f"the last packets came by {report.last_way or 'no way'}, not by {way}")
    return report


def _must(lab: Lab, words: list[str], node: str = "edge") -> str:
    said = runner.exec_in(lab, node, words)
    if said.returncode:
        raise LabError(f"{' '.join(words)}: {said.stderr.strip()}")
    return said.stdout
