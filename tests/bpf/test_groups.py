"""Groups: weights come out as the share of slots, a flow keeps its path, and no hash splits a packet."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.counters import read_adjacencies
from bgpbridge.datapath.frames import ethernet, icmp, ipv4, ipv6, tcp, udp
from bgpbridge.datapath.testrun import run_raw
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
ECMP = 17
TO4, TO6 = "203.0.113.9", "2001:db8:2::9"
FIRST, SECOND = 3, 4  # last octet of the next hops' MACs


def path(rig, frame: bytes) -> int:
    """The next hop that a frame goes to, by the last octet of its MAC."""
    return run_raw(rig.program.fd, frame).frame[5]


@pytest.fixture
def weights(rig):
    """Sets how many of the 64 slots the first next hop has; afterwards half, as it was."""

    def fill(first: int) -> None:
        slots = np.full(abi.GROUP_SLOTS, 2)
        slots[:first] = 1
        rig.maps.store_group(ECMP, slots)

    yield fill
    fill(abi.GROUP_SLOTS // 2)


def flows4(count: int) -> list[bytes]:
    return [
        ethernet(
            ipv4(udp(1024 + n % 50000, 53 + n % 7), src=f"10.{n >> 8 & 255}.{n & 255}.1", dst=f"203.0.113.{n % 250}")
        )
        for n in range(count)
    ]


def flows6(count: int) -> list[bytes]:
    return [
        ethernet(ipv6(tcp(1024 + n), src=f"2001:db8:77::{n:x}", dst=f"2001:db8:2::{n % 99:x}", next_header=6), 0x86DD)
        for n in range(count)
    ]


@pytest.mark.parametrize("first", [0, 16, 32, 48, 64])
@pytest.mark.parametrize("flows", [flows4, flows6], ids=["v4", "v6"])
def test_flows_spread_by_the_share_of_slots(rig, weights, flows, first: int) -> None:
    weights(first)
    seen = Counter(path(rig, frame) for frame in flows(2000))
    assert seen[FIRST] / 2000 == pytest.approx(first / 64, abs=0.04)
    assert seen[FIRST] + seen[SECOND] == 2000


@pytest.mark.parametrize("varied", ["source port", "destination port", "source", "destination"])
def test_every_field_of_the_5_tuple_spreads_alone(rig, varied: str) -> None:
    frames = []
    for n in range(1000):
        sport, dport = (2000 + n if varied == "source port" else 5, 2000 + n if varied == "destination port" else 6)
        src = f"10.1.{n >> 8}.{n & 255}" if varied == "source" else "10.1.1.1"
        dst = f"203.0.113.{n % 256}" if varied == "destination" else TO4
        frames.append(ethernet(ipv4(udp(sport, dport), src=src, dst=dst)))
    share = Counter(path(rig, frame) for frame in frames)[FIRST] / 1000
    five_sigma = 5 * 0.5 / len(set(frames)) ** 0.5  # the hash has another seed in every run
    assert share == pytest.approx(0.5, abs=five_sigma)


def test_a_flow_keeps_its_path_whatever_else_is_in_the_packet(rig) -> None:
    for n in range(50):
        sport = 3000 + n
        variants = [
            ipv4(tcp(sport, flags=flags, data=bytes(size)), dst=TO4, protocol=6, ttl=ttl, tos=tos, ident=ident)
            for flags, size, ttl, tos, ident in [
                (2, 0, 64, 0, 1),
                (16, 900, 63, 0, 2),
                (24, 5, 9, 0xB8, 3),
                (17, 0, 255, 1, 4),
            ]
        ]
        assert len({path(rig, ethernet(packet)) for packet in variants}) == 1


def test_all_fragments_of_an_ipv4_packet_take_one_path(rig) -> None:
    for n in range(100):
        source = f"10.9.{n}.1"
        first = ethernet(ipv4(udp(7000 + n, data=bytes(64)), src=source, dst=TO4, fragment=0x2000))
        middle = ethernet(ipv4(bytes(64), src=source, dst=TO4, fragment=0x2000 | 9))
        last = ethernet(ipv4(bytes(3), src=source, dst=TO4, fragment=17))
        assert len({path(rig, frame) for frame in (first, middle, last)}) == 1


def test_all_fragments_of_an_ipv6_packet_take_one_path(rig) -> None:
    for n in range(100):
        source = f"2001:db8:99::{n:x}"
        first = ethernet(ipv6(bytes([17, 0, 0, 1]) + bytes(4) + udp(n), src=source, dst=TO6, next_header=44), 0x86DD)
        last = ethernet(ipv6(bytes([17, 0, 0, 64]) + bytes(4) + bytes(9), src=source, dst=TO6, next_header=44), 0x86DD)
        assert path(rig, first) == path(rig, last)


def labelled(label: int, traffic_class: int = 0) -> bytes:
    packet = ipv6(tcp(443), src="2001:db8:77::1", dst=TO6, next_header=6, flow=traffic_class << 20 | label)
    return ethernet(packet, 0x86DD)


def test_the_flow_label_spreads_only_if_asked_and_the_traffic_class_never(rig) -> None:
    frames = [labelled(n * 0x1111 & 0xFFFFF) for n in range(1000)]
    assert len({path(rig, frame) for frame in frames}) == 1
    rig.maps.use_flow_label(True)
    try:
        seen = Counter(path(rig, frame) for frame in frames)
        classes = {path(rig, labelled(0x54321, n)) for n in range(256)}
    finally:
        rig.maps.use_flow_label(False)
    assert seen[FIRST] / 1000 == pytest.approx(0.5, abs=5 * 0.5 / 1000**0.5)
    assert len(classes) == 1


def test_all_fragments_take_one_path_by_their_label_too(rig) -> None:
    rig.maps.use_flow_label(True)
    try:
        for n in range(100):
            header = {"src": "2001:db8:99::1", "dst": TO6, "next_header": 44, "flow": n * 0x2345}
            first = ethernet(ipv6(bytes([17, 0, 0, 1]) + bytes(4) + udp(n), **header), 0x86DD)
            last = ethernet(ipv6(bytes([17, 0, 0, 64]) + bytes(4) + bytes(9), **header), 0x86DD)
            assert path(rig, first) == path(rig, last)
    finally:
        rig.maps.use_flow_label(False)


def test_icmp_goes_by_addresses_alone(rig) -> None:
    paths = {
        path(rig, ethernet(ipv4(icmp(kind, 0, bytes([n] * 8)), dst=TO4, protocol=1)))
        for kind, n in [(8, 1), (0, 2), (3, 3)]
    }
    assert len(paths) == 1


def test_the_seed_decides_which_flow_goes_where(rig) -> None:
    frames = flows4(200)
    before = [path(rig, frame) for frame in frames]
    seed = int(rig.maps.control["hash_seed"][0])
    rig.maps.control["hash_seed"] = np.uint64(seed ^ 0x5DEECE66D)
    try:
        moved = sum(a != b for a, b in zip(before, [path(rig, frame) for frame in frames], strict=True))
    finally:
        rig.maps.control["hash_seed"] = np.uint64(seed)
    assert 60 < moved < 140
    assert [path(rig, frame) for frame in frames] == before


def test_losing_a_member_moves_only_its_own_flows(rig, weights) -> None:
    frames = flows4(500)
    before = [path(rig, frame) for frame in frames]
    weights(0)
    after = [path(rig, frame) for frame in frames]
    assert set(after) == {SECOND}
    weights(32)
    assert [path(rig, frame) for frame in frames] == before


def test_an_adjacency_that_goes_down_passes_its_flows_and_no_others(rig) -> None:
    frames = flows4(200)
    before = [path(rig, frame) for frame in frames]
    rig.maps.set_adjacency_state(2, abi.AdjacencyState.DOWN)
    try:
        reasons = [next(iter(rig.run(frame).reasons)) for frame in frames]
    finally:
        rig.maps.set_adjacency_state(2, abi.AdjacencyState.UP)
    expected = {FIRST: Reason.FORWARDED, SECOND: Reason.PASS_ADJACENCY_DOWN}
    assert reasons == [expected[hop] for hop in before]


def test_forwarded_packets_are_counted_by_adjacency(rig) -> None:
    frames = flows4(100)
    before = read_adjacencies(rig.maps)
    taken = Counter(path(rig, frame) for frame in frames)
    after = read_adjacencies(rig.maps)
    assert (after[1] - before[1]).packets == taken[FIRST]
    assert (after[2] - before[2]).octets == taken[SECOND] * len(frames[0])


def test_a_cleared_group_passes_and_a_refilled_one_forwards(rig) -> None:
    frame = ethernet(ipv4(udp(), dst=TO4))
    rig.maps.clear_group(ECMP)
    assert list(rig.run(frame).reasons) == [Reason.PASS_GROUP_INVALID]
    generation = int(rig.maps.groups["generation"][ECMP])
    rig.maps.store_group(ECMP, np.repeat([1, 2], 32))
    assert list(rig.run(frame).reasons) == [Reason.FORWARDED]
    assert int(rig.maps.groups["generation"][ECMP]) == generation + 1


def test_longest_match_decides(rig) -> None:
    frame = ethernet(ipv4(udp(), dst="203.0.113.129"))
    rig.route("203.0.113.128/25", 16)
    assert path(rig, frame) == FIRST
    rig.route("203.0.113.129/32", abi.GROUP_PUNT)
    assert list(rig.run(frame).reasons) == [Reason.PASS_PUNT]
    for text in ("203.0.113.129/32", "203.0.113.128/25"):
        prefix = Prefix.parse(text)
        rig.tables[Family.IPV4].remove_one(0, prefix.value, prefix.length)
    assert list(rig.run(frame).reasons) == [Reason.FORWARDED]
