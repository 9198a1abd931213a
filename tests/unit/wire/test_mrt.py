"""MRT records made by hand, by RFC 6396 and RFC 8050; real files are read in tests/vectors."""

from __future__ import annotations

import bz2
import gzip
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Prefix, Verdict
from bgpbridge.wire.attributes import Code, decode_attributes, encode_attribute
from bgpbridge.wire.message import build_keepalive
from bgpbridge.wire.mrt import (
    MessageRecord,
    OtherRecord,
    PeerTable,
    Record,
    RibEntry,
    RibRecord,
    StateChange,
    read_mrt,
)
from bgpbridge.wire.verdicts import SessionKind

PEERS4 = bytes([192, 0, 2, 1, 192, 0, 2, 2])
HOP6 = ipaddress.IPv6Address("2001:db8::1")
BASE = encode_attribute(Code.ORIGIN, b"\0") + encode_attribute(Code.AS_PATH, b"")


def record(kind: int, subtype: int, body: bytes) -> bytes:
    return b"".join(n.to_bytes(size, "big") for n, size in ((1000, 4), (kind, 2), (subtype, 2), (len(body), 4))) + body


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], list[Record]]:
    def reader(octets: bytes) -> list[Record]:
        path = tmp_path / "made.mrt"
        path.write_bytes(octets)
        return list(read_mrt(path))

    return reader


Read = Callable[[bytes], list[Record]]


@pytest.mark.parametrize(
    ("subtype", "asn4", "add_path", "local"),
    [
        (1, False, False, False),
        (4, True, False, False),
        (6, False, False, True),
        (7, True, False, True),
        (8, False, True, False),
        (9, True, True, False),
        (10, False, True, True),
        (11, True, True, True),
    ],
)
def test_messages(subtype: int, asn4: bool, add_path: bool, local: bool, read: Read) -> None:
    asns = b"\0\1\x11\x70\0\0\xfd\xe9" if asn4 else b"\xfd\xea\xfd\xe9"
    (message,) = read(record(16, subtype, asns + b"\0\0\0\1" + PEERS4 + build_keepalive()))
    assert isinstance(message, MessageRecord)
    assert (message.asn4, message.add_path, message.local) == (asn4, add_path, local)
    assert (message.peer.asn, message.peer.local_as) == (70000 if asn4 else 65002, 65001)
    assert (str(message.peer.address), str(message.peer.local_address)) == ("192.0.2.1", "192.0.2.2")
    assert (message.time_s, message.message) == (1000.0, build_keepalive())


def test_extended_timestamps_and_ipv6_peers(read: Read) -> None:
    body = (250_000).to_bytes(4, "big") + b"\xfd\xea\xfd\xe9\0\0\0\2" + HOP6.packed * 2 + b"\0\5\0\6"
    (change,) = read(record(17, 0, body))
    assert isinstance(change, StateChange)
    assert (change.time_s, change.peer.address, change.old, change.new) == (1000.25, HOP6, 5, 6)


def test_a_peer_table_and_its_ribs(read: Read) -> None:
    peers = bytes([10, 0, 0, 1]) + b"\0\4view\0\2"
    peers += b"\0" + bytes([1, 1, 1, 1]) + bytes([192, 0, 2, 1]) + b"\xfd\xe9"
    peers += b"\3" + bytes([2, 2, 2, 2]) + HOP6.packed + (70000).to_bytes(4, "big")
    entry = b"\0\1" + (77).to_bytes(4, "big") + len(BASE).to_bytes(2, "big") + BASE
    rib = b"\0\0\0\5" + b"\x0d\x0b\x0d" + b"\0\1" + entry
    table, first = read(record(13, 1, peers) + record(13, 2, rib))
    assert isinstance(table, PeerTable)
    assert isinstance(first, RibRecord)
    assert (table.view, [peer.asn for peer in table.peers], table.peers[1].address) == ("view", [65001, 70000], HOP6)
    assert (first.sequence, first.prefix) == (5, Prefix.parse("11.8.0.0/13"))
    assert first.entries == (RibEntry(1, 77, 0, BASE),)


