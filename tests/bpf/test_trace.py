"""Tracing by the program: which packets are noted, what is noted of them, and that it changes no packet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpbridge.datapath.abi import TRACE_OCTETS, TRACE_RECORDS, Reason
from bgpbridge.datapath.counters import read_group
from bgpbridge.datapath.frames import ethernet, icmp, ipv4, ipv6, tagged, udp
from bgpbridge.datapath.trace import EVERYTHING, Noted, TraceFilter
from bgpbridge.fib.rig import LOOPBACK
from bgpbridge.pipeline.tracing import Tracer, Tracing
from bgpbridge.types import Prefix
from tests.bpf.conftest import Rig
from tests.bpf.test_packet_table import TABLE
from tests.bpf.test_wire import MARK, R0, S0, Router, packets, router  # noqa: F401  (a fixture)

pytestmark = pytest.mark.root
V4 = ethernet(ipv4(udp(), dst="198.51.100.7"))
V6 = ethernet(ipv6(udp(), dst="2001:db8:1::7"), 0x86DD)
FRAMES = {
    "v4": V4,
    "v6": V6,
    "v4 tagged": tagged(ipv4(udp(), dst="198.51.100.7"), 77),
    "v4 in two tags": tagged(b"\x00\x1e\x08\x00" + ipv4(udp(), dst="198.51.100.7"), 20, 0x8100, tpid=0x88A8),
    "v6 tagged": tagged(ipv6(udp(), dst="2001:db8:1::7"), 77, 0x86DD),
    "bad checksum": ethernet(ipv4(udp(), dst="198.51.100.7", check=0)),
    "cut": ethernet(ipv4(udp(), dst="198.51.100.7"))[:30],
    "arp": ethernet(bytes(28), 0x0806),
}
V4_ONES, V6_ONES = ["v4", "v4 tagged", "v4 in two tags", "bad checksum"], ["v6", "v6 tagged"]


def traced(rig: Rig, wanted: TraceFilter, frames: list[bytes]) -> list[Noted]:
    with Tracing(rig.maps).one(wanted, "a test") as tracer:
        for frame in frames:
            rig.run(frame)
        return noted(tracer)


def noted(tracer: Tracer) -> list[Noted]:
    return sorted((one for batch in tracer.take() for one in batch.noted), key=lambda one: one.at_s)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (EVERYTHING, list(FRAMES)),
        (TraceFilter(Prefix.parse("198.51.100.0/24")), V4_ONES),
        (TraceFilter(Prefix.parse("198.51.100.7/32"), Prefix.parse("192.0.2.0/25")), V4_ONES),
        (TraceFilter(Prefix.parse("198.51.100.6/32")), []),
        (TraceFilter(Prefix.parse("198.51.100.7/32"), Prefix.parse("192.0.2.128/25")), []),
        (TraceFilter(source=Prefix.parse("0.0.0.0/0")), V4_ONES),
        (TraceFilter(Prefix.parse("::/0")), V6_ONES),
        (TraceFilter(Prefix.parse("2001:db8:1::/64")), V6_ONES),
        (TraceFilter(Prefix.parse("2001:db8:1::7/128"), Prefix.parse("2001:db8:f::2/128")), V6_ONES),
        (TraceFilter(Prefix.parse("2001:db8:1::8/128")), []),
        (TraceFilter(ifindex=LOOPBACK), list(FRAMES)),
        (TraceFilter(ifindex=LOOPBACK + 1), []),
    ],
)
def test_what_the_filter_wants_is_noted(rig: Rig, wanted: TraceFilter, names: list[str]) -> None:
    found = traced(rig, wanted, list(FRAMES.values()))
    assert [one.octets for one in found] == [len(FRAMES[name]) for name in names]


def test_a_record_says_what_the_program_did(rig: Rig) -> None:
    big = ethernet(ipv4(udp(data=bytes(2000)), dst="198.51.100.7"))
    frames = [V4, V6, big, ethernet(ipv4(udp(), dst="198.51.100.66")), ethernet(bytes(28), 0x0806)]
    found = traced(rig, EVERYTHING, frames)
    assert [(one.reason, one.group, one.adjacency) for one in found] == [
        (Reason.FORWARDED, 16, 1),
        (Reason.FORWARDED, 16, 1),
        (Reason.PASS_MTU, 16, 1),
        (Reason.DROP_BLACKHOLE, 2, 0),
        (Reason.PASS_NOT_IP, 0, 0),
    ]
    assert [one.ifindex for one in found] == [LOOPBACK] * 5
    assert found[0].head == rig.run(V4).frame
    assert found[2].head == big[:TRACE_OCTETS]


def test_tracing_changes_no_packet(rig: Rig) -> None:
    frames = [row.frame for row in TABLE.values()]
    plain = [rig.run(frame) for frame in frames]
    with Tracing(rig.maps).one(EVERYTHING, "a test") as tracer:
        for frame, was in zip(frames, plain, strict=True):
            assert rig.run(frame) == was
            (one,) = noted(tracer)
            assert [one.reason] == list(was.reasons)
            assert one.head == was.frame[:TRACE_OCTETS]


def test_more_than_there_is_room_for_is_counted(rig: Rig) -> None:
    with Tracing(rig.maps).one(EVERYTHING, "a test") as tracer:
        for _ in range(3 * TRACE_RECORDS):
            rig.run(V4)
        batches = tracer.take()
    assert sum(batch.packets for batch in batches) == 3 * TRACE_RECORDS
    assert sum(batch.octets for batch in batches) == 3 * TRACE_RECORDS * len(V4)
    assert TRACE_RECORDS <= sum(len(batch.noted) for batch in batches) <= 2 * TRACE_RECORDS


def test_one_in_so_many_is_noted_at_random(rig: Rig) -> None:
    told = 0
    with Tracing(rig.maps).one(TraceFilter(one_in=8), "a test") as tracer:
        for _ in range(20):
            for _ in range(40):
                rig.run(V4)
            told += len(noted(tracer))
    assert 50 < told < 150, "a hundred, more or less"


def test_off_nothing_is_noted(rig: Rig) -> None:
    before = rig.maps.trace_rings["head"].copy()
    with Tracing(rig.maps).one(EVERYTHING, "a test"):
        pass
    rig.run(V4)
    assert (rig.maps.trace_rings["head"] == before).all()


def test_groups_count_what_they_carry_and_begin_anew_with_their_id(rig: Rig) -> None:
    before = read_group(rig.maps, 16)
    rig.run(V4)
    assert (read_group(rig.maps, 16) - before).packets == 1
    assert (read_group(rig.maps, 16) - before).octets == len(V4)
    rig.maps.store_group(9000, 1)
    rig.route("198.18.200.0/24", 9000)
    rig.run(ethernet(ipv4(udp(), dst="198.18.200.1")))
    assert read_group(rig.maps, 9000).packets == 1
    rig.maps.clear_group(9000)
    assert read_group(rig.maps, 9000).packets == 0


def test_real_packets_are_traced_as_they_pass(router: Router) -> None:  # noqa: F811
    sent = [ethernet(packet, kind, dst=R0, src=S0) for kind, packet in packets(64)]
    late = ethernet(ipv4(udp(data=MARK), dst="203.0.113.9", ttl=1), dst=R0, src=S0)
    aside = ethernet(ipv4(icmp(data=MARK), dst="198.51.100.9", protocol=1), dst=R0, src=S0)
    with Tracing(router.maps).one(TraceFilter(Prefix.parse("203.0.113.0/24")), "a test") as tracer:
        router.sender.send(late)
        router.sender.send(aside)
        came = router.carry(sent)
        found = noted(tracer)
    four = [frame for frame in came if frame[12:14] == b"\x08\x00"]
    assert [one.reason for one in found] == [Reason.PASS_TTL] + [Reason.FORWARDED] * len(four)
    assert [one.head for one in found[1:]] == [frame[:TRACE_OCTETS] for frame in four]
    assert {(one.group, one.adjacency) for one in found[1:]} == {(16, 1)}


@pytest.fixture(autouse=True)
def _off(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "rig" in request.fixturenames:
        assert not int(request.getfixturevalue("rig").maps.control["flags"][0]) & 8
