"""What stands in the IPv6 index, prefix by prefix, with its group: a withdrawn route must be replaced by the one that
covers it, and that may be nowhere to be seen in the index, hidden by longer ones on all sides. The trie only tells
values, not of which prefix.

Nobody asks while a table loads, and a quarter of a million prefixes take a tenth of a second to be hashed. So many that
come at once are kept as they came until something is asked or changed one by one, or `learn` has had its turns in a
moment of rest. Nothing can be read meanwhile that is not so: whatever asks learns first.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from bgpbridge.fib.keys import U32, U64, Keys, Rows
from bgpbridge.rib.prefixes import PrefixTable
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family

__all__ = ["Routes"]

ALL = (1 << 64) - 1
HIGH_ONE = [ALL << max(64 - length, 0) & ALL for length in range(129)]
LOW_ONE = [ALL << min(128 - length, 64) & ALL for length in range(129)]
HIGH, LOW = np.array(HIGH_ONE, np.uint64), np.array(LOW_ONE, np.uint64)


MANY = 1024  # fewer are learned at once: they are no table that loads
MOST = 1 << 18  # rows that may wait, 6 MB


class Routes:
    """Prefix -> group. `capacity` prefixes may stand at a time, as many again are remembered; what waits to be learned
    always fits. `waiting`: how many do."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._start()

    def _start(self) -> None:
        self._table = PrefixTable(Family.IPV6, 2 * self.capacity)
        self._group = zeros(2 * self.capacity + 1, np.uint32)  # group + 1, 0: does not stand
        self._group_view = self._group.data
        self._of_length = [0] * 129  # how many stand
        self._late: deque[tuple[Keys, U32]] = deque()
        self.waiting = 0

    def __len__(self) -> int:
        self.learn()
        return sum(self._of_length)

    # -- many ---------------------------------------------------------------------------------------

    def store(self, keys: Keys, groups: U32) -> None:
        """These stand now. Raises CapacityError when there are too many."""
        fits = self._table.count + self.waiting + len(keys) <= self._table.capacity
        if fits and (self._late or len(keys) >= MANY):
            self._late.append((keys, groups))
            self.waiting += len(keys)
            if self.waiting > MOST:
                self.learn(2 * len(keys))
        else:
            self._reserve(len(keys))
            self._store(keys, groups)

    def learn(self, most: int | None = None) -> None:
        """Of what waits the first `most`, all of it where nothing is said."""
        left = self.waiting if most is None else min(most, self.waiting)
        self.waiting -= left
        while left:
            keys, groups = self._late.popleft()
            if len(keys) > left:
                self._late.appendleft((keys.take(slice(left, None)), groups[left:]))
                keys, groups = keys.take(slice(left)), groups[:left]
            self._store(keys, groups)
            left -= len(keys)

    def _store(self, keys: Keys, groups: U32) -> None:
        rows = self._table.intern(keys.hi, keys.lo, keys.length)
        self._count(keys.length[self._group[rows] == 0], 1)
        self._group[rows] = groups + np.uint32(1)

    def remove(self, keys: Keys) -> Rows:
        """These stand no more. Which of them (by index) did."""
        self.learn()
        rows = self._table.find(keys.hi, keys.lo, keys.length)
        stood = np.flatnonzero(self._group[rows] != 0)
        self._group[rows] = 0
        self._count(keys.length[stood], -1)
        return stood

    def covers(self, keys: Keys, floor: Rows) -> tuple[Rows, U32]:
        """Length and group of the longest shorter prefix that stands over each, -1 where there is none of at least
        `floor` bits."""
        self.learn()
        shorter, length = keys.length.astype(np.int64), np.full(len(keys), -1, np.int64)
        group = np.zeros(len(keys), np.uint32)
        standing = np.array(self._of_length) > 0
        todo = np.arange(len(keys))
        while len(todo):
            shorter[todo] -= 1
            todo = todo[shorter[todo] >= floor[todo]]
            maybe = todo[standing[shorter[todo]]]
            its = self._group[self._find(keys.hi[maybe], keys.lo[maybe], shorter[maybe])]
            hit = maybe[its != 0]
            length[hit], group[hit] = shorter[hit], its[its != 0] - np.uint32(1)
            todo = todo[length[todo] < 0]
        return length, group

    def standing(self) -> tuple[Keys, U32]:
        """All that stand."""
        self.learn()
        rows = np.flatnonzero(self._group)
        return Keys(Family.IPV6, *self._table.columns(rows)), self._group[rows] - np.uint32(1)

    def _find(self, hi: U64, lo: U64, length: Rows) -> Rows:
        return self._table.find(hi & HIGH[length], lo & LOW[length], length.astype(np.uint8))

    def _count(self, length: np.ndarray, by: int) -> None:
        for one, count in enumerate(np.bincount(length, minlength=129).tolist()):
            self._of_length[one] += by * count

    def _reserve(self, more: int) -> None:
        """Rows of prefixes that went are forgotten when the table is full."""
        self.learn()
        if self._table.count + more <= self._table.capacity:
            return
        keys, groups = self.standing()
        self._start()
        if len(keys):
            self._store(keys, groups)

    # -- one ----------------------------------------------------------------------------------------

    def store_one(self, hi: int, lo: int, length: int, group: int) -> None:
        """This one stands now. Raises CapacityError."""
        self._reserve(1)
        row = self._table.intern_one(hi, lo, length)
        self._of_length[length] += not self._group_view[row]
        self._group_view[row] = group + 1

    def remove_one(self, hi: int, lo: int, length: int) -> bool:
        """This one stands no more. False: it did not."""
        self.learn()
        row = self._table.find_one(hi, lo, length)
        if not self._group_view[row]:
            return False
        self._group_view[row] = 0
        self._of_length[length] -= 1
        return True

    def cover_one(self, hi: int, lo: int, length: int, floor: int) -> tuple[int, int]:
        """As `covers`, for one prefix."""
        self.learn()
        for shorter in range(length - 1, floor - 1, -1):
            if self._of_length[shorter]:
                row = self._table.find_one(hi & HIGH_ONE[shorter], lo & LOW_ONE[shorter], shorter)
                if group := self._group_view[row]:
                    return shorter, group - 1
        return -1, 0
