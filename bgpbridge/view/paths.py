"""`paths`: every way out with what probes found, and what latency does or would do with it.

`would` goes by choices: groups whose members leave by the same exits are decided together, and are one row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bgpbridge.config.latency import LatencyMode
from bgpbridge.enrich.facts import Facts, Way
from bgpbridge.errors import AbsentError
from bgpbridge.fib.adjacency import Adjacency
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.choices import Choice
from bgpbridge.pipeline.exits import exit_name
from bgpbridge.pipeline.latency import Counts

__all__ = ["CarrierView", "ExitView", "FactsView", "PathsView", "WayView", "WouldView", "group_words", "paths", "would"]

EXAMPLES = 3  # prefixes that stand for the others
ROWS = 256  # choices that are listed, those that differ from BGP first
LOOKED_UP = 16  # of which so many have examples


@dataclass(frozen=True, slots=True)
class FactsView:
    """What is known; times in seconds, `loss` a share from 0 to 1. `samples` counts answers."""

    samples: int
    lost: int
    loss: float
    srtt_s: float | None
    jitter_s: float | None
    least_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    age_s: float
    stale: bool


@dataclass(frozen=True, slots=True)
class WayView:
    """One target through an exit. `trouble`: why the last probe had no answer; `facts` None before the first."""

    target: str
    address: str
    probe: str
    port: int
    facts: FactsView | None
    trouble: str


@dataclass(frozen=True, slots=True)
class ExitView:
    """A neighbour that next hops lead to. `state`: probed, left out, or why it is not up. `figure` is what it is
    compared by: its targets together."""

    id: int
    gateway: str
    link: str
    state: str
    peers: tuple[str, ...]
    next_hops: int
    figure: FactsView | None
    targets: tuple[WayView, ...]
    handshakes: FactsView | None
    """Of TCP handshakes that passed (`latency.handshakes`); `samples` are those in the window."""
    handshakes_total: int


@dataclass(frozen=True, slots=True)
class PathsView:
    """All exits. `trouble`: why nothing is probed though it should be."""

    mode: LatencyMode
    trouble: str
    left_out: int
    handshakes: int
    """One TCP connection in so many is measured; 0: none."""
    counts: Counts
    exits: tuple[ExitView, ...]


@dataclass(frozen=True, slots=True)
class CarrierView:
    """Who carries traffic, with its weight."""

    exit: str
    weight: int


@dataclass(frozen=True, slots=True)
class WouldView:
    """Groups that can choose among the same exits. `differs`: what latency wants is not what BGP has; `acts`: it is
    done, not only said. `why` has a line for each member and the last one sums up."""

    bgp: tuple[CarrierView, ...]
    latency: tuple[CarrierView, ...]
    differs: bool
    acts: bool
    why: tuple[str, ...]
    groups: tuple[int, ...]
    prefixes: int
    examples: tuple[str, ...]


def paths(bridge: Bridge, peer: str | None = None) -> PathsView:
    """All exits, or those of one peer's next hops. Raises AbsentError for a peer that is not there."""
    room = bridge.latency
    index = _index_of(bridge, peer) if peer is not None else None
    exits = []
    for number, next_hops in sorted(bridge.paths.ways_out().items()):
        seen = bridge.adjacencies.get(number)
        if not next_hops or seen is None:
            continue
        peers = _peers(bridge, next_hops)
        if index is None or index in peers:
            exits.append(_exit(bridge, seen, peers, len(next_hops)))
    return PathsView(
        room.mode,
        room.measured.trouble,
        room.measured.picked.left_out,
        bridge.handshakes.one_in,
        room.counts,
        tuple(exits),
    )


def _index_of(bridge: Bridge, name: str) -> int:
    peer = bridge.peers.named(name)
    if peer is None:
        names = ", ".join(sorted(p.name for p in bridge.peers)) or "none"
        raise AbsentError(f"there is no peer {name}", mend=f"peers are: {names}")
    return peer.index


