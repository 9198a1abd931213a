"""Records made by hand into a replay: sessions, path ids, odd messages, configured peers."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from bgpbridge.config.load import loads_config
from bgpbridge.errors import UsageError, WireError
from bgpbridge.pipeline.replay import Replay
from bgpbridge.rib import lookups
from bgpbridge.rib.lookups import RouteFilter, Status
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.attributes import Code, encode_attribute
from bgpbridge.wire.message import MessageType, build_keepalive, build_message, build_notification, build_update
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, PeerTable, RibEntry, RibRecord, StateChange, TablePeer
from bgpbridge.wire.opening import RefreshKind, build_route_refresh

A = MrtPeer(65001, ipaddress.ip_address("192.0.2.1"), 65000, ipaddress.ip_address("192.0.2.9"))
B = MrtPeer(65002, ipaddress.ip_address("192.0.2.2"), 65000, ipaddress.ip_address("192.0.2.9"))
NET = b"\x18\xc6\x33\x64"  # 198.51.100.0/24
OTHER = b"\x18\xcb\x00\x71"  # 203.0.113.0/24


def attributes(asn: int, next_hop: str = "192.0.2.1") -> bytes:
    path = b"\x02\x01" + asn.to_bytes(4, "big")
    hop = ipaddress.ip_address(next_hop).packed
    return b"".join(
        encode_attribute(code, value)
        for code, value in ((Code.ORIGIN, b"\0"), (Code.AS_PATH, path), (Code.NEXT_HOP, hop))
    )


def said(message: bytes, peer: MrtPeer = A, *, time_s: float = 10, add_path: bool = False, local: bool = False):
    return MessageRecord(time_s, peer, message, True, add_path, local)


def announce(nlri: bytes = NET, peer: MrtPeer = A, **more: bool) -> MessageRecord:
    return said(build_update(attributes(peer.asn), nlri), peer, **more)


def replayed(*records, config=None, policy="accept") -> Replay:
    run = Replay(config, policy)
    for record in records:
        run.take(record)
    run.finish()
    return run


def routes(run: Replay) -> list[tuple[str, str, int]]:
    found = [path for paths in lookups.routes(run.rib, RouteFilter()) for path in paths]
    return sorted((str(path.prefix), run.peers.name(path.peer), path.path_id) for path in found)


HERE = ("198.51.100.0/24", "AS65001 192.0.2.1", 0)


def test_what_is_announced_stands_and_what_is_withdrawn_does_not():
    assert routes(replayed(announce())) == [HERE]
    assert routes(replayed(announce(), said(build_update(withdrawn=NET)))) == []


def test_peers_are_apart():
    run = replayed(announce(), announce(peer=B), said(build_update(withdrawn=NET), B))
    assert routes(run) == [HERE]
    assert [(peer.name, peer.updates) for peer in run.peers] == [("AS65001 192.0.2.1", 1), ("AS65002 192.0.2.2", 2)]


def test_the_end_of_a_session_takes_its_routes():
    run = replayed(announce(), StateChange(11, A, 6, 1))
    assert (routes(run), run.peers.at(0).lost) == ([], 1)
    again = replayed(announce(), StateChange(11, A, 6, 1), StateChange(12, A, 5, 6), announce())
    assert (routes(again), again.peers.at(0).lost) == ([HERE], 1)


def test_a_notification_ends_a_session_as_well_whoever_sent_it():
    for local in (False, True):
        run = replayed(announce(), said(build_notification(6, 2), local=local))
        assert (routes(run), run.peers.at(0).lost) == ([], 1)


def test_steps_on_the_way_to_a_session_change_nothing():
    assert routes(replayed(announce(), StateChange(11, A, 3, 4), said(build_keepalive()))) == [HERE]


def test_what_the_collector_sent_is_not_the_peers():
    assert routes(replayed(announce(local=True))) == []


def test_path_ids_are_kept_apart():
    run = replayed(announce(b"\0\0\0\1" + NET, add_path=True), announce(b"\0\0\0\2" + NET, add_path=True))
    assert routes(run) == [(*HERE[:2], 1), (*HERE[:2], 2)]
    gone = said(build_update(withdrawn=b"\0\0\0\1" + NET), add_path=True)
    run = replayed(announce(b"\0\0\0\1" + NET + b"\0\0\0\2" + NET, add_path=True), gone)
    assert routes(run) == [(*HERE[:2], 2)]


def test_an_update_that_would_reset_the_session_is_counted_and_left_out():
    bad = said(build_update(attributes(65001), b"\x21" + NET))
    run = replayed(announce(), bad, announce(OTHER))
    assert routes(run) == [HERE, ("203.0.113.0/24", *HERE[1:])]
    assert {finding.reason: times for finding, times in run.peers.at(0).findings.items()} == {"nlri: invalid prefix": 1}


@pytest.mark.parametrize("message", [b"", b"\xff" * 18, build_keepalive()[:-1], build_keepalive() + b"x"])
def test_a_record_that_holds_no_whole_message_is_counted(message: bytes):
    run = replayed(announce(), said(message), announce(OTHER))
    assert len(routes(run)) == 2
    assert [finding.reason for finding in run.peers.at(0).findings] == ["header: length"]


def test_an_open_and_a_refresh_that_cannot_be_read_are_no_end():
    short = said(build_message(MessageType.OPEN, bytes(10)))
    odd = said(build_message(MessageType.ROUTE_REFRESH, b"\0\1\1\1xx"))
    assert routes(replayed(short, announce(), odd)) == [HERE]


def test_what_a_refresh_does_not_send_again_is_gone():
    begin, end = (said(build_route_refresh(Family.IPV4, kind)) for kind in (RefreshKind.BEGIN, RefreshKind.END))
    assert routes(replayed(announce(NET + OTHER), begin, announce(), end)) == [HERE]


def entry(peer: int, asn: int, path_id: int = 0, more: bytes = b"") -> RibEntry:
    return RibEntry(peer, 5, path_id, attributes(asn) + more)


TABLE = PeerTable(
    1, ipaddress.IPv4Address(9), "", tuple(TablePeer(ipaddress.IPv4Address(7), p.address, p.asn) for p in (A, B))
)


def test_a_table_and_the_updates_behind_it_are_of_the_same_peers():
    prefix = Prefix.parse("198.51.100.0/24")
    dump = RibRecord(2, 0, prefix, (entry(0, 65001), entry(1, 65002)))
    run = replayed(TABLE, dump, said(build_update(withdrawn=NET), B))
    assert routes(run) == [HERE]
    assert str(run.peers.at(0).session.router_id) == "0.0.0.7"


def test_ipv6_routes_of_a_dump_have_their_next_hop_in_mp_reach():
    hop = ipaddress.ip_address("2001:db8::1").packed
    base = attributes(65001)[: -len(encode_attribute(Code.NEXT_HOP, bytes(4)))]
    one = RibEntry(0, 5, 0, base + encode_attribute(Code.MP_REACH, b"\x10" + hop))
    run = replayed(TABLE, RibRecord(2, 0, Prefix.parse("2001:db8::/32"), (one,)))
    (path,) = lookups.paths(run.rib, Prefix.parse("2001:db8::/32"))
    assert str(run.rib.next_hops[path.next_hop].address) == "2001:db8::1"


def test_an_entry_of_a_peer_that_the_table_lacks_is_refused():
    with pytest.raises(WireError, match=r"198.51.100.0/24 speaks of peer 7; its table has 2"):
        replayed(TABLE, RibRecord(2, 0, Prefix.parse("198.51.100.0/24"), (entry(7, 65001),)))


CONFIG = """\
router: {asn: 65000, router_id: 192.0.2.9}
policies: [p.yml]
decision: {prefer_oldest: true}
peers:
- {name: transit, address: 192.0.2.1, asn: 65001, import: short, weight: 7}
- {name: mute, address: 192.0.2.3, asn: 65003}
"""
POLICY = """\
policies:
  short:
    terms:
    - {term: long, match: {prefix: [203.0.113.0/24]}, then: reject, reason: not that one}
    - {term: rest, then: accept}
  none:
    terms:
    - {term: all, then: reject}
