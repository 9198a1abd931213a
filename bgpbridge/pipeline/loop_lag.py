"""How late the event loop runs what is due: one sample every `EVERY_S`, as a cumulative histogram.

Everything in the bridge shares one loop, so what blocks it delays UPDATEs, probes and answers alike. A block that is
longer than the pause between two samples is always seen.
"""

from __future__ import annotations

import asyncio
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
    _counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    async def keep(self) -> None:
        """For ever."""
        while True:
            due = self.clock() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.sample(self.clock() - due)

    def sample(self, late_s: float) -> None:
        """One more; a timer that the loop ran a little early counts as in time."""
        late_s = max(0.0, late_s)
        self.sum_s += late_s
        self._counts[bisect_left(BOUNDS_S, late_s)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds as Prometheus writes them, and how many samples were not later."""
        names = [*map(str, BOUNDS_S), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))
