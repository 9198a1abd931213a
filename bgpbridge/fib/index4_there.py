"""Groups of the routes up to /23, for those that are to cover a withdrawn one: by heap number, 1 << length | bits.

    present[number >> 3]   a bit for each number, for most that are asked for are not there: 2 MiB
    keys, groups           open addressing, hashed by a secret multiplier so that no peer can choose collisions: six
                           octets a place, five of eight places in use at most. Group 0: it has gone, its place is kept

An array with a place for each number takes 32 MiB for the same, of which a table of the Internet touches most pages.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index4_level import Slots
from bgpbridge.fib.keys import Rows
from bgpbridge.rib.tables import LOAD, MASK64, OF, onward, secret_words, slot_bits, zeros

__all__ = ["There"]

NUMBERS = 1 << 24
FIRST_BITS, STEP_BITS = 12, 2  # of the table: it grows fourfold, for moving all takes time


class There:
    """Group by heap number. Those of one call ascend, and none stands twice among them."""

    def __init__(self) -> None:
        self._present = zeros(NUMBERS >> 3, np.uint8)
        self._bit = self._present.data
        (self._key,) = secret_words(1)
        self._allocate(FIRST_BITS)

    def _allocate(self, bits: int) -> None:
        self._bits, self._mask, self._count = bits, (1 << bits) - 1, 0
        self._keys, self._groups = zeros(1 << bits, np.uint32, huge=True), zeros(1 << bits, np.uint16, huge=True)
        self._one_key, self._one_group = self._keys.data, self._groups.data

    # -- many ---------------------------------------------------------------------------------------

    def put(self, numbers: Rows, groups: Slots) -> None:
        """These have these groups."""
        if len(numbers):
            self._reserve(len(numbers))
            self._place(numbers, groups)
            octet, bits = _bits_of(numbers)
            self._present[octet] |= bits

    def drop(self, numbers: Rows) -> None:
        """These have none, those that have none already among them."""
        known = numbers.compress(self.has(numbers))
        if len(known):
            self._groups[self._find(known)] = 0
            octet, bits = _bits_of(known)
            self._present[octet] &= ~bits

    def has(self, numbers: Rows) -> npt.NDArray[np.bool_]:
        """Which of them have one."""
        found: npt.NDArray[np.bool_] = (self._present.take(numbers >> 3) >> (numbers & 7).astype(np.uint8) & 1) != 0
        return found

    def get(self, numbers: Rows) -> Slots:
        """The groups of numbers that have one."""
        found: Slots = self._groups.take(self._find(numbers))
        return found

    def _first(self, numbers: Rows) -> Rows:
        hashed = numbers.view(np.uint64) * np.uint64(self._key)
        hashed >>= np.uint64(64 - self._bits)
        return hashed.view(np.int64)

    def _find(self, numbers: Rows) -> Rows:
        """The places of numbers that are known."""
        at = self._first(numbers)
        todo = np.flatnonzero(self._keys.take(at) != numbers)
        while len(todo):
            at[todo] = self._onward(at.take(todo), numbers.take(todo))
            todo = todo.compress(self._keys.take(at.take(todo)) != numbers.take(todo))
        return at

    def _place(self, numbers: Rows, groups: Slots) -> None:
        """Where each stood before, or in the first free place of its way; of several for one place, one takes it."""
        at = self._first(numbers)
        while True:
            held = self._keys.take(at)
            free = held == 0
            if free.any():
                self._keys[at.compress(free)] = numbers.compress(free)
                held = self._keys.take(at)
                self._count += int(np.count_nonzero(free & (held == numbers)))
            mine = held == numbers
            self._groups[at.compress(mine)] = groups.compress(mine)
            rest = np.flatnonzero(~mine)
            if not len(rest):
                return
            numbers, groups = numbers.take(rest), groups.take(rest)
            at = self._onward(at.take(rest), numbers)

    def _onward(self, at: Rows, numbers: Rows) -> Rows:
        return onward(self._keys, at, lambda held: held == numbers[:, None])

    def _reserve(self, more: int) -> None:
        if (self._count + more) * OF <= LOAD << self._bits:
            return
        standing = np.flatnonzero(self._groups)
        numbers, groups = self._keys.take(standing).astype(np.int64), self._groups.take(standing)
        needed, gone = slot_bits(len(numbers) + more), self._count - len(numbers)
        worth_it = needed <= self._bits and 2 * gone >= self._count
        self._allocate(self._bits if worth_it else max(needed, self._bits + STEP_BITS))
        self._place(numbers, groups)

    # -- one ----------------------------------------------------------------------------------------

    def put_one(self, number: int, group: int) -> None:
        """It has this group."""
        self._reserve(1)
        at = self._find_one(number)
        self._count += not self._one_key[at]
        self._one_key[at], self._one_group[at] = number, group
        self._bit[number >> 3] |= 1 << (number & 7)

    def drop_one(self, number: int) -> None:
        """It has none."""
        if self.has_one(number):
            self._one_group[self._find_one(number)] = 0
            self._bit[number >> 3] &= ~(1 << (number & 7)) & 0xFF

    def has_one(self, number: int) -> bool:
        """Whether it has one."""
        return bool(self._bit[number >> 3] >> (number & 7) & 1)

    def get_one(self, number: int) -> int:
        """The group of a number that has one."""
        return self._one_group[self._find_one(number)]

    def _find_one(self, number: int) -> int:
        """Its place, or where it would stand."""
        keys, mask = self._one_key, self._mask
        at = (number * self._key & MASK64) >> (64 - self._bits)
        while keys[at] and keys[at] != number:
            at = (at + 1) & mask
        return at


def _bits_of(numbers: Rows) -> tuple[Rows, npt.NDArray[np.uint8]]:
    """Octets that hold the bits of ascending numbers, each once, and their bits."""
    octet = numbers >> 3
    begins = np.flatnonzero(np.diff(octet, prepend=-1))
    bit = np.uint8(1) << (numbers & 7).astype(np.uint8)
    return octet.take(begins), np.bitwise_or.reduceat(bit, begins)
