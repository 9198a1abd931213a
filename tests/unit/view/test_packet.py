"""The way of a packet in words: the program's numbers with the RIB's names. What the program itself says of frames is
tested in tests/bpf/test_packet_answers.py; here its answers are written by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress

import numpy as np
import pytest

from bgpbridge.datapath.abi import TRACE_RECORDS, TRACE_RING, Reason, TagFlag, XdpVerdict
from bgpbridge.datapath.frames import ethernet, icmp, ipv4, udp
from bgpbridge.datapath.packets import packet_head
from bgpbridge.datapath.testrun import RawRun
from bgpbridge.datapath.trace import EVERYTHING, Noted, TraceFilter
from bgpbridge.datapath.twin import Answer
from bgpbridge.errors import UsageError
from bgpbridge.fib.observed import Link
from bgpbridge.pipeline.tracing import Tracing
from bgpbridge.rib.lookups import group_of
from bgpbridge.types import Prefix
from bgpbridge.view import trace as trace_view
from bgpbridge.view.packet import Asked, Ingress, frame_of, packet, packet_view, packets
from bgpbridge.view.way import way

FRAME = ethernet(ipv4(udp(), dst="100.64.7.1"))


@pytest.fixture
def edge(rig, monkeypatch):
    """Two uplinks for 100.64.7.0/24, the second one with the longer path."""
    monkeypatch.setattr("bgpbridge.view.fib.kernel_lookup", lambda address: None)
    for name, path in (("isp-a", [64601, 64500]), ("isp-b", [64602, 64500, 64500])):
        rig.session(name)
        rig.announce(name, ["100.64.7.0/24"], path)
    return rig.bridge


def adjacency_by(bridge, gateway):
    return next(one.id for one in bridge.adjacencies.view() if str(one.gateway) == gateway)


def noted(bridge, reason=Reason.FORWARDED, group=None, slot=5, gateway="203.0.113.2"):
    number = group_of(bridge.rib, Prefix.parse("100.64.7.0/24")) if group is None else group
    adjacency = adjacency_by(bridge, gateway) if gateway else 0
    return Noted(0.0, 11, len(FRAME), reason, number, slot, adjacency, FRAME)


def test_a_forwarded_packet_names_its_path(edge):
    seen = way(edge, noted(edge), packet_head(FRAME))
    assert (seen.packet, seen.octets) == ("UDP 192.0.2.2:4000 > 100.64.7.1:53, TTL 64", len(FRAME))
    assert (seen.interface, seen.verdict, seen.reason) == ("eth1", "redirect", "forwarded")
    assert (seen.prefix, seen.peer, seen.next_hop) == ("100.64.7.0/24", "isp-a", "203.0.113.2")
    assert (seen.gateway, seen.link, seen.slot) == ("203.0.113.2", "eth1", 5)


def test_a_slot_on_the_backup_is_the_backups(edge):
    seen = way(edge, noted(edge, gateway="203.0.113.6"), packet_head(FRAME))
    assert (seen.peer, seen.next_hop, seen.link) == ("isp-b", "203.0.113.6", "eth2")


def test_what_came_to_no_group_has_no_path(edge):
    seen = way(edge, noted(edge, Reason.PASS_TTL, 0, None, ""), packet_head(FRAME))
    assert (seen.verdict, seen.reason, seen.group, seen.slot, seen.peer, seen.link) == (
        "pass",
        "pass_ttl",
        0,
        None,
        "",
        "",
    )
    assert seen.prefix == "100.64.7.0/24"


def test_names_that_have_gone_are_numbers(edge):
    gone = Noted(0.0, 99, 60, Reason.FORWARDED, 4711, 5, 4000, b"")
    seen = way(edge, gone, packet_head(b""))
    assert (seen.interface, seen.gateway, seen.peer, seen.packet) == (
        "interface 99",
        "",
        "",
        "cut off in the Ethernet header",
    )


def test_the_answer_says_why_bgp_has_it_so(edge):
    out = FRAME[:22] + bytes([63]) + FRAME[23:]
    seen = packet_view(edge, 3, FRAME, Answer(RawRun(XdpVerdict.REDIRECT, out, 0), noted(edge)))
    assert (seen.number, seen.changes, seen.note) == (3, ("TTL 64 to 63",), "")
    assert (seen.route.peer, seen.route.status) == ("isp-a", "best")
    assert (seen.decided.peer, seen.decided.text, seen.decided.winner) == ("isp-b", "shorter AS path", "isp-a")
    assert (seen.policy.policy, seen.policy.term, seen.policy.accepted) == ("from-provider", "rest", True)


def test_a_group_that_the_rib_does_not_want_is_told(edge):
    seen = packet_view(edge, 1, FRAME, Answer(RawRun(XdpVerdict.PASS, FRAME, 0), noted(edge, Reason.PASS_MTU, 4711)))
    assert "`bgpbridge audit`" in seen.note
    assert seen.route.peer == "isp-a"


# -- frames as described ------------------------------------------------------------------------------------


def link(bridge):
    return Ingress(bridge.watcher.state.links[11], 11)


def test_a_packet_comes_from_a_neighbour_unless_told_otherwise(edge):
    to4, to6 = ipaddress.ip_address("100.64.7.1"), ipaddress.ip_address("2001:db8::1")
    said = [packet_head(frame_of(edge, link(edge), Asked("eth1", to))).text for to in (to4, to6)]
    assert said == [
        "UDP 203.0.113.2:40000 > 100.64.7.1:33434, TTL 64",
        "UDP [2001:db8:f::2]:40000 > [2001:db8::1]:33434, hop limit 64",
    ]


@pytest.mark.parametrize("to", ["100.64.7.1", "2001:db8::1"])
@pytest.mark.parametrize(("protocol", "name"), [(17, "UDP"), (6, "TCP"), (1, "ICMP"), (47, "GRE")])
@pytest.mark.parametrize("octets", [None, 100, 1500, 3484])
def test_a_frame_is_as_long_as_asked(edge, to, protocol, name, octets):
    asked = Asked("eth1", ipaddress.ip_address(to), protocol=protocol, octets=octets)
    frame = frame_of(edge, link(edge), asked)
    assert packet_head(frame).text.startswith(name)
    assert frame[:6] == link(edge).link.mac
    assert octets is None or len(frame) == octets + 14
    if ":" not in to:
        assert int.from_bytes(frame[16:18], "big") == len(frame) - 14


def test_a_tag_is_put_on(edge):
    frame = frame_of(edge, link(edge), Asked("eth1", ipaddress.ip_address("100.64.7.1"), vlan=10))
    assert packet_head(frame).tags == ("VLAN 10",)


class Echo:
    """A datapath on eth1, whose program says of every frame that it is nobody's."""

    def __init__(self):
        self.attached, self.came = {11: None}, []

    async def twin(self):
        return self

    def run(self, frame, ifindex):
        self.came.append((frame, ifindex))
        reason = Reason.PASS_NO_ROUTE
        return Answer(RawRun(reason.verdict, frame, 0), Noted(0.0, ifindex, len(frame), reason, 0, None, 0, frame))


