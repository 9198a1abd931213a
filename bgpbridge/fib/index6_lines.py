"""The lines of the IPv6 index: which are free, which hold a node, which may still be read though they hold none.

Nodes take blocks of a few sizes; each size has its list of free ones. A block that a node has left goes to limbo: a
program may just be reading it. Limbo is emptied by grace periods (datapath/grace.py), one for many blocks, and never
within a change: what is given up there may be pointed at until its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath.grace import Waiting
from bgpbridge.datapath.growing import ROOMY, Room
from bgpbridge.errors import CapacityError
from bgpbridge.fib.index6_nodes import HEAD, WORDS
from bgpbridge.fib.keys import Rows

__all__ = ["Lines", "Unread", "lines_of"]

SIZES = (1, 2, 3, 4, 6, 8, 12, 17)  # of blocks, in lines; 17 hold the 256 runs that there may be
LINES_OF = np.array(SIZES)
CLASS = np.array([next(number for number, size in enumerate(SIZES) if size >= lines) for lines in range(SIZES[-1] + 1)])
CLASS_OF = CLASS[(np.arange(257) + HEAD + WORDS - 1) // WORDS]  # by a node's runs
CLASS_ONE = CLASS_OF.tolist()
ENOUGH = 1024  # lines in limbo that are worth a grace period
LOW = 256  # free lines under which a change waits for one: more than a single route can want

Blocks = list[list[int]]
"""First lines, by the number of a size."""


class Unread:
    """Grace periods of lines that nobody reads but their writer."""

    def begin(self) -> Future[None]:
        """Over at once."""
        period: Future[None] = Future()
        period.set_result(None)
        return period

    def wait(self) -> None:
        """Not at all."""


def class_of(runs: int) -> int:
    """The size of a node's block by its number."""
    return int(CLASS_ONE[runs])


def classes_of(runs: Rows) -> Rows:
    """The same for many."""
    return CLASS_OF.take(runs)


def lines_of(runs: Rows) -> Rows:
    """How many lines the blocks of nodes take."""
    return LINES_OF.take(classes_of(runs))


