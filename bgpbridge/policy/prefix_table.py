"""All prefix conditions of a policy as one table over address space.

Every range of a prefix set is an interval of addresses with the lengths that it allows. The ends of all
intervals of all conditions cut address space into pieces; within a piece, what the conditions say depends on
the prefix length alone. So for each (piece, length) the mask of conditions is worked out once, equal pieces
share a row, and a million prefixes are judged by one binary search and one gather, whatever the number of
terms and set entries.

A prefix lies in a range exactly when its first address does and its length is allowed, because the lengths
that a range allows begin at its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.policy.prefixes import PrefixRange
from bgpbridge.types import Family

__all__ = ["PrefixTable", "Words"]

Words = npt.NDArray[np.uint64]
LOW64 = (1 << 64) - 1
MANY = 256  # pieces from which on buckets are worth their memory, 1 MB
BUCKET = 14  # bits of the addresses within a bucket


class PrefixTable:
    """The pieces of one family's address space. `allowed(n)` says for which (piece row, length) condition
    number `n` holds; `find` gives the row of each prefix's piece."""

    def __init__(self, family: Family, conditions: Sequence[Sequence[PrefixRange]], *, many: int = MANY) -> None:
        self.family = family
        self.lengths = family.bits + 1
        rows: dict[tuple[int, ...], int] = {}
        self.starts: list[int] = []
        self.row_of: list[int] = []
        for start, state in _pieces(family, conditions):
            self.starts.append(start)
            self.row_of.append(rows.setdefault(state, len(rows)))
        self.states = list(rows)
        self._rows = np.array(self.row_of, np.int64)
        self._hi = np.array([start >> 64 for start in self.starts], np.uint64)
        self._lo = np.array([start & LOW64 for start in self.starts], np.uint64)
        self._whole = _whole_buckets(self._lo) if family is Family.IPV4 and len(self.starts) >= many else None
        self._deep = bool(self._lo.any()) and family is Family.IPV6

    def allowed(self, condition: int) -> npt.NDArray[np.bool_]:
        """Whether a condition holds, as [row, length]."""
        octets = (self.lengths + 7) // 8
        packed = b"".join(state[condition].to_bytes(octets, "little") for state in self.states)
        bits = np.unpackbits(np.frombuffer(packed, np.uint8).reshape(-1, octets), axis=1, bitorder="little")
        return bits[:, : self.lengths].astype(np.bool_)

    def find_one(self, value: int) -> int:
        """The row of one address."""
        return self.row_of[bisect_right(self.starts, value) - 1]

    def find(self, hi: Words, lo: Words) -> npt.NDArray[np.int64]:
        """The rows of many addresses; an IPv4 address stands in `lo`."""
        if self.family is Family.IPV4:
            return self._rows.take(self._piece4(lo))
        piece = np.searchsorted(self._hi, hi, side="right") - 1
        if self._deep:
            self._refine(piece, hi, lo)
        return self._rows.take(piece)

    def _piece4(self, lo: Words) -> npt.NDArray[np.int64]:
        """The pieces of IPv4 addresses: most lie in a bucket that is in one piece, the others are searched for."""
        if self._whole is None:
            return np.searchsorted(self._lo, lo, side="right") - 1
        piece = self._whole.take((lo >> np.uint64(BUCKET)).view(np.int64)).astype(np.int64)
        cut = np.flatnonzero(piece < 0)
        piece[cut] = np.searchsorted(self._lo, lo.take(cut), side="right") - 1
        return piece

    def _refine(self, piece: npt.NDArray[np.int64], hi: Words, lo: Words) -> None:
        """Where pieces begin within one /64: a binary search over the lower halves, all rows in step."""
        left = np.flatnonzero((self._hi.take(piece) == hi) & (self._lo.take(piece) > lo))
        above = piece.take(left)  # a piece that begins behind the address
        below = np.searchsorted(self._hi, hi.take(left), side="left") - 1  # one that begins before it
        wanted = lo.take(left)
        while (open_ := above - below > 1).any():
            middle = (above + below) >> 1
            before = self._lo.take(np.maximum(middle, 0)) <= wanted
            below = np.where(open_ & before, middle, below)
            above = np.where(open_ & ~before, middle, above)
        piece[left] = below


def _whole_buckets(starts: Words) -> npt.NDArray[np.int32]:
    """The piece of each 1 << BUCKET addresses of IPv4, -1 where a piece begins behind their first one."""
    bucket = (starts >> np.uint64(BUCKET)).view(np.int64)
    pieces = np.cumsum(np.bincount(bucket, minlength=1 << 32 - BUCKET)).astype(np.int32) - np.int32(1)
    pieces[bucket.compress(starts & np.uint64((1 << BUCKET) - 1) != 0)] = -1
    return pieces


def _pieces(family: Family, conditions: Sequence[Sequence[PrefixRange]]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(first address, state) of every piece, upwards. A state holds per condition the allowed lengths as a
    bit mask. Prefixes nest or are apart, so a stack of those that are open is all there is to keep."""
    entries = sorted(
        (entry.prefix.value, entry.prefix.length, condition, _lengths(entry))
        for condition, ranges in enumerate(conditions)
        for entry in ranges
        if entry.prefix.family is family
    )
    nothing = (0,) * len(conditions)
    stack: list[tuple[int, tuple[int, ...]]] = [(1 << family.bits, nothing)]  # (end, state)
    pieces: dict[int, tuple[int, ...]] = {0: nothing}
    for start, length, condition, lengths in entries:
        _close(stack, pieces, start)
        state = list(stack[-1][1])
        state[condition] |= lengths
        stack.append((start + (1 << family.bits - length), tuple(state)))
        pieces[start] = tuple(state)
    _close(stack, pieces, (1 << family.bits) - 1)
    last: Any = None
    for start in sorted(pieces):
        if pieces[start] != last:
            last = pieces[start]
            yield start, last


def _close(stack: list[tuple[int, tuple[int, ...]]], pieces: dict[int, tuple[int, ...]], address: int) -> None:
    """Ends every open prefix that lies wholly before `address`; what was open around it goes on."""
    while stack[-1][0] <= address:
        end, _ = stack.pop()
        pieces[end] = stack[-1][1]


def _lengths(entry: PrefixRange) -> int:
    return (1 << entry.high + 1) - (1 << entry.low)
