"""Columns and hash indexes: the ground that the RIB's tables stand on.

Columns are fixed in length from the start and lie in untouched zero pages: room for two million rows costs
nothing until a row is written, nothing is ever copied to grow, and a memoryview of a column (the quick way
to a single cell) stays valid for good. Capacity is thus a number that callers check before they write.

`HashIndex` is open addressing in one u64 array. Hashes are keyed with secrets, so that no peer can build
collisions, and entries are always verified against the columns.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import secrets
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bgpbridge.rib.growing import ID_BITS, ID_MASK, Growing, Ids, Live, Words, place

__all__ = [
    "DEAD",
    "ID_BITS",
    "ID_MASK",
    "MASK64",
    "ExactIndex",
    "HashIndex",
    "IdPool",
    "Ids",
    "Lengths",
    "Words",
    "cells",
    "onward",
    "place_of",
    "secret_words",
    "slot_bits",
    "trim_malloc",
    "tune_malloc",
    "zeros",
]

Lengths = np.ndarray[tuple[int], np.dtype[np.uint8]]

DEAD = (1 << ID_BITS) - 1  # the id of a removed entry: probing goes on behind it
MASK64 = (1 << 64) - 1
HUGE_PAGE = 1 << 21
LOAD, OF = 5, 8  # of the slots of an index may hold entries
FIRST, LATER = 4, 9 / 8  # a larger index is begun when so many times the entries would be too many

AHEAD = np.arange(1, 9)  # slots that a key looks at together: a cache line or two

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h


def tune_malloc(mmap_threshold: int = 1 << 26, trim_threshold: int = 1 << 28) -> bool:
    """Let glibc keep big temporaries on the heap; otherwise each is mapped, faulted in and given back, and
    bulk work takes 1.8 times as long. On one heap for all threads: what a thread's own has on its end never comes back
    by `trim_malloc`, up to 64 MiB for each. Call it before there are threads. False where the C library has no
    mallopt."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    options = (M_MMAP_THRESHOLD, mmap_threshold), (M_TRIM_THRESHOLD, trim_threshold), (M_ARENA_MAX, 1)
    return all(mallopt(*option) for option in options)


