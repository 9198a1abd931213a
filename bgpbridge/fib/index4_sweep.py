"""The IPv4 index as ranges of addresses, for an audit: all 16M slots as they stand, as they should, put right.

A slot is compared whole. The group under DEEP answers no packet, but it will when the longer routes have gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.fib.keys import U32, Keys, Rows
from bgpbridge.fib.ranges import DEFER, Ranges, ranges_of, together
from bgpbridge.types import Family

__all__ = ["expected", "said", "store"]

Slots = npt.NDArray[np.uint16]

SLOT_BITS = 24
REST = np.uint64(8)  # bits of an address below its slot
DEEP = np.uint32(abi.INDEX4_DEEP)
GROUP = np.uint32(abi.INDEX4_DEEP - 1)
UP = np.uint32(16)  # from DEEP to DEFER
AT_ONCE = 1 << 20  # slots, between two of which the interpreter may turn to something else
WIDE = 64  # slots from which on a piece is stored by itself


def said(slots: Slots) -> Ranges:
    """Groups by ranges of addresses, with DEFER where a slot sends packets to the trie; a tenth of a second. For a
    thread: each part is copied first, so that what is written meanwhile stands in its own slots and no others."""
    begins, values = [], []
    before: Any = None
    for at in range(0, len(slots), AT_ONCE):
        part = slots[at : at + AT_ONCE].copy()
        other = np.ones(len(part), np.bool_)
        other[1:] = part[1:] != part[:-1]
        other[0] = before is None or part[0] != before
        before = part[-1]
        begin = np.flatnonzero(other)
        begins.append(begin + at)
        values.append(part[begin])
    entry = np.concatenate(values).astype(np.uint32)
    lo = np.concatenate(begins).astype(np.uint64) << REST
    return Ranges(Family.IPV4, np.zeros(len(lo), np.uint64), lo, entry & GROUP | (entry & DEEP) << UP)


def expected(keys: Keys, groups: U32) -> Ranges:
    """What `said` gives of an index in front of these routes."""
    flat = keys.length <= SLOT_BITS
    if flat.all():
        return ranges_of(keys, groups)
    shallow = ranges_of(keys.take(flat), groups[flat])
    slot = np.unique(keys.lo[~flat] >> REST) << REST
    there = Keys(Family.IPV4, np.zeros(len(slot), np.uint64), slot, np.full(len(slot), SLOT_BITS, np.uint8))
    deep = ranges_of(there, np.full(len(slot), DEFER, np.uint32))
    pieces, (group, deferred) = together([shallow, deep])
    return pieces.valued(group | deferred).joined()


def store(slots: Slots, pieces: Ranges, which: Rows, want: U32) -> None:
    """Let these pieces say `want` (of all pieces)."""
    first = (pieces.lo >> REST).astype(np.int64)
    end = np.append(first[1:], len(slots))[which]
    first, entry = first[which], (want[which] & GROUP | want[which] >> UP & DEEP).astype(np.uint16)
    narrow = end - first < WIDE
    width = (end - first)[narrow]
    number = np.arange(int(width.sum())) - np.repeat(np.cumsum(width) - width, width)
    slots[np.repeat(first[narrow], width) + number] = np.repeat(entry[narrow], width)
    wide = (column[~narrow].tolist() for column in (first, end, entry))
    for begin, stop, value in zip(*wide, strict=True):
        slots[begin:stop] = value
