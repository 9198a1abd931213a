"""A real `bgpbridge run` on a rig of namespaces: testers behind two uplinks, traffic through, and everything told."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.api.client import Client
from bgpbridge.bench.feeds import Feed, made
from bgpbridge.bench.rig import Rig, bridge_config, rig, uplink
from bgpbridge.bench.tester import Tester
from bgpbridge.errors import UnreachableError
from bgpbridge.lab.topology import Daemon
from bgpbridge.lab.traffic import Stream, StreamSpec
from bgpbridge.types import Family
from tests.lab.e2e.browser import chromium, page  # noqa: F401

WAIT_S = 40.0


class Edge:
    """The bridge under test, as an operator has it: its control socket, its processes, its log."""

    def __init__(self, place: Rig) -> None:
        self.rig = place
        self.testers: list[Tester] = []
        self.streams: list[Stream] = []
        self.name = str(Daemon.BGPBRIDGE)
        self.folder = place.lab.node_folder(self.name)
        self.client = Client(self.folder / "control.sock")
        self.namespace = place.inside("edge")

    # -- processes --------------------------------------------------------------------------------------

    def start(self, configuration: str = "") -> None:
        self.rig.start(Daemon.BGPBRIDGE, configuration or bridge_config())

    def stop(self) -> None:
        self.rig.stop(self.name)

    def end(self) -> None:
        """Streams, testers and bridge, and what they leave; no test passes that made the bridge write a traceback."""
        for stream in self.streams:
            stream.abandon()
        for tester in self.testers:
            tester.stop()
        self.stop()
        self.assert_no_traceback()
        self.wipe()
        (self.folder / "bgpbridge.log").unlink()

    @property
    def supervisor(self) -> int:
        return next(process.pid for process in reversed(self.rig.lab.processes) if process.node == self.name)

    def child(self, module: str) -> int:
        """The pid of the speaker or of the bridge process."""
        for pid in Path(f"/proc/{self.supervisor}/task/{self.supervisor}/children").read_text().split():
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise AssertionError(f"no {module} runs")

    def kill(self, module: str) -> None:
        os.kill(self.child(module), signal.SIGKILL)

    # -- what it says -------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def status(self) -> Any:
        return self.get("/v1/status")

    def peer(self, name: str) -> Any:
        return self.get(f"/v1/peers/{name}")

    def events(self, kind: str) -> list[Any]:
        return [event for event in self.client.get("/v1/events", {"limit": "1000"}) if event["kind"] == kind]

    def until(self, holds: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> Any:
        """Wait until `holds` gives something true; a bridge that is not there yet counts as false."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                found = holds()
            except UnreachableError:
                found = None
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {wait_s:.0f} s: {what}\n{self.log()}"
            time.sleep(0.05)

    @contextlib.contextmanager
    def fed(self, configuration: str, tables: dict[str, bytes], prefixes: int) -> Iterator[None]:
        """The bridge runs and the providers `tables` are up: so many IPv4 prefixes in both planes. Ended afterwards."""
        self.start(configuration)
        try:
            for letter, table in tables.items():
                self.tester(letter, table=table)
            for tester in self.testers:
                tester.until_up()
            self.settled({"ipv4": prefixes, "ipv6": 0})
            yield
        finally:
            self.end()

    def settled(self, routes: dict[str, int], wait_s: float = WAIT_S) -> Any:
        """Wait until exactly so many routes stand in both planes and nothing is left to do; the status."""

        def done() -> Any:
            now = self.status()
            quiet = not now["work"] and not now["adopting"] and not now["kernel"]["behind"]
            return now if quiet and now["routes"] == routes == now["kernel"]["installed"] else None

        try:
            return self.until(done, f"{routes} in both planes", wait_s)
        except AssertionError as error:
            error.add_note(f"status: {self.status()}")
            error.add_note(f"peers: {self.get('/v1/peers')}")
            raise

    def assert_clean(self) -> None:
        report = self.client.post("/v1/audit")
        if report["pending"]:  # a session that ended a moment ago still moves its routes
            self.until(lambda: not self.status()["work"] and self.status()["kernel"]["behind"] == 0, "the planes rest")
            report = self.client.post("/v1/audit")
        assert report["clean"], report
        assert (report["pending"], report["refused"]) == (0, 0), report

    def log(self) -> str:
        path = self.folder / "bgpbridge.log"
        return "\n".join(path.read_text().splitlines()[-30:]) if path.exists() else "no log"

    def assert_no_traceback(self) -> None:
        assert "Traceback" not in (self.folder / "bgpbridge.log").read_text(), self.log()

    # -- around it ------------------------------------------------------------------------------------------

    def tester(self, letter: str, *words: Any, **changes: Any) -> Tester:
        """A tester that is started, and stopped after the test."""
        made_one = self.rig.tester(letter, *words, **changes).start()
        self.testers.append(made_one)
        return made_one

    def ip(self, *words: str) -> str:
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", "--", "ip", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of ours, as typed on the edge."""
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}", "--"]
        command = [*enter, sys.executable, "-m", "bgpbridge", "-s", str(self.folder / "control.sock"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def stream(self, addresses: list[Any], rate_pps: int = 2000) -> Stream:
        spec = StreamSpec("source", "far", tuple(map(str, addresses)), rate_pps=rate_pps)
        self.streams.append(Stream.start(self.rig.lab, spec))
        return self.streams[-1]

    def wipe(self) -> None:
        """What a stopped bridge leaves in the kernel on purpose."""
        self.ip("nexthop", "flush")  # with their routes: `ip route flush` refuses one by a blackhole object
        for family in ("-4", "-6"):
            self.ip(family, "route", "flush", "protocol", "203")
        pins = self.folder / "bpf" / "bgpbridge"
        if pins.exists():
            shutil.rmtree(pins)


@pytest.fixture(scope="module")
def place() -> Iterator[Rig]:
    with rig() as made_rig:
        yield made_rig


@pytest.fixture
def edge(place: Rig) -> Iterator[Edge]:
    """A bridge that has just started, without sessions."""
    made_edge = Edge(place)
    made_edge.start()
    try:
        yield made_edge
    finally:
        for letter in "ab":
            place.set_uplink(letter, up=True)
        made_edge.end()


@pytest.fixture(scope="module")
def feeds() -> dict[str, Feed]:
    """The same 3,000 prefixes from both providers, the way by `b` one AS longer."""
    return {letter: made(3000, uplink(letter).origin("ab".index(letter))) for letter in "ab"}


@pytest.fixture(scope="module")
def feeds6() -> dict[str, Feed]:
    return {
        letter: made(500, uplink(letter, Family.IPV6).origin("ab".index(letter)), family=Family.IPV6) for letter in "ab"
    }


@pytest.fixture(scope="session")
def edge_on() -> Callable[[Rig], Edge]:
    """An Edge that is not started yet, for those who start it their own way."""
    return Edge
