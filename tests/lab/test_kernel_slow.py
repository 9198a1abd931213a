"""A kernel that is slow, or stands still, while peers go on for long: packets go the new way by XDP at once, what waits
is bounded by the prefixes that there are, and it ends as the peers have it.

Real RIB, maps and netlink. Only the socket that routes are written by lets nothing through but by the test's leave:
whoever keeps the kernel itself busy (its RTNL lock) keeps it from every other test as well.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import math
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.fib import kernel_table, noted
from bgpbridge.fib.audit import audit
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.kernel_socket import RouteSocket
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.metrics import BridgeCollector
from bgpbridge.types import Family, Prefix
from bgpbridge.view.status import status
from tests.lab.test_kernel_fib import move_to
from tests.unit.pipeline.conftest import ETH1, ETH2, World, withdraw

pytestmark = pytest.mark.root
NUMBERS = itertools.count()
COUNT, PIECE, NOTED = 1500, 100, 3000
IN_TIME_S = 20.0
V4, V6 = Family.IPV4, Family.IPV6
TEXTS = {
    V4: [f"20.{n >> 8}.{n & 255}.0/24" for n in range(COUNT)],
    V6: [f"2a00:{n:x}::/48" for n in range(1, COUNT + 1)],
}
LATER = {V4: [f"30.0.{n}.0/24" for n in range(200)], V6: [f"2a01:{n:x}::/48" for n in range(1, 201)]}
ADDRESSES = {
    family: {text: ip_address(text.partition("/")[0]) for text in TEXTS[family] + LATER[family]} for family in Family
}
GATEWAYS = {V4: {"a": "10.0.1.2", "b": "10.0.2.2"}, V6: {"a": "2001:db8:1::2", "b": "2001:db8:2::2"}}


class Gate:
    """In front of the kernel: nothing that the worker writes gets there but by leave."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._changed = threading.Condition()
        self._leave = math.inf
        self._waiting = False
        for name in ("request", "send", "send_few"):
            patch.setattr(RouteSocket, name, self._guarded(getattr(RouteSocket, name)))

    def _guarded(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def late(*arguments: Any) -> Any:
            with self._changed:
                self._waiting = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._leave > 0)
                self._waiting = False
                self._leave -= 1
            return real(*arguments)

        return late

    def shut(self) -> None:
        with self._changed:
            self._leave = 0

    def open(self) -> None:
        with self._changed:
            self._leave = math.inf
            self._changed.notify_all()

    def let(self, count: int) -> None:
        """So many requests through, and wait until the worker has come with one more."""
        with self._changed:
            self._leave += count
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._leave == 0 and self._waiting, IN_TIME_S)


class Behind(World):
    """Peers a and b, real planes in a namespace of their own, and what the peers have said."""

    def __init__(self, folder: Path, maps: Maps, family: Family) -> None:
        self.maps, self.family = maps, family
        self.paths: dict[str, set[str]] = {"a": set(), "b": set()}
        super().__init__(folder, {"a": "", "b": ""})
        for name, ifindex in (("a", ETH1), ("b", ETH2)):
            self.neighbour(GATEWAYS[family][name], ifindex)
            self.up(name)

    def _make(self) -> None:
        self.xdp, self.kernel = XdpFib(self.maps), KernelFib()  # type: ignore[assignment]
        self.kernel.start()
        super()._make()
        self.bridge.rib.allow(self.family, 4 * COUNT)

    def close(self) -> None:
        self.kernel.stop()
        super().close()

    # -- what peers say; b's paths are the shorter ones

    def announces(self, name: str, texts: list[str], *, bulk: bool = True) -> None:
        self.paths[name].update(texts)
        parts = [texts[at : at + 100] for at in range(0, len(texts), 100)]
        self.says(name, *(self.route(name, *part, longer=int(name == "a")) for part in parts), bulk=bulk)

    def withdraws(self, name: str, texts: list[str], *, bulk: bool = True) -> None:
        self.paths[name].difference_update(texts)
        parts = [texts[at : at + 100] for at in range(0, len(texts), 100)]
        self.says(name, *(withdraw(*part) for part in parts), bulk=bulk)

    @property
    def wanted(self) -> dict[str, str]:
        """Prefix to gateway."""
        gateways = GATEWAYS[self.family]
        return dict.fromkeys(self.paths["a"], gateways["a"]) | dict.fromkeys(self.paths["b"], gateways["b"])

    # -- what stands

    def in_xdp(self) -> dict[str, str]:
        """What packets are told."""
        groups = {text: self.xdp.lookup(first) for text, first in ADDRESSES[self.family].items()}  # type: ignore[attr-defined]
        ways = {group: self._gateway(group) for group in set(groups.values()) - {0}}
        return {text: ways[group] for text, group in groups.items() if group}

    def _gateway(self, group: int) -> str:
        slots = set(self.xdp.slots(group).tolist())  # type: ignore[attr-defined]
        (gateway,) = {str(seen.gateway) for slot in slots if (seen := self.bridge.adjacencies.get(slot)) is not None}
        return gateway

    def in_kernel(self) -> dict[str, str]:
        """As `ip` tells it."""
        objects = {one["id"]: one for one in told("nexthop", "show")}
        found = {}
        for route in told("-4" if self.family is V4 else "-6", "route", "show", "proto", "203"):
            (member,) = objects[route["nhid"]]["group"]
            found[str(Prefix.parse(route["dst"]))] = objects[member["id"]]["gateway"]
        return found

    def told(self) -> int:
        """How far behind the kernel is, as the status, its text and the metric have it, alike."""
        view = status(self.bridge)
        assert view.kernel is not None
        (metric,) = (one for one in BridgeCollector(self.bridge).collect() if one.name == "bgpbridge_kernel_behind")
        assert metric.samples[0].value == view.kernel.behind
        return view.kernel.behind

    def audited(self) -> Any:
        desired = self.bridge.self_audit._desired
        return asyncio.run(audit(desired, self.bridge.planes.xdp, self.bridge.planes.kernel))

    def caught_up(self) -> None:
        """Exactly what the peers have said stands in both planes, and the audit finds nothing."""
        self.kernel.settled().result(IN_TIME_S)
        assert self.told() == 0
        assert self.in_xdp() == self.in_kernel() == self.wanted
        report = self.audited()
        assert report.clean, report.examples
        assert (report.pending, report.refused) == (0, 0)