def _peers(bridge: Bridge, next_hops: Iterable[int]) -> set[int]:
    """The peers whose groups' members have these next hops."""
    table = bridge.rib.groups
    groups = {group for number in next_hops for group in table.using_next_hop(number)}
    wanted = set(next_hops)
    return {
        member.peer
        for group in groups
        for member in (*table[group].active, *table[group].backup)
        if member.next_hop in wanted
    }


def _exit(bridge: Bridge, seen: Adjacency, peers: set[int], next_hops: int) -> ExitView:
    room = bridge.latency
    probed = seen.id in room.measured.picked.exits
    off = room.mode is LatencyMode.OFF
    state = seen.reason if not seen.up else "not probed" if off else "probed" if probed else "left out"
    figure = room.measured.figures.get(seen.id)
    return ExitView(
        seen.id,
        str(seen.gateway) if seen.gateway is not None else "unclaimed",
        seen.link,
        state,
        tuple(sorted(bridge.peers.name(index) for index in peers)),
        next_hops,
        _facts(figure),
        tuple(_ways(bridge, seen)) if probed else (),
        _facts(bridge.handshakes.facts(exit_name(seen))),
        bridge.handshakes.counts.get(exit_name(seen), 0),
    )


def _ways(bridge: Bridge, seen: Adjacency) -> Iterable[WayView]:
    room = bridge.latency
    for target, facts in room.measured.facts_of(seen.id, room.measured.now_s):
        trouble = room.measured.refused.get(Way(exit_name(seen), target.name), "")
        yield WayView(target.name, str(target.address), target.method.value, target.port, _facts(facts), trouble)


def _facts(facts: Facts | None) -> FactsView | None:
    if facts is None:
        return None
    return FactsView(
        facts.samples,
        facts.lost,
        round(facts.loss, 4),
        _micro(facts.srtt_s),
        _micro(facts.jitter_s),
        _micro(facts.least_s),
        _micro(facts.p50_s),
        _micro(facts.p95_s),
        _micro(facts.p99_s),
        round(facts.age_s, 3),
        facts.stale,
    )


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def would(bridge: Bridge) -> list[WouldView]:
    """What latency has decided for each choice: those that differ from BGP first, then by the number of prefixes."""
    room = bridge.latency
    rows = [(choice.carried is None, -room.prefixes(choice.groups), choice) for choice in room.choices if choice.open]
    rows.sort(key=lambda row: row[:2])
    return [_would(bridge, choice, -size, at < LOOKED_UP) for at, (_, size, choice) in enumerate(rows[:ROWS])]


def _would(bridge: Bridge, choice: Choice, size: int, look_up: bool) -> WouldView:
    by_bgp = tuple((place.name, place.weight) for place in choice.places if place.active)
    return WouldView(
        _carriers(by_bgp),
        _carriers(choice.carriers()),
        choice.carried is not None,
        bridge.latency.mode is LatencyMode.ACT,
        choice.words(),
        tuple(sorted(choice.groups)),
        size,
        _examples(bridge, choice.groups) if look_up else (),
    )


def _carriers(carriers: Iterable[tuple[str, int]]) -> tuple[CarrierView, ...]:
    return tuple(CarrierView(name, weight) for name, weight in carriers)


def _examples(bridge: Bridge, groups: set[int]) -> tuple[str, ...]:
    """The first prefixes that point at these groups."""
    wanted = np.zeros(bridge.rib.groups.limit + 1, np.bool_)
    wanted[list(groups)] = True
    found: list[str] = []
    for tables in bridge.rib.families.values():
        rows = np.flatnonzero(wanted.take(tables.group))[:EXAMPLES]
        found += [str(tables.prefixes.prefix(row)) for row in rows.tolist()]
    return tuple(found[:EXAMPLES])


def group_words(bridge: Bridge, group: int) -> str:
    """What latency does, or would do, with a group; empty where that is what BGP has."""
    choice = bridge.latency.choices.of(group)
    if choice is None or choice.carried is None:
        return ""
    carriers = ", ".join(f"{name} (weight {weight})" for name, weight in choice.carriers())
    done = "carried by" if bridge.latency.mode is LatencyMode.ACT else "would be carried by"
    return f"{done} {carriers}: {'; '.join(choice.words()[:-1] or choice.words())}"
