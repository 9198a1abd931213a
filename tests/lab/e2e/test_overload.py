"""More than can be followed: the kernel tells more than our sockets hold, thousands of our routes vanish at once,
others hold what we want to write, a listener does not read. Each is told and made good, and no packet is lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.bench.feeds import Feed, Origin, made, update
from bgpbridge.bench.rig import bridge_config, uplink
from bgpbridge.config.http import Http
from bgpbridge.errors import UnreachableError
from bgpbridge.lab import namespaces
from bgpbridge.types import Family

pytestmark = pytest.mark.root

COUNT, HELD = 6000, 300
BRIDGE = "bgpbridge.daemon.bridge"
GROUPS = {"links": 1 << 0, "routes": 1 << 6}  # as bits: RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE (rtnetlink.h)
AWAY = uplink("b").theirs  # a way that BGP does not go here


class Loaded:
    """The bridge with one provider's table; what is sent to `quiet` addresses has nothing to do with the tests."""

    def __init__(self, edge: Any, feed: Feed) -> None:
        self.edge, self.feed = edge, feed
        self.routes = COUNT
        addresses = feed.alone(48)
        self.quiet, self.touched = addresses[:20], addresses[20:]

    def batch(self, lines: Iterable[str]) -> None:
        path = self.edge.folder / "batch"
        path.write_text("\n".join(lines) + "\n")
        self.edge.ip("-batch", str(path))

    def add(self, prefixes: int) -> None:
        """So many more stand in both planes from now on."""
        self.routes += prefixes
        self.edge.settled({"ipv4": self.routes, "ipv6": 0})

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Traffic that passes meanwhile loses no packet; afterwards all is as BGP has it."""
        stream = self.edge.stream(self.quiet)
        yield
        self.edge.settled({"ipv4": self.routes, "ipv6": 0})
        report = stream.stop()
        assert (report.lost, report.ways) == (0, {"eth1": report.received})
        self.edge.assert_clean()
        assert self.edge.testers[0].sessions == 1

    def metric(self, name: str) -> float:
        def ask() -> str:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(Http().port), timeout=10)) as asked:
                asked.request("GET", "/metrics")
                return asked.getresponse().read().decode()

        text = namespaces.inside(self.edge.namespace, ask)
        return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


@pytest.fixture(scope="module")
def loaded(place: Any, edge_on: Any) -> Iterator[Loaded]:
    feed = made(COUNT, uplink("a").origin(), seed=9)
    edge = edge_on(place)
    with edge.fed(bridge_config(http={}), {"a": feed.octets}, COUNT):
        yield Loaded(edge, feed)


def dropped(pid: int) -> dict[str, int]:
    """What the kernel has not been able to tell a process's namespace, by kind of socket."""
    found = dict.fromkeys(GROUPS, 0)
    for line in Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]:
        columns = line.split()
        for name, bit in GROUPS.items():
            if int(columns[3], 16) & bit:
                found[name] += int(columns[8])
    return found


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_the_kernel_told_in_vain_is_asked_for_again(loaded: Loaded) -> None:
    """Both sockets overrun while the bridge stands still; what happens then it has no word of."""
    edge, pid = loaded.edge, loaded.edge.child(BRIDGE)
    come, gone = loaded.touched[:4], loaded.touched[4:8]
    ours = [edge.get(f"/v1/fib/{address}")["prefix"] for address in loaded.touched[8:12]]
    far = Origin(uplink("a").asn, ip_address("10.99.0.9"))
    loaded.batch([f"route add {address}/32 via {AWAY}" for address in gone])
    loaded.batch(
        [
            "route add 10.99.0.0/24 via 10.0.1.77 dev eth1",
            "neigh replace 10.0.1.77 lladdr 02:00:00:00:00:01 dev eth1 nud permanent",
        ]
    )
    edge.testers[0].send(update(Family.IPV4, bytes([24, 203, 0, 113]), far))
    loaded.add(1)
    assert {says(edge, address) for address in gone} == {"punt"}
    with loaded.unharmed():
        with standing_still(pid):
            storm = [
                line.format(number % 2 + 1)
                for number in range(4000)
                for line in (
                    "route replace 198.18.0.0/24 via 10.0.{0}.2",
                    "neigh replace 10.0.2.78 lladdr 02:00:00:00:01:0{0} dev eth2 nud permanent",
                )
            ]
            while not all(dropped(pid).values()):
                loaded.batch(storm)
            loaded.batch(
                [
                    *(f"route add {address}/32 via {AWAY}" for address in come),
                    *(f"route del {address}/32 via {AWAY}" for address in gone),
                    *(f"route del {prefix} metric 200" for prefix in ours),
                    "neigh replace 10.0.1.77 lladdr 02:00:00:00:00:02 dev eth1 nud permanent",
                ]
            )
        (event, *_) = edge.until(lambda: edge.events("netlink-overrun"), "the overrun is told")
        assert "asked for all of it again" in event["text"]
        edge.until(lambda: {says(edge, address) for address in come} == {"punt"}, "what came is the kernel's")
    assert loaded.metric("bgpbridge_netlink_overruns_total") >= 2
    assert {says(edge, address) for address in gone} == {"group"}
    (mac,) = {one["mac"] for one in edge.get("/v1/adjacencies") if one["gateway"] == "10.0.1.77"}
    assert mac == "02:00:00:00:00:02"
    loaded.batch([f"route del {address}/32" for address in come])


