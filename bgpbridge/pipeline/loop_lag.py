"""How late the event loop runs what is due: a hundred moments a second, as a cumulative histogram.

Everything in the bridge shares one loop, so what blocks it delays UPDATEs, probes and answers alike. No timer asks: the
loop's selector notes from when to when the loop was busy, and what is due at a moment in between has to wait until the
end. So a loop at rest is left alone, and a block that is longer than the pause between two moments is always seen.
It notes also when the loop last woke (`woken_s`): what it finds then has not waited for us before. And it serves one
descriptor at once where it finds it (`first`): with cold caches, asyncio's way from there to a callback takes longer
than a route does.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bgpbridge.pipeline.histogram import Histogram

__all__ = ["BOUNDS_S", "LoopLag"]

EVERY_S = 0.01
WARM_EVERY_S = 0.002  # what is used as often as this stays in the caches of a processor that others use too
WARM_S = 0.1  # after the last UPDATE; whoever sends them goes on
NAP_S = 20e-6  # a select that takes longer has slept; one that finds something at once takes a few microseconds
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(slots=True)
class LoopLag:
    """Seconds of delay, counted by `BOUNDS_S`. `clock` is monotonic."""

    clock: Callable[[], float] = time.monotonic
    woken_s: float = 0.0
    late: Histogram = field(default_factory=lambda: Histogram(BOUNDS_S))
    _moment: int = 0  # the last one that was counted
    warm_until_s: float = 0.0
    rehearse: Callable[[], None] | None = None  # called every WARM_EVERY_S of rest until then
    rehearsal_failed: Callable[[Exception], None] = lambda _error: None  # and was the last one
    _loops: _Watched | None = None

    def __post_init__(self) -> None:
        self._moment = int(self.clock() / EVERY_S)

    def loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop that is watched."""
        self._loops = _Watched(self)
        return asyncio.SelectorEventLoop(self._loops)

    def first(self, fd: int, serve: Callable[[], None] | None) -> bool:
        """Call `serve` as soon as this descriptor is readable, before the loop hears of anything; None: no longer. It
        must not raise. False where the loop is none of ours."""
        return self._loops is not None and self._loops.first(fd, serve)

    def keep_warm(self, now_s: float) -> None:
        """An UPDATE came."""
        self.warm_until_s = now_s + WARM_S

    def rehearse_once(self) -> None:
        """Nobody needs it and nobody stands above it: where it fails there are no more of them."""
        assert self.rehearse is not None
        try:
            self.rehearse()
        except Exception as error:  # noqa: BLE001  (it would end the loop)
            self.rehearse = None
            self.rehearsal_failed(error)

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
    had no processor. It waits for what is first and, as one descriptor, for all the others."""

    def __init__(self, lag: LoopLag) -> None:
        super().__init__()
        self._lag = lag
        self._since = lag.clock()
        self._first, self._serve = -1, _nothing
        self._all = select.epoll()
        self._all.register(self.fileno(), select.EPOLLIN)

    def close(self) -> None:
        self._all.close()
        super().close()

    def first(self, fd: int, serve: Callable[[], None] | None) -> bool:
        if self._first >= 0:
            self._all.unregister(self._first)
        self._first, self._serve = (-1, _nothing) if serve is None else (fd, serve)
        if serve is not None:
            self._all.register(fd, select.EPOLLIN)
        return True

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        clock = self._lag.clock
        asked = clock()
        self._lag.busy(self._since, asked)
        found = self._warmly(asked, -1 if timeout is None else max(0.0, timeout))
        now = clock()
        self._since = now if timeout is None else min(now, asked + max(0.0, timeout))
        others = False
        for fd, _ in found:
            if fd == self._first:
                self._serve()
            else:
                others = True
        return super().select(0) if others else []

    def _warmly(self, asked: float, wait_s: float) -> list[tuple[int, int]]:
        """Poll for so long (-1: for ever). While UPDATEs come now and then the wait is made of short ones, between
        which the way of an UPDATE is gone once more."""
        lag = self._lag
        while lag.rehearse is not None and asked < lag.warm_until_s and (wait_s < 0 or wait_s > WARM_EVERY_S):
            found = self._wait(WARM_EVERY_S, asked)
            if found:
                return found
            lag.rehearse_once()
            now = lag.clock()
            wait_s = wait_s if wait_s < 0 else max(0.0, wait_s - (now - asked))
            asked = now
        return self._wait(wait_s, asked)

    def _wait(self, wait_s: float, asked: float) -> list[tuple[int, int]]:
        """What is found where it slept has not waited for us before; what was there at once may have come during what
        was done until then."""
        found = self._all.poll(wait_s, 2)
        now = self._lag.clock()
        if wait_s and now - asked > NAP_S:
            self._lag.woken_s = now
        return found


def _nothing() -> None:
    """Nobody is served first."""
