"""Somebody else writes into the pinned maps, by a mapping of their own: an audit names it and puts it right."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, bpffs
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.ingress import Ingress
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.fib import xdp_map
from bgpbridge.fib.adjacency_words import AdjacencyWords
from bgpbridge.fib.audit import AuditReport, Stores, audit
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.order import in_order
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family, Prefix
from tests.bpf.conftest import Namespace

pytestmark = pytest.mark.root
SIZES = Sizes(max_ipv4=20_000, max_ipv6=20_000)
V4, V6 = Family.IPV4, Family.IPV6
ROUTES = {
    V4: {"10.0.0.0/8": 16, "10.1.0.0/16": 17, "10.1.2.0/24": 16, "10.1.3.128/25": 17, "198.51.100.0/24": 17},
    V6: {"2001:db8::/32": 16, "2001:db8:1::/48": 17, "2001:db8:1:2::/64": 16},
}


def parsed(family: Family) -> dict[Prefix, int]:
    return {Prefix.parse(text): group for text, group in ROUTES[family].items()}


def desired(family: Family) -> tuple[Keys, U32]:
    return Keys.of(family, parsed(family)), np.array(list(parsed(family).values()), np.uint32)


def keys(text: str) -> Keys:
    prefix = Prefix.parse(text)
    return Keys.of(prefix.family, [prefix])


@dataclass(frozen=True)
class Plane:
    """Ours, and the maps as anybody else with root has them."""

    fib: XdpFib
    words: AdjacencyWords
    other: Maps

    def audit(self, mend: Callable[[list[int]], None] | None = None) -> AuditReport:
        return asyncio.run(audit(lambda family: [desired(family)], self.fib, None, mend, Stores(self.fib, self.words)))

    def fill(self, groups: list[int]) -> None:
        for group in groups:
            self.fib.set_members(group, [(1, 1), (2, 1)])


@pytest.fixture(scope="module")
def two_links() -> Iterator[Namespace]:
    """Interfaces 1 and 42."""
    there = Namespace(f"bb{os.getpid()}flips")
    subprocess.run(["ip", "netns", "add", there.name], check=True)
    try:
        there.ip("link add v0 index 42 type veth peer name v1")
        yield there
    finally:
        subprocess.run(["ip", "netns", "del", there.name], check=True)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, two_links: Namespace) -> Iterator[Plane]:
    """One for all: every flip is put back."""
    path = tmp_path_factory.mktemp("flips") / "pins"
    assert ensure_bpffs(path)
    with two_links.inside():
        yield from planes(path)
    bpffs._libc.umount2(str(path).encode(), 2)


def planes(pin_path: Path) -> Iterator[Plane]:
    maps, _ = Maps.open(pin_path / "bb", SIZES)
    other, adopted = Maps.open(pin_path / "bb", SIZES)
    assert adopted
    plane = Plane(XdpFib(maps, Engine.INDEX), AdjacencyWords(maps.adjacencies), other)
    for number in (1, 2):
        plane.words.open(number, abi.Place(5 + number), identity=77)
        plane.words.store_ends(number, b"\2" * 6, b"\4" * 6, 1500)
        plane.words.store_state(number, up=True)
    plane.fill([16, 17])
    plane.fib.enabled = True
    maps.accept_interface(1, bytes(6))
    maps.check_sources(strict=True)
    for family in Family:
        found, groups = desired(family)
        rows = np.arange(1, len(groups) + 1)
        plane.fib.apply(Changes(family, rows, found.hi, found.lo, found.length, np.zeros_like(groups), groups))
    plane.fib.set_punt([Prefix.parse("10.1.2.1/32"), Prefix.parse("2001:db8::1/128")])
    yield plane
    maps.close()
    other.close()


@pytest.fixture(scope="module")
def right(plane: Plane) -> list[np.ndarray]:
    """All as it should be."""
    return [array.copy() for array in words_of(plane)]


def slot(text: str, value: int) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        assert maps.index4 is not None
        maps.index4[Prefix.parse(text).value >> 8] = value

    return flip


def paged(text: str, value: int) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        assert maps.index4 is not None
        address = Prefix.parse(text).value
        page = int(maps.index4[address >> 8]) - abi.INDEX4_DEEP
        maps.index4[abi.INDEX4_SLOTS + page * abi.INDEX4_PAGE + (address & 0xFF)] = value

    return flip


def entry(text: str, group: int) -> Callable[[Maps], None]:
    """0: it is removed."""

    def flip(maps: Maps) -> None:
        trie = maps.lpm4 if keys(text).family is V4 else maps.lpm6
        if group:
            xdp_map.store(trie, keys(text), np.array([group], np.uint32))
        else:
            xdp_map.remove(trie, keys(text))

    return flip


def six(maps: Maps) -> None:
    """The slot that leads to all our routes."""
    assert maps.index6_slots is not None
    maps.index6_slots[np.flatnonzero(maps.index6_slots)[-1]] = 0


def word(column: str, number: int, value: int) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        maps.adjacencies[column][number] ^= np.asarray(value, maps.adjacencies[column].dtype)

    return flip


def group(column: str, number: int, value: int, place: int | None = None) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        cells = maps.slots if column == "slots" else maps.groups[column]
        cells[number if place is None else (number, place)] = value

    return flip


def control(name: str, value: int) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        maps.control[name] = np.asarray(value, maps.control[name].dtype)

    return flip


def taken(mac: bytes | None, place: abi.Place) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        if mac is None:
            maps.interfaces.delete(np.uint64(place.word))
        else:
            value = np.array([(abi.interface_word(mac), 1, 0)], abi.INTERFACE)
            maps.interfaces.update(np.uint64(place.word), value)

    return flip


def port(ifindex: int, to: int) -> Callable[[Maps], None]:
    """0: it is removed."""
    return lambda maps: maps.tx_ports.update(ifindex, to) if to else maps.tx_ports.delete(ifindex)


def sources(group: int, bits: int) -> Callable[[Maps], None]:
    def flip(maps: Maps) -> None:
        maps.group_sources[group] = bits

    return flip


OUTER = abi.Place(1)
INNER = abi.Place(1, abi.TagFlag.PRESENT | abi.TagFlag.SERVICE | 20, abi.TagFlag.PRESENT | 30)
FLIPS = {
    # what is done: (kind, addresses that packets are told wrong, words of the example)
    "a slot of the index": (slot("198.51.100.0/24", 16), "index", 256, "198.51.100.0/24"),
    "a slot that had none": (slot("203.0.113.0/24", 17), "index", 256, "203.0.113.0/24"),
    "a slot asks the trie": (slot("198.51.100.0/24", 0x8000), "index", 0, "198.51.100.0/24"),
    "a slot has a page": (slot("198.51.100.0/24", 0x8000 | 17), "index", 256, "198.51.100.0/24"),
    "a slot has a page that there is not": (slot("198.51.100.0/24", 0xFFFF), "index", 0, "198.51.100.0/24"),
    "a slot says DEEP no more": (slot("10.1.3.0/24", 16), "index", 256, "10.1.3.0/24"),
    "a slot has another page": (slot("10.1.3.0/24", 0x8000 | 16), "index", 256, "10.1.3.0/24"),
    "an address in a page": (paged("10.1.3.144/32", 16), "index", 1, "10.1.3.144/32"),
    "a slot of the index for v6": (six, "index", 1 << 96, "2001:d00::/25"),
    "an entry that the index hides": (entry("10.1.0.0/16", 16), "other group", 0, "10.1.0.0/16"),
    "a longer entry": (entry("10.1.3.128/25", 16), "other group", 0, "10.1.3.128/25"),
    "an entry is gone": (entry("10.1.3.128/25", 0), "missing", 0, "10.1.3.128/25"),
    "an entry more": (entry("10.1.3.0/26", 16), "extra", 0, "10.1.3.0/26"),
    "an IPv6 entry": (entry("2001:db8:1::/48", 16), "other group", (1 << 80) - (1 << 64), "2001:db8:1::/48"),
    "an IPv6 entry is gone": (entry("2001:db8:1:2::/64", 0), "missing", 1 << 64, "2001:db8:1:2::/64"),
    "a slot of a group": (group("slots", 16, 9, 40), "group", 0, "slot 40 to adjacency 9 and not"),
    "the flags of a group": (group("flags", 17, 5), "group", 0, "flags 0x5 there, should be 0x1"),
    "a group that nobody uses": (group("flags", 900, 1), "group", 0, "flags 0x1 there, should be 0x0"),
    "the blackhole": (group("flags", 2, 1), "group", 0, "flags 0x1 there, should be 0x5"),
    "a generation": (group("generation", 16, 4711), "group", 0, "generation 4711 there"),
    "a far MAC": (word("word0", 1, 1), "adjacency", 0, "far MAC and MTU"),
    "a state": (word("word1", 2, 1 << 48), "adjacency", 0, "own MAC and state"),
    "an egress": (word("ifindex", 1, 3), "adjacency", 0, "interface"),
    "an unused adjacency": (word("reserved", 900, 3), "adjacency", 0, "gateway"),
    "forwarding": (control("enabled", 0), "control", 0, "enabled is 0x0, should be 0x1"),
    "the engine": (control("flags", 0), "control", 0, "flags is 0x0, should be"),
    "the hash seed": (control("hash_seed", 1), "control", 0, "hash_seed is 0x1"),
    "an interface's MAC": (taken(b"\2" * 6, OUTER), "interface", 0, "interface 1: MAC 02:02:02:02:02:02, number 0"),
    "an interface is gone": (taken(None, OUTER), "interface", 0, "interface 1: nothing there, should be MAC 00:00"),
    "a VLAN more": (taken(b"\2" * 6, INNER), "interface", 0, "interface 1 802.1ad 20 VLAN 30: MAC 02:02"),
    "a port is gone": (port(1, 0), "port", 0, "leaves by interface 1 is kept back, should go out there"),
    "a port more": (port(42, 42), "port", 0, "leaves by interface 42 goes out by 42, should be kept back"),
    "a port that is another": (port(1, 42), "port", 0, "leaves by interface 1 goes out by 42, should go out there"),
    "where sources are": (
        sources(16, 1 << 40),
        "sources",
        0,
        "links 0x10000000000 known behind group 16",
    ),
}


@pytest.mark.parametrize("what", FLIPS)
def test_what_somebody_else_writes_is_found_and_mended_within_one_sweep(
    plane: Plane, right: list[np.ndarray], what: str
) -> None:
    flip, kind, addresses, words = FLIPS[what]
    if "IPv6" in what and plane.fib.index(V6) is not None:
        addresses = 0  # no packet asks that trie
    flip(plane.other)
    found = plane.audit(plane.fill)
    assert set(found.divergent) == {("xdp", kind)}
    assert sum(found.divergent.values()) == 1 or flip is six
    assert sum(found.addresses.values()) == addresses
    example = found.examples[0]
    assert words in (str(example.prefix) if example.prefix is not None else example.detail)
    assert plane.audit().clean
    assert_right(plane, right)


def words_of(plane: Plane) -> list[np.ndarray]:
    """All that the other side can see, generations left out."""
    for trie in plane.fib.tries.values():
        trie.table.follower.flush()
    maps = plane.other
    assert maps.index4 is not None
    assert maps.index6_slots is not None
    empty = maps.index6_slots == 0  # where nodes stand is the writer's own affair
    slots = maps.index4[: abi.INDEX4_SLOTS]
    tables = [in_order(xdp_map.dump(trie, family)) for family, trie in ((V4, maps.lpm4), (V6, maps.lpm6))]
    columns = [column for keys, groups in tables for column in (keys.hi, keys.lo, keys.length, groups)]
    links = [np.array(str(sorted(part.items()))) for part in Ingress(maps.interfaces, maps.tx_ports).standing()]
    arrays = [slots, maps.slots, maps.groups["flags"], maps.adjacencies, maps.control, maps.group_sources]
    return [*columns, *links, empty, *arrays]


def assert_right(plane: Plane, right: list[np.ndarray]) -> None:
    assert [np.array_equal(*pair) for pair in zip(words_of(plane), right, strict=True)] == [True] * len(right)


def test_all_at_once_is_found_by_a_look_that_changes_nothing_and_comes_back(
    plane: Plane, right: list[np.ndarray]
) -> None:
    for flip, *_ in FLIPS.values():
        flip(plane.other)
    assert plane.other.index4 is not None
    plane.other.index4[: 1 << 20] = 3
    found = plane.audit()
    assert sum(found.divergent.values()) > len(FLIPS) // 2  # some are overwritten by others
    assert plane.audit(plane.fill).divergent.items() <= found.divergent.items()  # some are mended with others
    assert plane.audit().clean
    assert_right(plane, right)


def test_a_trie_alone_is_swept_by_its_own_answers(pin_path: Path) -> None:
    maps, _ = Maps.open(pin_path / "bb", Sizes(max_ipv4=1000, max_ipv6=1000, indexed=False))
    fib = XdpFib(maps, Engine.LPM)
    found, groups = desired(V4)
    rows = np.arange(1, len(groups) + 1)
    fib.set_members(16, [(1, 1)])
    fib.set_members(17, [(2, 1)])
    fib.apply(Changes(V4, rows, found.hi, found.lo, found.length, np.zeros_like(groups), groups))
    entry("10.1.0.0/16", 16)(maps)
    only = {V4: [(found.take(slice(0, 2)), groups[:2]), (found.take(slice(2, None)), groups[2:])], V6: []}
    report = asyncio.run(audit(only.__getitem__, fib, None, lambda groups: None))
    # all of the /16 but its /24 and the /25
    assert report.addresses == {("xdp", "ipv4"): (1 << 16) - 256 - 128, ("xdp", "ipv6"): 0}
    assert asyncio.run(audit(only.__getitem__, fib, None)).clean
    maps.close()
