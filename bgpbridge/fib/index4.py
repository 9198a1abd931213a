"""The IPv4 index: for each /24 the group of its longest match, in one array that the program reads (DIR-24-8,
Gupta, Lin and McKeown, INFOCOM 1998, with a trie in place of its second table).

    slots[address >> 8]   15 bits group id | DEEP: something longer than /24 lives here, ask the trie
    _owner[slot]          prefix length + 1 of the route whose group stands there, 0 nobody   } user space only
    _there[heap number]   routes up to /23, numbered 1 << length | bits                        }
    _deep[slot]           which longer prefixes live there: bit 1 << (length - 24) | rest      }

A route is written where no longer one owns the slot. A withdrawn one leaves its slots to the route that covers it,
found by halving the heap number; so no slot is ever without an answer in between. Each slot is one aligned store of
two octets: a reader sees the old answer or the new one, never a third. Nothing longer than /24 costs more than a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.fib import index4_sweep
from bgpbridge.fib.keys import U8, U32, U64, Keys, Rows
from bgpbridge.fib.ranges import Ranges
from bgpbridge.fib.sweep import Compared, clipped
from bgpbridge.rib.tables import zeros

__all__ = ["Index4", "ValueOf"]

Slots = npt.NDArray[np.uint16]
ValueOf = Callable[[int, int, int], int]
"""The group that stands in the trie under exactly this prefix (hi, lo, length)."""

SLOT_BITS = 24
DEEP = np.uint16(abi.INDEX4_DEEP)
GROUP = np.uint16(abi.INDEX4_DEEP - 1)
SCATTER_FROM = 21  # /21 to /24: one pass for each of the few slots of a prefix
ROWS_FROM = 13  # /13 to /20: prefixes as rows of slots; shorter ones are slices
SINGLY = 8  # slots that one route's change writes by themselves; more are quicker under a mask
SORT_FROM = 4096
AT_ONCE = 1 << 20  # slots that one pass of a bulk change looks at


class Index4:
    """Writer of one index. `slots` is the live map, or an array of the same shape."""

    trouble = ""  # it holds whatever there is

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._start()

    def _start(self) -> None:
        self._owner: U8 = zeros(1 << SLOT_BITS, np.uint8)
        self._there: U8 = zeros(1 << SLOT_BITS, np.uint8)
        self._deep: dict[int, int] = {}
        self._views = self.slots.data, self._owner.data, self._there.data

    # -- many ---------------------------------------------------------------------------------------

    def store(self, keys: Keys, groups: U32) -> None:
        """Routes that stand in the trie by now, new or with another group. No prefix twice."""
        if len(keys) >= SORT_FROM:  # twice as quick: neighbours share cache lines and pages
            order = np.argsort(keys.lo)
            keys, groups = keys.take(order), groups[order]
        values = groups.astype(np.uint16)
        for length in np.unique(keys.length).tolist():
            which = np.flatnonzero(keys.length == length)
            network = keys.lo[which]
            if length > SLOT_BITS:
                self._deep_each(network, length, there=True)
                continue
            if length < SLOT_BITS:
                self._there[self._heap(network, length)] = 1
            self._paint(network, length, values[which], length + 1)

    def remove(self, keys: Keys, value_of: ValueOf) -> None:
        """Routes that are about to leave the trie, in which they must stand still. No prefix twice."""
        lengths = np.unique(keys.length).tolist()
        parts = [(length, keys.lo[keys.length == length]) for length in lengths]
        for length, network in parts:  # all of them first: none may be another's cover
            if length < SLOT_BITS:
                self._there[self._heap(network, length)] = 0
        for length, network in parts:
            if length > SLOT_BITS:
                self._deep_each(network, length, there=False)
            else:
                self._uncover(network, length, value_of)

    def _heap(self, network: U64, length: int) -> Rows:
        return ((network >> np.uint64(32 - length)) | np.uint64(1 << length)).astype(np.int64)

    def _uncover(self, network: U64, length: int, value_of: ValueOf) -> None:
        """Leave the slots of gone routes to what covers them."""
        cover, shorter = self._covers(network, length)
        groups = self._groups_of(cover, shorter, value_of)
        self._paint(network, length, groups, (shorter + 1).astype(np.uint8), gone=True)

    def _covers(self, network: U64, length: int) -> tuple[Rows, Rows]:
        """The heap number and length of the longest route above each prefix; (0, -1) where there is none."""
        heap = self._heap(network, length)
        cover, shorter = np.zeros(len(heap), np.int64), np.full(len(heap), -1, np.int64)
        todo = np.arange(len(heap))
        for above in range(length - 1, -1, -1):
            heap = heap >> 1
            found = self._there[heap] != 0
            cover[todo[found]], shorter[todo[found]] = heap[found], above
            todo, heap = todo[~found], heap[~found]
            if not len(todo):
                break
        return cover, shorter

    def _groups_of(self, cover: Rows, shorter: Rows, value_of: ValueOf) -> Slots:
        distinct, at = np.unique(cover, return_inverse=True)
        lengths = np.zeros(len(distinct), np.int64)
        lengths[at] = shorter
        groups = np.zeros(len(distinct), np.uint16)
        for index, (heap, length) in enumerate(zip(distinct.tolist(), lengths.tolist(), strict=True)):
            if heap:
                groups[index] = value_of(0, (heap ^ 1 << length) << (32 - length), length)
        return groups[at]

    def _paint(self, network: U64, length: int, groups: Slots, owner: Any, *, gone: bool = False) -> None:
        """Write groups into the slots of prefixes of one length: where nothing longer owns them, or (`gone`) where
        exactly these own them. `owner` is who does then, length + 1, one for all or one each."""
        first = (network >> np.uint64(8)).astype(np.int64)
        owners = np.broadcast_to(np.asarray(owner, np.uint8), first.shape)
        width = 1 << (SLOT_BITS - length)
        if length >= SCATTER_FROM:
            for offset in range(width):
                self._put(first + offset, groups, owners, length, gone)
        elif length >= ROWS_FROM:
            step, reach = max(1, AT_ONCE // width), np.arange(width)
            for start in range(0, len(first), step):
                part = slice(start, start + step)
                slots = (first[part, None] + reach).ravel()
                self._put(slots, np.repeat(groups[part], width), np.repeat(owners[part], width), length, gone)
        else:
            for start, group, its in zip(first.tolist(), groups.tolist(), owners.tolist(), strict=True):
                self._put_range(start, width, group, its, length, gone)

    def _put(self, slots: Rows, groups: Slots, owners: U8, length: int, gone: bool) -> None:
        held = self._owner.take(slots)
        mine = held == length + 1 if gone else held <= length + 1
        if not mine.all():
            slots, groups, owners = slots.compress(mine), groups.compress(mine), owners.compress(mine)
        self.slots[slots] = groups | self.slots.take(slots) & DEEP if self._deep else groups
        self._owner[slots] = owners

    def _put_range(self, start: int, width: int, group: int, owner: int, length: int, gone: bool) -> None:
        """One prefix, a slice of slots; a long one in parts, so that masks stay small."""
        if width <= SINGLY:
            self._put_few(start, width, group, owner, length, gone)
            return
        for at in range(start, start + width, AT_ONCE):
            part = slice(at, min(at + AT_ONCE, start + width))
            held, slots = self._owner[part], self.slots[part]
            mine = held == length + 1 if gone else held <= length + 1
            if self._deep:
                np.copyto(slots, slots & DEEP | np.uint16(group), where=mine)
            else:
                np.copyto(slots, np.uint16(group), where=mine)
            np.copyto(held, np.uint8(owner), where=mine)

    def _put_few(self, start: int, width: int, group: int, owner: int, length: int, gone: bool) -> None:
        slots, owners, _ = self._views
        for slot in range(start, start + width):
            held = owners[slot]
            if held == length + 1 or (held <= length and not gone):
                slots[slot] = group | slots[slot] & int(DEEP)
                owners[slot] = owner

    # -- one ----------------------------------------------------------------------------------------

    def store_one(self, _hi: int, lo: int, length: int, group: int) -> None:
        """One route that stands in the trie by now."""
        if length > SLOT_BITS:
            self._deep_one(lo, length, there=True)
            return
        slots, owner, there = self._views
        first = lo >> 8
        if length == SLOT_BITS:
            slots[first] = group | slots[first] & int(DEEP)
            owner[first] = SLOT_BITS + 1
            return
        there[1 << length | lo >> (32 - length)] = 1
        self._put_range(first, 1 << (SLOT_BITS - length), group, length + 1, length, gone=False)

    def remove_one(self, _hi: int, lo: int, length: int, value_of: ValueOf) -> None:
        """One route that is about to leave the trie."""
        if length > SLOT_BITS:
            self._deep_one(lo, length, there=False)
            return
        there = self._views[2]
        heap, shorter = 1 << length | lo >> (32 - length), length
        if length < SLOT_BITS:
            there[heap] = 0
        while True:
            heap, shorter = heap >> 1, shorter - 1
            if not heap or there[heap]:
                break
        group = value_of(0, (heap ^ 1 << shorter) << (32 - shorter), shorter) if heap else 0
        self._put_range(lo >> 8, 1 << (SLOT_BITS - length), group, shorter + 1 if heap else 0, length, gone=True)

    # -- longer than /24 ----------------------------------------------------------------------------

    def _deep_each(self, network: U64, length: int, *, there: bool) -> None:
        for lo in network.tolist():
            self._deep_one(lo, length, there=there)

    def _deep_one(self, lo: int, length: int, *, there: bool) -> None:
        slots, slot = self._views[0], lo >> 8
        bit = 1 << (1 << (length - SLOT_BITS) | (lo & 0xFF) >> (32 - length))
        known = self._deep.get(slot, 0)
        now = known | bit if there else known & ~bit
        if now:
            self._deep[slot] = now
            slots[slot] |= int(DEEP)
        else:
            self._deep.pop(slot, None)
            slots[slot] &= int(GROUP)

    # -- the whole ----------------------------------------------------------------------------------

    def rebuild(self, keys: Keys, groups: U32) -> int:
        """Bring the whole index in line with what stands in the trie, whatever stood in it (1M routes: 0.3 s, 32 MiB
        for as long). Returns how many slots had been otherwise; only these are stored."""
        fresh = Index4(zeros(1 << SLOT_BITS, np.uint16))
        fresh.store(keys, groups)
        wrong = np.flatnonzero(self.slots != fresh.slots)
        self.slots[wrong] = fresh.slots[wrong]
        self._owner, self._there, self._deep = fresh._owner, fresh._there, fresh._deep
        self._views = self.slots.data, self._owner.data, self._there.data
        return len(wrong)

    def clear(self) -> None:
        """No routes: every slot says so."""
        self.slots[:] = 0
        self._start()

    def lookup(self, _hi: int, lo: int) -> int | None:
        """What a packet to this address is told; None: the trie is asked."""
        entry = int(self.slots[lo >> 8])
        return None if entry & int(DEEP) else entry

    # -- for an audit -------------------------------------------------------------------------------

    def ranges(self) -> Ranges:
        """What the map itself says of every address."""
        return index4_sweep.said(self.slots)

    def compared(self, keys: Keys, groups: U32) -> Compared:
        """What it says, beside what it should where these routes stand."""
        return Compared.of(self.ranges(), index4_sweep.expected(keys, groups))

    def widened(self, keys: Keys) -> Keys:
        """Prefixes by the slots in which a change of them may show."""
        return clipped(keys, SLOT_BITS)

    def mend(self, wrong: Compared) -> None:
        """Somebody else has written there: store what should be."""
        index4_sweep.store(self.slots, wrong.pieces, wrong.wrong(), wrong.want)
