"""The prefixes that change while somebody looks, as an audit does. Single ones come a thousand a second, and whoever
serves them must not make columns of each. Whoever looks may look for long, at a kernel that is slow: what is kept is
bounded by the prefixes that there are, however often each of them changes."""

from __future__ import annotations

import numpy as np

from bgpbridge.fib.keys import Keys
from bgpbridge.fib.order import newest
from bgpbridge.types import Family

__all__ = ["Noted"]

ROOM = 1 << 20  # prefixes in columns, 25 MB at most, before those that are there more than once are thrown out
PART = 32  # what a column weighs beside its prefixes, in prefixes


class Noted:
    """Kept in the order of nothing; a prefix that changes twice may be there twice."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._many: list[Keys] = []
        self._singles: set[tuple[int, int, int]] = set()
        self._weight, self._room = 0, ROOM

    def add(self, keys: Keys) -> None:
        """Several at once."""
        if len(keys):
            self._many.append(keys)
            self._weight += len(keys) + PART
            if self._weight > self._room:
                self._thin()

    def one(self, hi: int, lo: int, length: int) -> None:
        """A single one."""
        self._singles.add((hi, lo, length))

    def keys(self) -> Keys:
        """All of them."""
        parts = list(self._many)
        if self._singles:
            parts.append(Keys.listed(self._family, *zip(*self._singles, strict=True)))
        return Keys.joined(self._family, parts)

    def _thin(self) -> None:
        """Each prefix once. Not again before there are twice as many: a table that only comes in is hardly held up."""
        keys = Keys.joined(self._family, self._many)
        self._many = [newest((keys, np.zeros(len(keys), np.uint32)))[0]]
        self._weight = len(self._many[0])
        self._room = max(ROOM, 2 * self._weight)