def test_a_vlan_interface_is_its_port_with_the_tags(edge, rig):
    links, mac = edge.watcher.state.links, bytes([2, 0, 0, 0, 0, 99])
    one, two = TagFlag.PRESENT | TagFlag.SERVICE | 20, TagFlag.PRESENT | 30
    links[21] = Link(21, "eth1.20", mac, 1500, up=True, kind="vlan", peer=11, vlan=one)
    links[22] = Link(22, "eth1.20.30", mac, 1500, up=True, kind="vlan", peer=21, vlan=two)
    links[23] = Link(23, "eth2.30", mac, 1500, up=True, kind="vlan", peer=12, vlan=two)
    edge.datapath = made = Echo()
    asked = Asked("eth1.20.30", ipaddress.ip_address("100.64.7.1"))
    view = rig.loop.run_until_complete(packet(edge, asked))
    assert view.way.packet.endswith("service VLAN 20, VLAN 30")
    rig.loop.run_until_complete(packet(edge, dataclasses.replace(asked, vlan=7)))
    untagged = ethernet(ipv4(udp(), dst="100.64.7.1"), dst=mac)
    rig.loop.run_until_complete(packets(edge, "eth1.20", [untagged]))
    assert [packet_head(frame).tags for frame, _ in made.came] == [
        ("service VLAN 20", "VLAN 30"),
        ("service VLAN 20", "VLAN 30", "VLAN 7"),
        ("service VLAN 20",),
    ]
    assert {(frame[:6], port) for frame, port in made.came} == {(mac, 11)}
    with pytest.raises(UsageError, match=r"XDP is not on eth2\.30"):
        rig.loop.run_until_complete(packet(edge, dataclasses.replace(asked, interface="eth2.30")))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"source": ipaddress.ip_address("2001:db8::1")}, "of two families"),
        ({"octets": 27}, "27 octets with these headers"),
        ({"octets": 3485}, "3485 octets"),
        ({"octets": 3481, "vlan": 3}, "3481 octets"),
    ],
)
def test_a_packet_that_there_cannot_be_is_refused(edge, more, said):
    with pytest.raises(UsageError, match=said) as told:
        frame_of(edge, link(edge), Asked("eth1", ipaddress.ip_address("100.64.7.1"), **more))
    assert told.value.mend


def test_without_xdp_there_is_nobody_to_ask(edge, rig):
    with pytest.raises(UsageError, match="no XDP here"):
        rig.loop.run_until_complete(packet(edge, Asked("eth1", ipaddress.ip_address("100.64.7.1"))))


