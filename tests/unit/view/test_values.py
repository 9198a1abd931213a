"""`status`, `peers`, `groups`, `plain`: values of a bridge that has just learned something."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from bgpbridge.errors import UsageError
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind, SessionDown
from bgpbridge.types import Family, Prefix, Verdict
from bgpbridge.view.counters import counters
from bgpbridge.view.groups import adjacencies, group, groups
from bgpbridge.view.peers import peer, peers
from bgpbridge.view.plain import plain
from bgpbridge.view.status import status
from bgpbridge.wire.message import build_update


def all_groups(bridge):
    return [view for part in groups(bridge) for view in part]


def test_status_counts_what_is_there(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24", "10.1.0.0/16"], [64601])
    seen = status(rig.bridge)
    assert (seen.name, seen.asn, seen.forwarding, seen.xdp, seen.kernel) == ("edge", 64700, False, None, None)
    assert seen.peers == {"down": 2, "established": 1, "stale": 0, "resetting": 0, "idle": 0}
    assert seen.routes == {Family.IPV4: 1, Family.IPV6: 0}
    assert (seen.groups, seen.next_hops, seen.next_hops_unreachable) == (1, 1, 0)
    assert seen.memory.resident > 1 << 20


def test_peers_stand_in_the_order_of_the_file_with_their_counts(rig):
    rig.session("isp-b")
    rig.announce("isp-b", ["198.51.100.0/24", "10.1.0.0/16"], [64602])
    assert [view.name for view in peers(rig.bridge)] == ["isp-a", "isp-b", "closed"]
    seen = peer(rig.bridge, "isp-b")
    counts = seen.routes[Family.IPV4]
    assert (counts.received, counts.accepted, counts.rejected, counts.best) == (2, 1, 1, 1)
    assert (seen.state, seen.established, seen.updates) == ("established", 1, 1)
    assert seen.session is not None
    assert seen.session.hold_time_s == 90


def test_a_malformed_attribute_is_counted_with_its_reason(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601, 64700])  # our own AS
    (finding,) = peer(rig.bridge, "isp-a").findings
    assert (finding.verdict, finding.attribute, finding.count) == ("treat-as-withdraw", 2, 1)
    assert "own AS" in finding.reason


def test_end_of_rib_notices_and_the_last_end_are_kept(rig):
    rig.session("isp-a")
    rig.send("isp-a", build_update())
    index = rig.bridge.peers_by_name("isp-a").index
    assert peer(rig.bridge, "isp-a").end_of_rib == ("ipv4",)
    rig.hear("isp-a", Notice(NoticeKind.CONNECTION_REFUSED, "wrong AS", index))
    rig.hear("isp-a", SessionDown(DownReason.HOLD_TIMER, 4, 0, "Hold timer expired"))
    seen = peer(rig.bridge, "isp-a")
    assert (seen.state, seen.session, seen.last_down) == ("down", None, "Hold timer expired")
    assert [(notice.kind, notice.text) for notice in seen.notices] == [("connection refused", "wrong AS")]


def test_a_peer_that_is_not_there(rig):
    with pytest.raises(UsageError):
        peer(rig.bridge, "nobody")


def test_groups_tell_who_carries_and_who_stands_by(rig):
    rig.session("isp-a")
    rig.session("isp-b")
    rig.announce("isp-a", ["198.51.100.0/24", "198.51.101.0/24"], [64601])
    rig.announce("isp-b", ["198.51.100.0/24"], [64602, 64500])
    first, second = all_groups(rig.bridge)
    assert (first.prefixes, second.prefixes) == (1, 1)
    both = max(first, second, key=lambda view: len(view.members))
    assert [(m.peer, m.next_hop, m.backup, m.live, m.carries) for m in both.members] == [
        ("isp-a", "203.0.113.2", False, True, True),
        ("isp-b", "203.0.113.6", True, True, False),
    ]


def test_a_lost_link_shows_in_the_member_that_it_kills(rig):
    rig.session("isp-a")
    rig.session("isp-b")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601])
    rig.announce("isp-b", ["198.51.100.0/24"], [64602, 64500])
    state = rig.bridge.watcher.state
    state.link(dataclasses.replace(state.links[11], up=False))
    (seen,) = [view for view in all_groups(rig.bridge) if view.prefixes]
    carrying = [member.peer for member in seen.members if member.carries]
    assert carrying == ["isp-b"]
    down = [view for view in adjacencies(rig.bridge) if not view.up]
    assert [(view.gateway, view.link, view.reason) for view in down] == [("203.0.113.2", "eth1", "link down")]


def test_reserved_and_unknown_groups(rig):
    assert group(rig.bridge, 2).flags == "blackhole: dropped"
    with pytest.raises(UsageError):
        group(rig.bridge, 4711)


def test_without_xdp_nothing_is_counted(rig):
    assert counters(rig.bridge) == []


class Colour(enum.Enum):
    LIGHT_BLUE = 1


class Pair(NamedTuple):
    left: int
    right: Prefix


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Family.IPV6, "ipv6"),
        (Verdict.ACCEPT, "accept"),
        (Colour.LIGHT_BLUE, "light_blue"),
        (DownReason.HOLD_TIMER, "hold timer expired"),
        (np.uint32(7), 7),
        (bytes([2, 255]), "02:ff"),
        ({Family.IPV4: 1}, {"ipv4": 1}),
        (frozenset({3, 1}), [1, 3]),
        (Pair(1, Prefix.parse("192.0.2.0/24")), {"left": 1, "right": "192.0.2.0/24"}),
        ((ipaddress.ip_address("2001:db8::1"), Path("/x")), ["2001:db8::1", "/x"]),
        (None, None),
    ],
)
def test_one_spelling_for_each_kind_of_value(value, expected):
    assert plain(value) == expected


def test_what_has_no_json_form_is_refused():
    with pytest.raises(TypeError, match="object has no JSON form"):
        plain(object())


def test_every_view_has_a_json_form(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601])
    for value in (status(rig.bridge), peers(rig.bridge), all_groups(rig.bridge), adjacencies(rig.bridge)):
        assert json.dumps(plain(value))
