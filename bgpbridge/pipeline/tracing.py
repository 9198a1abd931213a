"""Who has the datapath note packets: one at a time, and nobody unless somebody is there to read.

`trace` shows them, `counters --prefixes` samples them. The datapath outlives us, so it is told to note nothing when we
start; what a bridge left that was killed meanwhile fills one ring and no more (bpf/trace.h). A trace goes on when
`datapath upgrade` puts other maps in place: it begins on those before a packet meets them, and what stands in the
rings of the old ones is read once more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.trace import Batch, TraceFilter, TraceRings
from bgpbridge.errors import UsageError

__all__ = ["NO_XDP", "Tracer", "Tracing"]

NO_XDP = "name interfaces in datapath.interfaces"
MOST_ONE_IN = 1 << 16
FULL, IDLE = 3 / 4, 1 / 8  # of the records that there is room for


class Tracer:
    """Somebody who traces. `pace` lets the datapath choose fewer packets at random where more match than it can note,
    so that those which are noted stand for all."""

    def __init__(self, maps: Maps, wanted: TraceFilter) -> None:
        self._maps, self._wanted = maps, wanted
        self._rings = TraceRings(maps.trace_rings)
        self._taken: list[Batch] = []
        self._left: TraceRings | None = None

    def begin(self) -> None:
        """From now on packets are noted."""
        self._wanted.store(self._maps.by_name["trace_filter"])
        self._rings.begin()
        self._maps.trace(True)

    def end(self) -> None:
        """No more."""
        self._maps.trace(False)

    def move(self, maps: Maps) -> None:
        """Packets are about to meet other maps; some may still meet ours."""
        self._taken = self.take()
        self._left, self._maps, self._rings = self._rings, maps, TraceRings(maps.trace_rings)
        self.begin()

    def take(self) -> list[Batch]:
        """What came since the last call, of each CPU."""
        before, left = self._taken, self._left
        self._taken, self._left = [], None
        return [*before, *(left.take() if left is not None else ()), *self._rings.take()]

    def pace(self, batches: list[Batch]) -> None:
        """Ask for more or fewer of the packets that match, by how many of them came."""
        fullest = max((len(batch.noted) for batch in batches), default=0) / self._rings.room
        one_in = self._wanted.one_in
        if fullest > FULL:
            one_in = min(one_in * 2, MOST_ONE_IN)
        elif fullest < IDLE:
            one_in = max(one_in // 2, 1)
        if one_in != self._wanted.one_in:
            self._wanted = replace(self._wanted, one_in=one_in)
            self._wanted.store(self._maps.by_name["trace_filter"])


class Tracing:
    """Lets one in. `maps` is None where no interface has XDP."""

    def __init__(self, maps: Maps | None) -> None:
        self._maps = maps
        self._who, self._since_s = "", 0.0
        self._tracer: Tracer | None = None
        if maps is not None:
            maps.trace(False)

    def move(self, maps: Maps) -> None:
        """Packets are about to meet other maps; who traces goes on there."""
        self._maps = maps
        if self._tracer is not None:
            self._tracer.move(maps)

    @contextmanager
    def one(self, wanted: TraceFilter, who: str) -> Iterator[Tracer]:
        """For as long as somebody traces; `who` is what another one is told meanwhile. Raises UsageError where there
        is no XDP, or where somebody traces already."""
        if self._maps is None:
            raise UsageError("there is no XDP here that could note packets", mend=NO_XDP)
        if self._who:
            ago = f"{time.monotonic() - self._since_s:.0f} s"
            raise UsageError(f"{self._who} has been running for {ago}", mend="one at a time: end it, or wait for it")
        self._tracer = tracer = Tracer(self._maps, wanted)
        self._who, self._since_s = who, time.monotonic()
        try:
            tracer.begin()
            yield tracer
        finally:
            tracer.end()
            self._who, self._tracer = "", None
