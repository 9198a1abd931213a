"""Slots that prefixes paint, each slot with the length of the prefix that owns it: either level of the IPv4 index.

    slots[n]   what a reader is told
    owner[n]   prefix length + 1 of the route whose group stands there, 0 nobody   (user space only)

A route is written where no longer one owns the slot, and the slots of a withdrawn one are left to what covers it: no
slot is ever without an answer in between. Each is one aligned store of two octets: a reader sees the old answer or
the new one, never a third.
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

DEEP = abi.INDEX4_DEEP
SCATTER_BELOW = 8  # slots of a prefix up to which each has a pass of its own
ROWS_BELOW = 2048  # up to here prefixes are rows of slots; wider ones are slices
SINGLY = 8  # slots that one route's change writes by themselves; more are quicker under a mask
AT_ONCE = 1 << 20  # slots that one pass of a bulk change looks at


class Level:
    """One slot for `1 << low` addresses. From `watch` on, slots marked DEEP stay as they are when a group is theirs,
    and whoever keeps their answers is told: deeper(slots, groups)."""

    def __init__(self, slots: Slots, low: int) -> None:
        self.slots, self.low = slots, low
        self.owner: U8 = zeros(len(slots), np.uint8)
        self.one, self.one_owner = self.slots.data, self.owner.data
        self._deeper: Callable[[Rows, Slots], None] | None = None

    def watch(self, deeper: Callable[[Rows, Slots], None]) -> None:
        """There are DEEP slots."""
        self._deeper = deeper

    def owned(self, owner: U8) -> None:
        """Somebody else knows who owns the slots as they stand."""
        self.owner, self.one_owner = owner, owner.data

    def width(self, length: int) -> int:
        """Slots of a prefix."""
        return 1 << (32 - self.low - length)

    def paint(self, first: Rows, length: int, groups: Slots, owner: Any, *, gone: bool = False) -> None:
        """Write groups into the slots of prefixes of one length: where nothing longer owns them, or (`gone`) where
        exactly these own them. `owner` is who does then, length + 1, one for all or one each."""
        owners = np.broadcast_to(np.asarray(owner, np.uint8), first.shape)
        width = self.width(length)
        if width <= SCATTER_BELOW:
            for offset in range(width):
                self._put(first + offset, groups, owners, length, gone)
        elif width <= ROWS_BELOW:
            step, reach = max(1, AT_ONCE // width), np.arange(width)
            for start in range(0, len(first), step):
                part = slice(start, start + step)
                slots = (first[part, None] + reach).ravel()
                self._put(slots, np.repeat(groups[part], width), np.repeat(owners[part], width), length, gone)
        else:
            for start, group, its in zip(first.tolist(), groups.tolist(), owners.tolist(), strict=True):
                self.paint_one(start, width, group, its, length + 1, gone=gone)

    def _put(self, slots: Rows, groups: Slots, owners: U8, length: int, gone: bool) -> None:
        held = self.owner.take(slots)
        mine = held == length + 1 if gone else held <= length + 1
        if not mine.all():
            slots, groups, owners = slots.compress(mine), groups.compress(mine), owners.compress(mine)
        self.owner[slots] = owners
        if self._deeper is not None:
            deep = self.slots.take(slots) >= DEEP
            if deep.any():
                self._deeper(slots.compress(deep), groups.compress(deep))
                slots, groups = slots.compress(~deep), groups.compress(~deep)
        self.slots[slots] = groups

    def paint_one(self, start: int, width: int, group: int, owner: int, mark: int, *, gone: bool = False) -> None:
        """One prefix, by the owner that it has or had (`mark`): a slice of slots; a long one in parts, so that masks
        stay small."""
        if width <= SINGLY:
            self._paint_few(start, width, group, owner, mark, gone)
            return
        for at in range(start, start + width, AT_ONCE):
            part = slice(at, min(at + AT_ONCE, start + width))
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
