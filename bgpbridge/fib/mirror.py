"""Two tables that say the same: the one that packets ask, and one that is being filled beside it, or kept for going
back.

`begin` puts a mirror before every trie: from then on each change goes to both tables, the live one first. `copy` then
writes what stood already, a slice at a time between two turns of the event loop; a row's value is read in the moment
that it is written, and what changes later is mirrored, so no change is lost and no old value comes back. When the
slices are through, both tables are equal and stay so. `end` leaves the live table alone again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.table import Table
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.fib.xdp_map import Refused
from bgpbridge.types import Family

__all__ = ["Mirror", "Mirrors"]

SLICE = 4096


class Mirror:
    """A `Table` to its trie: changes go to both, everything else is the first one's. `refused` is why the second
    has not all that the first has; then it is of no use."""

    def __init__(self, first: Table, second: Table) -> None:
        self.first, self.second = first, second
        self.refused = ""
        second.prompt = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def store(self, keys: Keys, groups: U32) -> Refused:
        """As `Table.store`."""
        refused = self.first.store(keys, groups)
        kept = _but(len(keys), refused)
        self._heed(self.second.store(keys.take(kept), groups[kept]))
        return refused

    def remove(self, keys: Keys) -> Refused:
        """As `Table.remove`."""
        refused = self.first.remove(keys)
        self._heed(self.second.remove(keys.take(_but(len(keys), refused))))
        return refused

    def store_one(self, hi: int, lo: int, length: int, group: int) -> None:
        """As `Table.store_one`."""
        self.first.store_one(hi, lo, length, group)
        self._heed(self.second.store(_key(self.first.family, hi, lo, length), np.array([group], np.uint32)))

    def remove_one(self, hi: int, lo: int, length: int) -> None:
        """As `Table.remove_one`."""
        self.first.remove_one(hi, lo, length)
        self._heed(self.second.remove(_key(self.first.family, hi, lo, length)))

    def clear(self) -> None:
        """As `Table.clear`."""
        self.first.clear()
        self.second.clear()

    def copy(self, keys: Keys, groups: U32) -> None:
        """What stands in the first, for the second."""
        self._heed(self.second.store(keys, groups))

    def _heed(self, refused: Refused) -> None:
        if len(refused.index):
            self.refused = refused.said


class Mirrors:
    """A mirror before each trie of a plane. `tables` are the ones to be kept in line."""

    def __init__(self, xdp: XdpFib, tables: Mapping[Family, Table]) -> None:
        self._xdp = xdp
        self._of = {family: Mirror(trie.table, tables[family]) for family, trie in xdp.tries.items()}
        for family, trie in xdp.tries.items():
            trie.table = cast("Table", self._of[family])

    def copy(self) -> Iterator[int]:
        """Write into the second tables what stands; each yield is a point where anything else may be done. Raises
        CapacityError when they have no room for it."""
        for family, trie in self._xdp.tries.items():
            for keys, groups in trie.standing(SLICE):
                self._of[family].copy(keys, groups)
                self.check()
                yield len(keys)

    def check(self) -> None:
        """Raises CapacityError when the second tables are not in line."""
        for mirror in self._of.values():
            if mirror.refused:
                raise CapacityError(f"the new {mirror.second.name} would not take a route: {mirror.refused}")

    @property
    def in_line(self) -> bool:
        """The second tables have every route."""
        return not any(mirror.refused for mirror in self._of.values())

    def first(self) -> dict[Family, Table]:
        """The tables that packets asked when the mirrors were made."""
        return {family: mirror.first for family, mirror in self._of.items()}

    def end(self) -> None:
        """No mirrors any more, the first tables alone."""
        for family, trie in self._xdp.tries.items():
            self._of[family].second.prompt = False
            if trie.table is cast("Table", self._of[family]):
                trie.table = self._of[family].first


def _but(count: int, refused: Refused) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    kept = np.ones(count, np.bool_)
    kept[refused.index] = False
    return np.flatnonzero(kept)


def _key(family: Family, hi: int, lo: int, length: int) -> Keys:
    return Keys(family, np.array([hi], np.uint64), np.array([lo], np.uint64), np.array([length], np.uint8))
