"""`status`: is it forwarding, on what, how much, and is anything behind or refused."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import bgpbridge
from bgpbridge.datapath.specs import Sizes, memory_estimate, memory_of_indexes
from bgpbridge.fib.kernel import KernelStatus
from bgpbridge.fib.xdp import XdpStatus
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.limits import Level
from bgpbridge.pipeline.peers import Phase
from bgpbridge.rib.lookups import next_hops_in_use
from bgpbridge.types import Family
from bgpbridge.view.health import unasked, unhealthy
from bgpbridge.view.peers import STATES, limits_of, state_of, why_not_up

__all__ = ["AlarmView", "InterfaceView", "MemoryView", "StatusView", "WaitingView", "status"]

WAITING = 20


@dataclass(frozen=True, slots=True)
class InterfaceView:
    """One interface that XDP is to run on. `mode` is native, generic or none; `note` says why."""

    name: str
    mode: str
    note: str


@dataclass(frozen=True, slots=True)
class WaitingView:
    """A peer that is not established, and why as far as it is known."""

    name: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class AlarmView:
    """A peer that is near its max-prefix in a family, or beyond it."""

    peer: str
    family: str
    level: str
    used: int
    limit: int
    blocked: int


@dataclass(frozen=True, slots=True)
class MemoryView:
    """Octets: what the bridge process holds, what the maps take when full, and the indexes' part of that, which is
    taken from the start."""

    resident: int
    maps_full: int
    indexes: int


@dataclass(frozen=True, slots=True)
class StatusView:
    """The state of the whole, in figures. Times are seconds. `beginning`: XDP forwards as soon as its new maps hold
    what the kernel has of an earlier run."""

    name: str
    version: str
    asn: int
    router_id: str
    process: int
    uptime_s: float
    forwarding: bool
    beginning: bool
    loader: str
    loader_note: str
    interfaces: tuple[InterfaceView, ...]
    peers: dict[str, int]
    waiting: tuple[WaitingView, ...]
    limits: tuple[AlarmView, ...]
    rpki: tuple[str, ...]
    unhealthy: tuple[str, ...]
    troubles: tuple[str, ...]
    routes: dict[Family, int]
    groups: int
    next_hops: int
    next_hops_unreachable: int
    adjacencies: int
    adjacencies_down: int
    attributes: int
    xdp: XdpStatus | None
    kernel: KernelStatus | None
    commits: int
    work: int
    adopting: bool
    overrides: dict[str, int]
    foreign_repairs: int
    memory: MemoryView


def status(bridge: Bridge) -> StatusView:
    """Everything at a glance."""
    datapath, xdp, kernel = bridge.datapath, bridge.planes.xdp, bridge.planes.kernel
    program = datapath.program if datapath is not None else None
    seen = bridge.adjacencies.view()
    hops = bridge.rib.next_hops
    unreachable = next_hops_in_use(bridge.rib, [number for number in hops.ids() if not hops.reachable[number]])
    return StatusView(
        name=bridge.config.router.name,
        version=bgpbridge.__version__,
        asn=bridge.config.router.asn,
        router_id=str(bridge.config.router.router_id),
        process=os.getpid(),
        uptime_s=round(time.monotonic() - bridge.began_s, 1),
        forwarding=xdp.enabled if xdp is not None else False,
        beginning=datapath is not None and datapath.begins,
        loader=program.loader.value if program is not None else "none",
        loader_note=program.note if program is not None else "",
        interfaces=_interfaces(bridge),
        peers={state: sum(state_of(bridge, peer) == state for peer in bridge.peers) for state in STATES},
        waiting=_waiting(bridge),
        limits=tuple(_alarms(bridge)),
        rpki=tuple(bridge.rpki.alarms()),
        unhealthy=unhealthy(bridge),
        troubles=(*bridge.room.troubles(), *unasked(bridge), *bridge.feeders.troubles()),
        routes={family: tables.routes for family, tables in bridge.rib.families.items()},
        groups=len(bridge.rib.groups),
        next_hops=len(bridge.rib.next_hops),
        next_hops_unreachable=len(unreachable),
        adjacencies=len(seen),
        adjacencies_down=sum(not adjacency.up for adjacency in seen),
        attributes=len(bridge.rib.attributes),
        xdp=xdp.status() if xdp is not None else None,
        kernel=kernel.status() if kernel is not None else None,
        commits=bridge.log.number,
        work=len(bridge.work),
        adopting=bridge.adopting,
        overrides=_overrides(bridge),
        foreign_repairs=bridge.kernel_events.repairs,
        memory=_memory(bridge),
    )


def _memory(bridge: Bridge) -> MemoryView:
    if bridge.datapath is None:
        return MemoryView(_resident(), 0, 0)
    maps = bridge.datapath.maps
    sizes = Sizes(maps.lpm4.max_entries, maps.lpm6.max_entries, maps.indexed, bridge.config.datapath.group_slots)
    return MemoryView(_resident(), memory_estimate(sizes), memory_of_indexes(sizes))


def _waiting(bridge: Bridge) -> tuple[WaitingView, ...]:
    """The first of them."""
    found = [peer for peer in bridge.peers if peer.phase is not Phase.ESTABLISHED]
    return tuple(WaitingView(one.name, state_of(bridge, one), why_not_up(bridge, one)) for one in found[:WAITING])


def _alarms(bridge: Bridge) -> Iterator[AlarmView]:
    for state in bridge.peers:
        for family, seen in limits_of(bridge, state).items():
            if seen.level != Level.FINE:
                yield AlarmView(state.name, family.label, seen.level, seen.used, seen.limit, seen.blocked)


def _overrides(bridge: Bridge) -> dict[str, int]:
    """How many by state."""
    by_state: Counter[str] = Counter()
    for (_, state), count in bridge.overrides.counts().items():
        by_state[state] += count
    return dict(by_state)


def _interfaces(bridge: Bridge) -> tuple[InterfaceView, ...]:
    datapath = bridge.datapath
    if datapath is None:
        return ()
    views = [InterfaceView(seat.name, seat.mode.label, seat.note) for seat in datapath.attached.values()]
    links = bridge.watcher.state.links
    for ifindex, why in datapath.refused.items():
        link = links.get(ifindex)
        views.append(InterfaceView(link.name if link is not None else f"interface {ifindex}", "none", why))
    names = {view.name for view in views}
    absent = [name for name in datapath.settings.interfaces if not set("*?[") & set(name) and name not in names]
    views += [InterfaceView(name, "none", "not here, or down") for name in absent]
    return tuple(sorted(views, key=lambda view: view.name))


def _resident() -> int:
    """Octets of memory that the process holds now."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - a file of the kernel
        return int(statm.read().split()[1]) * resource.getpagesize()