def trim_malloc() -> bool:
    """Give back what `tune_malloc` lets the heap keep: after bulk work, some milliseconds. False where the C library
    cannot."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0)))
    except (OSError, AttributeError):
        return False


def zeros(rows: int, dtype: Any, *, huge: bool = False) -> np.ndarray[tuple[int], np.dtype[Any]]:
    """A column of zeros in private pages of its own, none of them touched. `huge` asks for pages of 2 MiB:
    for big arrays that are read and written at random."""
    size = max(rows, 1) * np.dtype(dtype).itemsize
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge and size >= HUGE_PAGE:
        with contextlib.suppress(OSError):  # a kernel without transparent huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    column: np.ndarray[tuple[int], np.dtype[Any]] = np.frombuffer(pages, dtype, max(rows, 1))
    return column


def place_of(rows: Ids) -> Any:
    """Rows as an index: a slice where they follow on each other, as those of a first table do, which is quicker."""
    first, count = int(rows[0]), len(rows)
    together = int(rows[-1]) - first + 1 == count and bool((rows[1:] > rows[:-1]).all())
    return slice(first, first + count) if together else rows


def cells(column: Any, at: Any) -> Any:
    """A copy of what stands in a column at a `place_of`."""
    return column[at].copy() if isinstance(at, slice) else column.take(at)


def secret_words(count: int) -> list[int]:
    """Odd 64-bit multipliers that nobody outside this process knows."""
    return [word | 1 for word in struct.unpack(f"={count}Q", secrets.token_bytes(8 * count))]


def slot_bits(entries: int) -> int:
    """How many slots an index of so many entries needs, as a power of two."""
    return (-(-entries * OF // LOAD) - 1).bit_length() if entries else 0


class HashIndex:
    """Hash -> id for ids below 2**26. The caller keeps the keys in columns and says which are the same.

    `live` gives (hashes, ids) of entries, `top` the highest id, for rebuilding when the index grows or holds too many
    removed entries.
    """

    def __init__(self, live: Live, top: Callable[[], int], *, bits: int = 12, large: int = 0, most: int = 0) -> None:
        """`large`: once more than 2**bits slots are needed, take 2**large at once. Up to that, and from there to
        2**most, the next size is made beside this one before it is needed."""
        self._live, self._top = live, top
        self.large, self.most = large, most
        self.count = 0
        self.removed = 0
        self._next: Growing | None = None
        self._allocate(bits)

    def _allocate(self, bits: int) -> None:
        self._take_over(zeros(1 << bits, np.uint64, huge=True))

    def _take_over(self, slots: Words) -> None:
        self.bits, self.mask = len(slots).bit_length() - 1, len(slots) - 1
        self.slots, self.view = slots, slots.data
        self.removed, self._next = 0, None

    def reserve(self, more: int) -> None:
        """Room for `more` entries; may rebuild."""
        entries = (self.count + self.removed + more) * OF
        if entries <= LOAD << self.bits:
            if self.bits < self.most and entries * (FIRST if self.bits < self.large else LATER) > LOAD << self.bits:
                self._grow_a_little(more)
            return
        bits = max(self.bits, slot_bits(self.count + more))
        self._allocate(max(bits, self.large) if bits > self.bits else bits)
        place(self.slots, *self._live(1, self._top() + 1))

    def _grow_a_little(self, more: int) -> None:
        if self._next is None:
            larger = zeros(1 << max(self.bits + 1, self.large), np.uint64, huge=True)
            self._next = Growing(larger, late=self.bits >= self.large)
        if self._next.step(more, self._live, self._top()):
            self._take_over(self._next.slots)

    def find(self, hashes: Words, same: Callable[[Ids, Ids], Any]) -> Ids:
        """Ids of the entries, 0 where there is none. `same(ids, positions)` compares entries with what is
        looked for at those positions."""
        return self._probe(hashes, same, None)

    def intern(self, hashes: Words, same: Callable[[Ids, Ids], Any], create: Callable[[Ids], Ids]) -> Ids:
        """Ids of all; unknown ones are made by `create(positions) -> ids`, which fills the key columns and
        must not fail (check the capacity first)."""
        self.reserve(len(hashes))
        return self._probe(hashes, same, create)

    def _probe(self, hashes: Words, same: Callable[[Ids, Ids], Any], create: Callable[[Ids], Ids] | None) -> Ids:
        """Vectorised probing: all keys look at their slot, those that found another key move on by one."""
        tags = hashes & ~ID_MASK
        at = (hashes & np.uint64(self.mask)).view(np.int64)
        ids = np.zeros(len(hashes), np.int64)
        todo = np.arange(len(hashes))
        while len(todo):
            entries = self.slots.take(at)
            empty = np.flatnonzero(entries == 0)
            if len(empty):
                if create is not None:
                    winners, made = self._claim(at, tags, todo, empty, create)
                    where = todo.take(winners)
                    ids[where] = made
                    if self._next is not None:
                        self._next.add(hashes.take(where), made)
                    rest = _without(winners, len(todo))
                else:
                    rest = np.flatnonzero(entries)
                if not len(rest):
                    break
                todo, tags, at = todo.take(rest), tags.take(rest), at.take(rest)
                entries = self.slots.take(at)  # where another key has won, it stands there now
            found = (entries & ID_MASK).view(np.int64)
            maybe = np.flatnonzero(((entries & ~ID_MASK) == tags) & (found != DEAD))
            sure = maybe.compress(same(found.take(maybe), todo.take(maybe))) if len(maybe) else maybe
            ids[todo.take(sure)] = found.take(sure)
            rest = _without(sure, len(todo))
            todo, tags = todo.take(rest), tags.take(rest)
            at = onward(self.slots, at.take(rest), partial(_tagged, tags[:, None]))
        return ids

    def _claim(self, at: Ids, tags: Words, todo: Ids, empty: Ids, create: Callable[[Ids], Ids]) -> tuple[Ids, Ids]:
        """Give empty slots to the keys that want them; of several for one slot the last one wins. Returns
        the positions of the winners and their ids."""
        slots = at.take(empty)
        claim = np.arange(1, len(empty) + 1, dtype=np.uint64)
        self.slots[slots] = claim
        won = self.slots.take(slots) == claim
        if not won.all():
            empty, slots = empty.compress(won), slots.compress(won)
        ids = create(todo.take(empty))
        self.slots[slots] = tags.take(empty) | ids.view(np.uint64)
        self.count += len(empty)
        return empty, ids

    def find_one(self, key_hash: int, same: Callable[[int], bool]) -> int:
        """The id of one entry, 0 if there is none."""
        view, mask = self.view, self.mask
        tag, at = key_hash >> ID_BITS, key_hash & mask
        while entry := view[at]:
            if entry >> ID_BITS == tag and (found := entry & DEAD) != DEAD and same(found):
                return int(found)
            at = (at + 1) & mask
        return 0

    def add_one(self, key_hash: int, number: int) -> None:
        """Add an entry that is known not to be there, after `reserve(1)`: its columns are filled by now."""
        view, mask = self.view, self.mask
        at = key_hash & mask
        while view[at]:
            at = (at + 1) & mask
        view[at] = (key_hash >> ID_BITS << ID_BITS) | number
        self.count += 1
        if self._next is not None:
            self._next.add(np.array([key_hash], np.uint64), np.array([number], np.int64))

    def remove(self, hashes: Words, ids: Ids) -> None:
        """Take out entries that are there. Their slots stay marked until the next rebuild. A larger index that was
        begun is begun again: it may have them."""
        self._next = None
        wanted = (hashes & ~ID_MASK) | ids.view(np.uint64)
        at = (hashes & np.uint64(self.mask)).view(np.int64)
        while len(wanted):
            hit = self.slots.take(at) == wanted
            self.slots[at.compress(hit)] = np.uint64(DEAD)
            rest = np.flatnonzero(~hit)
            wanted, at = wanted.take(rest), (at.take(rest) + 1) & self.mask
        self.count -= len(ids)
        self.removed += len(ids)


def _tagged(tags: Any, entries: Any) -> Any:
    return (entries ^ tags) <= ID_MASK


def onward(slots: Any, at: Ids, own: Callable[[Any], Any]) -> Ids:
    """Where keys look next in a table of open addressing: the next slots that are empty or may be their `own`, which
    is asked about a matrix of entries; the last of those looked at where none is. `slots` are a power of two."""
    ahead = (at[:, None] + AHEAD) & (len(slots) - 1)
    held = slots.take(ahead)
    worth = own(held)
    worth |= held == 0
    worth[:, -1] = True
    found: Ids = ahead[np.arange(len(at)), worth.argmax(axis=1)]
    return found


def _without(positions: Ids, count: int) -> Ids:
    """The others of 0..count-1."""
    if len(positions) == count:
        return positions[:0]
    left = np.ones(count, np.bool_)
    left[positions] = False
    return np.flatnonzero(left)


class ExactIndex(HashIndex):
    """For keys of 38 bits, told by their hash alone: it is the key itself, stirred. The first look at a slot is mostly
    the last."""

    def _probe(self, hashes: Words, same: Callable[[Ids, Ids], Any], create: Callable[[Ids], Ids] | None) -> Ids:
        found: Words = self.slots.take((hashes & np.uint64(self.mask)).view(np.int64)) ^ (hashes & ~ID_MASK)
        missed = np.flatnonzero(found - np.uint64(1) >= np.uint64(DEAD - 1))  # another key's, nobody's, or taken out
        ids = found.view(np.int64)
        if len(missed) == len(hashes):
            return super()._probe(hashes, same, create)

        def created(at: Ids) -> Ids:
            assert create is not None
            return create(missed.take(at))

        if len(missed):
            ids[missed] = super()._probe(hashes.take(missed), same, created if create is not None else None)
        return ids


class IdPool:
    """Ids 1..capacity, given out and taken back; freed ones are used again first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.top = 0  # the highest id ever given out
        self._freed = zeros(capacity + 1, np.int64)
        self._count = 0

    def room(self) -> int:
        """How many more ids there are."""
        return self.capacity - self.top + self._count

    def used(self) -> int:
        """How many ids are given out."""
        return self.top - self._count

    def take(self, count: int) -> Ids:
        """`count` ids; there must be room."""
        again = min(count, self._count)
        self._count -= again
        ids = np.empty(count, np.int64)
        ids[:again] = self._freed[self._count : self._count + again]
        ids[again:] = np.arange(self.top + 1, self.top + 1 + count - again)
        self.top += count - again
        return ids

    def take_one(self) -> int:
        """One id; there must be room."""
        if self._count:
            self._count -= 1
            return int(self._freed[self._count])
        self.top += 1
        return self.top

    def give(self, ids: Ids) -> None:
        """Take ids back."""
        self._freed[self._count : self._count + len(ids)] = ids
        self._count += len(ids)
