"""From the store of a group in Python to the first packet by the other uplink, at full rate: the clock is read, the
group is stored, and the sink behind the other uplink notes when a packet comes. `group_store` is the store alone
(`Maps.store_group`), `group_members` the whole of what a changed path asks of XDP (`XdpFib.set_members`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from bgpbridge.bench.datapath.place import PORTS
from bgpbridge.bench.datapath.planes import DETOUR
from bgpbridge.bench.datapath.routers import routing, sinking
from bgpbridge.bench.datapath.stand import Stand, undisturbed
from bgpbridge.bench.datapath.table import first_group
from bgpbridge.bench.records import OURS, percentile
from bgpbridge.bench.results import Figure
from bgpbridge.errors import LabError
from bgpbridge.types import Family

__all__ = ["group_stores"]

LATE_NS: Final = 1_000_000_000
REST_S: Final = 0.002  # until what was on its way is counted


def group_stores(stand: Stand, family: Family = Family.IPV4) -> Iterator[tuple[str, Figure]]:
    """The median and the 99th percentile of each run's trials."""
    group = first_group(family)
    home = int(stand.planes.xdp.slots(group)[0])
    stand.aim(stand.table(family).of_group(group, stand.plan.walked), family)
    ways: dict[str, Callable[[int], object]] = {
        "group_store": lambda adjacency: stand.maps.store_group(group, adjacency),
        "group_members": lambda adjacency: stand.planes.xdp.set_members(group, [(adjacency, 1)]),
    }
    with sinking(stand), routing(stand, OURS, family):
        for _ in range(stand.plan.runs):
            for name, move in ways.items():
                with stand.sending(family, stand.cpus[-1:]), undisturbed():
                    took = [_trial(stand, move, home) for _ in range(stand.plan.trials)]
                for what, share in (("p50", 0.5), ("p99", 0.99)):
                    yield OURS, Figure(f"{name}_{what}", "us", percentile(took, share))


def _trial(stand: Stand, move: Callable[[int], object], home: int) -> float:
    """Microseconds."""
    arrival = stand.programs.arrival
    arrival["ns"] = 0
    arrival["ifindex"] = PORTS["s1"]
    began = time.monotonic_ns()
    move(DETOUR)
    try:
        while arrival["ifindex"][0]:
            if time.monotonic_ns() - began > LATE_NS:
                raise LabError("no packet came by the other uplink within a second")
    finally:
        move(home)
    time.sleep(REST_S)
    return (int(arrival["ns"][0]) - began) / 1e3
