"""Feeds: tables as the octets of the UPDATEs that announce them, made from a seed or read from an MRT file.

A made table (bgpbridge/bench/made.py) has 3 or 4 prefixes to an UPDATE where nothing else is asked for, an AS path of
its own for each. The same seed gives the same octets on any machine.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgpbridge.bench.made import Values, prefixes
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.message import MessageType, build_update
from bgpbridge.wire.mrt import MessageRecord, read_mrt
from bgpbridge.wire.nlri import encode_nlri

__all__ = ["Feed", "Origin", "made", "replayed", "update", "withdrawal"]


TOGETHER = (3, 4)  # prefixes to an UPDATE


@dataclass(frozen=True, slots=True)
class Origin:
    """Who announces a made feed: its AS (0: an internal peer, no AS in front), next hop, extra path length."""

    asn: int
    next_hop: IPAddress
    longer: int = 0


@dataclass(frozen=True, slots=True)
class Feed:
    """`octets` are whole UPDATEs back to back; `value` (IPv6: the first 64 bits) and `length` are the prefixes
    in their order. Prefixes are distinct."""

    family: Family
    octets: bytes
    updates: int
    value: Values
    length: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.value)

    def prefix(self, row: int) -> Prefix:
        """One prefix."""
        value = int(self.value[row]) << (64 if self.family is Family.IPV6 else 0)
        return Prefix(self.family, value, int(self.length[row]))

    def alone(self, count: int) -> list[IPAddress]:
        """`count` addresses along the whole feed, the last one near its end: each lies in exactly one prefix, so
        whether it is forwarded tells of that prefix and of no other."""
        lengths = sorted({int(length) for length in self.length})
        known = {length: set(self.value[self.length == length].tolist()) for length in lengths}
        found: dict[int, IPAddress] = {}
        for last in np.linspace(len(self) - 1, 0, count, dtype=np.int64).tolist():
            rows = itertools.chain(range(last, -1, -1), range(last + 1, len(self)))
            row = next((row for row in rows if row not in found and self._is_alone(row, known)), None)
            if row is not None:
                found[row] = self._inside(row)
        return [found[row] for row in sorted(found)]

    def _inside(self, row: int) -> IPAddress:
        """The second address of a prefix, or its only one."""
        return self.prefix(row).address + (1 if self.length[row] < self.family.bits else 0)

    def _is_alone(self, row: int, known: dict[int, set[int]]) -> bool:
        address = int(self._inside(row)) >> (64 if self.family is Family.IPV6 else 0)
        width, own = min(self.family.bits, 64), int(self.length[row])
        return not any(
            address >> width - length << width - length in there for length, there in known.items() if length != own
        )


# --- made feeds ----------------------------------------------------------------------------------------------


def made(
    count: int,
    origin: Origin,
    *,
    family: Family = Family.IPV4,
    seed: int = 1,
    together: tuple[int, int] = TOGETHER,
) -> Feed:
    """A table of `count` prefixes, so many of them `together` in an UPDATE (bounds, both included). Two feeds of one
    seed and family announce the same prefixes in the same UPDATEs, whoever their origins are."""
    random = np.random.default_rng([seed, int(family)])
    value, length = prefixes(count, family, random)
    cuts = _cuts(count, together, random)
    paths = random.integers(1000, 60000, (len(cuts) - 1, 5), dtype=np.int64)
    hops = random.integers(2, 6, len(cuts) - 1)
    nlri = _encoded(value, length, family)
    parts = []
    for number, (first, after) in enumerate(itertools.pairwise(cuts)):
        path = tuple(paths[number, : hops[number]].tolist())
        parts.append(update(family, b"".join(nlri[first:after]), origin, path))
    return Feed(family, b"".join(parts), len(parts), value, length)


def _cuts(count: int, together: tuple[int, int], random: np.random.Generator) -> list[int]:
    """Where each UPDATE begins."""
    fewest, most = together
    steps = np.cumsum(random.integers(fewest, most + 1, count // fewest + 1))
    inner: list[int] = steps[steps < count].tolist()
    return [0, *inner, count]


def _encoded(value: Values, length: NDArray[np.uint8], family: Family) -> list[bytes]:
    """Each prefix as NLRI (RFC 4271 s4.3): its length, and as many octets as that needs."""
    octets = value.astype(">u4" if family is Family.IPV4 else ">u8").tobytes()
    width = 4 if family is Family.IPV4 else 8
    rows = zip(range(0, len(octets), width), length.tolist(), strict=True)
    return [bytes([bits]) + octets[at : at + (bits + 7 >> 3)] for at, bits in rows]


def update(family: Family, nlri: bytes, origin: Origin, path: tuple[int, ...] = ()) -> bytes:
    """An UPDATE that announces encoded NLRI with a plain set of attributes."""
    asns = (*((origin.asn,) * (1 + origin.longer) if origin.asn else ()), *path)
    attributes = b"\x40\x01\x01\x00" + struct.pack("!BBBBB", 0x40, 2, 2 + 4 * len(asns) if asns else 0, 2, len(asns))
    if not asns:
        attributes = attributes[:-2]
    attributes += struct.pack(f"!{len(asns)}I", *asns)
    hop = origin.next_hop.packed
    if family is Family.IPV4:
        attributes += b"\x40\x03\x04" + hop
    if not origin.asn:
        attributes += b"\x40\x05\x04" + (100).to_bytes(4, "big")
    if family is Family.IPV4:
        return build_update(attributes, nlri)
    reach = struct.pack("!HBB", family, 1, len(hop)) + hop + b"\0" + nlri
    return build_update(b"\x90\x0e" + len(reach).to_bytes(2, "big") + reach + attributes)


def withdrawal(prefix: Prefix) -> bytes:
    """An UPDATE that withdraws one IPv4 prefix."""
    return build_update(withdrawn=encode_nlri([(prefix, 0)]))


# --- recorded feeds --------------------------------------------------------------------------------------------


def replayed(path: Path) -> Iterator[bytes]:
    """The UPDATE messages that a collector received, in their order. Raises WireError."""
    for record in read_mrt(path):
        if isinstance(record, MessageRecord) and not record.local and record.message[18] == MessageType.UPDATE:
            yield record.message
