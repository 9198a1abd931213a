"""Peer indices are given once; what a peer sent is counted within bounds."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bgpbridge.config import Config
from bgpbridge.errors import CapacityError
from bgpbridge.pipeline.peers import KEEP_FINDINGS, PeerTable, Phase, number_peers
from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.verdicts import Finding


def config(*names: str) -> Config:
    peers = [{"name": name, "address": f"192.0.2.{n}", "asn": 64500} for n, name in enumerate(names, 1)]
    return Config.model_validate({"router": {"asn": 64501, "router_id": "192.0.2.250"}, "peers": peers})


def session(peer: int = 1) -> Session:
    address = IPv4Address("192.0.2.1")
    return Session(peer, 64501, 64500, IPv4Address("192.0.2.9"), address, address, families=frozenset(Family))


def test_a_peer_keeps_its_index_over_reloads_and_free_ones_are_filled_from_below() -> None:
    first = number_peers(config("a", "b", "c"), {}, 8)
    assert first == {"a": 1, "b": 2, "c": 3}
    assert number_peers(config("c", "d", "a"), first, 8) == {"c": 3, "a": 1, "d": 2}


def test_an_index_whose_routes_are_not_gone_yet_is_not_given_out() -> None:
    assert number_peers(config("d"), {"b": 2}, 8, busy=[1, 2]) == {"d": 3}


def test_too_many_peers_for_the_lanes_is_said_with_the_peer() -> None:
    with pytest.raises(CapacityError, match="no lane is left for peer c"):
        number_peers(config("a", "b", "c"), {}, 3)


def test_a_session_forgets_what_the_last_one_said_and_keeps_the_counts() -> None:
    table = PeerTable(clock=lambda: 5.0)
    peer = table.add(1, config("a").peers[0], 64501)
    peer.count(3, 300, 5.0, 1.0)
    peer.end_of_rib.add(Family.IPV4)
    peer.disabled.add(Family.IPV6)
    peer.session_began(session(), 6.0, resync=False)
    assert (peer.phase, peer.since, peer.updates, peer.established) == (Phase.ESTABLISHED, 6.0, 3, 1)
    assert not peer.end_of_rib
    assert not peer.disabled
    peer.session_began(session(), 7.0, resync=True)
    assert (peer.established, peer.since) == (1, 6.0), "told of again after a restart of ours: no new session"


def test_a_table_is_complete_when_every_family_said_so_or_the_peer_is_quiet() -> None:
    peer = PeerTable().add(1, config("a").peers[0], 64501)
    assert not peer.complete
    peer.session_began(session(), 1.0, resync=False)
    peer.end_of_rib.add(Family.IPV4)
    assert not peer.complete
    peer.end_of_rib.add(Family.IPV6)
    assert peer.complete
    peer.end_of_rib.clear()
    peer.quiet = True
    assert peer.complete


def test_findings_are_bounded() -> None:
    peer = PeerTable().add(1, config("a").peers[0], 64501)
    for code in range(KEEP_FINDINGS + 50):
        peer.note(Finding(Verdict.ATTRIBUTE_DISCARD, code, "odd"))
    peer.note(Finding(Verdict.ATTRIBUTE_DISCARD, 0, "odd"), 4)
    assert len(peer.findings) == KEEP_FINDINGS
    assert peer.findings[Finding(Verdict.ATTRIBUTE_DISCARD, 0, "odd")] == 5


def test_a_peer_that_is_gone_still_has_a_name_in_old_commits() -> None:
    table = PeerTable()
    table.add(4, config("a").peers[0], 64501)
    assert table.name(4) == "a"
    assert table.remove("a") is not None
    assert table.name(4) == "peer 4"
    assert table.remove("a") is None
