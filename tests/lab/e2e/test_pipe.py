"""A stock ExaBGP, 4.2 of Debian and 5.0 of PyPI, that runs already: its routes by `bgpbridge pipe`, whoever dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bgpbridge
from bgpbridge.bench.feeds import Feed
from bgpbridge.bench.rig import ASN, Rig, bridge_config, uplink

pytestmark = pytest.mark.root

ROOT = Path(bgpbridge.__file__).parent.parent
EXABGPS = {"4.2": ["/usr/sbin/exabgp"], "5.0": [sys.executable, "-m", "exabgp", "server"]}
BY_PIPE = {"ipv4": 3000, "ipv6": 0}


def configuration(version: str, edge: Any, peer_as: int) -> str:
    """The template that we give to people, with the rig's addresses."""
    up = uplink("a")
    text = (ROOT / "exabgp" / f"stock-{version}.conf").read_text().split("neighbor 2001:db8::1")[0]
    command = f"env PYTHONPATH={ROOT} {sys.executable} -P -m bgpbridge pipe --feed {edge.folder / 'feed.sock'}"
    replaced = {
        "/usr/bin/env bgpbridge pipe": f"/usr/bin/{command}",
        "neighbor 192.0.2.1": f"neighbor {up.theirs}",
        "local-address 192.0.2.2": f"local-address {up.ours}",
        "local-as 65000": f"local-as {ASN}",
        "peer-as 65001": f"peer-as {peer_as}",
        "router-id 192.0.2.2": f"router-id {up.ours}",
        "adj-rib-in false": "passive; adj-rib-in false",
    }
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return text.replace("passive;", "passive true;" if version == "5.0" else "passive;")


class StockExaBGP:
    """One that runs on the edge with our template."""

    def __init__(self, edge: Any, version: str, folder: Path, peer_as: int = uplink("a").asn) -> None:
        conf = folder / "exabgp.conf"
        conf.write_text(configuration(version, edge, peer_as))
        self.log = folder / "exabgp.log"
        enter = ["nsenter", f"--net=/run/netns/{edge.namespace}", "--"]
        environment = {"exabgp.api.cli": "false", "exabgp.daemon.user": "root", "exabgp.log.destination": "stderr"}
        environment |= {"exabgp.tcp.bind": str(uplink("a").ours), "exabgp.tcp.port": "179"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*enter, *EXABGPS[version], str(conf)],
                env={**os.environ, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def pipe(self) -> int:
        """The process that it runs for us."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next((int(pid) for pid in children if b"bgpbridge" in Path(f"/proc/{pid}/cmdline").read_bytes()), 0)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def edge(place: Rig, edge_on: Callable[[Rig], Any]) -> Iterator[Any]:
    """A bridge whose one peer comes by pipe; its own speaker leaves port 179 to ExaBGP."""
    made, up = edge_on(place), uplink("a")
    peer = {"name": "by-pipe", "address": str(up.theirs), "asn": up.asn, "source": "pipe", "passive": False}
    made.start(bridge_config([peer]))
    try:
        yield made
    finally:
        for tester in made.testers:
            tester.stop()
        made.stop()
    made.assert_no_traceback()
    made.wipe()


@pytest.fixture
def stock(edge: Any, tmp_path: Path) -> Iterator[Callable[[str], StockExaBGP]]:
    started: list[StockExaBGP] = []

    def start(version: str) -> StockExaBGP:
        started.append(StockExaBGP(edge, version, tmp_path))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


def test_routes_come_by_the_pipe_and_come_back(
    edge: Any, feeds: dict[str, Feed], stock: Callable[[str], StockExaBGP]
) -> None:
    edge.tester("a", table=feeds["a"].octets)
    for version, dies in (("4.2", "pipe"), ("5.0", "bridge")):
        exabgp = stock(version)
        try:
            follow(edge, exabgp, dies)
        except AssertionError as error:
            error.add_note(exabgp.log.read_text()[-3000:])
            raise
    edge.assert_clean()


def follow(edge: Any, exabgp: StockExaBGP, dies: str) -> None:
    """Routes come; they are kept and come again whichever process ends."""
    edge.until(lambda: edge.peer("by-pipe")["state"] == "established", "a session comes by the pipe")
    edge.settled(BY_PIPE)
    assert edge.peer("by-pipe")["session"]["local_address"] == str(uplink("a").ours)
    assert edge.peer("by-pipe")["findings"] == []

    if dies == "pipe":
        os.kill(edge.until(exabgp.pipe, "the pipe runs"), signal.SIGKILL)
        edge.until(lambda: edge.peer("by-pipe")["state"] == "stale", "routes are kept as stale")
    else:
        before = edge.status()["process"]
        edge.kill("bgpbridge.daemon.bridge")
        edge.until(lambda: edge.status()["process"] != before, "a new bridge")
    edge.until(lambda: edge.peer("by-pipe")["state"] == "established", "the routes are asked for again")
    edge.settled(BY_PIPE)

    exabgp.stop()
    edge.until(lambda: edge.peer("by-pipe")["state"] == "stale", "ExaBGP has gone; its routes are kept")
    assert edge.status()["routes"] == BY_PIPE
    assert not re.search(r"the bridge refuses|refused \(\d+\)", exabgp.log.read_text()), "no line of either's"
