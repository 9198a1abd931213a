"""What comes out of the RIB: which prefixes got another next-hop group, and what was wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.tables import Ids, Lengths, Words
from bgpbridge.types import Family, Prefix, Verdict
from bgpbridge.wire.verdicts import Finding

__all__ = ["Applied", "Changes", "prefix_of"]


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
    old: np.ndarray[tuple[int], np.dtype[np.uint32]]
    new: np.ndarray[tuple[int], np.dtype[np.uint32]]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def none(cls, family: Family) -> Changes:
        """No change."""
        words = np.empty(0, np.uint64)
        groups = np.empty(0, np.uint32)
        return cls(family, np.empty(0, np.int64), words, words, np.empty(0, np.uint8), groups, groups)

    def __iter__(self) -> Iterator[tuple[Prefix, int, int]]:
        """(prefix, old group, new group) row by row: for logs and tests, not for bulk."""
        columns = (self.hi, self.lo, self.length, self.old, self.new)
        for hi, lo, length, old, new in zip(*(column.tolist() for column in columns), strict=True):
            yield prefix_of(self.family, hi, lo, length), old, new


@dataclass(slots=True)
class Applied:
    """What one UPDATE did (Rib.apply_one). `verdict` is the strongest one; SESSION_RESET and
    AFI_SAFI_DISABLE are for the caller to carry out. `short` is set when one of its families did not fit."""

    changes: tuple[Changes, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
    end_of_rib: Family | None = None
    verdict: Verdict = Verdict.ACCEPT
    short: CapacityError | None = None
