"""The tables of the datapath benches, and the destinations that go over them.

Prefixes have the lengths of a real table (`made.prefixes`), those of IPv6 also its allocations, and stand in random
order, so the first ten are as typical as all. A destination is an address drawn inside a prefix that is drawn first:
each alike (`random`), or the prefix at place n of the order with a weight of 1/n (`zipf`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.bench.made import prefixes
from bgpbridge.datapath.abi import GROUP_FIRST_FREE
from bgpbridge.fib.keys import U8, U32, U64, Rows
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family

__all__ = ["DRAWS", "GROUPS", "IPV6_ADDRESS", "Addresses", "Table", "first_group", "made_table"]

GROUPS = 16  # next hops; each prefix has one of them
DRAWS = ("random", "zipf")
ALLOCATED = 32  # the length of most IPv6 allocations
IPV6_ADDRESS = np.dtype([("hi", ">u8"), ("lo", ">u8")])
Addresses = npt.NDArray[Any]


def first_group(family: Family) -> int:
    """The families have groups of their own: the kernel has no nexthop for both."""
    return GROUP_FIRST_FREE if family is Family.IPV4 else GROUP_FIRST_FREE + GROUPS


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of prefixes with their groups. Row n of them is row n + 1 of the RIB."""

    family: Family
    hi: U64
    lo: U64
    length: U8
    group: U32

    def __len__(self) -> int:
        return len(self.lo)

    def changes(self, rows: Rows, *, old: int | U32 = 0, new: int | U32 | None = None) -> Changes:
        """These rows as a change of the Loc-RIB: by default as they appear in it."""
        taken = self.group[rows] if new is None else np.full(len(rows), new, np.uint32)
        before = np.full(len(rows), old, np.uint32)
        return Changes(self.family, rows + 1, self.hi[rows], self.lo[rows], self.length[rows], before, taken)

    def addresses(self, rows: Rows, random: np.random.Generator) -> Addresses:
        """One address inside the prefix of each row, in network order, as the programs take them."""
        length = self.length[rows].astype(np.uint64)
        if self.family is Family.IPV4:
            inside = random.integers(0, 1 << 32, len(rows), np.uint64) & (np.uint64(0xFFFFFFFF) >> length)
            four: Addresses = (self.lo[rows] | inside).astype(">u4")
            return four
        found = np.empty(len(rows), IPV6_ADDRESS)
        found["hi"] = self.hi[rows] | random.integers(0, 1 << 64, len(rows), np.uint64) >> length
        found["lo"] = random.integers(0, 1 << 64, len(rows), np.uint64)
        return found

    def destinations(self, count: int, draw: str, *, among: int, seed: int = 1) -> Addresses:
        """`count` addresses in the first `among` prefixes."""
        random = np.random.default_rng([seed, int(self.family)])
        if draw == "random":
            return self.addresses(random.integers(0, among, count), random)
        weight = np.cumsum(1 / np.arange(1, among + 1))
        return self.addresses(np.searchsorted(weight, random.random(count) * weight[-1]), random)

    def of_group(self, group: int, count: int) -> Addresses:
        """`count` addresses in the prefixes of one group."""
        random = np.random.default_rng([2, int(self.family)])
        return self.addresses(random.choice(np.flatnonzero(self.group == group), count), random)


def made_table(family: Family, count: int) -> Table:
    """`count` prefixes; groups go round."""
    random = np.random.default_rng([1, int(family)])
    if family is Family.IPV4:
        value, length = prefixes(count, family, random)
    else:
        value, length = _allocated(count, random)
    none = np.zeros(count, np.uint64)
    hi, lo = (none, value) if family is Family.IPV4 else (value, none)
    group = (np.arange(count) % GROUPS + first_group(family)).astype(np.uint32)
    return Table(family, hi, lo, length, group)


def _allocated(count: int, random: np.random.Generator) -> tuple[U64, U8]:
    """IPv6 as it is given out: what is longer than a /32 lies in an allocation that stands in the table too, and some
    have many more of them than others. Strewn evenly, no two of 220,000 would share more than their first bits."""
    value, length = prefixes(count + count // 5 + 64, Family.IPV6, random)
    parents = np.flatnonzero(length <= ALLOCATED)
    inside = np.flatnonzero(length > ALLOCATED)
    # squared: the first hundredth of the allocations has a tenth of the prefixes
    chosen = parents[(random.random(len(inside)) ** 2 * len(parents)).astype(np.int64)]
    value[inside] = value[chosen] | value[inside] & np.uint64((1 << 64 - ALLOCATED) - 1)
    _, first = np.unique(value | length, return_index=True)  # no prefix is longer than 48 bits
    kept = np.sort(first)[:count]
    return value[kept], length[kept]
