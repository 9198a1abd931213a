"""How late the event loop runs what is due: ten moments a second, as a cumulative histogram.

Everything in the bridge shares one loop, so what blocks it delays UPDATEs, probes and answers alike. No timer asks: the
loop's selector notes from when to when the loop was busy, and what is due at a moment in between has to wait until the
end. So a loop at rest is left alone, and a block that is longer than the pause between two moments is always seen.
It notes also when the loop last woke (`woken_s`): what it finds then has not waited for us before.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bgpbridge.pipeline.histogram import Histogram

__all__ = ["BOUNDS_S", "LoopLag"]

EVERY_S = 0.1
NAP_S = 20e-6  # a select that takes longer has slept; one that finds something at once takes a few microseconds
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class LoopLag:
    """Seconds of delay, counted by `BOUNDS_S`. `clock` is monotonic."""

    clock: Callable[[], float] = time.monotonic
    woken_s: float = 0.0
    late: Histogram = field(default_factory=lambda: Histogram(BOUNDS_S))
    _moment: int = 0  # the last one that was counted

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
        self.late.add(0.0, max(0, first - self._moment))
        for moment in range(max(first, self._moment) + 1, last + 1):
            self.sample(until_s - moment * EVERY_S)
        self._moment = last

    def sample(self, late_s: float) -> None:
        """One more."""
        self.late.add(max(0.0, late_s))


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
        now = clock()
        if timeout != 0 and now - asked > NAP_S:
            self._lag.woken_s = now
        self._since = now if timeout is None else min(now, asked + max(0.0, timeout))
        return found
