"""How late the event loop runs what is due: ten moments a second, as a cumulative histogram.

Everything in the bridge shares one loop, so what blocks it delays UPDATEs, probes and answers alike. No timer asks: the
loop's selector notes from when to when the loop was busy, and what is due at a moment in between has to wait until the
end. So a loop at rest is left alone, and a block that is longer than the pause between two moments is always seen.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate

__all__ = ["BOUNDS_S", "LoopLag"]

EVERY_S = 0.1
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class LoopLag:
    """Seconds of delay, counted by `BOUNDS_S`. `clock` is monotonic."""

    clock: Callable[[], float] = time.monotonic
    sum_s: float = 0.0
    _moment: int = 0  # the last one that was counted
    _counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def __post_init__(self) -> None:
        self._moment = int(self.clock() / EVERY_S)

    def loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop that is watched."""
        return asyncio.SelectorEventLoop(_Watched(self))

    def busy(self, since_s: float, until_s: float) -> None:
        """The loop could run nothing else between these two moments of the clock, and was idle before."""
        last = int(until_s / EVERY_S)
        if last == self._moment:
            return
        first = int(since_s / EVERY_S)
        self._counts[0] += max(0, first - self._moment)
        for moment in range(max(first, self._moment) + 1, last + 1):
            self.sample(until_s - moment * EVERY_S)
        self._moment = last

    def sample(self, late_s: float) -> None:
        """One more."""
        late_s = max(0.0, late_s)
        self.sum_s += late_s
        self._counts[bisect_left(BOUNDS_S, late_s)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds as Prometheus writes them, and how many samples were not later."""
        names = [*map(str, BOUNDS_S), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))


class _Watched(selectors.DefaultSelector):
    """Tells how long the loop was away. One that has waited longer than it was asked to was not idle meanwhile, it
    had no processor."""

    def __init__(self, lag: LoopLag) -> None:
        super().__init__()
        self._lag = lag
        self._since = lag.clock()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        clock = self._lag.clock
        asked = clock()
        self._lag.busy(self._since, asked)
        found = super().select(timeout)
        self._since = clock() if timeout is None else min(clock(), asked + max(0.0, timeout))
        return found
