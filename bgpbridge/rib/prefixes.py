"""Prefix -> row. Rows number the columns of a family's tables; row 0 is no row.

Prefixes are hashed. An address is two words, `hi` and `lo`; IPv4 stands in `lo`. A row is kept when its routes go: a
flapping prefix keeps its number. Only when room gets short are rows that nobody uses given back, for other prefixes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.tables import (
    DEAD,
    ID_BITS,
    ID_MASK,
    MASK64,
    ExactIndex,
    HashIndex,
    Ids,
    Lengths,
    Words,
    place_of,
    secret_words,
    slot_bits,
    zeros,
)
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = ["PrefixTable", "prefix_table"]

KEY_BITS = 38  # of an IPv4 prefix: what an index entry has for its hash (HashIndex)
FEW_BITS = 18  # slots of the index, 2 MiB, up to 163,840 prefixes
MANY_BITS = 19  # of an index of IPv6: 4 MiB, up to 327,680 prefixes, as soon as there are more than some 2,500
KEY_MASK = (1 << KEY_BITS) - 1
NO_ROWS: Ids = np.empty(0, np.int64)
SPARED = 64  # of so many places, one is for prefixes that come alone: a bulk load leaves the others room to breathe
SPARED_FROM = 1 << 16  # of so many in all


class PrefixTable:
    """Rows of one family: hashed on (hi, lo, length)."""

    def __init__(self, family: Family, capacity: int) -> None:
        self.family = family
        self.capacity = capacity
        self.count = 0  # the highest row that was ever given out
        self.beyond = 0  # what did not fit: how many prefixes there would have been
        self.returned = zeros(capacity + 1, np.bool_)  # rows that stand for no prefix now
        self._returned: Ids = NO_ROWS
        self._lo = zeros(capacity + 1, np.uint32 if family is Family.IPV4 else np.uint64)
        self.length = zeros(capacity + 1, np.uint8)
        self._hi = zeros(capacity + 1, np.uint64)
        self._views = (self._hi.data, self._lo.data, self.length.data)
        self._lengths = np.zeros(129, np.bool_)
        self._keys = secret_words(4)
        most = slot_bits(capacity)
        self._index = HashIndex(self._live, lambda: self.count, bits=12, large=min(MANY_BITS, most), most=most)

    def allow(self, prefixes: int) -> None:
        """Take so many at most; not more than there are rows for."""
        self.capacity = prefixes

    @property
    def used(self) -> int:
        """How many prefixes are known."""
        return self.count - len(self._returned)

    def give_back(self, rows: Ids) -> None:
        """These rows stand for no prefix any more, and will for others. Nobody may know of them."""
        self._index.remove(self._hash(*self.columns(rows)), rows)
        self.returned[rows] = True
        self._returned = np.concatenate([self._returned, rows])

    def _take(self, count: int) -> Ids:
        """Rows for new prefixes; there must be room."""
        kept = max(0, len(self._returned) - count)
        again, self._returned = self._returned[kept:], self._returned[:kept]
        self.returned[again] = False
        first = self.count + 1
        self.count += count - len(again)
        return np.concatenate([again, np.arange(first, self.count + 1)])

    def hi(self, rows: Ids) -> Words:
        """Upper words of the addresses (IPv4: zeros)."""
        return self._hi.take(rows)

    def columns(self, rows: Ids) -> tuple[Words, Words, Lengths]:
        """Addresses (upper words, lower words) and lengths of rows."""
        return self.hi(rows), self._lo.take(rows).astype(np.uint64, copy=False), self.length.take(rows)

    def prefix(self, row: int) -> Prefix:
        """The prefix of a row."""
        return Prefix(self.family, int(self._hi[row]) << 64 | int(self._lo[row]), int(self.length[row]))

    def _check(self, more: int, spared: int = 0) -> None:
        if self.used + more > self.capacity - spared:
            self.beyond = max(self.beyond, self.used + more)
            raise CapacityError(
                f"{self.used} {self.family.label} prefixes are known, {more} more do not fit in {self.capacity}",
                mend=f"raise datapath.max_{self.family.label}, or filter at the peers",
            )

    # -- many ---------------------------------------------------------------------------------------

    def intern(self, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Rows of prefixes, new ones where need be. CapacityError comes before anything is changed."""
        spared = self.capacity // SPARED if self.capacity >= SPARED_FROM else 0
        if self.used + len(lo) > self.capacity - spared:
            self._check(int((self.find(hi, lo, length) == 0).sum()), spared)
        return self._index.intern(self._hash(hi, lo, length), self._same(hi, lo, length), self._create(hi, lo, length))

    def find(self, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Rows of prefixes, 0 where one is not known."""
        return self._index.find(self._hash(hi, lo, length), self._same(hi, lo, length))

    def _same(self, hi: Words, lo: Words, length: Lengths) -> Any:
        def same(rows: Ids, at: Ids) -> Any:
            equal = (self._lo.take(rows) == lo.take(at)) & (self.length.take(rows) == length.take(at))
            return equal & (self._hi.take(rows) == hi.take(at))

        return same

    def _create(self, hi: Words, lo: Words, length: Lengths) -> Any:
        def create(at: Ids) -> Ids:
            if len(at) == len(lo):  # all of them, in their order
                return self._add(hi, lo, length)
            return self._add(hi.take(at), lo.take(at), length.take(at))

        return create

    def _add(self, hi: Words, lo: Words, length: Lengths) -> Ids:
        rows = self._take(len(lo))
        at = place_of(rows)
        if self.family is not Family.IPV4:  # whose upper words stay pages that nobody has touched
            self._hi[at] = hi
        self._lo[at], self.length[at] = lo, length
        self._lengths[length] = True
        return rows

    def _hash(self, hi: Words, lo: Words, length: Lengths) -> Words:
        first, second, third, last = (np.uint64(key) for key in self._keys)
        mixed = hi * first + lo * second + length.astype(np.uint64) * third
        mixed ^= mixed >> np.uint64(32)
        mixed *= last
        out: Words = mixed ^ (mixed >> np.uint64(29))
        return out

    def _live(self, first: int, last: int) -> tuple[Words, Ids]:
        part = slice(first, last)
        if len(self._returned):
            rows = np.flatnonzero(~self.returned[part]) + first
            return self._hash(*self.columns(rows)), rows
        return self._hash(self._hi[part], self._lo[part], self.length[part]), np.arange(first, last)

    # -- one ----------------------------------------------------------------------------------------

    def _hash_one(self, hi: int, lo: int, length: int) -> int:
        first, second, third, last = self._keys
        mixed = hi * first + lo * second + length * third & MASK64
        mixed = (mixed ^ mixed >> 32) * last & MASK64
        return mixed ^ mixed >> 29

    def find_one(self, hi: int, lo: int, length: int) -> int:
        """The row of one prefix, 0 when it is not known."""
        his, los, lengths = self._views

        def same(row: int) -> bool:
            return bool(los[row] == lo and lengths[row] == length and his[row] == hi)

        return self._index.find_one(self._hash_one(hi, lo, length), same)

    def intern_one(self, hi: int, lo: int, length: int) -> int:
        """The row of one prefix, a new one if need be."""
        row = self.find_one(hi, lo, length)
        if row:
            return row
        self._check(1)
        self._index.reserve(1)
        row = self._add_one(hi, lo, length)
        self._index.add_one(self._hash_one(hi, lo, length), row)
        return row

    def _add_one(self, hi: int, lo: int, length: int) -> int:
        if len(self._returned):
            row = int(self._take(1)[0])
        else:
            self.count += 1
            row = self.count
        his, los, lengths = self._views
        los[row], lengths[row] = lo, length
        if self.family is not Family.IPV4:
            his[row] = hi
        self._lengths[length] = True
        return row

    def row(self, prefix: Prefix) -> int:
        """The row of a prefix, 0 when it is not known."""
        return self.find_one(prefix.value >> 64, prefix.value & MASK64, prefix.length)

    # -- containment --------------------------------------------------------------------------------

    def longest(self, address: IPAddress) -> list[int]:
        """Rows of all prefixes that hold the address, longest first. Whether they have a route is another
        matter."""
        return self.containing(int(address), self.family.bits)

    def covering(self, row: int) -> list[int]:
        """Rows of all prefixes that cover this one, longest first, without itself."""
        prefix = self.prefix(row)
        return self.containing(prefix.value, prefix.length - 1)

    def containing(self, value: int, longest: int) -> list[int]:
        """Rows of prefixes of at most `longest` bits that hold the address `value`."""
        rows = []
        for length in np.flatnonzero(self._lengths[: longest + 1])[::-1].tolist():
            shift = self.family.bits - length
            network = value >> shift << shift
            row = self.find_one(network >> 64, network & MASK64, length)
            if row:
                rows.append(row)
        return rows

    def covered(self, prefix: Prefix, first: int = 1, last: int | None = None) -> Ids:
        """Rows inside a prefix, itself among them, ascending; of rows first..last-1 if those are given."""
        part = slice(first, self.count + 1 if last is None else last)
        lo, length = self._lo[part], self.length[part]
        inside = length >= prefix.length
        shift = self.family.bits - prefix.length
        if shift < 64:
            inside &= lo >> np.uint64(shift) == np.uint64((prefix.value & MASK64) >> shift)
        if self.family is Family.IPV6 and shift < 128:
            high = np.uint64(max(shift - 64, 0))
            inside &= self._hi[part] >> high == np.uint64(prefix.value >> 64) >> high
        return np.flatnonzero(inside) + first


class ShortTable(PrefixTable):
    """IPv4: address and length are 38 bits, all that an entry of the index has for its hash. So the hash is the prefix,
    stirred by steps that can be undone, and an entry that has it needs no look at the columns."""

    def __init__(self, capacity: int) -> None:
        super().__init__(Family.IPV4, capacity)
        most = slot_bits(capacity)
        self._index = ExactIndex(self._live, lambda: self.count, bits=FEW_BITS, large=most, most=most)

    def allow(self, prefixes: int) -> None:
        """The same. Its index then has room for all of them as soon as there are many."""
        super().allow(prefixes)
        self._index.large = self._index.most = slot_bits(prefixes)

    def hi(self, rows: Ids) -> Words:
        """Zeros."""
        return np.zeros(len(rows), np.uint64)

    def _same(self, *columns: Any) -> Any:  # noqa: ARG002  (as the base class has it)
        return lambda rows, _: np.ones(len(rows), np.bool_)

    def _hash(self, _: Words, lo: Words, length: Lengths) -> Words:
        stirred = lo << np.uint64(6) | length
        for key in self._keys[:2]:
            stirred *= np.uint64(key)
            stirred &= np.uint64(KEY_MASK)
            stirred ^= stirred >> np.uint64(KEY_BITS // 2)
        whole: Words = stirred << np.uint64(ID_BITS) | stirred & ID_MASK  # which prefix it is, and where it stands
        return whole

    def find_one(self, _: int, lo: int, length: int) -> int:
        """The row of one prefix, 0 when it is not known: all in one function, for packets wait for it."""
        index = self._index
        view, mask = index.view, index.mask
        first, second, _, _ = self._keys
        stirred = (lo << 6 | length) * first & KEY_MASK
        stirred = (stirred ^ stirred >> KEY_BITS // 2) * second & KEY_MASK
        stirred ^= stirred >> KEY_BITS // 2
        at = (stirred << ID_BITS | stirred & DEAD) & mask
        while entry := view[at]:
            if entry >> ID_BITS == stirred and entry != DEAD:  # which has 0.0.0.0/0's bits
                return int(entry & DEAD)
            at = (at + 1) & mask
        return 0

    def _hash_one(self, _: int, lo: int, length: int) -> int:
        stirred = lo << 6 | length
        for key in self._keys[:2]:
            stirred = stirred * key & KEY_MASK
            stirred ^= stirred >> KEY_BITS // 2
        return stirred << ID_BITS | stirred & DEAD


def prefix_table(family: Family, capacity: int) -> PrefixTable:
    """The table that fits the family."""
    return ShortTable(capacity) if family is Family.IPV4 else PrefixTable(family, capacity)
