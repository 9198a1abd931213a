"""The groups behind the program, and the memory of what we stored in them.

A group is found again by nobody but its id, so only a copy of each store can say whether somebody else has written
there since, and which flow belonged to which slot. As large as the maps, in pages that are untouched until one is used.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import GroupFlag
from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.plan import Slots

__all__ = ["GroupStore"]

RESERVED = {abi.GROUP_PUNT: GroupFlag.PUNT, abi.GROUP_BLACKHOLE: GroupFlag.BLACKHOLE}
GENERATION = (1 << 32) - 1
FLAGS = 32  # flags stand above the generation in the first word of a group (bpf/abi.h)


class GroupStore:
    """Writer of the groups. What an earlier run left is taken for what we stored."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._live_slots = maps.slots
        self._live_heads: npt.NDArray[np.uint64] = maps.groups.view(np.uint64)
        self._slots = np.zeros(self._live_slots.shape, np.uint16)
        self._heads = np.zeros(len(self._live_heads), np.uint64)
        left = np.flatnonzero(self._live_heads)
        self._heads[left], self._slots[left] = self._live_heads[left], self._live_slots[left]
        for group, flag in RESERVED.items():
            generation = int(self._live_heads[group]) & GENERATION
            self._heads[group] = generation | int(GroupFlag.VALID | flag) << FLAGS
            self._slots[group] = 0

    # -- storing ------------------------------------------------------------------------------------

    def write(self, group: int, slots: Slots, flags: GroupFlag) -> bool:
        """Store slots and flags, unless they stand so already. True when something had to be stored."""
        self._slots[group] = slots
        stands = int(self._live_heads[group]) >> FLAGS == flags and np.array_equal(self._live_slots[group], slots)
        if not stands:
            self._maps.store_group(group, slots, flags=flags)
        self._heads[group] = self._live_heads[group]
        return not stands

    def clear(self, group: int) -> None:
        """Nothing points at the group any more: its packets pass."""
        self._maps.clear_group(group)
        self._slots[group], self._heads[group] = 0, self._live_heads[group]

    def previous(self, group: int) -> Slots | None:
        """The slots that were stored last, None while the group is not filled."""
        return self._slots[group] if self.filled(group) else None

    def filled(self, group: int) -> bool:
        """Whether the group was stored as one that packets may use."""
        return bool(int(self._heads[group]) >> FLAGS & GroupFlag.VALID)

    @property
    def used(self) -> int:
        """How many are filled, those left out that are always there."""
        return int((self._heads[abi.GROUP_FIRST_FREE :] >> np.uint64(FLAGS) != 0).sum())

    # -- what somebody else has written ---------------------------------------------------------------

    def crooked(self) -> list[int]:
        """Groups that do not stand as we stored them, but for the slots of such as were never used."""
        rows = np.flatnonzero(self._live_heads | self._heads)
        wrong = (self._live_slots[rows] != self._slots[rows]).any(axis=1) | (self._live_heads != self._heads)[rows]
        found: list[int] = rows[wrong].tolist()
        return found

    def told(self, group: int) -> str:
        """How a crooked group stands."""
        said = []
        have, want = (int(heads[group]) for heads in (self._live_heads, self._heads))
        if have >> FLAGS != want >> FLAGS:
            said.append(f"flags {have >> FLAGS:#x} there, should be {want >> FLAGS:#x}")
        elif have != want:
            said.append(f"generation {have & GENERATION} there, should be {want & GENERATION}")
        other = np.flatnonzero(self._live_slots[group] != self._slots[group])
        if len(other):
            slot = int(other[0])
            has, should = int(self._live_slots[group, slot]), int(self._slots[group, slot])
            said.append(f"{len(other)} of its slots lead elsewhere, slot {slot} to adjacency {has} and not {should}")
        return "; ".join(said)

    def mend(self, group: int) -> None:
        """Store it again as we did: every flow back to its own way."""
        flags = GroupFlag(int(self._heads[group]) >> FLAGS & 0xFFFF)
        if flags:
            self._maps.store_group(group, self._slots[group], flags=flags)
        else:
            self._maps.clear_group(group)
        self._heads[group] = self._live_heads[group]
