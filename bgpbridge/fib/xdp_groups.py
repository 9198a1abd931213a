"""The groups behind the program, and the memory of what we stored in them.

A group is found again by nobody but its id, so only a copy of each store can say whether somebody else has written
there since, and which flow belonged to which slot. As large as the maps, in pages that are untouched until one is used.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import GroupFlag
from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.plan import alone, fill_slots, lose_each

__all__ = ["FLAGS", "GroupStore"]

RESERVED = {abi.GROUP_PUNT: GroupFlag.PUNT, abi.GROUP_BLACKHOLE: GroupFlag.BLACKHOLE}
GENERATION = (1 << 32) - 1
FLAGS = 32  # flags stand above the generation in the first word of a group (bpf/abi.h)
FILLED = int(GroupFlag.VALID) << FLAGS
FORESEEN = 1024  # groups, unlike in members or slots, that wait for their losses to be worked out


class GroupStore:
    """Writer of the groups. What an earlier run left is taken for what we stored."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._live_slots = maps.slots
        self._live_heads: npt.NDArray[np.uint64] = maps.groups.view(np.uint64)
        self._slots = np.zeros(self._live_slots.shape, np.uint16)
        self._heads = np.zeros(len(self._live_heads), np.uint64)
        # the same memory, one group at a time: packets wait for a store, and a view is quicker than an array
        self._size = maps.slots.shape[1]
        self._octets, self._words = self._slots.data.cast("B"), self._heads.data
        self._live_octets, self._live_words = self._live_slots.data.cast("B"), self._live_heads.data
        self._foreseen: dict[tuple[tuple[tuple[int, int], ...], bytes], None] = {}
        left = np.flatnonzero(self._live_heads)
        self._heads[left], self._slots[left] = self._live_heads[left], self._live_slots[left]
        for group, flag in RESERVED.items():
            generation = int(self._live_heads[group]) & GENERATION
            self._heads[group] = generation | int(GroupFlag.VALID | flag) << FLAGS
            self._slots[group] = 0

    # -- storing ------------------------------------------------------------------------------------

    def share(self, group: int, members: Iterable[tuple[int, int]]) -> bool:
        """Let (adjacency id, weight) pairs share a group; slots move only where they must. True when something had to
        be stored."""
        pairs = tuple(members)
        if len(pairs) == 1 and pairs[0][1] > 0:  # what a loss mostly leaves
            return self.write(group, alone(pairs[0][0], self._size), FILLED)
        slots = fill_slots(pairs, self.previous(group), self._size)
        stored = self.write(group, slots, FILLED)
        if len(pairs) > 2 and len(self._foreseen) < FORESEEN:
            self._foreseen[pairs, slots] = None
        return stored

    def foresee(self, most: int) -> None:
        """While nothing else is to be done: work out what losses of members would store, for about so many of them."""
        while self._foreseen and most > 0:
            pairs, slots = next(iter(self._foreseen))
            del self._foreseen[pairs, slots]
            most -= lose_each(pairs, slots)

    def write(self, group: int, slots: bytes, flags: int) -> bool:
        """Store slots and flags (as they stand in a head), unless they stand so already. True when something had to be
        stored."""
        first = group * self._size * 2
        part = slice(first, first + len(slots))
        stands = self._live_words[group] >> FLAGS == flags >> FLAGS and self._live_octets[part] == slots
        if not stands:
            self._maps.store_slots_of(group, slots, flags)
        self._octets[part] = slots
        self._words[group] = self._live_words[group]
        return not stands

    def clear(self, group: int) -> None:
        """Nothing points at the group any more: its packets pass."""
        self._maps.clear_group(group)
        self._slots[group], self._heads[group] = 0, self._live_heads[group]

    def previous(self, group: int) -> bytes | None:
        """The slots that were stored last, None while the group is not filled."""
        first = group * self._size * 2
        return bytes(self._octets[first : first + self._size * 2]) if self.filled(group) else None

    def filled(self, group: int) -> bool:
        """Whether the group was stored as one that packets may use."""
        return bool(self._words[group] & FILLED)

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