# -- tracing ------------------------------------------------------------------------------------------------


class Maps:
    """The part of the datapath's maps that a tracer touches, and the hand of the program."""

    def __init__(self):
        self.trace_rings = np.zeros(1, TRACE_RING)
        self.by_name = {"trace_filter": self}
        self.on, self.stored = None, []

    def trace(self, on):
        self.on = on

    def update(self, key, value):
        self.stored.append((key, value.copy()))

    def sees(self, frame, times=1, reason=Reason.FORWARDED):
        (ring,) = self.trace_rings
        for _ in range(times):
            ring["packets"] += 1
            ring["octets"] += len(frame)
            if ring["head"] < ring["limit"]:
                record = ring["records"][int(ring["head"]) % TRACE_RECORDS]
                record["reason"], record["octets"], record["captured"] = reason, len(frame), len(frame)
                record["ifindex"], record["head"][: len(frame)] = 11, np.frombuffer(frame, np.uint8)
                ring["head"] += 1


@pytest.fixture
def traced(edge, monkeypatch):
    maps = Maps()
    edge.tracing = Tracing(maps)
    monkeypatch.setattr(trace_view, "POLL_S", 0.001)
    return maps


def test_nobody_traces_unless_somebody_asks(traced):
    assert traced.on is False, "what a bridge left that was killed"


def test_one_traces_at_a_time_and_the_other_is_told_who(edge, traced):
    with edge.tracing.one(EVERYTHING, "`trace --to 192.0.2.0/24`"):
        assert traced.on
        words = r"`trace --to 192\.0\.2\.0/24` has been running for 0 s"
        with pytest.raises(UsageError, match=words) as told, edge.tracing.one(EVERYTHING, "`trace`"):
            raise AssertionError
        assert traced.on
        assert "wait" in told.value.mend
    assert not traced.on
    with edge.tracing.one(EVERYTHING, "`trace`"):
        assert traced.on


def test_a_trace_that_fails_is_switched_off(edge, traced):
    with pytest.raises(ConnectionResetError), edge.tracing.one(EVERYTHING, "`trace`"):
        raise ConnectionResetError
    assert not traced.on


def follow(rig, count, seconds, frames):
    """What a trace tells, when these frames pass at its first turn."""

    async def followed():
        told = []
        with rig.bridge.tracing.one(TraceFilter(ifindex=11), "`trace`") as tracer:
            for frame in frames:
                rig.bridge.tracing._maps.sees(frame)
            async for views in trace_view.follow(rig.bridge, tracer, count, seconds):
                told += views
        return told

    return rig.loop.run_until_complete(followed())


def test_a_trace_tells_as_many_as_were_asked_for(rig, edge, traced):
    *told, end = follow(rig, 2, 60, [FRAME] * 3)
    assert [one.way.prefix for one in told] == ["100.64.7.0/24"] * 2
    assert (end.ended, end.matched, end.told) == ("the count is reached", 3, 2)


def test_a_trace_ends_with_its_time(rig, edge, traced):
    *told, end = follow(rig, 100, 0, [FRAME])
    assert len(told) == 1
    assert (end.ended, end.matched, end.told) == ("the time is over", 1, 1)


def test_talkers_are_prefixes_by_octets_that_add_up(rig, edge, traced):
    big = ethernet(ipv4(udp(data=bytes(80)), dst="100.64.7.9"))
    other = ethernet(ipv4(icmp(), dst="192.0.2.9", protocol=1))

    async def sampled():
        asked = asyncio.ensure_future(trace_view.talkers(edge, 0.05, 10))
        await asyncio.sleep(0)
        for frame, times in ((big, 30), (other, 20), (big, 150)):
            traced.sees(frame, times)
        return await asked

    seen = rig.loop.run_until_complete(sampled())
    assert (seen.packets, seen.octets) == (200, 180 * len(big) + 20 * len(other))
    assert seen.sampled == TRACE_RECORDS
    first, last = seen.talkers
    assert (first.prefix, first.peer, last.prefix, last.peer) == ("100.64.7.0/24", "isp-a", "", "")
    assert abs(first.packets + last.packets - seen.packets) <= 1
    assert abs(first.share + last.share - 1) < 0.001
    assert not traced.on


def test_a_sampler_asks_for_fewer_while_too_many_come(rig, edge, traced):
    with edge.tracing.one(EVERYTHING, "`counters`") as tracer:
        for _ in range(3):
            traced.sees(FRAME, 500)
            tracer.pace(tracer.take())
        masks = [int(row["sample_mask"][0]) for _, row in traced.stored]
        assert masks == [0, 1, 3, 7]
        for _ in range(4):
            tracer.pace(tracer.take())
        assert int(traced.stored[-1][1]["sample_mask"][0]) == 0
