"""Two tables held against each other for every address, and what excuses a difference. Pure.

What is compared was read while routing went on, so a difference may have a reason. A route that changed meanwhile
(`moving`), or that a plane refuses, excuses the addresses about which it decides, or would: not those that have a
longer route which stood still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bgpbridge.fib.keys import U32, Keys, KeyTable, Rows
from bgpbridge.fib.ranges import Ranges, ranges_of, together
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["DIVERGENT", "PENDING", "REFUSED", "RIGHT", "Compared", "clipped", "excuses"]

STRETCH = 8192  # pieces that are compared at a time
RIGHT, DIVERGENT, PENDING, REFUSED = range(4)


@dataclass(frozen=True, slots=True)
class Compared:
    """Addresses in pieces, each with its state as value, what is said there and what should be."""

    pieces: Ranges
    have: U32
    want: U32

    @classmethod
    def of(cls, have: Ranges, want: Ranges) -> Compared:
        """Where two tables say the same is one piece up to the next difference."""
        parts = [_beside(have.part(mine), want.part(its)) for mine, its in _stretches(have, want)]
        pieces = Ranges.joined_up([pieces for pieces, _, _ in parts])
        mine, its = (np.concatenate([part[column] for part in parts]) for column in (1, 2))
        wrong = mine != its
        kept = np.ones(len(wrong), np.bool_)
        kept[1:] = wrong[1:] | wrong[:-1]
        which = np.flatnonzero(kept)
        return cls(pieces.valued(wrong.astype(np.uint32)).take(which), mine[which], its[which])

    @classmethod
    def same(cls, family: Family) -> Compared:
        """No difference."""
        nothing = np.zeros(1, np.uint32)
        return cls(Ranges.whole(family, RIGHT), nothing, nothing)

    def excused(self, why: Ranges) -> Compared:
        """The same, with a reason (`excuses`) for what has one."""
        if not self.pieces.value.any() or not why.value.any():
            return self
        numbers = self.pieces.valued(np.arange(len(self.pieces), dtype=np.uint32))
        pieces, (number, reason) = together([numbers, why])
        state = self.pieces.value[number]
        state = np.where((state == DIVERGENT) & (reason != 0), reason, state).astype(np.uint32)
        return Compared(pieces.valued(state), self.have[number], self.want[number])

    def only(self, which: Rows) -> Compared:
        """The same, with no other differences than these pieces."""
        kept = np.unique(np.concatenate([np.zeros(1, np.int64), which, which + 1]))
        kept = kept[kept < len(self.pieces)]
        pieces = self.pieces.take(kept)
        chosen = np.isin(kept, which)
        state = np.where(chosen, pieces.value, np.uint32(RIGHT))
        return Compared(pieces.valued(state), self.have[kept], self.want[kept])

    def wrong(self) -> Rows:
        """The pieces that differ without a reason."""
        return np.flatnonzero(self.pieces.value == DIVERGENT)

    def addresses(self) -> int:
        """How many addresses differ without a reason."""
        return self.pieces.count(self.pieces.value == DIVERGENT)


def _beside(have: Ranges, want: Ranges) -> tuple[Ranges, U32, U32]:
    """The same addresses as two tables have them; those that say the same throughout as one piece that does."""
    breathe()
    if have.same(want):
        first = have.part(slice(0, 1))
        return first, first.value, first.value
    pieces, (mine, its) = together([have, want])
    return pieces, mine, its


def _stretches(have: Ranges, want: Ranges) -> Iterator[tuple[slice, slice]]:
    """Where a piece begins in both, again and again: the pieces of both from one such place to the next."""
    before = 0, 0
    for its in range(STRETCH, len(want), STRETCH):
        if (mine := have.begins(int(want.hi[its]), int(want.lo[its]))) > before[0]:
            yield slice(before[0], mine), slice(before[1], its)
            before = mine, its
    yield slice(before[0], len(have)), slice(before[1], len(want))


def excuses(wanted: Keys, moving: Keys, refused: Keys) -> Ranges:
    """For every address PENDING or REFUSED where such a route decides or would, 0 where another does or none."""
    family = wanted.family
    some = Keys.joined(family, [moving, refused])
    if not len(some):
        return Ranges.whole(family, RIGHT)
    why = np.repeat(np.array([PENDING, REFUSED], np.uint32), [len(moving), len(refused)])
    once = np.unique(KeyTable(some).find(some))  # of the same prefix the first: moving before refused
    some, why = some.take(once), why[once]
    near = wanted.take(_near(ranges_of(some, why), wanted))
    near = near.take(np.flatnonzero(KeyTable(some).find(near) < 0))
    return ranges_of(Keys.joined(family, [some, near]), np.concatenate([why, np.zeros(len(near), np.uint32)]))


def _near(some: Ranges, keys: Keys) -> Rows:
    """Those that begin where `some` says something: no others can stand before it. And a few more."""
    begin, mine = (some.lo, keys.lo) if keys.family is Family.IPV4 else (some.hi, keys.hi)
    said = np.append(0, np.cumsum(some.value != 0))
    first = np.maximum(np.searchsorted(begin, mine, "left") - 1, 0)
    return np.flatnonzero(said[np.searchsorted(begin, mine, "right")] > said[first])


def clipped(keys: Keys, length: int) -> Keys:
    """The prefixes, longer ones as the prefix of this length (at most 64) that holds them: where a change may show."""
    longer = keys.length > length
    if not longer.any():
        return keys
    hi, lo = keys.hi, keys.lo
    if keys.family is Family.IPV4:
        lo = np.where(longer, lo & np.uint64((1 << 32) - (1 << (32 - length))), lo)
    else:
        hi = np.where(longer, hi & np.uint64((1 << 64) - (1 << (64 - length))), hi)
        lo = np.where(longer, np.uint64(0), lo)
    return Keys(keys.family, hi, lo, np.minimum(keys.length, np.uint8(length)))