def says(edge: Any, address: Any) -> str:
    """What XDP has for an address: punt, or a group."""
    return str(edge.get(f"/v1/fib/{address}")["xdp_says"]).split()[0].rstrip(":")


def test_what_others_hold_is_left_to_them_and_taken_over_when_they_go(loaded: Loaded) -> None:
    """EEXIST: a static route of the same prefix and metric. The kernel goes by that one, and so does XDP."""
    edge = loaded.edge
    feed = made(HELD, uplink("a").origin(), seed=12)
    held = [str(feed.prefix(row)) for row in range(HELD)]
    loaded.batch([f"route add {prefix} via {AWAY} metric 200 proto static" for prefix in held])
    edge.testers[0].send(feed.octets)
    kernel = edge.until(lambda: refusing(edge), "all of them are refused")
    assert kernel["foreign_held"] == HELD
    assert kernel["reasons"] == {"a foreign route holds this prefix and metric": HELD}
    report = edge.client.post("/v1/audit")
    assert (report["clean"], report["refused"]) == (True, HELD)
    stream = edge.stream(feed.alone(20))
    time.sleep(0.2)
    report = stream.stop()
    assert (report.lost, report.ways) == (0, {"eth2": report.received})
    with loaded.unharmed():
        loaded.batch([f"route del {prefix} metric 200" for prefix in held])
        loaded.add(HELD)
    assert edge.status()["kernel"]["foreign_held"] == 0


def refusing(edge: Any) -> Any:
    kernel = edge.status()["kernel"]
    return kernel if kernel["refused"]["ipv4"] == HELD else None


class Heard:
    """A listener that reads: how many events of a foreign hand there were, and how many of any kind it missed."""

    def __init__(self, edge: Any) -> None:
        self.hands = self.missed = 0
        self._events = edge.client.follow("/v1/events", {"follow": "1", "limit": "1"})
        self._last = next(self._events)["number"]
        threading.Thread(target=self._listen, name="listener", daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(UnreachableError):  # the end of the bridge
            for event in self._events:
                self.missed += event["number"] - self._last - 1
                self._last = event["number"]
                self.hands += event["kind"] == "foreign-hand"


@contextlib.contextmanager
def asleep(edge: Any) -> Iterator[list[int]]:
    """A listener that reads nothing until the end of the block. The numbers of what it finds then."""
    found: list[int] = []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(edge.folder / "control.sock"))
        sock.sendall(b"GET /v1/events?follow=1&limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield found
        newest, sock_file = edge.client.get("/v1/events", {"limit": "1"})[-1]["number"], sock.makefile("rb")
        sock.settimeout(20)
        while not found or found[-1] < newest:
            line = sock_file.readline()
            if line.startswith(b"{"):
                found.append(json.loads(line)["number"])


def test_a_listener_that_does_not_read_holds_nobody_while_thousands_of_routes_are_put_back(loaded: Loaded) -> None:
    edge, before = loaded.edge, loaded.edge.status()["kernel"]["repaired"]
    with asleep(edge) as sleeper, loaded.unharmed():
        heard = Heard(edge)
        loaded.batch(f"route del {loaded.feed.prefix(row)} metric 200" for row in range(COUNT))
        edge.until(lambda: heard.hands >= COUNT, "each of them is told")
        edge.until(lambda: edge.status()["kernel"]["repaired"] >= before + COUNT, "each of them is put back")
    assert heard.missed == 0
    assert sleeper == sorted(set(sleeper))