def told(*words: str) -> list[Any]:
    done = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, timeout=30, check=True)
    return list(json.loads(done.stdout or "[]"))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Open. A storm goes through in pieces of PIECE routes."""
    monkeypatch.setattr(kernel_table, "SLICE", PIECE)
    monkeypatch.setattr(noted, "ROOM", NOTED)
    return Gate(monkeypatch)


@pytest.fixture
def namespace() -> Iterator[str]:
    """The test runs inside a namespace with the two links of a `World`."""
    name = f"bb{os.getpid()}s{next(NUMBERS)}"
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    subprocess.run(["ip", "netns", "add", name], check=True)
    lines = []
    for index in (ETH1, ETH2):
        link, number = f"eth{index - 10}", index - 10
        lines += [
            f"link add {link} index {index} type veth peer name far{number} index {index + 100}",
            f"link set {link} up",
            f"link set far{number} up",
            f"addr add 10.0.{number}.1/24 dev {link}",
            f"addr add 2001:db8:{number}::1/64 dev {link} nodad",
        ]
    try:
        subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        move_to(f"/run/netns/{name}")
        yield name
    finally:
        move_to(f"/proc/self/fd/{home}")
        os.close(home)
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(params=list(Family), ids=lambda family: family.label)
def behind(request: pytest.FixtureRequest, gate: Gate, namespace: str, tmp_path: Path) -> Iterator[Behind]:
    """Both peers' tables stand in both planes, a's ways unused."""
    maps = Maps.create(Sizes(max_ipv4=4 * COUNT, max_ipv6=4 * COUNT))
    made = Behind(tmp_path, maps, request.param)
    try:
        made.announces("a", TEXTS[made.family])
        made.announces("b", TEXTS[made.family])
        made.caught_up()
        yield made
    finally:
        gate.open()
        made.close()
        maps.close()


def weight(*roots: object) -> int:
    """Octets of these and all that they hold."""
    found, seen = list(roots), dict[int, object]()
    while found:
        one = found.pop()
        if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
            seen[id(one)] = one
            found += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))


def test_while_the_kernel_stands_still_what_waits_is_bounded_and_xdp_is_right(gate: Gate, behind: Behind) -> None:
    texts, random_ = TEXTS[behind.family], random.Random(7)
    gate.shut()
    behind.kernel.watch(on=True)  # as an audit does, which has to wait for the worker's answer
    worker, sizes = behind.kernel._worker, []
    for turn in range(60):
        behind.withdraws("b", random_.sample(texts, COUNT // 2))
        for one in random_.sample(texts, 20):
            (behind.withdraws if turn % 2 else behind.announces)("a", [one], bulk=False)
        behind.announces("b", random_.sample(texts, COUNT // 2))
        assert 0 < behind.told() <= COUNT + PIECE, "all of them, and what is under way"
        if turn % 20 == 19:
            assert behind.in_xdp() == behind.wanted
            sizes.append(weight(worker.tables, worker.groups, worker.free, worker.orders, worker.settled))
    assert max(sizes) - sizes[0] < NOTED * 32
    assert behind.in_kernel() == dict.fromkeys(texts, GATEWAYS[behind.family]["b"]), "nothing was let through"
    sent = behind.kernel.status().sent
    gate.open()
    behind.caught_up()
    assert behind.kernel.status().sent - sent <= 2 * COUNT, "the last change of each, and what was under way"


def test_single_routes_go_ahead_in_a_kernel_that_crawls_and_keep_the_others_from_nothing(
    gate: Gate, behind: Behind
) -> None:
    """Each time the worker comes to the kernel, more single UPDATEs have come."""
    gate.shut()
    behind.withdraws("b", TEXTS[behind.family])
    assert behind.told() == COUNT
    for text in LATER[behind.family][:30]:
        behind.announces("a", [text], bulk=False)
        assert behind.in_xdp() == behind.wanted
        gate.let(1)
    there = behind.in_kernel()
    assert set(there) >= set(LATER[behind.family][:27])
    assert sum(there[text] == behind.wanted[text] for text in TEXTS[behind.family]) > 5 * PIECE
    assert 0 < behind.told() < COUNT - 5 * PIECE
    gate.open()
    behind.caught_up()


def test_peers_and_links_that_go_while_the_kernel_stands_still_are_followed_in_the_end(
    gate: Gate, behind: Behind
) -> None:
    gate.shut()
    for _ in range(5):
        behind.down("b")
        behind.finish()
        behind.paths["b"].clear()
        behind.house()
        assert behind.in_xdp() == behind.wanted
        behind.up("b")
        behind.announces("b", TEXTS[behind.family][: COUNT // 2])
        assert behind.told() <= COUNT + PIECE
    gate.open()
    behind.caught_up()
