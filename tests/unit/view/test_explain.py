"""`explain` says what the tables say, from the policy's line to the adjacency."""

from __future__ import annotations

import ipaddress

from bgpbridge.config.health import Check, CheckKind
from bgpbridge.health.damping import Health, Rules, Verdict
from bgpbridge.pipeline.checked import Row
from bgpbridge.pipeline.subjects import Subject, SubjectKind
from bgpbridge.types import Prefix
from bgpbridge.view.explain import explain
from bgpbridge.view.fib import fib, protocol_name


def address(text):
    return ipaddress.ip_address(text)


def two_paths(rig):
    for name in ("isp-a", "isp-b"):
        rig.session(name)
    rig.announce("isp-a", ["198.51.100.0/24"], [64601, 64500])
    rig.announce("isp-b", ["198.51.100.0/24"], [64602, 64500, 64500])


def test_the_loser_names_the_step_and_the_winner(rig):
    two_paths(rig)
    seen = explain(rig.bridge, address("198.51.100.7"))
    assert seen.prefix == "198.51.100.0/24"
    assert seen.verdict == "forwarded to 203.0.113.2 (from isp-a)"
    assert [(path.peer, path.status) for path in seen.paths] == [("isp-a", "best"), ("isp-b", "backup")]
    (loss,) = seen.losses
    assert (loss.peer, loss.step, loss.text, loss.rfc) == ("isp-b", 3, "shorter AS path", "RFC 4271 s9.1.2.2 a")
    assert loss.winner == "isp-a"


def test_the_policy_line_that_admitted_the_path_is_named(rig):
    two_paths(rig)
    policy = explain(rig.bridge, address("198.51.100.7")).policy
    assert policy is not None
    assert (policy.peer, policy.accepted, policy.policy, policy.term) == ("isp-a", True, "from-provider", "rest")
    assert policy.place.split("/")[-1].startswith("policy.yaml:8")


def test_a_refused_path_is_explained_too(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["10.1.0.0/16"], [64601])
    seen = explain(rig.bridge, address("10.1.2.3"))
    assert seen.verdict == "left to the kernel: the only path of 10.1.0.0/16 cannot be used"
    assert seen.paths[0].status == "rejected"
    assert "private address space" in seen.paths[0].reason
    assert "policy.yaml:4" in seen.paths[0].reason


def test_an_external_peer_without_import_is_told_by_rfc_8212(rig):
    rig.session("closed")
    rig.announce("closed", ["198.51.100.0/24"], [64603], next_hop="203.0.113.2")
    assert "RFC 8212" in explain(rig.bridge, address("198.51.100.1")).paths[0].reason


def test_an_unreachable_next_hop_says_why(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601], next_hop="192.0.2.99")
    seen = explain(rig.bridge, address("198.51.100.1"), Prefix.parse("198.51.100.0/24"))
    assert seen.paths[0].status == "unreachable"
    assert seen.paths[0].reason
    assert seen.losses[0].step == 0


def test_a_member_that_health_holds_down_is_named_at_the_top(rig):
    two_paths(rig)
    ping = Check(name="ping", kind=CheckKind.ICMP)
    health, paths = rig.bridge.health, rig.bridge.paths
    peers = [rig.bridge.peers_by_name(name) for name in ("isp-a", "isp-b")]
    for peer in peers:
        subject = Subject(SubjectKind.PEER, peer.name, peer.config.address, ("ping",))
        row = Row(subject, ping, Health(Rules(rise=1, fall=1, hold_down_s=0), 0.0), Verdict.UNHEALTHY)
        health.rows[row.key] = row
    paths.hold_down([peers[0].index], [])
    seen = explain(rig.bridge, address("198.51.100.7"))
    assert seen.verdict == (
        "forwarded to 203.0.113.6 (from isp-b, backup); "
        "not by 203.0.113.2 (from isp-a), unhealthy: ping of peer isp-a is unhealthy"
    )
    paths.hold_down([peer.index for peer in peers], [])
    seen = explain(rig.bridge, address("198.51.100.7"))
    assert seen.verdict == (
        "forwarded to 203.0.113.2 (from isp-a); "
        "isp-a is used though unhealthy: ping of peer isp-a is unhealthy (all paths are, so traffic stays)"
    )


def test_a_prefix_that_is_not_there(rig):
    seen = explain(rig.bridge, address("198.51.100.0"), Prefix.parse("198.51.100.0/24"))
    assert (seen.prefix, seen.note, seen.paths) == ("", "no peer has sent 198.51.100.0/24", ())
    assert seen.verdict == "left to the kernel: there is no BGP route"


def test_a_prefix_that_is_not_there_though_packets_to_it_have_a_route(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601])
    seen = explain(rig.bridge, address("198.51.100.0"), Prefix.parse("198.51.100.0/23"))
    assert seen.verdict == "not in the table: packets to 198.51.100.0 follow 198.51.100.0/24, as below"
    assert (seen.prefix, seen.note) == ("", "no peer has sent 198.51.100.0/23")


def test_packets_may_follow_a_more_specific_prefix_than_the_one_explained(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.0.0/16", "198.51.0.0/24"], [64601])
    seen = explain(rig.bridge, address("198.51.0.0"), Prefix.parse("198.51.0.0/16"))
    assert (seen.prefix, seen.note) == ("198.51.0.0/16", "packets to 198.51.0.0 follow 198.51.0.0/24")


def test_history_names_commit_and_cause_newest_first(rig):
    two_paths(rig)
    rig.withdraw("isp-a", ["198.51.100.0/24"])
    entries = explain(rig.bridge, address("198.51.100.7")).history
    assert [entry.commit for entry in entries] == [3, 2, 1]
    assert entries[0].cause.startswith("update isp-a")
    assert entries[-1].old_group == 0


def test_foreign_routes_stand_beside(rig):
    seen = explain(rig.bridge, address("203.0.113.2"))
    assert seen.foreign == ("203.0.113.0/30 protocol kernel metric 0 unicast",)


def test_fib_without_planes(rig):
    two_paths(rig)
    seen = fib(rig.bridge, address("198.51.100.7"))
    assert (seen.prefix, seen.xdp_says, seen.kernel) == ("198.51.100.0/24", "XDP is not configured", None)
    assert seen.detail is not None
    assert [(m.peer, m.backup, m.carries) for m in seen.detail.members] == [
        ("isp-a", False, True),
        ("isp-b", True, False),
    ]


def test_protocols_without_a_name_are_numbers():
    assert (protocol_name(4), protocol_name(77)) == ("static", "77")
