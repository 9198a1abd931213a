"""How long a packet takes from sender to sink at half of what a router can do.

Packets are due at random moments (from 0 to twice the mean apart) and bear the moment at which they were due, not that
at which they were sent: a router that is late makes all wait that stand behind, as on a wire. The sender polls for what
is due as a driver does, BURST calls at a time; how much a router can do is measured in the same way before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bgpbridge.bench.datapath.programs import DELAY_BUCKETS
from bgpbridge.bench.datapath.routers import KERNEL, routing, sinking
from bgpbridge.bench.datapath.stand import Stand
from bgpbridge.bench.records import OURS
from bgpbridge.bench.results import Figure
from bgpbridge.types import Family

__all__ = ["bounds_ns", "latency", "share_of"]

BURST: Final = 16
LOAD: Final = 0.5
LINEAR: Final = 64  # buckets of 1 ns; then 32 to each doubling (bpf/bench/traffic.c)
SHARES: Final = {"latency_p50": 0.5, "latency_p99": 0.99}


def latency(stand: Stand, family: Family = Family.IPV4) -> Iterator[tuple[str, Figure]]:
    """Ours and the kernel in turn, random destinations over the whole table."""
    table = stand.table(family)
    stand.aim(table.destinations(stand.plan.walked, "random", among=len(table)), family)
    for _ in range(stand.plan.runs):
        for subject in (OURS, KERNEL):
            with routing(stand, subject, family):
                delays = _delays(stand, family)
            for metric, share in SHARES.items():
                yield subject, Figure(metric, "us", share_of(delays, share) / 1e3)


def _delays(stand: Stand, family: Family) -> npt.NDArray[Any]:
    """Packets by bucket."""
    with sinking(stand):
        full_mpps = stand.rate(family, stand.plan.turn_s / 2, batch=BURST)
    stand.programs.stream["mean_ns"] = round(1e3 / (full_mpps * LOAD))
    try:
        with sinking(stand, "sink_delays"), stand.sending(family, stand.cpus[-1:], BURST):
            before = stand.programs.delays.copy()
            stand.counted(stand.plan.turn_s)
            delays: npt.NDArray[Any] = stand.programs.delays - before
        return delays
    finally:
        stand.programs.stream["mean_ns"] = 0


def bounds_ns() -> npt.NDArray[np.float64]:
    """Where each bucket ends."""
    number = np.arange(DELAY_BUCKETS)
    power = np.maximum(number // (LINEAR // 2) - 1, 0)
    ends: npt.NDArray[np.float64] = (number - power * (LINEAR // 2) + 1) * 2.0**power
    return ends


def share_of(delays: npt.NDArray[Any], share: float) -> float:
    """The time in ns that `share` of the packets did not exceed, to the end of its bucket."""
    upto = np.cumsum(delays)
    return float(bounds_ns()[np.searchsorted(upto, share * upto[-1])])
