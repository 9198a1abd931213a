"""An index that gave up is built again: its routes may fit by now, or somebody else's writing was the reason.

Packets ask the trie meanwhile, which is right but slower. Each attempt costs what a load of the table costs, in slices
between which routing goes on, so one that fails is followed by a longer pause.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.types import Family

__all__ = ["IndexAgain"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0


@dataclass(slots=True)
class IndexAgain:
    """`steady` is a clock that never jumps."""

    events: EventLog
    steady: Callable[[], float] = time.monotonic
    _pauses: dict[Family, tuple[float, float]] = field(default_factory=dict)  # (not before, pause after that)

    async def build(self, xdp: XdpFib, *, at_once: bool = False) -> None:
        """Build what is in trouble and due (`at_once`: what is in trouble)."""
        for family, why in xdp.index_trouble().items():
            if not why:
                self._pauses.pop(family, None)
                continue
            due, pause = self._pauses.get(family, (0.0, FIRST_PAUSE_S))
            if at_once or due <= self.steady():
                await self._build(xdp, family, why, pause)

    async def _build(self, xdp: XdpFib, family: Family, why: str, pause: float) -> None:
        routes, began = 0, time.monotonic()
        for count in xdp.build_index(family):
            routes += count
            await asyncio.sleep(0)
        took_s = time.monotonic() - began
        if still := xdp.index_trouble()[family]:
            text = f"could not be built again: {still}; next attempt in {pause:.0f} s"
            self.events.add("index-not-built", family.label, text, Severity.WARNING)
            self._pauses[family] = self.steady() + pause, min(2 * pause, LONGEST_PAUSE_S)
            return
        self._pauses.pop(family, None)
        text = f"built again from {routes:,} routes in {took_s:.1f} s, after: {why}"
        self.events.add("index-built", family.label, text, Severity.NOTICE)