"""


@pytest.fixture
def config(tmp_path: Path):
    (tmp_path / "p.yml").write_text(POLICY)
    return loads_config(CONFIG, tmp_path / "c.yml")


def statuses(run: Replay) -> dict[tuple[str, str], Status]:
    found = [path for paths in lookups.routes(run.rib, RouteFilter()) for path in paths]
    return {(run.peers.name(path.peer), str(path.prefix)): path.status for path in found}


def test_a_configured_peer_has_its_name_policy_and_weight(config):
    run = replayed(announce(NET + OTHER), announce(peer=B), config=config)
    assert statuses(run) == {
        ("transit", "198.51.100.0/24"): Status.BEST,
        ("transit", "203.0.113.0/24"): Status.REJECTED,
        ("AS65002 192.0.2.2", "198.51.100.0/24"): Status.BACKUP,
    }


def test_peers_without_configuration_go_by_the_policy_that_is_named(config):
    run = replayed(announce(), announce(peer=B), config=config, policy="none")
    assert statuses(run)["AS65002 192.0.2.2", "198.51.100.0/24"] is Status.REJECTED
    for given in (config, None):
        with pytest.raises(UsageError, match="there is no policy nosuch"):
            Replay(given, "nosuch")


def test_a_configured_external_peer_without_policy_is_refused(config):
    mute = MrtPeer(65003, ipaddress.ip_address("192.0.2.3"), 65000, A.local_address)
    assert set(statuses(replayed(announce(peer=mute), config=config)).values()) == {Status.REJECTED}


def test_ages_count_by_the_second_where_the_oldest_route_wins(config):
    run = replayed(
        said(build_update(attributes(65002), NET), B, time_s=100.5),
        said(build_update(attributes(65001), NET), A, time_s=200.0),
        config=config,
    )
    changed = {path.peer: path.changed_s for path in lookups.paths(run.rib, Prefix.parse("198.51.100.0/24"))}
    assert changed == {0: 100, 1: 200}


def test_a_long_run_is_applied_before_the_file_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bgpbridge.pipeline.replay.RUN_OCTETS", 1)
    run = Replay()
    run.take(announce())
    assert routes(run) == [HERE]
