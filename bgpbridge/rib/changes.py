"""What comes out of the RIB: which prefixes got another next-hop group, and what was wrong on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.tables import Ids, Lengths, Words
from bgpbridge.types import Family, Prefix, Verdict
from bgpbridge.wire.verdicts import Finding

__all__ = ["Applied", "Changes", "FewChanges", "Move", "prefix_of"]

Groups = np.ndarray[tuple[int], np.dtype[np.uint32]]
Move = tuple[int, int, int, int, int, int]
"""One prefix with another group: row, hi, lo, length, old, new; see `Changes`."""


def prefix_of(family: Family, hi: int, lo: int, length: int) -> Prefix:
    """The value of one row's columns (an IPv4 address stands in `lo`)."""
    return Prefix(family, (hi << 64) | lo if family is Family.IPV6 else lo, length)


@dataclass(slots=True)
class Changes:
    """Prefixes whose group changed, one row each, no row twice. `old` and `new` are group ids, 0 = no
    route; the members of `new` stand in the GroupTable. `hi`, `lo`, `length` spell the prefix (IPv4: in
    `lo`). May be empty: every value that a generator of the Rib yields marks a point where it can wait."""

    family: Family
    rows: Ids
    hi: Words
    lo: Words
    length: Lengths
    old: Groups
    new: Groups

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def none(cls, family: Family) -> Changes:
        """No change."""
        words = np.empty(0, np.uint64)
        groups = np.empty(0, np.uint32)
        return cls(family, np.empty(0, np.int64), words, words, np.empty(0, np.uint8), groups, groups)

    @classmethod
    def of(cls, family: Family, moves: Iterable[Move]) -> Changes:
        """The columns of a few moves."""
        columns = list(zip(*moves, strict=True)) or [()] * 6
        rows, hi, lo, length, old, new = columns
        return cls(
            family,
            np.array(rows, np.int64),
            np.array(hi, np.uint64),
            np.array(lo, np.uint64),
            np.array(length, np.uint8),
            np.array(old, np.uint32),
            np.array(new, np.uint32),
        )

    def __iter__(self) -> Iterator[tuple[Prefix, int, int]]:
        """(prefix, old group, new group) row by row: for logs and tests, not for bulk."""
        columns = (self.hi, self.lo, self.length, self.old, self.new)
        for hi, lo, length, old, new in zip(*(column.tolist() for column in columns), strict=True):
            yield prefix_of(self.family, hi, lo, length), old, new


@dataclass(slots=True)
class FewChanges:
    """What `Changes` says, of the few prefixes of a single UPDATE, as plain integers: packets wait for these, and
    making seven arrays takes longer than writing the route. The columns are made when somebody asks for them."""

    family: Family
    moves: list[Move]
    _columns: Changes | None = None

    def __len__(self) -> int:
        return len(self.moves)

    def __iter__(self) -> Iterator[tuple[Prefix, int, int]]:
        """(prefix, old group, new group) one by one."""
        for _, hi, lo, length, old, new in self.moves:
            yield prefix_of(self.family, hi, lo, length), old, new

    def columns(self) -> Changes:
        """The same as columns."""
        if self._columns is None:
            self._columns = Changes.of(self.family, self.moves)
        return self._columns

    @property
    def rows(self) -> Ids:
        """As in `Changes`."""
        return self.columns().rows

    @property
    def hi(self) -> Words:
        """As in `Changes`."""
        return self.columns().hi

    @property
    def lo(self) -> Words:
        """As in `Changes`."""
        return self.columns().lo

    @property
    def length(self) -> Lengths:
        """As in `Changes`."""
        return self.columns().length

    @property
    def old(self) -> Groups:
        """As in `Changes`."""
        return self.columns().old

    @property
    def new(self) -> Groups:
        """As in `Changes`."""
        return self.columns().new


@dataclass(slots=True)
class Applied:
    """What one UPDATE did (Rib.apply_one). `verdict` is the strongest one; SESSION_RESET and
    AFI_SAFI_DISABLE are for the caller to carry out. `short` is set when one of its families did not fit."""

    changes: tuple[Changes | FewChanges, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
    end_of_rib: Family | None = None
    verdict: Verdict = Verdict.ACCEPT
    short: CapacityError | None = None
