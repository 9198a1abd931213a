"""MRT files, record by record: RFC 6396, RFC 8050 (ADD-PATH), plain, gzip or bzip2.

Gives BGP messages of collectors (BGP4MP, BGP4MP_ET) and table dumps (TABLE_DUMP_V2). Reads as a stream:
one record is in memory at a time. Raises WireError, with the place in the file, where a record is not
what its header says.
"""

from __future__ import annotations

import bz2
import gzip
import ipaddress
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from bgpbridge.errors import WireError
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.attributes import EXTENDED_LENGTH, OPTIONAL, Code, frame_attributes
from bgpbridge.wire.cursor import Cursor

__all__ = [
    "MessageRecord",
    "MrtPeer",
    "OtherRecord",
    "PeerTable",
    "Record",
    "RibEntry",
    "RibRecord",
    "StateChange",
    "TablePeer",
    "read_mrt",
]

LARGEST_RECORD = 16 << 20  # octets; a RIB record of a thousand peers has about one million
RECORDS_A_STEP = 256
_TABLE_DUMP_V2, _BGP4MP, _BGP4MP_ET = 13, 16, 17
TYPES = frozenset({*range(14), 16, 17, 32, 33, 48, 49})  # RFC 6396 s4 and s5, IANA
UNPACKED_BY = {b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "unzip"}


@dataclass(frozen=True, slots=True)
class MrtPeer:
    """The two ends of a session that a collector recorded. Times are seconds since 1970."""

    asn: int
    address: IPAddress
    local_as: int
    local_address: IPAddress


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One BGP message. `asn4` and `add_path` say how its attributes and NLRI are encoded; `local` that
    the collector sent it."""

    time_s: float
    peer: MrtPeer
    message: bytes
    asn4: bool
    add_path: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True)
class StateChange:
    """The FSM of a session: 1 Idle, 2 Connect, 3 Active, 4 OpenSent, 5 OpenConfirm, 6 Established."""

    time_s: float
    peer: MrtPeer
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class TablePeer:
    """A peer of a table dump."""

    router_id: ipaddress.IPv4Address
    address: IPAddress
    asn: int


@dataclass(frozen=True, slots=True)
class PeerTable:
    """PEER_INDEX_TABLE: RibEntry.peer is an index into `peers`."""

    time_s: float
    collector: ipaddress.IPv4Address
    view: str
    peers: tuple[TablePeer, ...]


@dataclass(frozen=True, slots=True)
class RibEntry:
    """One peer's route. AS numbers in `attributes` are of four octets (RFC 6396 s4.3.4)."""

    peer: int
    originated_s: int
    path_id: int
    attributes: bytes

    def block(self, family: Family) -> bytes:
        """The canonical attribute block: MP_REACH_NLRI, which a dump holds as a next hop alone, is
        written as in `attributes`."""
        frames, _ = frame_attributes(self.attributes, 0, len(self.attributes))
        out = bytearray()
        position = 0
        for header, _, code, start, end in frames:
            if code != Code.MP_REACH or end == start:
                continue
            value = self.attributes[start:end]
            if value[0] != len(value) - 1:  # some write the attribute in full
                value = value[3 : 4 + value[3]] if len(value) > 3 else b"\0"
            kept = int(family).to_bytes(2, "big") + b"\1" + value
            out += self.attributes[position:header] + bytes([OPTIONAL | EXTENDED_LENGTH, code, 0, len(kept)]) + kept
            position = end
        return bytes(out) + self.attributes[position:]


@dataclass(frozen=True, slots=True)
class RibRecord:
    """All peers' routes to one unicast prefix."""

    time_s: float
    sequence: int
    prefix: Prefix
    entries: tuple[RibEntry, ...]


@dataclass(frozen=True, slots=True)
class OtherRecord:
    """A type or subtype that means nothing to us."""

    time_s: float
    kind: int
    subtype: int
    data: bytes


Record = MessageRecord | StateChange | PeerTable | RibRecord | OtherRecord


