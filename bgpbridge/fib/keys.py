"""Prefixes as columns, and finding one column of prefixes in another.

Adoption, overlay and audit all ask the same question: which of these million prefixes stand in that
table, and where? Each prefix becomes a token of 64 bits, the table is sorted by token once, and
`searchsorted` answers. An IPv4 token is exact. An IPv6 token is a hash under secret keys, so each hit is
verified and runs of equal tokens are walked: a peer can neither build collisions nor profit from one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family, Prefix

__all__ = ["U8", "U32", "U64", "KeyTable", "Keys", "Rows"]

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

IN_ORDER_FROM = 256
TOKEN_AT = np.uint64(24)  # in a word, of an IPv4 prefix's token; below it stands the row
ROWS = 1 << 24
ROW = np.uint64(ROWS - 1)
_SECRET = tuple(np.uint64(secrets.randbits(64) | 1) for _ in range(3))


@dataclass(frozen=True, slots=True)
class Keys:
    """Columns of prefixes of one family. IPv4 addresses stand in `lo`, `hi` is zero."""

    family: Family
    hi: U64
    lo: U64
    length: U8

    def __len__(self) -> int:
        return len(self.lo)

    @classmethod
    def of(cls, family: Family, prefixes: Iterable[Prefix]) -> Keys:
        """From values; every prefix must be of `family`."""
        listed, mask = list(prefixes), (1 << 64) - 1
        words = [p.value >> 64 for p in listed], [p.value & mask for p in listed]
        return cls.listed(family, *words, [p.length for p in listed])

    @classmethod
    def listed(cls, family: Family, hi: Sequence[int], lo: Sequence[int], length: Sequence[int]) -> Keys:
        """From integers, a few."""
        return cls(family, np.array(hi, np.uint64), np.array(lo, np.uint64), np.array(length, np.uint8))

    @classmethod
    def from_octets(cls, family: Family, octets: U8, length: U8) -> Keys:
        """From an array of n x 4 or n x 16 octets in network order."""
        if family is Family.IPV4:
            lo = np.ascontiguousarray(octets).view(">u4").ravel().astype(np.uint64)
            return cls(family, np.zeros(len(lo), np.uint64), lo, np.ascontiguousarray(length))
        words = np.ascontiguousarray(octets).view(">u8").astype(np.uint64)
        return cls(
            family,
            np.ascontiguousarray(words[:, 0]),
            np.ascontiguousarray(words[:, 1]),
            np.ascontiguousarray(length),
        )

    @classmethod
    def joined(cls, family: Family, parts: Sequence[Keys]) -> Keys:
        """Several one after the other."""
        if not parts:
            return cls.of(family, [])
        columns = ((part.lo, part.length) for part in parts)
        lo, length = (np.concatenate(column) for column in zip(*columns, strict=True))
        return cls(family, _upper(family, lo, lambda: np.concatenate([part.hi for part in parts])), lo, length)

    def octets(self) -> U8:
        """The addresses as n x 4 or n x 16 octets in network order."""
        if self.family is Family.IPV4:
            return self.lo.astype(">u4").view(np.uint8).reshape(-1, 4)
        words = np.empty((len(self.lo), 2), ">u8")
        words[:, 0], words[:, 1] = self.hi, self.lo
        return words.view(np.uint8)

    def take(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> Keys:
        """Some of them, by index, mask or slice."""
        lo = self.lo[which]
        return Keys(self.family, _upper(self.family, lo, lambda: self.hi[which]), lo, self.length[which])

    def prefix(self, index: int) -> Prefix:
        """One of them as a value."""
        return Prefix(self.family, int(self.hi[index]) << 64 | int(self.lo[index]), int(self.length[index]))

    def tokens(self) -> U64:
        """One word per prefix: equal prefixes have equal tokens (for IPv4 also the other way round)."""
        length = self.length.astype(np.uint64)
        if self.family is Family.IPV4:
            return self.lo << np.uint64(8) | length
        first, second, third = _SECRET
        return (
            (self.hi ^ self.hi >> np.uint64(29)) * first
            + (self.lo ^ self.lo >> np.uint64(31)) * second
            + length * third
        )


def _upper(family: Family, lo: U64, of_ipv6: Callable[[], U64]) -> U64:
    """Upper halves; those of IPv4 are pages that nobody touches."""
    return np.zeros(len(lo), np.uint64) if family is Family.IPV4 else of_ipv6()


class KeyTable:
    """A table that can be asked where a prefix stands in it."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._order, self._sorted = _in_order(keys.family, keys.tokens())

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, wanted: Keys) -> Rows:
        """For each wanted prefix its index in the table, or -1."""
        found = np.full(len(wanted), -1, np.int64)
        if not len(self._sorted) or not len(wanted):
            return found
        tokens = wanted.tokens()
        at = self._first_at(wanted.family, tokens)
        open_rows = np.arange(len(wanted))
        while len(open_rows):
            here = at[open_rows]
            inside = here < len(self._sorted)
            open_rows, here = open_rows[inside], here[inside]
            same = self._sorted[here] == tokens[open_rows]
            open_rows, here = open_rows[same], here[same]
            index = self._order[here]
            hit = self._equal(index, wanted, open_rows)
            found[open_rows[hit]] = index[hit]
            open_rows = open_rows[~hit]  # another prefix with the same token: look at the next of the run
            at[open_rows] += 1
        return found

    def _first_at(self, family: Family, tokens: U64) -> Rows:
        """`searchsorted`; many are looked for among many in their order, which spares three cache misses in four."""
        if min(len(tokens), len(self._sorted)) < IN_ORDER_FROM:
            return np.searchsorted(self._sorted, tokens)
        order, ascending = _in_order(family, tokens)
        at = np.empty(len(tokens), np.int64)
        at[order] = np.searchsorted(self._sorted, ascending)
        return at

    def _equal(self, index: Rows, wanted: Keys, rows: Rows) -> npt.NDArray[np.bool_]:
        """Of prefixes whose tokens are equal those that are."""
        mine = self.keys
        if mine.family is Family.IPV4:
            return np.ones(len(index), np.bool_)
        same: npt.NDArray[np.bool_] = (mine.lo[index] == wanted.lo[rows]) & (mine.length[index] == wanted.length[rows])
        same &= mine.hi[index] == wanted.hi[rows]
        return same


def _in_order(family: Family, tokens: U64) -> tuple[Rows, U64]:
    """The rows of tokens by size, those of one size ascending, and the tokens so. An IPv4 token and its row fit into
    one word, and words are sorted at ten times the speed of anything else."""
    if family is Family.IPV6 or len(tokens) > ROWS:
        order: Rows = np.argsort(tokens, kind="stable")
        return order, tokens[order]
    words = tokens << TOKEN_AT
    words |= np.arange(len(words), dtype=np.uint64)
    words.sort()
    order = (words & ROW).view(np.int64)
    words >>= TOKEN_AT
    return order, words
