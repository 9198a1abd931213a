"""The adjacencies map as words: layout, and the order of stores that leaves every moment valid.

Each 8-octet word of an entry is one aligned store and valid alone (bpf/abi.h, struct adjacency):

    word0 = dmac, mtu     word1 = smac, state     word2 = place (port, tags)     word3 = which gateway

word3 is `reserved` to the program; a restart finds its entries again by it. A new entry gets place and gateway while
its state is down, then MACs, and state up last; a dead one loses its state first. Stores are not reordered on x86.

A copy of every store is kept: it says whether somebody else has written there since.

Where the array is a copy (a kernel that maps none), `stored` carries an entry over as a whole, which is not atomic to
readers: so one that is up goes down before its MACs change, and up again behind them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath.abi import Place
from bgpbridge.types import IPAddress

__all__ = ["AdjacencyWords", "LeftEntry", "identity_of"]

UP = 1
MAC_MASK = (1 << 48) - 1
WORDS = ("far MAC and MTU", "own MAC and state", "interface", "gateway")


@dataclass(frozen=True, slots=True)
class LeftEntry:
    """An entry that stands in the map."""

    id: int
    dmac: bytes
    up: bool
    place: Place
    identity: int


def identity_of(gateway: IPAddress) -> int:
    """64 bits that stand for a gateway."""
    return int.from_bytes(hashlib.blake2b(gateway.packed, digest_size=8).digest(), "little")


class AdjacencyWords:
    """Stores into the mmapped array; `words` is any contiguous view of it. `stored` is called after stores into an
    entry where the array is a copy."""

    def __init__(self, words: npt.NDArray[Any], stored: Callable[[int], None] | None = None) -> None:
        self._rows: npt.NDArray[np.uint64] = words.view(np.uint64).reshape(-1, 4)
        self._kept = self._rows.copy()  # what an earlier run left is taken for what we stored
        self._stored = stored

    def __len__(self) -> int:
        return len(self._rows)

    def used(self) -> Iterator[LeftEntry]:
        """The entries in use; 0 is none."""
        for number in (np.flatnonzero(self._rows[1:, 2]) + 1).tolist():
            word0, word1, place, identity = (int(word) for word in self._rows[number])
            yield LeftEntry(number, _mac(word0), word1 >> 48 == UP, Place.of(place), identity)

    def open(self, number: int, place: Place, identity: int) -> None:
        """A new entry, down."""
        self._store(number, (1, 0))
        self._store(number, (2, place.word), (3, identity), (0, 0))

    def move(self, number: int, place: Place) -> None:
        """Another place for an entry that is down: that was a store of its own, before this one."""
        self._store(number, (2, place.word))

    def close(self, number: int) -> None:
        """An entry that nothing points to any more."""
        self._store(number, (1, 0))
        self._store(number, (2, 0), (3, 0))

    def store_ends(self, number: int, dmac: bytes, smac: bytes, mtu: int) -> None:
        """MACs and MTU, the state as it is. Nothing is stored that stands there: its cache line stays shared."""
        row = self._rows[number]
        word0 = int.from_bytes(dmac[:6].ljust(6, b"\0") + min(mtu, 0xFFFF).to_bytes(2, "little"), "little")
        word1 = int.from_bytes(smac[:6].ljust(6, b"\0"), "little") | int(self._kept[number, 1]) & ~MAC_MASK
        if self._stored is not None and (int(row[0]), int(row[1])) != (word0, word1):
            self._store(number, (1, int(self._kept[number, 1]) & MAC_MASK))
            self._store(number, (0, word0), (1, word1 & MAC_MASK))
            self._store(number, (1, word1))
        if int(row[0]) != word0:
            self._store(number, (0, word0))
        if int(row[1]) != word1:
            self._store(number, (1, word1))

    def store_state(self, number: int, *, up: bool) -> None:
        """Up or down: one store."""
        self._store(number, (1, int(self._kept[number, 1]) & MAC_MASK | int(up) << 48))

    def _store(self, number: int, *words: tuple[int, int]) -> None:
        row, kept = self._rows[number], self._kept[number]
        for position, word in words:
            row[position] = kept[position] = word
        if self._stored is not None:
            self._stored(number)

    def far_end(self, number: int) -> tuple[bytes, int]:
        """The destination MAC and MTU that packets get."""
        word0 = int(self._rows[number, 0])
        return _mac(word0), word0 >> 48

    # -- what somebody else has written -------------------------------------------------------------

    @property
    def in_use(self) -> int:
        """How many entries have a link."""
        return int(np.count_nonzero(self._kept[1:, 2]))

    def crooked(self) -> list[int]:
        """Entries that do not stand as we stored them."""
        found: list[int] = np.flatnonzero((self._rows != self._kept).any(axis=1)).tolist()
        return found

    def told(self, number: int) -> str:
        """How a crooked entry stands."""
        pairs = zip(WORDS, self._rows[number].tolist(), self._kept[number].tolist(), strict=True)
        return "; ".join(f"{name} {have:#x} there, should be {want:#x}" for name, have, want in pairs if have != want)

    def mend(self, number: int) -> None:
        """Store it again as we did; down until all of it is right."""
        word0, word1, place, identity = self._kept[number].tolist()
        self._store(number, (1, word1 & MAC_MASK), (2, place), (3, identity), (0, word0), (1, word1))


def _mac(word: int) -> bytes:
    return (word & MAC_MASK).to_bytes(6, "little")
