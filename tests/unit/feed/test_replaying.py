"""MRT records as frames for a running bridge, and the end of the socket that sends them."""

from __future__ import annotations

import ipaddress
import socket
import threading
from pathlib import Path

import pytest

from bgpbridge.errors import UnreachableError, UsageError, WireError
from bgpbridge.feed.frames import Record, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.feed.replaying import Replaying, update_of
from bgpbridge.feed.sending import Sending
from bgpbridge.feed.ways import COMPLAINT, DONE, HEADER, Hello, answer, complaint_of, record_of
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.attributes import Code, encode_attribute
from bgpbridge.wire.message import build_notification, build_update
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, PeerTable, RibEntry, RibRecord, StateChange, TablePeer
from bgpbridge.wire.mrt import Record as MrtRecord
from bgpbridge.wire.opening import RefreshKind, build_open, build_route_refresh
from bgpbridge.wire.update import decode_update

PEER = MrtPeer(65001, ipaddress.ip_address("192.0.2.1"), 65000, ipaddress.ip_address("192.0.2.9"))
OTHER = MrtPeer(65002, ipaddress.ip_address("192.0.2.2"), 65000, ipaddress.ip_address("192.0.2.9"))
IDENTIFIER = ipaddress.IPv4Address("192.0.2.1")
UPDATE = build_update(withdrawn=b"\x18\xc6\x33\x64")
PLAIN = encode_attribute(Code.ORIGIN, b"\0") + encode_attribute(Code.AS_PATH, b"\x02\x01\0\0\xfd\xe9")


def message(octets: bytes, peer: MrtPeer = PEER, *, asn4: bool = True, add_path: bool = False) -> MessageRecord:
    return MessageRecord(0.0, peer, octets, asn4, add_path)


def said(replaying: Replaying, *records: MrtRecord) -> list[Record]:
    return [one for record in records for _, one in replaying.take(record)]


def test_a_session_is_told_before_what_it_brings_and_once() -> None:
    found = said(Replaying(), message(UPDATE), message(UPDATE), StateChange(0.0, PEER, 6, 1), message(UPDATE))
    assert [type(one) for one in found] == [SessionUp, Updates, Updates, SessionDown, SessionUp, Updates]


def test_another_encoding_is_told_first() -> None:
    replaying = Replaying()
    found = said(replaying, message(UPDATE), message(UPDATE, asn4=False), message(UPDATE, asn4=False, add_path=True))
    ups = [one.session for one in found if isinstance(one, SessionUp)]
    assert [(up.asn4, up.add_path) for up in ups] == [
        (True, frozenset()),
        (False, frozenset()),
        (False, frozenset(Family)),
    ]


def test_openings_notifications_and_refreshes_are_followed() -> None:
    refresh = build_route_refresh(Family.IPV4, RefreshKind.BEGIN)
    opening = build_open(65001, IDENTIFIER, 90, ())
    found = said(
        Replaying(),
        message(opening),
        message(UPDATE),
        message(refresh),
        message(build_notification(6, 2)),
        message(b"x"),
    )
    assert [type(one) for one in found] == [SessionUp, Updates, Refresh, SessionDown]
    assert isinstance(found[0], SessionUp)
    assert found[0].session.router_id == IDENTIFIER


def test_a_name_stands_for_one_peer() -> None:
    stands = ipaddress.ip_address("10.0.0.1"), 64512
    replaying = Replaying(stands)
    up, _ = said(replaying, message(UPDATE))
    assert isinstance(up, SessionUp)
    assert (up.session.peer_address, up.session.peer_as) == stands
    with pytest.raises(UsageError, match=r"more than one peer \(AS65001 192.0.2.1, AS65002 192.0.2.2\)"):
        said(replaying, message(UPDATE, OTHER))


@pytest.mark.parametrize(
    ("prefix", "attributes", "path_id"),
    [
        ("198.51.100.0/24", encode_attribute(Code.NEXT_HOP, PEER.address.packed), 0),
        ("198.51.100.0/24", encode_attribute(Code.NEXT_HOP, PEER.address.packed), 7),
        ("2001:db8:1::/48", encode_attribute(Code.MP_REACH, b"\x10" + ipaddress.ip_address("2001:db8::1").packed), 0),
    ],
)
def test_routes_of_a_dump_become_updates(
    prefix: str, attributes: bytes, path_id: int, make_session: type[Session]
) -> None:
    wanted = Prefix.parse(prefix)
    table = PeerTable(0.0, IDENTIFIER, "", (TablePeer(IDENTIFIER, PEER.address, PEER.asn),))
    entry = RibEntry(0, 0, path_id, PLAIN + attributes)
    up, updates = said(Replaying(), table, RibRecord(0.0, 0, wanted, (entry,)))
    assert isinstance(up, SessionUp)
    assert isinstance(updates, Updates)
    session = make_session(families=frozenset(Family), add_path=up.session.add_path)
    (route,) = decode_update(updates.data, session).announced
    assert (route.prefix, route.path_id) == (wanted, path_id)
    assert route.attributes.next_hop


def test_a_dump_without_its_table_and_a_route_without_next_hop() -> None:
    record = RibRecord(0.0, 0, Prefix.parse("2001:db8::/32"), (RibEntry(3, 0, 0, PLAIN),))
    with pytest.raises(WireError, match="speaks of peer 3"):
        said(Replaying(), record)
    assert b"\x80\x0e" in update_of(record.prefix, record.entries[0], path_ids=False)


def test_what_is_refused_is_not_sent_and_the_end_waits(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    with pytest.raises(UnreachableError, match="no bridge on"):
        Sending(path, keep=False)
    kinds: list[tuple[int, int]] = []
    complaints: list[str] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def bridge() -> None:
            end, _ = listening.accept()
            with end, end.makefile("rb") as file:
                assert Hello.read(file.readline()) == Hello("replay", keep=True)
                while True:
                    length, kind, number = HEADER.unpack(file.read(HEADER.size))
                    payload = file.read(length)
                    if kind == DONE:
                        end.sendall(answer(done=True))
                        return
                    if kind == COMPLAINT:
                        complaints.append(complaint_of(payload))
                        continue
                    kinds.append((number, kind))
                    record_of(kind, payload)
                    if number == 2:
                        end.sendall(answer(refused="no such peer", number=2))

        thread = threading.Thread(target=bridge)
        thread.start()
        sending, replaying = Sending(path, keep=True), Replaying()
        for record in (message(UPDATE), message(UPDATE), message(UPDATE, OTHER)):
            for source, one in replaying.take(record):
                sending.say(source.number, one)
        sending.damaged("x.mrt: record 4: it ends\n  mend: fetch it again")
        sending.finish()
        thread.join(10)
        assert complaints == ["x.mrt: record 4: it ends\n  mend: fetch it again"]
        with pytest.raises(UnreachableError, match="the bridge has ended"):
            sending.stay()
        assert sending.refused == {2: "no such peer"}
        assert kinds[:3] == [(1, 2), (1, 1), (2, 2)]
        sending.close()
