"""Peer numbers: a peer keeps its number, and so its lane, for as long as its name is configured.

Numbers start at 1 (lane 0 is the speaker's own). A removed peer's number is used again only when no
fresh one is left, the longest unused first, because its lane may still hold records that nobody has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from bgpbridge.errors import CapacityError

__all__ = ["PeerIndex", "lanes_for"]


def lanes_for(peers: int) -> int:
    """How many lanes to lay out for so many peers: room for reloads that add more."""
    return 1 + max(2 * peers, peers + 16)


class PeerIndex:
    """Name -> number."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._numbers: dict[str, int] = {}
        self._fresh = 1
        self._freed: list[int] = []

    @classmethod
    def restore(cls, lanes: int, numbers: Mapping[str, int]) -> Self:
        """As a bridge before us had it (`LaneMemory.read_peers`). Entries that do not fit are forgotten."""
        index = cls(lanes)
        index._numbers = {name: number for name, number in numbers.items() if 0 < number < lanes}
        index._fresh = max(index._numbers.values(), default=0) + 1
        used = set(index._numbers.values())
        index._freed = [number for number in range(1, index._fresh) if number not in used]
        return index

    def update(self, names: Iterable[str]) -> dict[str, int]:
        """Make the table hold exactly `names`. Returns a copy of it. Raises CapacityError when there are
        more peers than lanes; nothing is changed then."""
        wanted = list(dict.fromkeys(names))
        if len(wanted) >= self._lanes:
            raise CapacityError(
                f"{len(wanted)} peers, but lanes for {self._lanes - 1} only",
                mend="restart `bgpbridge run`: lanes are laid out at its start",
            )
        for name in self._numbers.keys() - set(wanted):
            self._freed.append(self._numbers.pop(name))
        for name in wanted:
            if name not in self._numbers:
                self._numbers[name] = self._next()
        return dict(self._numbers)

    def _next(self) -> int:
        if self._fresh < self._lanes:
            self._fresh += 1
            return self._fresh - 1
        return self._freed.pop(0)

    def __getitem__(self, name: str) -> int:
        return self._numbers[name]

    def name(self, number: int) -> str:
        """The peer with this number; its number in words when it is gone."""
        return next((name for name, known in self._numbers.items() if known == number), f"peer {number}")