def read_mrt(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[Record]:
    """The records of a file, in its order. `progress` is told now and then how many octets of the file, packed
    as it is, have been read. Raises WireError; OSError where the file cannot be opened."""
    place = number = 0
    with path.open("rb") as file, _unpacked(file) as stream:
        try:
            while header := _exactly(stream, 12, at_end=True):
                if not number and int.from_bytes(header[4:6], "big") not in TYPES:
                    raise _AnotherFormatError(file)
                body = _exactly(stream, int.from_bytes(header[8:12], "big"))
                yield _record(header, body)
                place += 12 + len(body)
                number += 1
                if progress is not None and not number % RECORDS_A_STEP:
                    progress(file.tell())
        except (WireError, EOFError, zlib.error, OSError) as wrong:
            if isinstance(wrong, OSError) and wrong.errno:  # the disk, not what is on it
                raise
            if isinstance(wrong, _AnotherFormatError):
                raise WireError(f"{path}: {wrong}", mend=wrong.mend) from wrong
            mend = "the records before it are good; fetch or write the file again for the rest"
            raise WireError(
                f"{path}: record {number + 1}, at octet {place} of the records: {wrong}",
                mend=mend if number else "nothing of it can be used; fetch or write the file again",
            ) from wrong


def _unpacked(file: BinaryIO) -> BinaryIO:
    """The file, unpacked by what its first octets say."""
    magic = file.read(3)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return cast("BinaryIO", gzip.open(file))
    return cast("BinaryIO", bz2.open(file)) if magic == b"BZh" else file


class _AnotherFormatError(WireError):
    """A file that does not begin with a record; packed otherwise, perhaps."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        start = file.read(6)
        tool = next((tool for magic, tool in UNPACKED_BY.items() if start.startswith(magic)), "")
        mend = f"unpack it with {tool} first" if tool else "name what a collector or `bgpbridge record` has written"
        super().__init__("it is no MRT file; expected: MRT (RFC 6396), plain, gzip or bzip2", mend=mend)

    def __str__(self) -> str:
        return self.what


def _exactly(stream: BinaryIO, octets: int, *, at_end: bool = False) -> bytes:
    """So many octets; none where the file may end and does."""
    if octets > LARGEST_RECORD:
        raise WireError(f"a record of {octets} octets; at most {LARGEST_RECORD} are expected")
    data = stream.read(octets)
    if len(data) != octets and (data or not at_end):
        raise WireError(f"the file ends {octets - len(data)} octets into a record")
    return data


def _record(header: bytes, body: bytes) -> Record:
    """One record."""
    cursor = Cursor(header)
    time_s, kind, subtype = float(cursor.u32()), cursor.u16(), cursor.u16()
    cursor = Cursor(body)
    if kind == _BGP4MP_ET:
        time_s += cursor.u32() / 1e6
    if kind in {_BGP4MP, _BGP4MP_ET} and subtype in {0, 1, 4, 5, 6, 7, 8, 9, 10, 11}:
        return _bgp4mp(cursor, subtype, time_s)
    if kind == _TABLE_DUMP_V2 and subtype == 1:
        return _peer_table(cursor, time_s)
    if kind == _TABLE_DUMP_V2 and subtype in {2, 4, 6, 8, 10, 12}:
        rib = _rib(cursor, subtype, time_s)
        if rib:
            return rib
    return OtherRecord(time_s, kind, subtype, body)


def _bgp4mp(cursor: Cursor, subtype: int, time_s: float) -> MessageRecord | StateChange:
    """RFC 6396 s4.4, RFC 8050 s3."""
    asn4 = subtype in {4, 5, 7, 9, 11}
    width = 4 if asn4 else 2
    peer_as, local_as = cursor.integer(width), cursor.integer(width)
    cursor.u16()  # interface index
    version = cursor.u16()
    peer = MrtPeer(peer_as, _address(cursor, version), local_as, _address(cursor, version))
    if subtype in {0, 5}:
        return StateChange(time_s, peer, cursor.u16(), cursor.u16())
    local = subtype in {6, 7, 10, 11}
    return MessageRecord(time_s, peer, cursor.rest(), asn4, subtype in {8, 9, 10, 11}, local)


def _address(cursor: Cursor, afi: int) -> IPAddress:
    """An address of an AFI."""
    if afi == 1:
        return ipaddress.IPv4Address(cursor.take(4))
    if afi == 2:
        return ipaddress.IPv6Address(cursor.take(16))
    raise WireError(f"address family {afi}; 1 or 2 expected")


def _peer_table(cursor: Cursor, time_s: float) -> PeerTable:
    """RFC 6396 s4.3.1."""
    collector = ipaddress.IPv4Address(cursor.take(4))
    view = cursor.take(cursor.u16()).decode("utf-8", "replace")
    peers = []
    for _ in range(cursor.u16()):
        kind = cursor.u8()
        router_id = ipaddress.IPv4Address(cursor.take(4))
        address = _address(cursor, 2 if kind & 1 else 1)
        peers.append(TablePeer(router_id, address, cursor.integer(4 if kind & 2 else 2)))
    return PeerTable(time_s, collector, view, tuple(peers))


def _rib(cursor: Cursor, subtype: int, time_s: float) -> RibRecord | None:
    """RFC 6396 s4.3.2, s4.3.3, RFC 8050 s4. None for a family that is not ours."""
    sequence = cursor.u32()
    if subtype in {6, 12}:
        afi, safi = cursor.u16(), cursor.u8()
    else:
        afi, safi = (1 if subtype in {2, 8} else 2), 1
    if afi not in {1, 2} or safi != 1:
        return None
    family = Family(afi)
    length = cursor.u8()
    if length > family.bits:
        raise WireError(f"prefix length {length} of {family.label}")
    octets = cursor.take(length + 7 >> 3)
    prefix = Prefix.make(family, int.from_bytes(octets.ljust(family.octets, b"\0"), "big"), length)
    entries = []
    for _ in range(cursor.u16()):
        peer, originated = cursor.u16(), cursor.u32()
        path_id = cursor.u32() if subtype in {8, 10, 12} else 0
        entries.append(RibEntry(peer, originated, path_id, cursor.take(cursor.u16())))
    cursor.finish()
    return RibRecord(time_s, sequence, prefix, tuple(entries))
