"""Attribute blocks by their octets: interned in bulk by a keyed hash, verified octet for octet.

The hash is multilinear over 32-bit halves with secret 64-bit multipliers, so no peer can build blocks that
collide; its strong bits are the upper ones, hence the rotation before slots are taken from the lower ones.
Octets lie in one arena of u64 words (big-endian read as integers); what is forgotten leaves holes that
`compact` closes in slices.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from operator import mul
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.tables import MASK64, HashIndex, IdPool, Ids, Words, secret_words, slot_bits, zeros

__all__ = ["BlockStore", "Octets"]

MOST_OCTETS = 65_535
CLASSES = (8, 16, 64)  # widths in words of the matrices, at most; longer blocks are rare and go one by one
FEW_BITS, MANY_BITS = 16, 20  # slots of the index, 512 KiB for up to 40,960 blocks, then 8 MiB up to 655,360
KEEP = np.array([(MASK64 << (64 - 8 * octets)) & MASK64 for octets in range(9)], np.uint64)
SLICE = 16_384


class Octets(Protocol):
    """What the store reads of the wire's Blocks."""

    octets: Any
    start: Any
    length: Any

    def as_words(self) -> Any:
        """The octets as `words`: big-endian numbers of 8 octets, 32 zero octets behind."""
        ...


