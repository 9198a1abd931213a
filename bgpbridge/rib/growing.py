"""Entries of a hash index, and a larger index that is made beside one before that is full, a little with each piece of
work that adds to it: to move a hundred thousand entries at once takes 25 to 75 ms, half of it pages that are new.

An entry is the upper 38 bits of a hash and an id below 2**26; its slot is found by the lower bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["ID_BITS", "ID_MASK", "Growing", "Ids", "Live", "Words", "place"]

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]
Live = Callable[[int, int], tuple[Words, Ids]]
"""(hashes, ids) of all entries with ids from the first number up to before the second."""

ID_BITS = 26
ID_MASK = np.uint64((1 << ID_BITS) - 1)
PAGE = 1 << 18  # slots to a page of 2 MiB, a millisecond to make
ADDED_A_PAGE = 4096  # entries that come while one is made
MOVED, LEAST = 4, 256  # entries that are moved, for each that comes; and when one comes
MOVED_LATE = 12  # the same where it is begun late, so that what a table leaves half empty is not made


def place(slots: Words, hashes: Words, ids: Ids) -> None:
    """Put in entries that are not there; there must be room."""
    entries = (hashes & ~ID_MASK) | ids.view(np.uint64)
    mask = len(slots) - 1
    at: Any = (hashes & np.uint64(mask)).view(np.int64)
    while len(entries):
        free = slots.take(at) == 0
        slots[at.compress(free)] = entries.compress(free)
        left = np.flatnonzero(slots.take(at) != entries)
        entries = entries.take(left)
        at = (at.take(left) + 1) & mask


class Growing:
    """The larger one. Entries with ids below `reached` are in it."""

    def __init__(self, slots: Words, *, late: bool = False) -> None:
        self.slots = slots
        self._moved = MOVED_LATE if late else MOVED
        self._reached = 1
        self._touched = 0

    def step(self, more: int, live: Live, top: int) -> bool:
        """Go on by a little, as `more` entries are about to come; `top` is the highest id. True when all are in it."""
        if self._touched < len(self.slots):
            pages = 1 + more // ADDED_A_PAGE
            self.slots[self._touched : self._touched + pages * PAGE : PAGE] = 0
            self._touched += pages * PAGE
            return False
        last = min(self._reached + max(LEAST, self._moved * more), top + 1)
        place(self.slots, *live(self._reached, last))
        self._reached = last
        return last > top

    def add(self, hashes: Words, ids: Ids) -> None:
        """Entries that have come: those that no later step will find."""
        passed = np.flatnonzero(ids < self._reached)
        if len(passed):
            place(self.slots, hashes.take(passed), ids.take(passed))
