"""Replay of real files against a slow, obvious oracle: a dict by peer, prefix and path id over `decode_update`."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.pipeline.replay import Replay
from bgpbridge.rib import lookups
from bgpbridge.rib.lookups import RouteFilter, Status
from bgpbridge.types import Family, IPAddress, Prefix, Session
from bgpbridge.wire.attributes import decode_attributes
from bgpbridge.wire.mrt import MessageRecord, PeerTable, RibRecord, StateChange, read_mrt
from bgpbridge.wire.update import decode_update
from bgpbridge.wire.verdicts import SessionKind

Key = tuple[IPAddress, int, Prefix, int]


def oracle(path: Path) -> dict[Key, Any]:
    """What stands at the end, with attributes as they came."""
    table: dict[Key, Any] = {}
    for record in read_mrt(path):
        if isinstance(record, StateChange) and 6 in {record.old, record.new}:
            table = {key: value for key, value in table.items() if key[:2] != (record.peer.address, record.peer.asn)}
        if not isinstance(record, MessageRecord) or record.local or record.message[18] != 2:
            continue
        peer = record.peer
        session = Session(
            0,
            peer.local_as,
            peer.asn,
            peer.local_address,
            peer.address,
            IPv4Address(0),
            asn4=record.asn4,
            families=frozenset(Family),
            add_path=frozenset(Family) if record.add_path else frozenset(),
            extended_message=True,
            extended_next_hop=True,
            enforce_first_as=False,
        )
        update = decode_update(record.message, session)
        for prefix, path_id in update.withdrawn:
            table.pop((peer.address, peer.asn, prefix, path_id), None)
        for route in update.announced:
            table[peer.address, peer.asn, route.prefix, route.path_id] = route.attributes
    return table


def replayed(path: Path) -> Replay:
    run = Replay()
    for record in read_mrt(path):
        run.take(record)
    run.finish()
    return run


def table_of(run: Replay) -> dict[Key, Any]:
    found: dict[Key, Any] = {}
    for paths in lookups.routes(run.rib, RouteFilter()):
        for path in paths:
            peer = run.peers.at(path.peer)
            attributes = run.rib.attributes.get(path.received).attributes
            assert (peer.address, peer.asn, path.prefix, path.path_id) not in found
            found[peer.address, peer.asn, path.prefix, path.path_id] = attributes
    return found


def test_the_35_peer_file_ends_with_the_oracles_table(shared_data: Path) -> None:
    path = shared_data / "mrt/updates-35peers-2016.mrt.gz"
    wanted, found = oracle(path), table_of(replayed(path))
    assert len(wanted) > 15_000
    assert found.keys() == wanted.keys()
    assert [key for key in wanted if found[key] != wanted[key]] == []


def test_every_prefix_of_the_35_peer_file_has_one_best_path(shared_data: Path) -> None:
    run = replayed(shared_data / "mrt/updates-35peers-2016.mrt.gz")
    best = [p.prefix for paths in lookups.routes(run.rib, RouteFilter()) for p in paths if p.status is Status.BEST]
    assert len(best) == len(set(best)) == sum(tables.routes for tables in run.rib.families.values())
    assert set(best) == {key[2] for key in table_of(run)}


@pytest.mark.parametrize("name", ["extended-message-withdrawal", "nlri-trailing-bits"])
def test_odd_files_end_with_the_oracles_table(shared_data: Path, name: str) -> None:
    path = shared_data / f"mrt/{name}.mrt.gz"
    assert table_of(replayed(path)) == oracle(path) == {}


def test_the_full_table_ends_with_the_routes_that_the_manifest_counts(shared_data: Path) -> None:
    run = replayed(shared_data / "mrt/full-table-2015.mrt.gz")
    (peer,) = run.peers
    refused = 4  # one path holds AS 0 (RFC 7607)
    assert run.rib.counts(0)[Family.IPV4].received == 577_703 - refused
    assert str(peer.session.router_id) == "206.220.231.55"  # of its OPEN


def test_the_add_path_dump_ends_with_all_its_entries(shared_data: Path) -> None:
    path = shared_data / "mrt/addpath-rib-v4.mrt.gz"
    peers, *ribs = read_mrt(path)
    assert isinstance(peers, PeerTable)
    wanted: dict[Key, Any] = {}
    for rib in ribs:
        assert isinstance(rib, RibRecord)
        for entry in rib.entries:
            peer = peers.peers[entry.peer]
            kind = SessionKind(asn4=True, ebgp=bool(peer.asn), local_as=0)
            decoded = decode_attributes(entry.block(Family.IPV4), kind, mp=False)
            if peer.asn:  # the collector's own have no attributes
                wanted[peer.address, peer.asn, rib.prefix, entry.path_id] = decoded.attributes
    assert len(wanted) > 50
    assert table_of(replayed(path)) == wanted


def test_a_dump_without_next_hops_leaves_no_route_and_says_why(shared_data: Path) -> None:
    run = replayed(shared_data / "mrt/addpath-rib-v6.mrt.gz")
    assert table_of(run) == {}
    assert "mp_reach: missing" in {finding.reason for peer in run.peers for finding in peer.findings}


def test_a_session_that_may_not_carry_it_is_not_believed(shared_data: Path) -> None:
    """The oracle would see it: with AS numbers of two octets the same file gives another table."""
    path = shared_data / "mrt/full-table-2015.mrt.gz"
    first = next(r for r in read_mrt(path) if isinstance(r, MessageRecord) and r.message[18] == 2)
    run = Replay()
    run.take(dataclasses.replace(first, asn4=False))
    run.finish()
    assert table_of(run) == {}
