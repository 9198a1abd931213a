"""How the IPv6 index lies in memory, for all who write or read it (bpf/abi.h, struct index6_line).

    slots    an entry for each 16 first bits of an address, then one for each 24 bits inside 2000::/3
    lines    64 octets each. A node is a block of 1 to 17 lines: a head of ten words, then an entry for each run
    entry    line number | POINTER: go on there with the next octet
             owner << 24 | group: a route; the owner is its length within the node, 1 to 8, in `slots` its length + 1
             0: nothing here, the last entry above that says something holds

Runs that say the same are one run, a slot points at a node exactly while something longer lives under it, and a node's
`inherited` is what its slot would say without it: so a set of routes has one form, whichever way it came about.
"""

from __future__ import annotations

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.fib.keys import U8, U32, U64, Rows

__all__ = [
    "BEFORE",
    "GROUP",
    "HEAD",
    "INHERITED",
    "LINE",
    "OWNER",
    "POINTER",
    "SHORT_BITS",
    "WIDTH",
    "WORDS",
    "Nodes",
    "place",
    "places",
    "spans",
    "spread",
]

WORDS, HEAD = abi.INDEX6_WORDS, abi.INDEX6_HEAD
WIDTH = WORDS.bit_length() - 1
POINTER, LINE, GROUP = abi.INDEX6_POINTER, abi.INDEX6_POINTER - 1, abi.INDEX6_GROUP
OWNER = 24  # bits below it
INHERITED, BEFORE = 8, 9  # words of a head
BEFORE_OCTET = 4 * BEFORE
SHORT_BITS, LONG_BITS = 16, 24
WINDOW = 0b001  # 2000::/3
LONG = abi.INDEX6_SHORT - (WINDOW << 21)  # what is added to 24 bits of an address for its slot


class Nodes:
    """The two arrays, as columns and as views for single words. `slots` and `words` are the live maps, or arrays of the
    same shape."""

    def __init__(self, slots: U32, words: U32) -> None:
        self.slots, self.words = slots, words
        self.lines = words.reshape(-1, WORDS)
        self.octets: U8 = words.view(np.uint8).reshape(-1, 4 * WORDS)
        self.starts: U64 = words.view(np.uint64).reshape(-1, WORDS // 2)  # the first four of each
        self._whole = self.lines.view(f"V{4 * WORDS}").ravel()
        self.one_slot, self.one_word = slots.data, words.data
        self._one_octet = words.data.cast("B")

    # -- many ---------------------------------------------------------------------------------------

    def runs(self, line: Rows) -> Rows:
        """How many runs nodes have."""
        count: Rows = self.octets[line, BEFORE_OCTET + 3] + np.bitwise_count(self.starts[line, 3]).astype(np.int64)
        return count

    def entry_at(self, line: Rows, octet: Rows) -> Rows:
        """The word that holds a node's entry for an octet."""
        part = octet >> 6
        upto = self.starts[line, part] << (63 - (octet & 63)).astype(np.uint64)
        at: Rows = WORDS * line + (HEAD - 1) + self.octets[line, BEFORE_OCTET + part] + np.bitwise_count(upto)
        return at

    def entries_at(self, line: Rows, runs: Rows) -> tuple[Rows, Rows]:
        """The words of all entries of nodes one after the other, and whose each is."""
        return spread(WORDS * line + HEAD, runs)

    def inherited(self, line: Rows) -> U32:
        """What nodes have inherited."""
        found: U32 = self.words.take(WORDS * line + INHERITED)
        return found

    def inherit(self, line: Rows, entry: U32 | np.uint32) -> None:
        """Let nodes inherit this."""
        self.words[WORDS * line + INHERITED] = entry

    def fill(self, line: Rows, row: U32) -> None:
        """Write whole lines. As items of 64 octets: by rows of words that takes three times as long."""
        self._whole[line] = row.view(self._whole.dtype).ravel()

    # -- one ----------------------------------------------------------------------------------------

    def starts_of(self, line: int) -> int:
        """The 256 bits of a node that say where runs start."""
        return int.from_bytes(self._one_octet[64 * line : 64 * line + 32], "little")

    def write_starts(self, line: int, starts: int) -> None:
        """The same bits, and with them the counts that the program adds up."""
        self._one_octet[64 * line : 64 * line + 32] = starts.to_bytes(32, "little")
        first, second, third = ((starts & (1 << bits) - 1).bit_count() for bits in (64, 128, 192))
        self.one_word[WORDS * line + BEFORE] = first << 8 | second << 16 | third << 24

    def entry_at_one(self, line: int, octet: int) -> int:
        """The word that holds a node's entry for an octet."""
        part = octet >> 6
        before = self._one_octet[64 * line + BEFORE_OCTET + part]
        start = 64 * line + 8 * part
        upto = int.from_bytes(self._one_octet[start : start + 8], "little") & (2 << (octet & 63)) - 1
        return WORDS * line + (HEAD - 1) + before + upto.bit_count()


def places(hi: U64, length: Rows) -> tuple[Rows, Rows]:
    """The slot where each prefix begins, and how many bits it stands for. A prefix shorter than 2000::/3 belongs to the
    slots of 16 bits; what else it fills, `spans` knows."""
    window = (hi >> np.uint64(61) == WINDOW) & (length >= 3)
    slot = np.where(window, (hi >> np.uint64(40)).astype(np.int64) + LONG, (hi >> np.uint64(48)).astype(np.int64))
    return slot, np.where(window, LONG_BITS, SHORT_BITS)


def place(hi: int, length: int) -> tuple[int, int]:
    """The same for one prefix."""
    if hi >> 61 == WINDOW and length >= 3:
        return (hi >> 40) + LONG, LONG_BITS
    return hi >> 48, SHORT_BITS


def spans(hi: int, length: int) -> list[tuple[int, int]]:
    """The slots that a short prefix fills: (first, how many). ::/0, ::/1 and ::/2 hold 2000::/3: they fill its slots
    too."""
    slot, bits = place(hi, length)
    found = [(slot, 1 << (bits - length))]
    if length < 3 and hi == 0:
        found.append((abi.INDEX6_SHORT, abi.INDEX6_SLOTS - abi.INDEX6_SHORT))
    return found


def spread(first: Rows, count: Rows) -> tuple[Rows, Rows]:
    """first, first + 1, ... `count` of them for each; and which of the `first` each comes from."""
    origin = np.repeat(np.arange(len(first)), count)
    return np.arange(len(origin)) + (first - np.cumsum(count) + count)[origin], origin
