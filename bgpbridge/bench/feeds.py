"""Feeds: tables as the octets of the UPDATEs that announce them, made from a seed or read from an MRT file.

A made table has the prefix lengths of a real one (RIPE RIS 2015; for IPv6 the shares that public tables show),
3 or 4 prefixes to an UPDATE where nothing else is asked for, an AS path of its own for each. The same seed gives the
same octets on any machine.
"""

from __future__ import annotations

import ipaddress
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.message import MessageType, build_update
from bgpbridge.wire.mrt import MessageRecord, read_mrt
from bgpbridge.wire.nlri import encode_nlri

__all__ = ["Feed", "Origin", "made", "prefixes", "replayed", "update", "withdrawal"]

Values = NDArray[np.uint64]

# Prefixes by length in mrt/full-table-2015 of RIPE RIS; those beyond /24 are 1.5% of it.
# fmt: off
IPV4_LENGTHS = dict(zip((*range(8, 31), 32), (
    18, 13, 35, 97, 262, 504, 1017, 1787, 13048, 7464, 12618, 25658, 37165, 39481, 63433, 54283, 311978,
    706, 325, 425, 490, 1551, 1703, 3651), strict=True))
# fmt: on
IPV6_LENGTHS = {29: 30, 32: 160, 36: 50, 40: 90, 42: 20, 44: 120, 45: 20, 46: 40, 47: 30, 48: 440}
TOGETHER = (3, 4)  # prefixes to an UPDATE
# Never in a made feed: what labs, hosts and collectors use for themselves.
IPV4_KEPT_OUT = ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12")
IPV4_KEPT_OUT_TOO = ("192.0.0.0/8", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3")


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
        found: list[IPAddress] = []
        for last in np.linspace(len(self) - 1, 0, count, dtype=np.int64).tolist():
            row = next((row for row in range(last, -1, -1) if self._is_alone(row, known)), None)
            if row is not None:
                found.append(self._inside(row))
        return list(dict.fromkeys(reversed(found)))

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


def prefixes(count: int, family: Family, random: np.random.Generator) -> tuple[Values, NDArray[np.uint8]]:
    """Distinct prefixes in random order, by the shares of the family's table of lengths."""
    shares = IPV4_LENGTHS if family is Family.IPV4 else IPV6_LENGTHS
    total = sum(shares.values())
    values, lengths = [], []
    missing = count
    for length in sorted(shares):
        wanted = missing if length == max(shares) else min(missing, round(count * shares[length] / total))
        drawn = _drawn(wanted, length, family, random)
        values.append(drawn)
        lengths.append(np.full(len(drawn), length, np.uint8))
        missing -= len(drawn)
    order = random.permutation(sum(map(len, values)))
    return np.concatenate(values).take(order), np.concatenate(lengths).take(order)


def _drawn(count: int, length: int, family: Family, random: np.random.Generator) -> Values:
    """`count` distinct prefixes of one length (fewer where the space is too small)."""
    width = 32 if family is Family.IPV4 else 64
    low, high = (1 << 24, 224 << 24) if family is Family.IPV4 else (0x2400 << 48, 0x2C10 << 48)
    step = width - length
    numbers = random.integers(low >> step, high >> step, count * 3 // 2 + 64, dtype=np.uint64)
    values = numbers << np.uint64(step)
    if family is Family.IPV4:
        values = values[~_kept_out(values, length)]
    _, first = np.unique(values, return_index=True)
    return values.take(np.sort(first)[:count])


def _kept_out(values: Values, length: int) -> NDArray[np.bool_]:
    """Those that touch a range that is not for feeds."""
    mask = np.zeros(len(values), np.bool_)
    last = values | np.uint64((1 << 32 - length) - 1)
    for text in (*IPV4_KEPT_OUT, *IPV4_KEPT_OUT_TOO):
        network = ipaddress.IPv4Network(text)
        mask |= (values <= int(network.broadcast_address)) & (last >= int(network.network_address))
    return mask


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
