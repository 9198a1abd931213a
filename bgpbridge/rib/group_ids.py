"""Which next-hop group ids are free: freed ones first, the lowest first, then ids never used.

The order is fixed so that a restart over the same routes gives the same ids wherever it can.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from bgpbridge.errors import CapacityError

__all__ = ["FIRST_FREE", "LIMIT", "GroupIds"]

FIRST_FREE = 16  # below are the datapath's own
LIMIT = 32_767  # 15 bits


class GroupIds:
    """Ids `first`..`limit`. Reserved ones are neither free nor given out."""

    def __init__(self, first: int = FIRST_FREE, limit: int = LIMIT) -> None:
        self.first, self.limit = first, limit
        self._next = first  # never given out from here on, but for those reserved
        self._freed: list[int] = []
        self._reserved: set[int] = set()

    def count(self) -> int:
        """How many ids are free."""
        untouched = sum(1 for number in self._reserved if number >= self._next)
        return len(self._freed) + self.limit + 1 - self._next - untouched

    def take(self) -> int:
        """A free id. Raises CapacityError when there is none."""
        if self._freed:
            return heapq.heappop(self._freed)
        while self._next in self._reserved:
            self._next += 1
        if self._next > self.limit:
            raise CapacityError(f"all {self.limit} next-hop groups are in use", mend="see `bgpbridge groups`")
        self._next += 1
        return self._next - 1

    def give(self, number: int) -> None:
        """Take an id back."""
        if number not in self._reserved:
            heapq.heappush(self._freed, number)

    def reserve(self, numbers: Iterable[int]) -> None:
        """Keep ids that are not in use from being given out."""
        self._reserved.update(numbers)
        self._freed = [number for number in self._freed if number not in self._reserved]
        heapq.heapify(self._freed)

    def unreserve(self, numbers: Iterable[int]) -> None:
        """Reserved ids are free again."""
        for number in set(numbers) & self._reserved:
            self._reserved.discard(number)
            if self.first <= number < self._next:
                heapq.heappush(self._freed, number)

    def claim(self, number: int) -> None:
        """Take one particular id that is free or reserved."""
        self._reserved.discard(number)
        if number in self._freed:
            self._freed.remove(number)
            heapq.heapify(self._freed)
        while self._next <= number:
            if self._next != number and self._next not in self._reserved:
                heapq.heappush(self._freed, self._next)
            self._next += 1
