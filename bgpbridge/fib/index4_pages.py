"""The second level of the IPv4 index: a page of 256 slots, one for each address, for a /24 in which something longer
lives.

A page is filled before its /24 points at it, and used for another /24 only when no program can still be reading it
(limbo, emptied by RCU grace periods). Where no page is to be had, page 0 says: ask the trie, which is complete.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.grace import Waiting
from bgpbridge.datapath.growing import ROOMY, Room
from bgpbridge.errors import DatapathError
from bgpbridge.fib.index4_level import Level, Slots
from bgpbridge.fib.keys import Rows
from bgpbridge.rib.tables import zeros

__all__ = ["PAGE", "Pages"]

PAGE = abi.INDEX4_PAGE
ENOUGH = 256  # pages in limbo that are worth a grace period


class Pages:
    """Pages 1 to `len(slots) // 256 - 1`. `level` paints in them; a slot that no longer route owns has owner 0. Without
    `grace` periods no page is used twice."""

    def __init__(self, slots: Slots, grace: Waiting | None, room: Room = ROOMY) -> None:
        self.level = Level(slots if len(slots) else zeros(PAGE, np.uint16), 0)
        self.rows = self.level.slots.reshape(-1, PAGE)
        self.owners = self.level.owner.reshape(-1, PAGE)
        self._grace, self._room = grace, room
        self._top = len(self.rows) if slots.any() else 1  # no page from here on was ever used; adopted: see `keep`
        room.fit(self._top)
        self._free: list[int] = []
        self._limbo: list[int] = []
        self._ending: list[int] = []
        self._period: Future[None] | None = None

    def take(self, count: int) -> list[int]:
        """Pages that nobody reads; 0 for those that are not to be had."""
        self._settle()
        taken = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh = min(count - len(taken), len(self.rows) - self._top)
        taken += range(self._top, self._top + fresh)
        self._top += fresh
        self._room.reach(self._top)
        return taken + [0] * (count - len(taken))

    def retire(self, page: int) -> None:
        """No /24 points at it any more."""
        if page:
            self._limbo.append(page)

    def fill(self, pages: Rows, groups: Slots) -> None:
        """Let all of each page say one group, that of whatever holds the /24."""
        self.rows[pages] = groups[:, None]
        self.owners[pages] = 0

    def _settle(self) -> None:
        if self._period is not None and self._period.done():
            if self._period.exception() is None:
                self._free += self._ending
            else:
                self._grace = None  # there are no such periods here: what is in limbo stays there
            self._ending, self._period = [], None
        if self._period is None and self._grace is not None and len(self._limbo) >= ENOUGH:
            self._ending, self._limbo = self._limbo, []
            self._period = self._grace.begin()

    def keep(self, pages: Rows) -> None:
        """Only these are in use, whatever was before; waits until nobody reads the others. Where that can not be known
        there are no others."""
        if self._period is not None:
            self._period.exception()
        self._ending, self._limbo, self._period = [], [], None
        if not self._waited():
            self._free, self._top = [], len(self.rows)
            return
        free = np.ones(len(self.rows), np.bool_)
        free[0] = False
        free[pages] = False
        self._top = int(pages.max(initial=0)) + 1
        self._room.fit(self._top)
        self._free = np.flatnonzero(free[: self._top]).tolist()

    def _waited(self) -> bool:
        if self._grace is None:
            return False
        with contextlib.suppress(DatapathError):
            self._grace.wait()
            return True
        return False
