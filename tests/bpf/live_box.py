"""A datapath as the pipeline has it, on the router of `live_frames`, with routes behind its sink."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Engine as WantedEngine
from bgpbridge.config.model import Loader as ByLoader
from bgpbridge.datapath import attach
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, Reason
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.frames import ethernet, ipv4, udp
from bgpbridge.datapath.links import holders
from bgpbridge.events import EventLog
from bgpbridge.fib.observed import Link
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.upgrade import Upgrade
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family
from tests.bpf.live_frames import K0, R0, R1, S0, Path3

ROUTES = 3000
GROUP = 16


@dataclass
class Box:
    """A datapath with routes, and frames for one of them."""

    datapath: Datapath
    xdp: XdpFib
    upgrade: Upgrade
    path: Path3
    moved: list[object]

    def run(self, watch_s: float = 0.3, **changes: object):
        settings = self.datapath.settings.model_copy(update=changes)
        with self.path.router.inside():
            return asyncio.run(self.upgrade.run(settings, watch_s))

    def in_force(self) -> set[int]:
        """The programs on the interfaces, as the kernel says."""
        with self.path.router.inside():
            return {holder.program_id for ifindex in self.datapath.attached for holder in holders(ifindex)}

    def share_forwarded(self) -> float:
        counts = read_reasons(self.datapath.maps)
        return counts[Reason.FORWARDED].packets / sum(count.packets for count in counts.values())


def settings_of(pin_path: Path, engine: WantedEngine) -> Settings:
    """For a box, with little room: new maps are made quickly."""
    return Settings(
        interfaces=("r0", "r1"),
        pin_path=pin_path,
        max_ipv4=5000,
        max_ipv6=5000,
        loader=ByLoader.LIBBPF,
        engine=engine,
    )


def routes(count: int, group: int, first: int = 1) -> Changes:
    rows = np.arange(first, first + count)
    low = np.uint64(0xCB000000) + (rows.astype(np.uint64) << np.uint64(8))
    none = np.zeros(count, np.uint32)
    return Changes(
        Family.IPV4, rows, none.astype(np.uint64), low, np.full(count, 24, np.uint8), none, none + np.uint32(group)
    )


@contextmanager
def box_of(path: Path3, settings: Settings) -> Iterator[Box]:
    events = EventLog()
    with path.router.inside():
        datapath = Datapath.open(settings, events)
        xdp = XdpFib(datapath.maps, Engine(settings.engine.value))
        asyncio.run(datapath.load())
        egress = path.router.index("r1")
        datapath.maps.store_adjacency(1, Adjacency(K0, R1, 1500, AdjacencyState.UP, egress))
        xdp.set_members(GROUP, [(1, 1)])
        xdp.apply(routes(ROUTES, GROUP))
        for name, mac in (("r0", R0), ("r1", R1)):
            datapath.follow_link(Link(path.router.index(name), name, mac, 1500, True, "veth"), True)
        xdp.enabled = True
    moved: list[object] = []
    path.frame = ethernet(ipv4(udp(), dst="203.0.8.9"), dst=R0, src=S0)
    try:
        yield Box(datapath, xdp, Upgrade(datapath, xdp, (moved.append,), events), path, moved)
    finally:
        with path.router.inside():
            attach.detach_all(settings.pin_path)
        datapath.close()
