"""Slots that prefixes paint, each slot with the length of the prefix that owns it: either level of the IPv4 index.

    slots[n]   what a reader is told
    owner[n]   prefix length + 1 of the route whose group stands there, 0 nobody   (user space only)

A route is written where no longer one owns the slot, and the slots of a withdrawn one are left to what covers it: no
slot is ever without an answer in between. A store is one aligned word of two, four or eight octets, so a reader sees a
slot's old answer or the new one, never a third; what stands beside it in the word is stored as it was, for nobody else
writes there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.fib.keys import U8, Rows
from bgpbridge.rib.tables import zeros

__all__ = ["DEEP", "Level", "Slots"]

Slots = npt.NDArray[np.uint16]
Words = npt.NDArray[Any]

DEEP = abi.INDEX4_DEEP
OWNERS = {2: np.uint16, 4: np.uint32, 8: np.uint64}  # so many owners to a word
GROUPS = {2: np.uint32, 4: np.uint64}  # so many slots to a word
ROWS_BELOW = 2048  # up to here prefixes are rows of words; wider ones are slices
FEW = 4  # prefixes that are slices all the same
SINGLY = 8  # slots that one route's change writes by themselves; more are quicker under a mask
AT_ONCE = 1 << 17  # slots of a pass of a bulk change: they stay in the cache
SLICE = 1 << 20  # slots of a pass of one route's change


class Level:
    """One slot for `1 << low` addresses. From `watch` on, slots marked DEEP stay as they are when a group is theirs,
    and whoever keeps their answers is told: deeper(slots, groups). While `paint` is at work he stores nothing in
    them."""

    def __init__(self, slots: Slots, low: int) -> None:
        self.slots, self.low = slots, low
        self.one = slots.data
        self._groups = {count: slots.view(word) for count, word in GROUPS.items()}
        self._deeper: Callable[[Rows, Slots], None] | None = None
        self.owned(zeros(len(slots), np.uint8, huge=True))

    def watch(self, deeper: Callable[[Rows, Slots], None]) -> None:
        """There are DEEP slots."""
        self._deeper = deeper

    def owned(self, owner: U8) -> None:
        """Somebody else knows who owns the slots as they stand."""
        self.owner, self.one_owner = owner, owner.data
        self._owners = {count: owner.view(word) for count, word in OWNERS.items()}

    def width(self, length: int) -> int:
        """Slots of a prefix."""
        return 1 << (32 - self.low - length)

    def paint(self, first: Rows, width: int, groups: Slots, owner: int | U8, mark: int, *, gone: bool = False) -> None:
        """Write groups into the slots of prefixes of one length: where nothing beyond `mark` owns them, or (`gone`)
        where exactly `mark` does. `owner` is who does then, length + 1, one for all or one each."""
        if width == 1:
            self._singles(first, groups, owner, mark, gone)
        elif width <= ROWS_BELOW and len(first) > FEW:
            step = max(1, AT_ONCE // width)
            for start in range(0, len(first), step):
                part = slice(start, start + step)
                its = owner if isinstance(owner, int) else owner[part]
                self._rows(first[part], width, groups[part], its, mark, gone)
        else:
            owners = np.broadcast_to(np.asarray(owner), first.shape)
            for start, group, its in zip(first.tolist(), groups.tolist(), owners.tolist(), strict=True):
                self.paint_one(start, width, group, its, mark, gone=gone)

    def paint_mixed(
        self, first: Rows, lengths: U8, groups: Slots, owner: U8 | None = None, *, gone: bool = False
    ) -> None:
        """`paint` for prefixes of several lengths, ascending, each marked with its length + 1, who is its owner as well
        where no `owner` is given. Slot by slot: for few that is quicker than a pass for each length."""
        marks = lengths + np.uint8(1)
        widths = np.int64(1) << (np.int64(32 - self.low) - lengths)
        ends = np.cumsum(widths)
        at = np.repeat(first - ends + widths, widths)
        at += np.arange(len(at))
        held, mark = self.owner.take(at), np.repeat(marks, widths)
        mine = np.flatnonzero(held == mark if gone else held <= mark)
        its = mark if owner is None else np.repeat(owner, widths)
        self._write(at.take(mine), np.repeat(groups, widths).take(mine), its.take(mine))

    def _write(self, slots: Rows, groups: Slots, owner: int | U8) -> None:
        """Of several for one slot the last stays."""
        self.owner[slots] = owner
        if self._deeper is not None:
            deep = self.slots.take(slots) >= DEEP
            if deep.any():
                self._deeper(slots.compress(deep), groups.compress(deep))
                slots, groups = slots.compress(~deep), groups.compress(~deep)
        self.slots[slots] = groups

    def _singles(self, slots: Rows, groups: Slots, owner: int | U8, mark: int, gone: bool) -> None:
        """A slot each. Nothing is longer, so whoever comes is the owner."""
        if gone:
            mine = self.owner.take(slots) == mark
            if not mine.all():
                slots, groups = slots.compress(mine), groups.compress(mine)
                owner = owner if isinstance(owner, int) else owner.compress(mine)
        self._write(slots, groups, owner)

    def _rows(self, first: Rows, width: int, groups: Slots, owner: int | U8, mark: int, gone: bool) -> None:
        """Word by word: read, changed where it is to be, written."""
        words, at = self._owners[min(width, 8)], _words(first, width, min(width, 8))
        held = words.take(at)
        owners = held.view(np.uint8)
        mine = owners == mark if gone else owners <= mark
        every: U8 = np.negative(mine.view(np.uint8))  # all bits where it is to be changed
        _blend(owners, np.uint8(owner) if isinstance(owner, int) else np.repeat(owner, width), every)
        words[at] = held
        words, at = self._groups[min(width, 4)], _words(first, width, min(width, 4))
        held = words.take(at)
        slots = held.view(np.uint16)
        if self._deeper is not None and (deep := slots >= DEEP).any():
            self._tell(np.flatnonzero(deep & mine), first, width, groups)
            every[deep] = 0
        _blend(slots, np.repeat(groups, width), every.view(np.int8).astype(np.int16).view(np.uint16))
        words[at] = held

    def _tell(self, hit: Rows, first: Rows, width: int, groups: Slots) -> None:
        assert self._deeper is not None
        if len(hit):
            row = hit // width
            self._deeper(first.take(row) + hit % width, groups.take(row))

    def paint_one(self, start: int, width: int, group: int, owner: int, mark: int, *, gone: bool = False) -> None:
        """One prefix, by the owner that it has or had (`mark`): a slice of slots; a long one in parts, so that masks
        stay small."""
        if width <= SINGLY:
            self._paint_few(start, width, group, owner, mark, gone)
            return
        for at in range(start, start + width, SLICE):
            part = slice(at, min(at + SLICE, start + width))
            held, slots = self.owner[part], self.slots[part]
            mine = held == mark if gone else held <= mark
            np.copyto(held, np.uint8(owner), where=mine)
            if self._deeper is not None:
                deep = slots >= DEEP
                if deep.any():
                    which = np.flatnonzero(deep & mine)
                    self._deeper(which + at, np.full(len(which), group, np.uint16))
                    mine &= ~deep
            np.copyto(slots, np.uint16(group), where=mine)

    def _paint_few(self, start: int, width: int, group: int, owner: int, mark: int, gone: bool) -> None:
        slots, owners = self.one, self.one_owner
        for slot in range(start, start + width):
            held = owners[slot]
            if held == mark or (held < mark and not gone):
                owners[slot] = owner
                if self._deeper is not None and slots[slot] >= DEEP:
                    self._deeper(np.array([slot]), np.array([group], np.uint16))
                else:
                    slots[slot] = group


def _blend(held: Words, new: Any, where: Words) -> None:
    """Bits from `new` where they are set in `where`: at ten times the speed of a mask of booleans."""
    change = held ^ new
    change &= where
    held ^= change


def _words(first: Rows, width: int, each: int) -> Rows:
    """The words of `each` slots that rows of slots consist of."""
    shift = each.bit_length() - 1
    begin = first >> shift
    if width == each:
        return begin
    words: Rows = (begin[:, None] + np.arange(width >> shift)).ravel()
    return words
