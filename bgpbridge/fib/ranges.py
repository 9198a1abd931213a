"""From prefixes to addresses: a table as ranges of addresses, each with the value of its longest match. Pure.

The answer of a table can change only where a prefix begins and behind where one ends. So these breakpoints, sorted,
cut the addresses into pieces on which nothing changes, and two tables are compared for every address there is by
looking at each piece once. Prefixes of one length never overlap: painted from the shortest length to the longest,
what stands in a piece at the end is its longest match. A piece is painted once for each prefix that holds it.

    Ranges   first address of each piece and its value, from address 0 up, each up to where the next one begins

1M IPv4 prefixes take a fifth of a second. numpy lets go of the interpreter meanwhile but for sums and repetitions:
those are made in pieces of a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.breakpoints import PLACE, PLACE_BITS, Numbers, breakpoints, ordered, packed, running, taken
from bgpbridge.fib.keys import U32, U64, Keys, Rows
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family, Prefix

__all__ = ["DEFER", "HIDDEN", "Ranges", "deciders", "ranges_of", "together"]

DEFER = np.uint32(1 << 31)
"""In a value: whoever says this leaves the address to another table."""
HIDDEN = np.uint32(1 << 30)
"""The same: packets are told the right thing, by something that should not be as it is."""
HALF = np.uint64(32)
LOW = np.uint64((1 << 32) - 1)
AT_ONCE = 1 << 18  # what is painted in one go


@dataclass(frozen=True, slots=True)
class Ranges:
    """All addresses of a family, cut into pieces. Where one begins stands in `hi` and `lo` as in `Keys`; the first
    begins at 0."""

    family: Family
    hi: U64
    lo: U64
    value: U32

    def __len__(self) -> int:
        return len(self.value)

    @classmethod
    def whole(cls, family: Family, value: int) -> Ranges:
        """One piece of all addresses."""
        zero = np.zeros(1, np.uint64)
        return cls(family, zero, zero, np.full(1, value, np.uint32))

    def joined(self) -> Ranges:
        """Neighbours with equal values as one."""
        kept = np.ones(len(self), np.bool_)
        kept[1:] = self.value[1:] != self.value[:-1]
        return self if kept.all() else self.take(np.flatnonzero(kept))

    def take(self, which: Rows) -> Ranges:
        """Some of the pieces, each now up to the next that was taken."""
        hi = np.zeros(len(which), np.uint64) if self.family is Family.IPV4 else self.hi[which]
        return Ranges(self.family, hi, self.lo[which], self.value[which])

    def part(self, part: slice) -> Ranges:
        """Pieces one after the other; what is before the first of them is left out."""
        return Ranges(self.family, self.hi[part], self.lo[part], self.value[part])

    @classmethod
    def joined_up(cls, parts: Sequence[Ranges]) -> Ranges:
        """Parts one after the other."""
        hi, lo, value = (np.concatenate([getattr(part, word) for part in parts]) for word in ("hi", "lo", "value"))
        return cls(parts[0].family, hi, lo, value)

    def same(self, other: Ranges) -> bool:
        """The same pieces with the same values."""
        if len(self) != len(other) or not np.array_equal(self.value, other.value):
            return False
        alike = np.array_equal(self.lo, other.lo)
        return alike and (self.family is Family.IPV4 or np.array_equal(self.hi, other.hi))

    def begins(self, hi: int, lo: int) -> int:
        """The piece that begins at an address, -1 where none does."""
        first, end = (
            (0, len(self))
            if self.family is Family.IPV4
            else (int(np.searchsorted(self.hi, np.uint64(hi), side)) for side in ("left", "right"))
        )
        at = first + int(np.searchsorted(self.lo[first:end], np.uint64(lo)))
        return at if at < end and self.lo[at] == lo else -1

    def valued(self, value: U32) -> Ranges:
        """The same pieces with other values."""
        return Ranges(self.family, self.hi, self.lo, value)

    def count(self, which: npt.NDArray[np.bool_]) -> int:
        """How many addresses there are in these pieces."""
        if len(self) == 1:
            return int(which[0]) << self.family.bits  # all of them do not fit into two words
        hi, lo = self._widths()
        return (_sum(hi[which]) << 64) + _sum(lo[which])

    def _widths(self) -> tuple[U64, U64]:
        """Addresses of each piece as two words."""
        bits = self.family.bits
        end = np.uint64((1 << bits) & ((1 << 64) - 1))
        lo = np.append(self.lo[1:], end) - self.lo
        if self.family is Family.IPV4:
            return np.zeros(len(lo), np.uint64), lo
        hi = np.append(self.hi[1:], np.uint64(0)) - self.hi
        return hi - (np.append(self.lo[1:], end) < self.lo), lo

    def ends(self, index: int) -> tuple[int, int]:
        """The first and the last address of a piece."""
        first = int(self.hi[index]) << 64 | int(self.lo[index])
        if index + 1 == len(self):
            return first, (1 << self.family.bits) - 1
        return first, (int(self.hi[index + 1]) << 64 | int(self.lo[index + 1])) - 1

    def prefix(self, index: int) -> Prefix:
        """The largest prefix that begins where a piece does and lies in it."""
        first, last = self.ends(index)
        room = (last + 1 - first).bit_length() - 1
        free = min(room, (first & -first).bit_length() - 1) if first else room
        return Prefix(self.family, first, self.family.bits - free)


def _sum(words: U64) -> int:
    """Without overflow."""
    return (int((words >> HALF).sum()) << 32) + int((words & LOW).sum())


def ranges_of(keys: Keys, values: U32) -> Ranges:
    """Every address with the value of its longest match, 0 where there is none. No prefix twice."""
    found = deciders(keys)
    return found.valued(np.concatenate([np.zeros(1, np.uint32), values]).take(found.value)).joined()


def deciders(keys: Keys) -> Ranges:
    """Every address with the number of its longest match, counted from 1; 0 where there is none."""
    hi, lo, begin, end = breakpoints(keys)
    found = np.zeros(len(lo), np.uint32)
    for length in np.unique(keys.length).tolist():
        which = np.flatnonzero(keys.length == length)
        _paint(found, begin[which], end[which], (which + 1).astype(np.uint32))
        breathe()
    return Ranges(keys.family, hi, lo, found)


def _paint(found: U32, begin: Numbers, end: Numbers, number: U32) -> None:
    width = end - begin
    single = width == 1
    found[begin[single]] = number[single]
    begin, width, number = begin[~single], width[~single], number[~single]
    behind = running(width)
    at = 0
    while at < len(begin):
        # as many prefixes as make AT_ONCE pieces, one at least
        done = int(behind[at - 1]) if at else 0
        upto = max(at + 1, int(np.searchsorted(behind, done + AT_ONCE, "right")))
        if upto == at + 1:
            found[begin[at] : begin[at] + width[at]] = number[at]
        else:
            part = slice(at, upto)
            offset = np.repeat(begin[part] - (behind[part] - width[part] - done), width[part])
            found[offset + np.arange(len(offset))] = np.repeat(number[part], width[part])
        at = upto
        breathe()


def together(parts: Sequence[Ranges]) -> tuple[Ranges, list[U32]]:
    """Several cuts of the same addresses as one: pieces on which none changes, and the values of each there. The
    values of the pieces themselves are 0."""
    pieces, order, begins = _all_pieces(parts)
    last = np.append(begins[1:], len(order)) - 1
    values, start = [], 0
    for part in parts:
        begun = running((order >= start) & (order < start + len(part)))
        values.append(part.value[begun[last] - 1])
        start += len(part)
    return pieces, values


def _all_pieces(parts: Sequence[Ranges]) -> tuple[Ranges, Numbers, Rows]:
    """All cuts as one; the order of all pieces; which of them in that order are not as the one before."""
    family, lo = parts[0].family, np.concatenate([part.lo for part in parts])
    if family is Family.IPV4:
        words, first = packed(lo)
        begins = np.flatnonzero(first)
        hi, lo, order = np.zeros(len(begins), np.uint64), words[begins] >> PLACE_BITS, (words & PLACE).astype(np.int32)
    else:
        hi = np.concatenate([part.hi for part in parts])
        rows, first = ordered(hi, lo)
        begins, order = np.flatnonzero(first), rows.astype(np.int32)
        hi, lo = hi[rows[begins]], taken(lo, rows[begins])
    return Ranges(family, hi, lo, np.zeros(len(begins), np.uint32)), order, begins
