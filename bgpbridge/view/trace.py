"""`trace` and `counters --prefixes`: packets as they pass, one by one in the words of `packet`, or summed by prefix."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bgpbridge.datapath.packets import packet_head
from bgpbridge.datapath.trace import EVERYTHING, Batch, Noted
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.tracing import Tracer
from bgpbridge.rib import lookups
from bgpbridge.types import Prefix
from bgpbridge.view.way import WayView, prefix_of, way

__all__ = ["TalkerView", "TalkersView", "TraceEndView", "TracedView", "follow", "talkers"]

POLL_S = 0.05
SAMPLER = "`counters --prefixes`"


@dataclass(frozen=True, slots=True)
class TracedView:
    """One packet that passed, at Unix time `at`."""

    at: float
    way: WayView


@dataclass(frozen=True, slots=True)
class TraceEndView:
    """The end of a trace: why, how long it took, how many packets matched, and how many of those were told."""

    ended: str
    took_s: float
    matched: int
    told: int


@dataclass(frozen=True, slots=True)
class TalkerView:
    """What goes to one prefix of the Loc-RIB, or, where `prefix` is empty, to none: estimated from a sample. `share` is
    that of all octets."""

    prefix: str
    peer: str
    packets: int
    octets: int
    share: float
    sampled: int


@dataclass(frozen=True, slots=True)
class TalkersView:
    """Prefixes by octets, the most first. `packets` and `octets` are all that XDP saw in `seconds`, counted; `sampled`
    packets of them were looked at."""

    seconds: float
    packets: int
    octets: int
    sampled: int
    talkers: tuple[TalkerView, ...]


# -- trace ------------------------------------------------------------------------------------------------


async def follow(
    bridge: Bridge, tracer: Tracer, count: int, seconds: float
) -> AsyncGenerator[list[TracedView | TraceEndView], None]:
    """What came since the last turn, turn by turn and perhaps nothing, until `count` packets are told or the time is
    over; the end is told last."""
    began, told, matched = time.monotonic(), 0, 0
    while True:
        await asyncio.sleep(POLL_S)
        batches = tracer.take()
        matched += sum(batch.packets for batch in batches)
        came = sorted((noted for batch in batches for noted in batch.noted), key=lambda noted: noted.at_s)
        views: list[TracedView | TraceEndView] = [_traced(bridge, noted) for noted in came[: count - told]]
        told, took_s = told + len(views), time.monotonic() - began
        ended = "the count is reached" if told >= count else "the time is over" if took_s >= seconds else ""
        if ended:
            views.append(TraceEndView(ended, round(took_s, 3), matched, told))
        yield views
        if ended:
            return


def _traced(bridge: Bridge, noted: Noted) -> TracedView:
    at = time.time() - (time.monotonic() - noted.at_s)
    return TracedView(round(at, 6), way(bridge, noted, packet_head(noted.head)))


# -- talkers ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sum:
    packets: float = 0.0
    octets: float = 0.0
    sampled: int = 0


async def talkers(bridge: Bridge, seconds: float, limit: int) -> TalkersView:
    """Sample what passes for so long; the `limit` prefixes that most octets go to. Raises UsageError where somebody
    samples or traces already."""
    sums: dict[Prefix | None, _Sum] = {}
    began, packets, octets = time.monotonic(), 0, 0
    with bridge.tracing.one(EVERYTHING, SAMPLER) as tracer:
        while time.monotonic() - began < seconds:
            await asyncio.sleep(POLL_S)
            batches = tracer.take()
            tracer.pace(batches)
            for batch in batches:
                packets, octets = packets + batch.packets, octets + batch.octets
                _add(bridge, batch, sums)
    most = sorted(sums.items(), key=lambda item: -item[1].octets)[:limit]
    return TalkersView(
        seconds=round(time.monotonic() - began, 3),
        packets=packets,
        octets=octets,
        sampled=sum(one.sampled for one in sums.values()),
        talkers=tuple(_talker(bridge, prefix, one, octets) for prefix, one in most),
    )


def _add(bridge: Bridge, batch: Batch, sums: dict[Prefix | None, _Sum]) -> None:
    """Those that were noted stand for all of their batch: packets by number, octets by length."""
    if not batch.noted:
        return
    each = batch.packets / len(batch.noted)
    scale = batch.octets / max(sum(noted.octets for noted in batch.noted), 1)
    for noted in batch.noted:
        one = sums.setdefault(prefix_of(bridge, packet_head(noted.head).destination), _Sum())
        one.packets += each
        one.octets += noted.octets * scale
        one.sampled += 1


def _talker(bridge: Bridge, prefix: Prefix | None, one: _Sum, octets: int) -> TalkerView:
    return TalkerView(
        prefix=str(prefix) if prefix is not None else "",
        peer=_peer(bridge, prefix) if prefix is not None else "",
        packets=round(one.packets),
        octets=round(one.octets),
        share=round(one.octets / octets, 4) if octets else 0.0,
        sampled=one.sampled,
    )


def _peer(bridge: Bridge, prefix: Prefix) -> str:
    """Who carries it now: the first that does."""
    number = lookups.group_of(bridge.rib, prefix)
    members = bridge.paths.live(number) if number in bridge.rib.groups else ()
    return bridge.peers.name(members[0].peer) if members else ""
