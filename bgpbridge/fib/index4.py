"""The IPv4 index: for each /24 the group of its longest match, in one array that the program reads (DIR-24-8,
Gupta, Lin and McKeown, INFOCOM 1998), and behind it pages of 256 for those /24s in which something longer lives.

    slots[address >> 8]   15 bits group id, or DEEP | page
    pages[page][address & 255]              group id; page 0: there was none left, ask the trie
    _there         groups of the routes up to /23, by heap number: 1 << length | bits     } user space only
    _deep[slot]    its page, and the groups of longer prefixes that live there            }

    index4_there   what has which heap number
    index4_level   how prefixes paint slots, alike in both levels        index4_pages   which pages are free
    index4_sweep   the whole for an audit                                bpf/lookup.h   the program's side

A withdrawn route leaves its slots to the route that covers it, found by halving the heap number. All that is needed for
that is here: no change waits for the trie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath.grace import Waiting
from bgpbridge.datapath.growing import ROOMY, Room
from bgpbridge.fib import index4_sweep
from bgpbridge.fib.index4_level import DEEP, Level, Slots
from bgpbridge.fib.index4_pages import PAGE, Pages
from bgpbridge.fib.index4_there import There
from bgpbridge.fib.keys import U8, U32, U64, Keys, Rows
from bgpbridge.fib.ranges import Ranges
from bgpbridge.fib.sweep import Compared, clipped
from bgpbridge.rib.tables import zeros

__all__ = ["Index4"]

SLOT_BITS = 24
SLOTS = 1 << SLOT_BITS
WIDE = 17  # of what is shorter a piece has too few, or slots enough for a pass of their own
MIXED = 1 << 15  # slots of several lengths that are painted together
LENGTH_AT, ROW_BITS = np.uint64(58), np.uint64(26)
ROW, ADDRESS = np.uint64((1 << 26) - 1), np.uint64((1 << 32) - 1)


@dataclass(slots=True)
class _Deep:
    """A /24 in which longer prefixes live: their groups, by 1 << (length - 24) | bits beyond 24; `whole` is the group
    of what holds the /24 itself."""

    page: int
    whole: int
    groups: dict[int, int] = field(default_factory=dict)


class Index4:
    """Writer of one index. `slots` is the live map, or an array like it: abi.INDEX4_SLOTS, then the pages, for which
    there is `room` as far as it was asked for."""

    trouble = ""  # it holds whatever there is

    def __init__(self, slots: Slots, grace: Waiting | None = None, room: Room = ROOMY) -> None:
        self.slots = slots
        self._pages = Pages(slots[SLOTS:], grace, room)
        self._start()

    def _start(self) -> None:
        self._flat = Level(self.slots[:SLOTS], 8)
        self._there = There()
        self._deep: dict[int, _Deep] = {}
        self._unpaged = 0
        self._shortest = 32  # no route that ever stood here was shorter
        self._told: list[tuple[Rows, Slots]] | None = None  # /24s that are to be based on something else

    @property
    def complete(self) -> bool:
        """Whether it answers for every address by itself."""
        return not self._unpaged

    @property
    def waiting(self) -> int:
        """None: nothing is left for later."""
        return 0

    def learn(self, most: int) -> None:
        """Nothing to do."""

    # -- many ---------------------------------------------------------------------------------------

    def store(self, keys: Keys, groups: U32) -> None:
        """Routes, new or with another group. No prefix twice."""
        network, rows, ends = _in_order(keys)
        values = np.minimum(groups, DEEP).astype(np.uint16).take(rows)  # no such group: the trie says so
        lengths, shorter, end = keys.length.take(rows), slice(0, ends[SLOT_BITS - 1]), ends[SLOT_BITS]
        self._there.put(_heap(network[shorter], lengths[shorter]), values[shorter])
        if end:
            self._shortest = min(self._shortest, int(lengths[0]))
        self._paint(network, lengths, ends, values)
        if end < len(rows):
            self._store_deep(network[end:], lengths[end:], values[end:])

    def remove(self, keys: Keys) -> None:
        """Routes that leave. No prefix twice."""
        network, rows, ends = _in_order(keys)
        end = ends[SLOT_BITS]
        lengths = keys.length.take(rows)
        heap = _heap(network[:end], lengths[:end])
        self._there.drop(heap[: ends[SLOT_BITS - 1]])  # all of them first: none may be another's cover
        groups, owners = self._covers(heap)
        self._paint(network, lengths, ends, groups, owners)
        if end < len(rows):
            self._remove_deep(zip(network[end:].tolist(), lengths[end:].tolist(), strict=True))

    def _paint(self, network: U64, lengths: U8, ends: list[int], groups: Slots, owners: U8 | None = None) -> None:
        """The flat level, by length; those of middling length together where they are few. With `owners`: routes that
        leave, and whose the slots are then."""
        begin, mixed = 0, slice(ends[WIDE - 1], ends[SLOT_BITS - 1])
        together = int((1 << (SLOT_BITS - lengths[mixed].astype(np.int64))).sum()) <= MIXED
        gone = owners is not None
        with self._rebased_at_the_end():
            for length, end in enumerate(ends[: SLOT_BITS + 1]):
                part, begin = slice(begin, end), end
                if together and length == SLOT_BITS:
                    its = None if owners is None else owners[mixed]
                    self._flat.paint_mixed(_first(network[mixed]), lengths[mixed], groups[mixed], its, gone=gone)
                if part.start < part.stop and not (together and WIDE <= length < SLOT_BITS):
                    first, mark = _first(network[part]), length + 1
                    owner = mark if owners is None else owners[part]
                    self._flat.paint(first, self._flat.width(length), groups[part], owner, mark, gone=gone)

    def _covers(self, heap: Rows) -> tuple[Slots, U8]:
        """Groups and owners of the longest routes above prefixes; 0 and 0 where there is none."""
        groups, owner = np.zeros(len(heap), np.uint16), np.zeros(len(heap), np.uint8)
        least = 2 << self._shortest  # what is below has nothing above
        todo = np.flatnonzero(heap >= least)
        heap = heap.take(todo)
        while len(todo):
            heap = heap >> 1
            held = self._there.has(heap)
            found = np.flatnonzero(held)
            if len(found):
                hit, cover = todo.take(found), heap.take(found)
                groups[hit] = self._there.get(cover)
                owner[hit] = np.frexp(cover)[1]  # of its length, plus 1
            left = np.flatnonzero(~held & (heap >= least))
            todo, heap = todo.take(left), heap.take(left)
        return groups, owner

    # -- one ----------------------------------------------------------------------------------------

    def store_one(self, _hi: int, lo: int, length: int, group: int) -> None:
        """One route, new or with another group."""
        group = min(group, DEEP)
        if length > SLOT_BITS:
            self._store_deep_one(lo, length, group)
            return
        self._shortest = min(self._shortest, length)
        if length < SLOT_BITS:
            self._there.put_one(1 << length | lo >> (32 - length), group)
        self._flat.paint_one(lo >> 8, 1 << (SLOT_BITS - length), group, length + 1, length + 1)

    def remove_one(self, _hi: int, lo: int, length: int) -> None:
        """One route that leaves."""
        if length > SLOT_BITS:
            self._remove_deep([(lo, length)])
            return
        there = self._there
        heap, shorter = 1 << length | lo >> (32 - length), length
        if length < SLOT_BITS:
            there.drop_one(heap)
        while True:
            heap, shorter = heap >> 1, shorter - 1
            if not heap or there.has_one(heap):
                break
        group, owner = (there.get_one(heap), shorter + 1) if heap else (0, 0)
        self._flat.paint_one(lo >> 8, 1 << (SLOT_BITS - length), group, owner, length + 1, gone=True)

    # -- longer than /24 ----------------------------------------------------------------------------

    def _store_deep(self, network: U64, lengths: U8, groups: Slots) -> None:
        """Pages are painted before slots point at them."""
        slots = _first(network)
        found = self._note(slots.tolist(), network.tolist(), lengths.tolist(), groups.tolist())
        page = np.fromiter((self._deep[slot].page for slot in slots.tolist()), np.int64, len(slots))
        paged = page > 0
        first = page * PAGE + (network & np.uint64(PAGE - 1)).astype(np.int64)
        if not paged.all():
            first, lengths, groups = first.compress(paged), lengths.compress(paged), groups.compress(paged)
        self._pages.level.paint_mixed(first, lengths, groups)
        pages = np.fromiter((self._deep[slot].page for slot in found), np.uint16, len(found))
        self.slots[np.array(found, np.int64)] = pages | np.uint16(DEEP)

    def _note(self, slots: list[int], networks: list[int], lengths: list[int], groups: list[int]) -> list[int]:
        """Longer prefixes live in these /24s from now on; those that had none, with a page filled each."""
        deep = self._deep
        found = [slot for slot in dict.fromkeys(slots) if slot not in deep]
        if found:
            pages, whole = self._pages.take(len(found)), self.slots.take(found)
            self._pages.fill(np.array(pages, np.int64), whole)
            for slot, page, group in zip(found, pages, whole.tolist(), strict=True):
                deep[slot] = _Deep(page, group)
            self._unpaged += pages.count(0)
            self._flat.watch(self._rebase)
        for slot, network, length, group in zip(slots, networks, lengths, groups, strict=True):
            deep[slot].groups[_beyond(network, length)] = group
        return found

    def _store_deep_one(self, lo: int, length: int, group: int) -> None:
        slot = lo >> 8
        found = self._note([slot], [lo], [length], [group])
        page = self._deep[slot].page
        if page:
            start = page * PAGE + (lo & PAGE - 1)
            self._pages.level.paint_one(start, 1 << (32 - length), group, length + 1, length + 1)
        if found:
            self._flat.one[slot] = DEEP | page

    def _remove_deep(self, prefixes: Iterable[tuple[int, int]]) -> None:
        listed = list(prefixes)
        for lo, length in listed:  # all of them first: none may be another's cover
            deep = self._deep.get(lo >> 8)
            if deep is not None:
                deep.groups.pop(_beyond(lo, length), None)
        for lo, length in listed:
            slot = lo >> 8
            deep = self._deep.get(slot)
            if deep is None:
                continue
            if deep.groups:
                self._uncover_deep(deep, lo, length)
            else:
                self._flat.one[slot] = deep.whole
                self._pages.retire(deep.page)
                self._unpaged -= not deep.page
                del self._deep[slot]

    def _uncover_deep(self, deep: _Deep, lo: int, length: int) -> None:
        if not deep.page:
            return
        beyond, shorter = _beyond(lo, length), length
        while beyond > 1 and beyond not in deep.groups:
            beyond, shorter = beyond >> 1, shorter - 1
        group, owner = (deep.groups[beyond], shorter + 1) if beyond > 1 else (deep.whole, 0)
        start = deep.page * PAGE + (lo & PAGE - 1)
        self._pages.level.paint_one(start, 1 << (32 - length), group, owner, length + 1, gone=True)

    def _rebase(self, slots: Rows, groups: Slots) -> None:
        """Something else holds these /24s as a whole, in which longer prefixes live. Amid a change of many that waits
        for its end: some are based anew by each length."""
        if self._told is not None:
            self._told.append((slots, groups))
            return
        pages = np.zeros(len(slots), np.int64)
        for number, (slot, group) in enumerate(zip(slots.tolist(), groups.tolist(), strict=True)):
            deep = self._deep.get(slot)
            if deep is None:  # DEEP by a group that there is not
                self._flat.one[slot] = group
                continue
            deep.whole = group
            pages[number] = deep.page
        paged = np.flatnonzero(pages)
        if len(paged):
            self._pages.level.paint(pages[paged] * PAGE, PAGE, groups[paged], 0, 0, gone=True)

    @contextmanager
    def _rebased_at_the_end(self) -> Iterator[None]:
        """Amid a change of many. One that fails is done for those that were told of all the same."""
        self._told = []
        try:
            yield
        finally:
            told, self._told = self._told, None
            self._rebase_told(told)

    def _rebase_told(self, told: list[tuple[Rows, Slots]]) -> None:
        if told:
            last = dict(zip(*(np.concatenate(column).tolist() for column in zip(*told, strict=True)), strict=True))
            self._rebase(np.fromiter(last, np.int64, len(last)), np.fromiter(last.values(), np.uint16, len(last)))

    # -- the whole ----------------------------------------------------------------------------------

    def rebuild(self, keys: Keys, groups: U32) -> int:
        """Bring the whole index in line with what stands in the trie, whatever stood in it (1M routes: 0.3 s, 40 MiB
        for as long). Returns how many slots had been otherwise, with their pages; only these are stored. While pages
        are waited for until nobody reads them, packets to /24s that want one ask the trie."""
        fresh = Index4(zeros(len(self.slots), np.uint16))
        fresh.store(keys, groups)
        deep = np.fromiter(fresh._deep, np.int64, len(fresh._deep))
        right = self._right_pages(deep, fresh)
        different = self.slots[:SLOTS] != fresh.slots[:SLOTS]
        different[deep] = False
        wrong = np.flatnonzero(different)
        self.slots[deep[~right]] = DEEP
        self.slots[wrong] = fresh.slots[wrong]
        self._flat.owned(fresh._flat.owner)
        self._there, self._shortest = fresh._there, fresh._shortest
        self._take_pages(deep, right, fresh)
        return len(wrong) + int(np.count_nonzero(~right))

    def _right_pages(self, deep: Rows, fresh: Index4) -> npt.NDArray[np.bool_]:
        """Which of these /24s have a page of their own that says what it should."""
        page, theirs = self._page_of(deep), fresh._page_of(deep)
        inside = (page >= 0) & (page < len(self._pages.rows))
        page[~inside] = 0
        _, first = np.unique(page, return_index=True)
        own = np.zeros(len(page), np.bool_)
        own[first] = True
        alike = (self._pages.rows[page] == fresh._pages.rows[theirs]).all(axis=1)
        right: npt.NDArray[np.bool_] = inside & np.where(page > 0, own & (theirs > 0) & alike, theirs == 0)
        return right

    def _page_of(self, slots: Rows) -> Rows:
        """By the map itself; below 0 where a slot is not DEEP."""
        return self.slots[slots].astype(np.int64) - DEEP

    def _take_pages(self, deep: Rows, right: npt.NDArray[np.bool_], fresh: Index4) -> None:
        """Give each of these /24s a page: its own where that is `right`, else a free one with what `fresh` says."""
        theirs = fresh._page_of(deep)
        page = np.where(right, self._page_of(deep), 0)
        pages = self._pages
        pages.keep(page[page > 0])
        wanted = np.flatnonzero(~right & (theirs > 0))
        page[wanted] = pages.take(len(wanted))
        wanted = wanted[page[wanted] > 0]
        pages.rows[page[wanted]] = fresh._pages.rows[theirs[wanted]]
        paged = np.flatnonzero(page)
        pages.owners[page[paged]] = fresh._pages.owners[theirs[paged]]
        self.slots[deep[wanted]] = (page[wanted] + DEEP).astype(np.uint16)
        columns = zip(deep.tolist(), page.tolist(), strict=True)
        self._deep = {slot: replace(fresh._deep[slot], page=its) for slot, its in columns}
        self._unpaged = len(page) - len(paged)
        if self._deep:
            self._flat.watch(self._rebase)

    def clear(self) -> None:
        """No routes: every slot says so. Waits until nobody reads the pages."""
        self.slots[:SLOTS] = 0
        self._pages.keep(np.empty(0, np.int64))
        self._start()

    def lookup(self, _hi: int, lo: int) -> int | None:
        """What a packet to this address is told; None: the trie is asked."""
        entry = int(self.slots[lo >> 8])
        if entry < DEEP:
            return entry
        page = entry - DEEP
        return int(self._pages.rows[page, lo & PAGE - 1]) if 0 < page < len(self._pages.rows) else None

    # -- for an audit -------------------------------------------------------------------------------

    def ranges(self) -> Ranges:
        """What the map itself says of every address."""
        return index4_sweep.said(self.slots)

    def compared(self, keys: Keys, groups: U32) -> Compared:
        """What it says, beside what it should where these routes stand."""
        unpaged = [slot for slot, deep in list(self._deep.items()) if not deep.page]
        return index4_sweep.compared(self.slots, keys, groups, unpaged)

    def widened(self, keys: Keys) -> Keys:
        """Prefixes by the slots in which a change of them may show."""
        return clipped(keys, SLOT_BITS)

    def mend(self, wrong: Compared) -> None:
        """Somebody else has written there: store what should be."""
        pages = {slot: deep.page for slot, deep in self._deep.items()}
        index4_sweep.store(self.slots, pages, wrong)


def _first(network: U64) -> Rows:
    return (network >> np.uint64(32 - SLOT_BITS)).astype(np.int64)


def _heap(network: U64, length: int | U8) -> Rows:
    bits = np.asarray(length, np.uint64)
    heap: Rows = ((network >> (np.uint64(32) - bits)) | np.uint64(1) << bits).astype(np.int64)
    return heap


def _in_order(keys: Keys) -> tuple[U64, Rows, list[int]]:
    """Addresses by prefix length, those of one length ascending: neighbours share cache lines and pages. With it which
    row of `keys` each is, and for each length where its prefixes end. One word for each, for words are sorted at ten
    times the speed of anything else."""
    words = keys.length.astype(np.uint64) << LENGTH_AT
    words |= keys.lo << ROW_BITS
    words |= np.arange(len(words), dtype=np.uint64)
    words.sort()
    ends = np.searchsorted(words, np.arange(1, 34, dtype=np.uint64) << LENGTH_AT).tolist()
    rows = (words & ROW).view(np.int64)
    words >>= ROW_BITS
    words &= ADDRESS
    return words, rows, ends


def _beyond(network: int, length: int) -> int:
    """The number of a prefix longer than /24 within its /24."""
    return 1 << (length - SLOT_BITS) | (network & PAGE - 1) >> (32 - length)