class BlockStore:
    """Octets by id. A block is told apart by its octets and by `tag` (kind of session, way of NLRI)."""

    def __init__(self, pool: IdPool, *, words: int) -> None:
        self.pool = pool
        self.length = zeros(pool.capacity + 1, np.uint16)
        self.tag = zeros(pool.capacity + 1, np.uint16)
        self.present = zeros(pool.capacity + 1, np.bool_)
        self._offset = zeros(pool.capacity + 1, np.uint32)
        self._hash = zeros(pool.capacity + 1, np.uint64)
        self._arena = zeros(words, np.uint64, huge=True)
        self._cell = SimpleNamespace(
            length=self.length.data,
            tag=self.tag.data,
            present=self.present.data,
            offset=self._offset.data,
            hash=self._hash.data,
            arena=self._arena.data,
        )
        self._fill = 0
        self._holes = 0
        most = slot_bits(pool.capacity)
        self._index = HashIndex(self._live, lambda: self.pool.top, bits=FEW_BITS, large=min(MANY_BITS, most), most=most)
        self._keys = secret_words(2 * (MOST_OCTETS // 8 + 1))
        self._columns = np.array(self._keys, np.uint64)
        self._length_key, self._tag_key = secret_words(2)

    def _live(self, first: int, last: int) -> tuple[Words, Ids]:
        ids = np.flatnonzero(self.present[first:last]) + first
        return self._hash.take(ids), ids

    def words_free(self) -> int:
        """Words of the arena that were never written since the last compaction."""
        return len(self._arena) - self._fill

    # -- many ---------------------------------------------------------------------------------------

    def intern(self, blocks: Octets, tags: Ids) -> tuple[Ids, Ids]:
        """(ids of all blocks, positions of the new ones, one for each new id). Raises CapacityError
        before anything is changed when the new ones would not fit."""
        start, length = blocks.start, blocks.length
        width = (length + 7) >> 3
        self._check(len(start), int(width.sum()))
        run = blocks.as_words().words
        ids = np.zeros(len(start), np.int64)
        new: list[Ids] = []
        low = -1
        for high in CLASSES:
            at = np.flatnonzero((width > low) & (width <= high))
            if len(at):
                most = int(width.take(at).max())
                ids[at] = self._intern_class(run, start.take(at), length.take(at), tags.take(at), most, at, new)
            low = high
        for position in np.flatnonzero(width > low).tolist():
            begin, end = int(start[position]), int(start[position] + length[position])
            ids[position], fresh = self.intern_one(blocks.octets[begin:end].tobytes(), int(tags[position]))
            if fresh:
                new.append(np.array([position]))
        return ids, np.concatenate(new) if new else np.empty(0, np.int64)

    def _check(self, count: int, words: int) -> None:
        if self.pool.room() < count or self.words_free() < words:
            raise CapacityError(
                f"{self.pool.used()} attribute blocks are in use, {count} more may not fit",
                mend="collect unused ones, or give the attribute table more room",
            )

    def _intern_class(self, run: Words, start: Ids, length: Ids, tags: Ids, width: int, at: Ids, new: list[Ids]) -> Ids:
        places = np.arange(width)
        matrix = _load(run, start, width)
        matrix &= KEEP.take(length[:, None] - 8 * places, mode="clip")
        hashes = self._hash_rows(matrix, length, tags)
        widths = (length + 7) >> 3

        def same(ids: Ids, rows: Ids) -> Any:
            equal = (self.length.take(ids) == length.take(rows)) & (self.tag.take(ids) == tags.take(rows))
            kept = self._arena.take(self._offset.take(ids).astype(np.int64)[:, None] + places, mode="clip")
            return equal & ((kept == matrix[rows]) | (places >= widths.take(rows)[:, None])).all(axis=1)

        def create(rows: Ids) -> Ids:
            ids = self.pool.take(len(rows))
            wide = widths.take(rows)
            ends = np.cumsum(wide)
            need = int(ends[-1])
            fresh = matrix if len(rows) == len(matrix) else matrix[rows]
            self._arena[self._fill : self._fill + need] = fresh.ravel().compress((places < wide[:, None]).ravel())
            self._offset[ids] = self._fill + ends - wide
            self.length[ids], self._hash[ids] = length.take(rows), hashes.take(rows)
            kind = tags.take(rows)
            if kind.any() or self.tag.take(ids).any():  # of most sessions it is 0: pages that nobody touches
                self.tag[ids] = kind
            self.present[ids] = True
            self._fill += need
            new.append(at.take(rows))
            return ids

        return self._index.intern(hashes, same, create)

    def _hash_rows(self, matrix: Any, length: Ids, tags: Ids) -> Words:
        width = matrix.shape[1]
        total = length.view(np.uint64) * np.uint64(self._length_key) + tags.view(np.uint64) * np.uint64(self._tag_key)
        total += (matrix >> np.uint64(32)) @ self._columns[0 : 2 * width : 2]
        total += (matrix & np.uint64(0xFFFFFFFF)) @ self._columns[1 : 2 * width : 2]
        rotated: Words = (total >> np.uint64(32)) | (total << np.uint64(32))
        return rotated

    # -- one ----------------------------------------------------------------------------------------

    def _hash_one(self, padded: bytes, length: int, tag: int) -> int:
        halves = struct.unpack(f">{len(padded) >> 2}I", padded)
        total = length * self._length_key + tag * self._tag_key + sum(map(mul, halves, self._keys))
        return int((total >> 32 & 0xFFFFFFFF) | (total << 32 & MASK64))

    def intern_one(self, octets: bytes, tag: int) -> tuple[int, bool]:
        """(id, True when it is new)."""
        length = len(octets)
        padded = octets + bytes(-length % 8)
        key_hash = self._hash_one(padded, length, tag)

        words = list(struct.unpack(f">{len(padded) >> 3}Q", padded))

        def same(number: int) -> bool:
            cell = self._cell
            begin = cell.offset[number]
            alike: bool = cell.length[number] == length and cell.tag[number] == tag
            return alike and bool(cell.arena[begin : begin + len(words)].tolist() == words)

        found = self._index.find_one(key_hash, same)
        if found:
            return found, False
        self._check(1, len(words))
        self._index.reserve(1)
        number = self.pool.take_one()
        self._arena[self._fill : self._fill + len(words)] = words
        cell = self._cell
        cell.offset[number], cell.hash[number] = self._fill, key_hash
        cell.length[number], cell.tag[number], cell.present[number] = length, tag, True
        self._fill += len(words)
        self._index.add_one(key_hash, number)
        return number, True

    def octets(self, number: int) -> bytes:
        """The octets of one block."""
        begin, length = int(self._offset[number]), int(self.length[number])
        return self._arena[begin : begin + ((length + 7) >> 3)].astype(">u8").tobytes()[:length]

    def gather(self, ids: Ids) -> tuple[Words, Ids, Ids]:
        """Copies of many blocks as words, with four of padding behind, and where each starts and ends, in
        octets. An id without octets of its own has none."""
        length = np.where(self.present.take(ids), self.length.take(ids), 0).astype(np.int64)
        wide = (length + 7) >> 3
        begin = np.cumsum(wide) - wide
        total = int(wide.sum())
        index = np.repeat(self._offset.take(ids).astype(np.int64) - begin, wide) + np.arange(total)
        words = np.concatenate([self._arena.take(index), np.zeros(4, np.uint64)])
        return words, begin << 3, (begin << 3) + length

    # -- release ------------------------------------------------------------------------------------

    def forget(self, ids: Ids) -> None:
        """Take blocks out; the ids go back to the pool by whoever owns them."""
        self._index.remove(self._hash.take(ids), ids)
        self.present[ids] = False
        self._holes += int(((self.length.take(ids).astype(np.int64) + 7) >> 3).sum())

    def compact(self, ready: Callable[[int, int], bool] = lambda fill, holes: holes * 2 > fill) -> Iterator[None]:
        """Close the holes when they are worth it, in slices; between slices everything stays valid."""
        if not ready(self._fill, self._holes):
            return
        target = source = 0
        while source < self._fill:  # once more for what was added meanwhile
            order = self._by_offset(source)
            if not len(order):
                break
            for begin in range(0, len(order), SLICE):
                ids = order[begin : begin + SLICE]
                stays = self.present.take(ids) & (self._offset.take(ids) >= source)
                if stays.any():
                    target, source = self._slide(ids.compress(stays), target)
                if begin + SLICE < len(order):  # what came meanwhile must not keep us from an end
                    yield
        self._fill, self._holes = target, 0

    def _by_offset(self, source: int) -> Ids:
        ids = np.flatnonzero(self.present[: self.pool.top + 1])
        offset = self._offset.take(ids)
        later = offset >= source
        return ids.compress(later).take(offset.compress(later).argsort(kind="stable"))

    def _slide(self, ids: Ids, target: int) -> tuple[int, int]:
        """Move blocks (ascending in the arena) down to `target`: (end of them there, where they ended)."""
        begin = self._offset.take(ids).astype(np.int64)
        wide = (self.length.take(ids).astype(np.int64) + 7) >> 3
        ends = np.cumsum(wide)
        total = int(ends[-1])
        index = np.repeat(begin - (ends - wide), wide) + np.arange(total)
        self._arena[target : target + total] = self._arena.take(index)
        self._offset[ids] = target + ends - wide
        return target + total, int(begin[-1] + wide[-1])


def _load(run: Words, start: Ids, width: int) -> Any:
    """`width` times 8 octets from each position on, as big-endian integers: aligned words, shifted together."""
    shift = ((start & 7) << 3).view(np.uint64)[:, None]
    words = run.take((start >> 3)[:, None] + np.arange(width + 1), mode="clip")
    found = words[:, :-1] << shift
    found |= words[:, 1:] >> (np.uint64(63) - shift) >> np.uint64(1)
    return found