class Lines:
    """Lines 1 to `count` - 1: a node on line 0 could not be told from none. `room` is asked before one is given out
    that was never used."""

    def __init__(self, count: int, grace: Waiting, room: Room = ROOMY) -> None:
        self.count = count
        self.used = 0  # lines that hold nodes
        self.stuck = ""  # why limbo cannot be emptied
        self._grace, self._room = grace, room
        self._top = 1  # from here on no line was ever used
        self._free = _none()
        self._limbo = _none()
        self._ending = _none()  # in limbo since before the period that runs
        self._parked = 0  # lines in the two lists
        self._period: Future[None] | None = None

    @property
    def room(self) -> int:
        """Lines that can be had at once, in whatever pieces."""
        return self.count - 1 - self.used - self._parked

    @property
    def parked(self) -> int:
        """Lines in limbo."""
        return self._parked

    # -- taking -------------------------------------------------------------------------------------

    def take_one(self, runs: int) -> int:
        """A block for a node of so many runs: its first line. Raises CapacityError."""
        size = class_of(runs)
        line = self._free[size].pop() if self._free[size] else self._cut(size)
        self.used += SIZES[size]
        return line

    def take(self, runs: Rows) -> Rows:
        """Blocks for nodes. Raises CapacityError."""
        sizes, lines = classes_of(runs), np.empty(len(runs), np.int64)
        for size, which in _by_size(sizes):
            lines[which] = self._take(size, len(which))
        return lines

    def take_alike(self, runs: int, count: int) -> Rows:
        """Blocks for so many nodes of as many runs each. Raises CapacityError."""
        return self._take(class_of(runs), count)

    def _take(self, size: int, count: int) -> Rows:
        free, width = self._free[size], SIZES[size]
        again = min(count, len(free))
        lines = np.empty(count, np.int64)
        if again:
            lines[:again] = free[-again:]
            del free[-again:]
        fresh = min(count - again, (self.count - self._top) // width)
        lines[again : again + fresh] = self._top + width * np.arange(fresh)
        self._top += width * fresh
        self._room.reach(self._top)
        for at in range(again + fresh, count):
            lines[at] = self._cut(size)
        self.used += width * count
        return lines

    def _cut(self, size: int) -> int:
        """A block of a size that has none free: from where nothing was yet, else out of a larger one."""
        width = SIZES[size]
        if self._top + width <= self.count:
            self._top += width
            self._room.reach(self._top)
            return self._top - width
        larger = next((other for other in range(size + 1, len(SIZES)) if self._free[other]), None)
        if larger is None:
            self._join(width)
            larger = next((other for other in range(size, len(SIZES)) if self._free[other]), None)
        if larger is None:
            raise CapacityError(f"the IPv6 index has no room: {self.used:,} of {self.count - 1:,} lines are in use")
        line = self._free[larger].pop()
        self._give(line + width, SIZES[larger] - width)
        return line

    def _give(self, line: int, count: int) -> None:
        """Lines in a row become free blocks."""
        for size in range(len(SIZES) - 1, -1, -1):
            while count >= SIZES[size]:
                self._free[size].append(line)
                line, count = line + SIZES[size], count - SIZES[size]

    def _join(self, width: int) -> None:
        """Let free blocks that lie side by side be larger ones, if there is as much as `width` at all."""
        if sum(SIZES[size] * len(free) for size, free in enumerate(self._free)) < width:
            return
        free = np.zeros(self.count, np.bool_)
        for size, lines in enumerate(self._free):
            first = np.array(lines, np.int64)
            for offset in range(SIZES[size]):
                free[first + offset] = True
        self._lay_out(free)

    def _lay_out(self, free: npt.NDArray[np.bool_]) -> None:
        """Make the lists of free blocks anew from the lines that are free."""
        edges = np.flatnonzero(np.diff(free.astype(np.int8), prepend=0, append=0))
        first, count = edges[::2].copy(), edges[1::2] - edges[::2]
        for size in range(len(SIZES) - 1, -1, -1):
            width = SIZES[size]
            blocks = count // width
            origin = np.repeat(np.arange(len(first)), blocks)
            number = np.arange(len(origin)) - (np.cumsum(blocks) - blocks)[origin]
            self._free[size] = (first[origin] + width * number).tolist()
            first += width * blocks
            count -= width * blocks

    # -- giving back --------------------------------------------------------------------------------

    def retire_one(self, line: int, runs: int) -> None:
        """A node has left its block."""
        size = class_of(runs)
        self._limbo[size].append(line)
        self._move(SIZES[size])

    def retire(self, lines: Rows, runs: Rows) -> None:
        """Nodes have left their blocks."""
        sizes = classes_of(runs)
        for size, which in _by_size(sizes):
            self._limbo[size] += lines[which].tolist()
        self._move(int(LINES_OF.take(sizes).sum()))

    def _move(self, lines: int) -> None:
        self.used -= lines
        self._parked += lines

    def settle(self, wanted: int = LOW) -> None:
        """Between two changes: what nobody reads any more becomes free. Waits only where fewer lines than `wanted` are
        free and limbo has some."""
        if self._period is not None and self._period.done():
            self._end()
        if self._period is None and sum(map(len, self._limbo)) >= ENOUGH:
            self._begin()
        wanted = min(wanted, self.count // 4)
        while self.room < wanted and self._parked and not self.stuck:
            if self._period is None:
                self._begin()
            self._end()

    def _begin(self) -> None:
        if not self.stuck:
            self._ending, self._limbo = self._limbo, _none()
            self._period = self._grace.begin()

    def _end(self) -> None:
        """Wait for the period that runs. Where there can be none, limbo keeps what it has."""
        assert self._period is not None
        error = self._period.exception()
        self._period = None
        for size, lines in enumerate(self._ending):
            if error is not None:
                self._limbo[size] += lines
            else:
                self._free[size] += lines
                self._parked -= SIZES[size] * len(lines)
        self._ending = _none()
        if error is not None:
            self.stuck = str(error)

    # -- the whole ----------------------------------------------------------------------------------

    def start(self, lines: Rows, runs: Rows) -> None:
        """Only these nodes are there, and nobody reads anything else: call it after a grace period."""
        if self._period is not None:
            self._end()
        self._limbo, self._ending, self._parked = _none(), _none(), 0
        self.recount(lines, runs)

    def recount(self, lines: Rows, runs: Rows) -> None:
        """Nothing is there but these nodes and what is in limbo: what was lost of late is free, if it is a grace period
        since."""
        free = np.ones(self.count, np.bool_)
        free[0] = False
        _cross_out(free, lines, lines_of(runs))
        self.used = self.count - 1 - int(np.count_nonzero(free))
        for blocks in (self._limbo, self._ending):
            for size, held in enumerate(blocks):
                _cross_out(free, np.array(held, np.int64), np.full(len(held), SIZES[size]))
        self._top = int(np.flatnonzero(~free)[-1]) + 1
        self._room.fit(self._top)
        free[self._top :] = False
        self._lay_out(free)


def _none() -> Blocks:
    return [[] for _ in SIZES]


def _by_size(sizes: Rows) -> Iterator[tuple[int, Rows]]:
    """The sizes that occur, and where."""
    for size in np.flatnonzero(np.bincount(sizes)).tolist():
        yield size, np.flatnonzero(sizes == size)


def _cross_out(free: npt.NDArray[np.bool_], lines: Rows, sizes: Rows) -> None:
    """Blocks that are not free."""
    for offset in range(SIZES[-1]):
        free[lines[sizes > offset] + offset] = False
