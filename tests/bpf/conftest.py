"""One datapath a loader, with a small table of routes, for every packet test of this folder.

    destination                     group           what happens
    198.51.100.0/24, 2001:db8:1::/48   16   adjacency 1: NEXT_HOP_MAC, MTU 1500
    203.0.113.0/24,  2001:db8:2::/48   17   adjacencies 1 and 2, 32 slots each
    198.18.1.0/24,   2001:db8:a::/48   18   adjacency 3, down
    198.18.2.0/24,   2001:db8:b::/48   19   adjacency 4, egress interface not in tx_ports
    198.18.3.0/24,   2001:db8:c::/48   20   valid, all slots empty
    198.18.4.0/24,   2001:db8:d::/48   21   never filled
    198.18.5.0/24,   2001:db8:e::/48   22   adjacency 5, MTU 576 (v6 rows: 1280)
    198.18.6.0/24                   40000   no such group
    198.18.7.0/24                       0   an entry that says "no route"
    198.51.100.1/32, 2001:db8:1::1      1   own address: punt
    192.0.2.0/24,    2001:db8:f::/48    1   connected: punt
    198.51.100.66/32, 2001:db8:1::66    2   blackhole
    198.18.8.0/24,   2001:db8:10::/48  23   adjacency 6, VLAN 10
    198.18.9.0/24,   2001:db8:11::/48  24   adjacency 7, service VLAN 20 and in it VLAN 30
    198.18.10.0/24,  2001:db8:12::/48  25   adjacency 8, service VLAN 40

Test runs come in by ifindex 1 (loopback's number stands in for "no interface given"): untagged, and in the VLANs of
`VLANS`, each with the MAC that it has there.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, frames
from bgpbridge.datapath.abi import Adjacency, AdjacencyState
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.loader import Loader, Program, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.testrun import Outcome, run
from bgpbridge.fib.table import Table, tables
from bgpbridge.types import Family, Prefix

NUMBERS = itertools.count()
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
LOOPBACK = 1
NO_PORT = 4_000_000
VLAN_MAC = frames.mac("00:00:5e:00:53:05")
PRESENT, SERVICE = abi.TagFlag.PRESENT, abi.TagFlag.PRESENT | abi.TagFlag.SERVICE
PLACES = (
    abi.Place(LOOPBACK, PRESENT | 100),
    abi.Place(LOOPBACK, PRESENT | 10),
    abi.Place(LOOPBACK, SERVICE | 40),
    abi.Place(LOOPBACK, SERVICE | 20, PRESENT | 30),
    abi.Place(LOOPBACK, PRESENT | 100, PRESENT | 7),
)
VLANS = {place: VLAN_MAC if place is PLACES[2] else frames.ROUTER_MAC for place in PLACES}
SIZES = Sizes(max_ipv4=10_000, max_ipv6=10_000)
SECOND_HOP_MAC = frames.mac("00:00:5e:00:53:04")
ROUTES: dict[int, tuple[str, ...]] = {
    16: ("198.51.100.0/24", "2001:db8:1::/48"),
    17: ("203.0.113.0/24", "2001:db8:2::/48"),
    18: ("198.18.1.0/24", "2001:db8:a::/48"),
    19: ("198.18.2.0/24", "2001:db8:b::/48"),
    20: ("198.18.3.0/24", "2001:db8:c::/48"),
    21: ("198.18.4.0/24", "2001:db8:d::/48"),
    22: ("198.18.5.0/24", "2001:db8:e::/48"),
    23: ("198.18.8.0/24", "2001:db8:10::/48"),
    24: ("198.18.9.0/24", "2001:db8:11::/48"),
    25: ("198.18.10.0/24", "2001:db8:12::/48"),
    40000: ("198.18.6.0/24",),
    abi.GROUP_NONE: ("198.18.7.0/24",),
    abi.GROUP_PUNT: ("198.51.100.1/32", "2001:db8:1::1/128", "192.0.2.0/24", "2001:db8:f::/48"),
    abi.GROUP_BLACKHOLE: ("198.51.100.66/32", "2001:db8:1::66/128"),
}


@dataclass(frozen=True)
class Rig:
    """A loaded program over maps that hold the routes above."""

    maps: Maps
    program: Program
    tables: dict[Family, Table]

    def run(self, frame: bytes, metadata: int = 0) -> Outcome:
        return run(self.program.fd, self.maps, frame, metadata=metadata)

    def route(self, text: str, group: int) -> None:
        prefix = Prefix.parse(text)
        self.tables[prefix.family].store_one(*divmod(prefix.value, 1 << 64), prefix.length, group)


def adjacency(
    dmac: bytes, mtu: int = 1500, state: AdjacencyState = AdjacencyState.UP, port: int = LOOPBACK
) -> Adjacency:
    return Adjacency(dmac, frames.ROUTER_MAC, mtu, state, port)


def fill(rig: Rig) -> None:
    maps = rig.maps
    maps.accept_interface(LOOPBACK, frames.ROUTER_MAC)
    for place, address in VLANS.items():
        maps.accept_interface(LOOPBACK, address, place)
    maps.store_adjacency(1, adjacency(frames.NEXT_HOP_MAC))
    maps.store_adjacency(2, adjacency(SECOND_HOP_MAC))
    maps.store_adjacency(3, adjacency(frames.NEXT_HOP_MAC, state=AdjacencyState.DOWN))
    maps.store_adjacency(4, adjacency(frames.NEXT_HOP_MAC, port=NO_PORT))
    maps.store_adjacency(5, adjacency(frames.NEXT_HOP_MAC, mtu=576))
    for number, place in {6: PLACES[1], 7: PLACES[3], 8: PLACES[2]}.items():
        tagged = Adjacency(
            frames.NEXT_HOP_MAC, frames.ROUTER_MAC, 1500, AdjacencyState.UP, place.ifindex, place.outer, place.inner
        )
        maps.store_adjacency(number, tagged)
    halves = np.repeat([1, 2], abi.GROUP_SLOTS // 2)
    for group, slots in {16: 1, 17: halves, 18: 3, 19: 4, 20: 0, 22: 5, 23: 6, 24: 7, 25: 8}.items():
        maps.store_group(group, slots)
    for group, prefixes in ROUTES.items():
        for text in prefixes:
            rig.route(text, group)
    maps.enable(True)


RIGS = [(Loader.BCC, False), (Loader.BCC, True), (Loader.LIBBPF, True)]


@pytest.fixture(scope="session", params=RIGS, ids=["bcc-lpm", "bcc-index", "libbpf-index"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The datapath described above, by each loader and with each engine."""
    loader, indexed = request.param
    maps = Maps.create(SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(tmp_path_factory.mktemp("cache")))
        program = load(maps.fds, loader)
    made = Rig(maps, program, tables(maps))
    fill(made)
    for family in Family:
        maps.use_index(family, indexed)
    yield made
    program.close()
    maps.close()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs that were compiled ahead of time are kept, for the session."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def pin_path(tmp_path: Path) -> Iterator[Path]:
    """A bpffs of the test's own."""
    from bgpbridge.datapath import bpffs

    path = tmp_path / "pins"
    assert ensure_bpffs(path)
    yield path
    bpffs._libc.umount2(str(path).encode(), 2)


class Namespace:
    """A network namespace of the test's own, which the test's thread is in meanwhile."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, arguments: str) -> None:
        subprocess.run(["ip", "-n", self.name, *arguments.split()], check=True)

    @contextmanager
    def inside(self) -> Iterator[None]:
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            assert LIBC.setns(there, CLONE_NEWNET) == 0
            yield
        finally:
            assert LIBC.setns(before, CLONE_NEWNET) == 0
            os.close(before)
            os.close(there)

    def index(self, interface: str) -> int:
        with self.inside():
            return socket.if_nametoindex(interface)


@pytest.fixture
def namespaces() -> Iterator[Callable[[str], Namespace]]:
    """Makes namespaces by a short name; all of them go at the end."""
    with ExitStack() as last:

        def make(short: str) -> Namespace:
            name = f"bb{os.getpid()}p{next(NUMBERS)}{short}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            last.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
            return Namespace(name)

        yield make


@pytest.fixture
def namespace(namespaces: Callable[[str], Namespace]) -> Iterator[Namespace]:
    """One namespace, entered for the length of the test."""
    made = namespaces("t")
    with made.inside():
        yield made
