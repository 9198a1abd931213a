"""Validated ROA payloads (VRPs) as columns, and what RFC 6811 says about routes: valid, invalid or not found.

A VRP says: this AS may originate this prefix, and what lies in it down to a maximum length. A route is valid when one
VRP covers it, allows its length and names its origin; invalid when VRPs cover it and none of them does that; not found
when none covers it. A VRP for AS 0 names nobody (RFC 6483 s4, RFC 7607 s2): it only makes invalid.

The origin of a route is a number that the caller gives. 0 stands for NONE (a path that ends with an AS_SET), which no
VRP names; for an empty path, or one that ends in a confederation segment, it is the router's own AS (RFC 6811 s2).

Tables do not change. A new one says against the old one under which prefixes something changed, so that only those
routes are judged again.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bgpbridge.rpki.forest import Lengths, PrefixForest, Rows, Words
from bgpbridge.types import Family, Prefix

__all__ = ["Asns", "States", "Validity", "Vrp", "VrpColumns", "VrpTable"]

Asns = npt.NDArray[np.uint32]
States = npt.NDArray[np.uint8]
LOW64 = (1 << 64) - 1
MANY = 1024


class Validity(enum.IntEnum):
    """What is known of a route's origin, numbered as in RFC 8097 s2."""

    VALID = 0
    NOT_FOUND = 1
    INVALID = 2

    @property
    def label(self) -> str:
        """The word in policy files, JSON and metrics."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True, order=True)
class Vrp:
    """One payload: `asn` may originate `prefix` and what lies in it, down to `max_length`."""

    prefix: Prefix
    max_length: int
    asn: int

    def __str__(self) -> str:
        return f"{self.prefix} max {self.max_length} AS{self.asn}"


@dataclass(frozen=True, slots=True, eq=False)
class VrpColumns:
    """Payloads of one family, sorted by (hi, lo, length, asn, max_length), none twice. An IPv4 address is in `lo`."""

    family: Family
    hi: Words
    lo: Words
    length: Lengths
    max_length: Lengths
    asn: Asns

    @classmethod
    def make(cls, family: Family, hi: Words, lo: Words, length: Lengths, max_length: Lengths, asn: Asns) -> Self:
        """From columns in any order, with any number of copies."""
        order = np.lexsort((max_length, asn, length, lo, hi))
        columns: list[Any] = [column.take(order) for column in (hi, lo, length, max_length, asn)]
        fresh = np.flatnonzero(_differs(columns))
        return cls(family, *(column.take(fresh) for column in columns))

    @classmethod
    def of(cls, family: Family, vrps: Iterable[Vrp]) -> Self:
        """From values; those of the other family are left out."""
        rows = [(v.prefix.value, v.prefix.length, v.max_length, v.asn) for v in vrps if v.prefix.family is family]
        return cls.make(
            family,
            np.array([row[0] >> 64 for row in rows], np.uint64),
            np.array([row[0] & LOW64 for row in rows], np.uint64),
            np.array([row[1] for row in rows], np.uint8),
            np.array([row[2] for row in rows], np.uint8),
            np.array([row[3] for row in rows], np.uint32),
        )

    @classmethod
    def union(cls, family: Family, parts: Iterable[VrpColumns]) -> Self:
        """All payloads of several sources."""
        columns = [cls.of(family, ()), *parts]
        names = ("hi", "lo", "length", "max_length", "asn")
        return cls.make(family, *(np.concatenate([getattr(part, name) for part in columns]) for name in names))

    def __len__(self) -> int:
        return len(self.asn)


class VrpTable:
    """All payloads that count now. `columns` needs not name both families."""

    def __init__(self, columns: Mapping[Family, VrpColumns] | None = None) -> None:
        given = columns or {}
        self.columns = {family: given.get(family) or VrpColumns.of(family, ()) for family in Family}
        self._index = {family: _Index(part) for family, part in self.columns.items()}

    @classmethod
    def of(cls, vrps: Iterable[Vrp]) -> Self:
        """From values."""
        listed = list(vrps)
        return cls({family: VrpColumns.of(family, listed) for family in Family})

    def __len__(self) -> int:
        return sum(map(len, self.columns.values()))

    def validate(self, family: Family, hi: Words, lo: Words, length: Lengths, origin_as: Asns) -> States:
        """The Validity of many routes of one family, by their prefixes and origins (0 = NONE)."""
        return self._index[family].validate(hi, lo, length, origin_as)

    def validate_one(self, prefix: Prefix, origin_as: int) -> Validity:
        """The same for one route, from the payloads that `covering` names."""
        covering = self.covering(prefix)
        if not covering:
            return Validity.NOT_FOUND
        named = any(vrp.asn == origin_as != 0 and prefix.length <= vrp.max_length for vrp in covering)
        return Validity.VALID if named else Validity.INVALID

    def covering(self, prefix: Prefix) -> list[Vrp]:
        """The payloads that cover a prefix, most specific first: what a verdict rests on."""
        return self._index[prefix.family].covering(prefix)

    def changed_since(self, old: VrpTable, family: Family) -> PrefixForest:
        """The prefixes whose payloads came or went. A route may have another state only if one `covers` it."""
        mine, theirs = self.columns[family], old.columns[family]
        names = ("hi", "lo", "length", "asn", "max_length")
        rows = [np.concatenate([getattr(mine, name), getattr(theirs, name)]) for name in names]
        order = np.lexsort(rows[::-1])
        rows = [column.take(order) for column in rows]
        fresh = _differs(rows)
        lonely = np.flatnonzero(fresh & np.append(fresh[1:], np.ones(len(fresh[:1]), np.bool_)))
        prefixes = [column.take(lonely) for column in rows[:3]]
        distinct = np.flatnonzero(_differs(prefixes))
        hi, lo, length = (column.take(distinct) for column in prefixes)
        return PrefixForest(family, hi, lo, length)


class _Index:
    """One family's payloads by prefix, and for each (prefix row, AS) the longest length that it allows."""

    def __init__(self, vrps: VrpColumns) -> None:
        self.vrps = vrps
        fresh = _differs([vrps.hi, vrps.lo, vrps.length])
        first = np.flatnonzero(fresh)
        self.forest = PrefixForest(vrps.family, vrps.hi.take(first), vrps.lo.take(first), vrps.length.take(first))
        self._first = np.append(first, len(vrps))
        rows = np.cumsum(fresh).astype(np.uint64) - np.uint64(1) if len(vrps) else np.zeros(0, np.uint64)
        keys = _by_as(rows, vrps.asn)
        last = np.flatnonzero(np.append(keys[1:] != keys[:-1], np.ones(len(keys[:1]), np.bool_)))
        self._keys = keys.take(last)
        self._longest = vrps.max_length.take(last)  # sorted by max_length within one AS

    def validate(self, hi: Words, lo: Words, length: Lengths, origin_as: Asns) -> States:
        """In the order of addresses where there are many: searches that stay near one another are three times as
        quick."""
        if len(lo) < MANY:
            return self._validate(hi, lo, length, origin_as)
        order = np.argsort(hi if self.forest.family is Family.IPV6 else lo)
        states = np.empty(len(lo), np.uint8)
        states[order] = self._validate(hi.take(order), lo.take(order), length.take(order), origin_as.take(order))
        return states

    def _validate(self, hi: Words, lo: Words, length: Lengths, origin_as: Asns) -> States:
        at = self.forest.deepest(hi, lo, length)
        states = np.where(at >= 0, Validity.INVALID, Validity.NOT_FOUND).astype(np.uint8)
        left = np.flatnonzero((at >= 0) & (origin_as != 0))
        while len(left):
            named = self._allows(at.take(left), length.take(left), origin_as.take(left))
            states[left.compress(named)] = Validity.VALID
            left = left.compress(~named)
            at[left] = self.forest.parent.take(at.take(left))
            left = left.compress(at.take(left) >= 0)
        return states

    def covering(self, prefix: Prefix) -> list[Vrp]:
        hi, lo = np.array([prefix.value >> 64], np.uint64), np.array([prefix.value & LOW64], np.uint64)
        row = int(self.forest.deepest(hi, lo, np.array([prefix.length], np.uint8))[0])
        found: list[Vrp] = []
        while row >= 0:
            found += [self._vrp(number) for number in range(self._first[row], self._first[row + 1])]
            row = int(self.forest.parent[row])
        return found

    def _allows(self, rows: Rows, length: Lengths, asn: Asns) -> npt.NDArray[np.bool_]:
        wanted = _by_as(rows.astype(np.uint64), asn)
        at = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        allows: npt.NDArray[np.bool_] = (self._keys.take(at) == wanted) & (self._longest.take(at) >= length)
        return allows

    def _vrp(self, number: int) -> Vrp:
        vrps = self.vrps
        value = int(vrps.hi[number]) << 64 | int(vrps.lo[number])
        prefix = Prefix(vrps.family, value, int(vrps.length[number]))
        return Vrp(prefix, int(vrps.max_length[number]), int(vrps.asn[number]))


def _by_as(rows: Words, asn: Asns) -> Words:
    return rows << np.uint64(32) | asn


def _differs(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Of sorted rows: which are not the same as the one before."""
    fresh = np.zeros(len(columns[0]), np.bool_)
    fresh[:1] = True
    for column in columns:
        fresh[1:] |= column[1:] != column[:-1]
    return fresh
