"""The IPv4 index as ranges of addresses, for an audit: all 16M slots with the pages behind them as they stand, as they
should, put right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index4_level import DEEP, Slots
from bgpbridge.fib.index4_pages import PAGE
from bgpbridge.fib.keys import U32, U64, Keys, Rows
from bgpbridge.fib.ranges import DEFER, Ranges, ranges_of
from bgpbridge.fib.sweep import RIGHT, Compared
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["compared", "said", "store"]

SLOTS = 1 << 24
REST = 8  # bits of an address below its slot
AT_ONCE = 1 << 20  # slots, between two of which the interpreter may turn to something else
WIDE = 64  # slots from which on a piece is stored by itself


def said(slots: Slots) -> Ranges:
    """Groups by ranges of addresses, with DEFER where a slot sends packets to the trie; a tenth of a second. For a
    thread: each part is copied first, so that what is written meanwhile stands in its own slots and no others."""
    pages = slots[SLOTS:].reshape(-1, PAGE)
    parts = [_part(slots[at : at + AT_ONCE].copy(), at, pages) for at in range(0, SLOTS, AT_ONCE)]
    lo, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Ranges(Family.IPV4, np.zeros(len(lo), np.uint64), lo, value).joined()


def _part(part: Slots, at: int, pages: Slots) -> tuple[U64, U32]:
    """First addresses of pieces and what they are told."""
    deep = part >= DEEP
    begins = np.ones(len(part), np.bool_)
    begins[1:] = (part[1:] != part[:-1]) & ~deep[1:]
    begins[0] = not deep[0]
    flat, paged = np.flatnonzero(begins), np.flatnonzero(deep)
    row, address, told = _told(part[paged].astype(np.int64) - DEEP, pages)
    lo = np.concatenate([flat << REST, paged[row] << REST | address]) + (at << REST)
    order = np.argsort(lo, kind="stable")
    breathe()
    return lo[order].astype(np.uint64), np.concatenate([part[flat].astype(np.uint32), told])[order]


def _told(page: Rows, pages: Slots) -> tuple[Rows, Rows, U32]:
    """Of slots with these pages: where something else begins in which slot, and what."""
    there = (page > 0) & (page < len(pages))
    rows = np.full((len(page), PAGE), DEFER)
    rows[there] = pages[page[there]]
    begins = np.ones(rows.shape, np.bool_)
    begins[:, 1:] = rows[:, 1:] != rows[:, :-1]
    row, address = np.nonzero(begins)
    return row, address, rows[row, address]


def compared(slots: Slots, keys: Keys, groups: U32, unpaged: Collection[int]) -> Compared:
    """All that stands there, beside what should where these routes stand; the trie answers for the `unpaged` slots."""
    found = Compared.of(said(slots), ranges_of(keys, groups))
    if not len(unpaged):
        return found
    slot = found.pieces.lo >> np.uint64(REST)
    left = (found.have == DEFER) & np.isin(slot, np.array(list(unpaged), np.uint64))
    state = np.where(left, np.uint32(RIGHT), found.pieces.value)
    return Compared(found.pieces.valued(state), found.have, found.want)


def store(slots: Slots, pages: Mapping[int, int], wrong: Compared) -> None:
    """Let the wrong pieces say what they should; `pages` are those of the slots that have one."""
    which = wrong.wrong()
    lo = wrong.pieces.lo.astype(np.int64)
    begin, end, want = lo[which], np.append(lo[1:], SLOTS << REST)[which], wrong.want[which]
    deep = np.sort(np.fromiter(pages, np.int64, len(pages)))
    first, behind = begin >> REST, ((end - 1) >> REST) + 1
    _store_pages(slots, pages, deep, begin, end, want)
    _store_flat(slots, deep, first, behind, want.astype(np.uint16))


def _store_pages(slots: Slots, pages: Mapping[int, int], deep: Rows, begin: Rows, end: Rows, want: U32) -> None:
    rows = slots[SLOTS:].reshape(-1, PAGE)
    left, right = np.searchsorted(deep, begin >> REST), np.searchsorted(deep, (end - 1) >> REST, "right")
    touched = np.flatnonzero(right > left)
    for number in touched.tolist():
        for slot in deep[left[number] : right[number]].tolist():
            page, base = pages[slot], slot << REST
            if page:
                part = slice(max(int(begin[number]) - base, 0), min(int(end[number]) - base, PAGE))
                rows[page, part] = want[number]
            slots[slot] = DEEP | page


def _store_flat(slots: Slots, deep: Rows, first: Rows, behind: Rows, want: Slots) -> None:
    width = behind - first
    narrow = width < WIDE
    count = width[narrow]
    number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    which = np.repeat(first[narrow], count) + number
    flat: npt.NDArray[np.bool_] = ~np.isin(which, deep)
    slots[which[flat]] = np.repeat(want[narrow], count)[flat]
    for begin, end, group in zip(*(column[~narrow].tolist() for column in (first, behind, want)), strict=True):
        part = slots[begin:end]
        mine = np.ones(len(part), np.bool_)
        mine[deep[np.searchsorted(deep, begin) : np.searchsorted(deep, end)] - begin] = False
        np.copyto(part, np.uint16(group), where=mine)
