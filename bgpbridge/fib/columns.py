"""What a plane knows of each prefix, by the RIB's row: the key, and the group that the Loc-RIB wants.

Each plane (XDP, kernel) owns one of these per family, because each must be able to write a prefix again
(retry, repair, rebuild, restore) long after the change that named it. Eight octets a row for IPv4, 20 for
IPv6, in pages that are untouched until a row is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.keys import U8, U32, U64, Keys, KeyTable, Rows
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family, Prefix

__all__ = ["OTHER", "Column", "Groups", "RouteColumns", "group_cells"]

FIRST_ROWS = 1 << 20
OTHER = 0xFFFF  # in a column of groups: something that is none of them
SCAN_UP_TO = 16  # a scan of a million rows is 1 ms; sorting them for KeyTable 100 ms


Groups = npt.NDArray[np.uint16]
"""A column of group ids, which have 15 bits (`rib.groups.LIMIT`)."""


def group_cells(found: U32) -> Groups:
    """What was found in a plane, as a column of groups holds it: anything may stand there."""
    return np.minimum(found, np.uint32(OTHER)).astype(np.uint16)


class Column:
    """A column that grows by doubling; `cells` and `view` are replaced when it does."""

    def __init__(self, dtype: Any, rows: int = FIRST_ROWS) -> None:
        self.cells: npt.NDArray[Any] = zeros(rows, dtype)
        self.view = self.cells.data  # the quick way to one cell

    def reserve(self, rows: int) -> None:
        """Room for row numbers below `rows`."""
        if rows > len(self.cells):
            grown = zeros(1 << (rows - 1).bit_length(), self.cells.dtype)
            grown[: len(self.cells)] = self.cells
            self.cells = grown
            self.view = grown.data


class RouteColumns:
    """Keys and wanted groups of one family, by row. Row 0 is unused."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.end = 1  # one above the highest row seen
        self._hi = Column(np.uint64)
        self._lo = Column(np.uint32 if family is Family.IPV4 else np.uint64)
        self._length = Column(np.uint8)
        self._seen = Column(np.bool_)
        self._want = Column(np.uint16)

    @property
    def want(self) -> Groups:
        """The Loc-RIB's group by row; 0 = no route."""
        return self._want.cells

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Rows that have a key."""
        return self._seen.cells

    def put(self, rows: Rows, keys: Keys) -> tuple[Rows, Rows]:
        """Store the keys of rows. Returns (rows seen for the first time, rows that held another prefix until
        now): what was done for the latter's old prefix must have been undone before, see `rekeyed`."""
        if not len(rows):
            return rows, rows
        known = self.end
        self._reserve(int(rows.max()) + 1)
        if int(rows.min()) >= known:  # as while a table loads
            new, other = rows, rows[:0]
        else:
            new = rows[~self.seen[rows]]
            other = self.rekeyed(rows, keys)
        if len(new) or len(other):
            if self.family is Family.IPV6:
                self._hi.cells[rows] = keys.hi
            self._lo.cells[rows] = keys.lo
            self._length.cells[rows] = keys.length
            self.seen[rows] = True
        return new, other

    def rekeyed(self, rows: Rows, keys: Keys) -> Rows:
        """Those of the rows that stand for another prefix than they did: the RIB gave the row out again."""
        if not len(rows) or int(rows.min()) >= self.end:
            return rows[:0]
        known = rows[rows < self.end] if int(rows.max()) >= self.end else rows
        if len(known) != len(rows):
            keys = keys.take(rows < self.end)
        same = (self._lo.cells[known] == keys.lo) & (self._length.cells[known] == keys.length)
        if self.family is Family.IPV6:
            same &= self._hi.cells[known] == keys.hi
        changed: Rows = known[self.seen[known] & ~same]
        return changed

    def forget(self, rows: Rows) -> None:
        """The RIB has taken these rows back: they stand for no prefix until they are `put` again. Nothing of theirs may
        be wanted or stand anywhere."""
        self.seen[rows[rows < self.end]] = False

    def holds(self, row: int, hi: int, lo: int, length: int) -> bool:
        """True when the row is known and stands for this prefix: one UPDATE's short way round `put`."""
        if row >= self.end or not self._seen.view[row]:
            return False
        if self._lo.view[row] != lo or self._length.view[row] != length:
            return False
        return self.family is Family.IPV4 or bool(self._hi.view[row] == hi)

    def one(self, row: int) -> tuple[int, int, int, int]:
        """Of a row that is known: both words of its address, its length, the group wanted."""
        hi = 0 if self.family is Family.IPV4 else self._hi.view[row]
        return hi, self._lo.view[row], self._length.view[row], self._want.view[row]

    def ask(self, row: int, group: int) -> None:
        """Note what the Loc-RIB wants of one row that is known."""
        self._want.view[row] = group

    def _reserve(self, rows: int) -> None:
        if rows > self.end:
            for column in (self._hi, self._lo, self._length, self._seen, self._want):
                column.reserve(rows)
            self.end = rows

    def keys(self, rows: Rows) -> Keys:
        """The prefixes of rows."""
        lo: U64 = self._lo.cells[rows].astype(np.uint64)
        length: U8 = self._length.cells[rows]
        hi: U64 = np.zeros(len(rows), np.uint64) if self.family is Family.IPV4 else self._hi.cells[rows]
        return Keys(self.family, hi, lo, length)

    def known(self) -> Rows:
        """All rows that have a key."""
        return np.flatnonzero(self.seen[: self.end])

    def find(self, prefixes: list[Prefix]) -> list[int]:
        """Rows of prefixes, 0 where none is known."""
        if len(prefixes) <= SCAN_UP_TO:
            return [self._scan(prefix) for prefix in prefixes]
        rows = self.locate(Keys.of(self.family, dict.fromkeys(prefixes)))
        found = dict(zip(dict.fromkeys(prefixes), rows.tolist(), strict=True))
        return [found[prefix] for prefix in prefixes]

    def locate(self, keys: Keys) -> Rows:
        """Rows of prefixes, none twice; 0 where none is known."""
        rows, found = self.known(), np.zeros(len(keys), np.int64)
        at = KeyTable(keys).find(self.keys(rows))  # a table of few is sorted sooner
        hit = np.flatnonzero(at >= 0)[::-1]
        found[at[hit]] = rows[hit]
        return found

    def still(self, rows: Rows, keys: Keys) -> Rows:
        """What `locate` gave for prefixes, 0 where the row stands for another one by now, or for none."""
        return np.where(np.isin(rows, self.rekeyed(rows, keys)) | ~self.seen[rows], 0, rows)

    def _scan(self, prefix: Prefix) -> int:
        mask = (1 << 64) - 1
        hit = self._lo.cells[: self.end] == np.uint64(prefix.value & mask).astype(self._lo.cells.dtype)
        rows = np.flatnonzero(hit)
        rows = rows[(self._length.cells[rows] == prefix.length) & self.seen[rows]]
        if self.family is Family.IPV6:
            rows = rows[self._hi.cells[rows] == np.uint64(prefix.value >> 64)]
        return int(rows[0]) if len(rows) else 0
