"""When Python looks for objects that hold each other: while housekeeping has its turn, not while an UPDATE waits.

Nearly all that the bridge makes goes by reference counts; what may hold each other are tasks and tracebacks. CPython
looks for such every 700 objects that have come to stay, which the commit log makes of 140 UPDATEs: 0.1 ms in front of
whichever comes then, 1 ms in front of one in 1,500, and for one in 17,000 all that has come since the start is looked
at. Here the same is done, by the same generations, once a second at most. Its own way stays as a bound for what makes
many objects within that second.
"""

from __future__ import annotations

import gc

__all__ = ["Garbage"]

FEW = 500  # objects that have come to stay: nobody looks for less
AT_ONCE = 100_000  # they are looked at whatever goes on
TIMES = 10  # as often a generation is looked at before the one above it is


class Garbage:
    """From `begin` to `end`. It is the whole process's."""

    def __init__(self) -> None:
        self._before = gc.get_threshold()

    def begin(self) -> None:
        """What is there now stays: it is never looked at again."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(AT_ONCE, TIMES, TIMES)

    def look(self) -> None:
        """Look at what is due. For a moment in which packets are not likely to wait."""
        young, middle, old = gc.get_count()
        if young >= FEW:
            gc.collect(2 if old >= TIMES else 1 if middle >= TIMES else 0)

    def end(self) -> None:
        """Python's own way again."""
        gc.set_threshold(*self._before)