@pytest.mark.parametrize(("subtype", "head"), [(10, b""), (12, b"\0\2\1")])
def test_ribs_with_path_identifiers(subtype: int, head: bytes, read: Read) -> None:
    body = b"\0\0\0\5" + head + b"\x20\x20\1\x0d\xb8" + b"\0\1" + bytes(6) + b"\0\0\0\x09" + b"\0\0"
    (rib,) = read(record(13, subtype, body))
    assert isinstance(rib, RibRecord)
    assert (rib.prefix, rib.entries[0].path_id) == (Prefix.parse("2001:db8::/32"), 9)


def test_what_is_not_ours_is_handed_on(read: Read) -> None:
    records = read(record(13, 6, b"\0\0\0\1\0\1\x80") + record(48, 0, b"x") + record(16, 99, b"") + record(13, 3, b""))
    assert [(type(r), r.kind, r.subtype) for r in records if isinstance(r, OtherRecord)] == [
        (OtherRecord, 13, 6),
        (OtherRecord, 48, 0),
        (OtherRecord, 16, 99),
        (OtherRecord, 13, 3),
    ]


@pytest.mark.parametrize("value", [b"\x10" + HOP6.packed, b"\0\2\1\x10" + HOP6.packed + b"\0\x20\x20\1\x0d\xb8"])
def test_the_next_hop_of_a_dump_becomes_that_of_a_block(value: bytes) -> None:
    """RFC 6396 s4.3.4 leaves AFI, SAFI and NLRI out; some writers don't."""
    entry = RibEntry(0, 0, 0, BASE + encode_attribute(Code.MP_REACH, value, 0x80))
    decoded = decode_attributes(entry.block(Family.IPV6), SessionKind(True, False, 1), mp=True)
    assert decoded.verdict is Verdict.ACCEPT
    assert decoded.attributes is not None
    assert decoded.attributes.next_hop == HOP6


BROKEN = {
    "half a header": record(16, 4, b"")[:-1],
    "half a body": record(16, 4, bytes(40))[:-1],
    "too short for its type": record(16, 4, bytes(9)),
    "AFI 3": record(16, 1, b"\0\1\0\2\0\0\0\3" + bytes(8)),
    "prefix of 33": record(13, 2, b"\0\0\0\0\x21" + bytes(5) + b"\0\0"),
    "an entry too many": record(13, 2, b"\0\0\0\0\0\0\2" + bytes(8)),
    "octets left over": record(13, 2, b"\0\0\0\0\0\0\0x"),
    "a record of 4 GiB": b"\0" * 8 + b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_records_say_where(name: str, read: Read) -> None:
    good = record(48, 0, b"abcd")
    with pytest.raises(WireError, match=r"made\.mrt: record 2, at octet 16 of the records"):
        read(good + BROKEN[name])


def test_records_before_a_broken_one_are_given(tmp_path: Path) -> None:
    path = tmp_path / "made.mrt"
    path.write_bytes(record(48, 0, b"") + b"x")
    records = read_mrt(path)
    assert isinstance(next(records), OtherRecord)
    with pytest.raises(WireError):
        next(records)


def test_progress_is_told_in_octets_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "made.mrt"
    path.write_bytes(record(48, 0, b"abcd") * 1024)
    told: list[int] = []
    assert len(list(read_mrt(path, told.append))) == 1024
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_files(pack: Callable[[bytes], bytes], read: Read) -> None:
    octets = record(48, 0, b"abcd") * 3
    assert len(read(pack(octets))) == 3
    with pytest.raises(WireError, match=r"made\.mrt"):
        read(pack(octets)[:-6])


@pytest.mark.parametrize(
    ("octets", "mend"),
    [
        (b"root:x:0:0:root:/root:/bin/bash", "a collector"),
        (b"\xfd7zXZ\0\0\4abcdefgh", "unpack it with xz"),
        (b"\x28\xb5\x2f\xfdabcdefghi", "unpack it with zstd"),
        (gzip.compress(b"root:x:0:0:root:/root:/bin/bash", mtime=0), "a collector"),
    ],
)
def test_a_file_that_is_something_else_is_told_as_such(read: Read, octets: bytes, mend: str) -> None:
    with pytest.raises(WireError, match=r"it is no MRT file; expected: MRT \(RFC 6396\)") as told:
        read(octets)
    assert mend in told.value.mend


def test_an_empty_file_has_no_records_and_a_missing_one_is_an_oserror(read: Read, tmp_path: Path) -> None:
    assert read(b"") == []
    with pytest.raises(FileNotFoundError):
        list(read_mrt(tmp_path / "no.mrt"))
