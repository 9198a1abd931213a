"""`datapath upgrade` with a whole table while packets go through: another program over the maps in force, then one over
other maps (more room, another number of slots), which are filled beside those in force. How long it takes until the
new program stays, for how long at most it keeps the bridge's event loop to itself, and how many packets are lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bgpbridge.bench.datapath.lookups import words
from bgpbridge.bench.datapath.place import PORTS, mac
from bgpbridge.bench.datapath.routers import sinking
from bgpbridge.bench.datapath.stand import Stand
from bgpbridge.bench.datapath.table import GROUPS, first_group
from bgpbridge.bench.results import Figure
from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Engine as WantedEngine
from bgpbridge.config.model import Loader
from bgpbridge.datapath import pins
from bgpbridge.datapath.abi import Adjacency, AdjacencyState
from bgpbridge.errors import LabError
from bgpbridge.events import EventLog
from bgpbridge.fib.observed import Link
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.upgrade import Upgrade
from bgpbridge.types import Family

__all__ = ["upgrades"]

PINS: Final = Path("/sys/fs/bpf")
MTU: Final = 1500
SLICE: Final = 100_000
TICK_S: Final = 0.001
REST_S: Final = 0.05  # until what was on its way is counted
SAME, OTHER = "same maps", "other maps"
MORE: Final = {64: 128, 128: 64}  # slots, by turns


@dataclass(slots=True)
class _Router:
    """A datapath as the bridge has it, with the stand's table."""

    stand: Stand
    family: Family
    datapath: Datapath
    xdp: XdpFib
    upgrade: Upgrade
    held_s: float = 0.0

    def run(self, settings: Settings) -> float:
        """Upgrade, in the router's namespace; seconds."""
        began = time.monotonic()
        report = self.stand.place.at("r0", lambda: asyncio.run(self._run(settings)))
        if not report:
            raise LabError("the program went back", mend="run the benches on a machine that does nothing else")
        self.datapath.settings = settings
        return time.monotonic() - began

    async def _run(self, settings: Settings) -> bool:
        self.held_s = 0.0
        ticking = asyncio.get_running_loop().create_task(self._tick())
        try:
            return (await self.upgrade.run(settings, self.stand.plan.turn_s)).stayed
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        """What of the event loop's time others do not get."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.held_s = max(self.held_s, time.monotonic() - began - TICK_S)


def upgrades(stand: Stand, family: Family = Family.IPV4) -> Iterator[tuple[str, Figure]]:
    """Both kinds in turn, at full rate."""
    table = stand.table(family)
    stand.aim(table.destinations(stand.plan.walked, "random", among=len(table)), family)
    name = f"upgrade_{words(len(table))}"
    with sinking(stand), _router(stand, family) as router:
        for _ in range(stand.plan.runs):
            for subject in (SAME, OTHER):
                settings = router.datapath.settings
                if subject == OTHER:
                    settings = settings.model_copy(update={"group_slots": MORE[settings.group_slots]})
                before = stand.programs.sunk()
                with stand.sending(family, stand.cpus[-1:]):
                    took_s = router.run(settings)
                time.sleep(REST_S)
                lost = stand.programs.sent() - (stand.programs.sunk() - before)
                yield subject, Figure(name, "s", took_s)
                yield subject, Figure(f"{name}_held", "ms", router.held_s * 1e3)
                yield subject, Figure(f"{name}_lost", "packets", lost)


@contextlib.contextmanager
def _router(stand: Stand, family: Family) -> Iterator[_Router]:
    settings = Settings(
        interfaces=("r0",),
        pin_path=PINS / f"bgpbridge-bench-{os.getpid()}",
        loader=Loader.LIBBPF,
        engine=WantedEngine.INDEX,
    )
    events = EventLog()
    datapath = Datapath.open(settings, events)
    try:
        xdp = XdpFib(datapath.maps, Engine.INDEX)
        stand.place.at("r0", lambda: _take_interfaces(datapath))
        _fill(stand, family, xdp)
        yield _Router(stand, family, datapath, xdp, Upgrade(datapath, xdp, (), events))
    finally:
        pins.remove(settings.pin_path)
        datapath.close()


def _take_interfaces(datapath: Datapath) -> None:
    asyncio.run(datapath.load())
    for port in ("r0", "r1", "r2"):
        datapath.follow_link(Link(PORTS[port], port, mac(port), MTU, True, "veth"), True)


def _fill(stand: Stand, family: Family, xdp: XdpFib) -> None:
    table, first = stand.table(family), first_group(family)
    for number in range(1, GROUPS + 1):
        way = Adjacency(mac("s0"), mac("r1"), MTU, AdjacencyState.UP, PORTS["r1"])
        xdp.maps.store_adjacency(number, way)
        xdp.set_members(first + number - 1, [(number, 1)])
    for at in range(0, len(table), SLICE):
        xdp.apply(table.changes(np.arange(at, min(at + SLICE, len(table)))))
    xdp.enabled = True
