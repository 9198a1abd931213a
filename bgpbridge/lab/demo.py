"""`make demo`: real routers teach bgpbridge routes, packets leave through XDP, a cable is pulled, then made longer, and
an operator overrides BGP (`demo_moves`).

Everything that is said was measured in this very run, on this machine. The lab is lab/quickstart.clab.yml under a
name of its own, so it does not get in the way of one that is up; it is taken down however the demo ends.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import bgpbridge
from bgpbridge.api.client import Client
from bgpbridge.errors import BridgeError, LabError
from bgpbridge.lab import demo_moves, namespaces, runner, telling
from bgpbridge.lab.demo_waiting import until
from bgpbridge.lab.interrupts import interruptible
from bgpbridge.lab.state import Lab
from bgpbridge.lab.telling import Loss
from bgpbridge.lab.traffic import Stream, StreamSpec

__all__ = ["main"]

TOPOLOGY = Path(bgpbridge.__file__).parent.parent / "lab" / "quickstart.clab.yml"
NAME = "demo"
PREFIXES = (2000, 500)  # IPv4 and IPv6, what lab/quickstart/internet announces by each provider
EXPLAINED = "100.64.0.1"
# Nearer by provider A, but for the last two.
ADDRESSES = ("100.64.0.1", "100.64.8.1", "100.64.16.1", "2001:db8:1000::1", "100.72.0.1", "2001:db8:1800::1")
RATE_PPS = 5000
BACK = StreamSpec("internet", "host", ("192.0.2.10",), 1000)
EDGE_AT_A = "203.0.113.1"  # the edge as provider A's FRR knows it
PLAIN_WIDTH = 110  # columns where there is no terminal to ask


@dataclass(slots=True)
class Demo:
    """The lab, the daemon's control API, and the terminal."""

    console: Console
    lab: Lab
    api: Client
    began: float

    def sessions(self) -> None:
        """Wait for all sessions and all routes."""
        with self.console.status("waiting for four BGP sessions and 2,500 prefixes"):
            until(self._loaded, 30, "sessions and routes")
        telling.peers(self.console, self.api.get("/v1/peers"), time.monotonic() - self.began)

    def _loaded(self) -> bool:
        """Every peer has brought all it has, and both planes have it."""
        peers, status = self.api.get("/v1/peers"), self.api.get("/v1/status")
        accepted = [sum(counts["accepted"] for counts in peer["routes"].values()) for peer in peers]
        everything = sorted(accepted) == sorted(2 * PREFIXES)
        return everything and status["kernel"]["behind"] == 0 and not status["work"]

    def tables(self) -> None:
        """What stands in XDP and kernel, and whether they agree."""
        telling.tables(self.console, self.api.get("/v1/status"), self.api.post("/v1/audit"))

    def explain(self) -> None:
        """A packet's way."""
        said = runner.exec_in(self.lab, "edge", ["bgpbridge", "explain", EXPLAINED])
        if said.returncode:
            raise LabError(f"bgpbridge explain {EXPLAINED}: {said.stderr.strip()}")
        telling.verbatim(self.console, f"bgpbridge explain {EXPLAINED}", said.stdout)

    def packets(self) -> None:
        """Traffic, and who forwarded it."""
        xdp, kernel = self._forwarded_by_xdp(), self._forwarded_by_kernel()
        with self.console.status(f"{RATE_PPS:,} packets a second from the host to {len(ADDRESSES)} addresses"):
            stream = self._traffic()
            time.sleep(2.0)
            report = stream.stop()
        telling.packets(
            self.console,
            report,
            by_xdp=self._forwarded_by_xdp() - xdp,
            by_kernel=self._forwarded_by_kernel() - kernel,
            counters=self.api.get("/v1/counters"),
        )

    def cable(self) -> None:
        """Pull the cable of uplink A under traffic in both directions, until provider A's FRR has noticed too.

        The way out is the edge's to choose, the way back provider A's: its own link stays up, so plain BGP is all
        it has, and what the hold timer costs is measured on the same cable at the same moment.
        """
        switch = self.lab.namespace("switch")
        out, back = self._traffic(), Stream.start(self.lab, BACK, "back")
        time.sleep(1.0)
        pulled_ns = time.monotonic_ns()
        namespaces.set_link(switch, "eth1", up=False)
        with self.console.status("the cable of uplink A is out; traffic goes on; provider A has not noticed yet"):
            until(lambda: not self._frr_has_session(), 30, "FRR's hold timer")
            time.sleep(1.0)
        telling.cable_out(self.console, Loss.of(out.stop(), pulled_ns), Loss.of(back.stop(), pulled_ns))
        self._cable_back(switch)

    def _cable_back(self, switch: str) -> None:
        stream = self._traffic()
        back_ns = time.monotonic_ns()
        namespaces.set_link(switch, "eth1", up=True)
        with self.console.status("the cable is back; waiting for provider A's sessions"):
            until(self._frr_has_session, 30, "provider A's session")
            until(self._loaded, 30, "provider A's routes")
        came_back_s = (time.monotonic_ns() - back_ns) / 1e9
        time.sleep(1.0)
        telling.cable_back(self.console, stream.stop(), came_back_s)

    # -- looking ------------------------------------------------------------------------------------------

    def _traffic(self) -> Stream:
        return Stream.start(self.lab, StreamSpec("host", "internet", ADDRESSES, RATE_PPS))

    def _forwarded_by_xdp(self) -> int:
        found = {counter["reason"]: counter["packets"] for counter in self.api.get("/v1/counters")}
        return int(found["forwarded"])

    def _forwarded_by_kernel(self) -> int:
        """Ip ForwDatagrams and Ip6OutForwDatagrams of the edge (proc(5), net/snmp and net/snmp6)."""
        said = runner.exec_in(self.lab, "edge", ["cat", "/proc/net/snmp", "/proc/net/snmp6"]).stdout
        names, values = (line.split() for line in said.splitlines()[:2])
        six = re.search(r"^Ip6OutForwDatagrams\s+(\d+)", said, re.MULTILINE)
        return int(values[names.index("ForwDatagrams")]) + (int(six[1]) if six else 0)

    def _frr_has_session(self) -> bool:
        said = runner.exec_in(self.lab, "isp-a", ["vtysh", "-c", f"show bgp neighbors {EDGE_AT_A} json"]).stdout
        return bool(json.loads(said)[EDGE_AT_A]["bgpState"] == "Established")


def tell(console: Console, name: str) -> None:
    """The whole story, in a lab of this name."""
    began = time.monotonic()
    telling.opening(console, TOPOLOGY)
    with runner.running(TOPOLOGY, name) as lab:
        api = Client(lab.node_folder("edge") / "control.sock")
        demo = Demo(console, lab, api, began)
        for scene in (demo.sessions, demo.tables, demo.explain, demo.packets, demo.cable):
            scene()
        for move in (demo_moves.latency, demo_moves.override):
            move(console, lab, api)
    telling.closing(console, time.monotonic() - began)


def main(words: Sequence[str] | None = None) -> int:
    """Tell it on this terminal; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bgpbridge.lab.demo", description="Tell what bgpbridge does.")
    parser.add_argument("--name", default=NAME, help=f"the name of the lab ({NAME}); another one runs beside it")
    name = parser.parse_args(words).name
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    try:
        with interruptible():
            tell(console, name)
    except KeyboardInterrupt:
        console.print("\ninterrupted; the lab is taken down, nothing is left")
        return 130
    except BridgeError as error:
        console.print(f"\n[red]demo:[/red] {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
