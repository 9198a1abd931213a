"""Which of many nested prefixes cover a route: one binary search for all routes, then steps upwards in parallel.

Prefixes nest or are apart. So in the order (address, length) the one before a route is either the most specific
prefix that covers it, or lies inside or beside that one: going from parent to parent finds it. Real VRPs nest at most
six deep; 129 steps are the worst case.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family

__all__ = ["Lengths", "PrefixForest", "Rows", "Truth", "Words"]

Words = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]
LOW64 = (1 << 64) - 1
KEY6 = np.dtype([("hi", ">u8"), ("lo", ">u8"), ("length", "u1")])


class PrefixForest:
    """Distinct prefixes of one family, sorted by (hi, lo, length); an IPv4 address stands in `lo`. `parent` holds for
    each the row of the next less specific one, or -1."""

    def __init__(self, family: Family, hi: Words, lo: Words, length: Lengths) -> None:
        self.family = family
        self.hi, self.lo, self.length = hi, lo, length
        self._keys = self._key(hi, lo, length)
        lasts = self._last_addresses()
        self._last_hi = np.array([last >> 64 for last in lasts], np.uint64)
        self._last_lo = np.array([last & LOW64 for last in lasts], np.uint64)
        self.parent = self._parents(lasts)

    def __len__(self) -> int:
        return len(self.length)

    def deepest(self, hi: Words, lo: Words, length: Lengths) -> Rows:
        """The row of the most specific prefix that is or covers each route, -1 for none."""
        found = np.searchsorted(self._keys, self._key(hi, lo, length), side="right").astype(np.int64) - 1
        left = np.flatnonzero(found >= 0)
        while len(left):
            at = found.take(left)
            left = left.compress(~self._reaches(at, hi.take(left), lo.take(left)))
            found[left] = self.parent.take(found.take(left))
            left = left.compress(found.take(left) >= 0)
        return found

    def covers(self, hi: Words, lo: Words, length: Lengths) -> Truth:
        """Which routes lie in at least one of the prefixes."""
        return self.deepest(hi, lo, length) >= 0

    def _reaches(self, rows: Rows, hi: Words, lo: Words) -> Truth:
        """Whether a prefix that begins at or before an address goes on to it. With that, it covers the route: a prefix
        that is longer than the route and begins before it ends before it."""
        last_hi, last_lo = self._last_hi.take(rows), self._last_lo.take(rows)
        reaches: Truth = (last_hi > hi) | ((last_hi == hi) & (last_lo >= lo))
        return reaches

    def _key(self, hi: Words, lo: Words, length: Lengths) -> npt.NDArray[np.generic]:
        """Values whose order is (address, length): integers for IPv4, strings of 17 octets for IPv6."""
        if self.family is Family.IPV4:
            return lo << np.uint64(8) | length
        key = np.empty(len(length), KEY6)
        key["hi"], key["lo"], key["length"] = hi, lo, length
        return key.view("S17")

    def _last_addresses(self) -> list[int]:
        bits = self.family.bits
        rows = zip(self.hi.tolist(), self.lo.tolist(), self.length.tolist(), strict=True)
        return [(hi << 64 | lo) | ((1 << bits - length) - 1) for hi, lo, length in rows]

    def _parents(self, lasts: list[int]) -> Rows:
        """One pass with a stack of those that are open: whoever ends before this one ends is no parent of it."""
        parents = [-1] * len(lasts)
        open_: list[int] = []
        for row, last in enumerate(lasts):
            while open_ and lasts[open_[-1]] < last:
                open_.pop()
            if open_:
                parents[row] = open_[-1]
            open_.append(row)
        return np.array(parents, np.int64)
