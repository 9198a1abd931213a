"""The exits: the neighbours that BGP's next hops lead to, and what is to be probed through each.

Thousands of next hops lead to few neighbours. Where they are more than may be probed, those that most next hops lead to
come first, and one that is probed keeps its place; how many are left out is told, never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from bgpbridge.config.latency import Latency as Settings
from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.targets import Exit, Method, Target
from bgpbridge.fib.adjacency import Adjacency, AdjacencyTable
from bgpbridge.fib.observed import Address
from bgpbridge.types import IPAddress

__all__ = ["NEXT_HOP", "Picked", "exit_name", "most_exits", "pick", "probes_of", "source_for", "targets_of"]

NEXT_HOP = "next-hop"


@dataclass(frozen=True, slots=True)
class Picked:
    """The exits that are probed, by adjacency id; `left_out` counts those that are up and are not."""

    exits: Mapping[int, Adjacency]
    left_out: int = 0


def exit_name(exit_: Adjacency) -> str:
    """The neighbour and its link, in the notation of RFC 4007 s11."""
    return f"{exit_.gateway}%{exit_.link}"


def most_exits(settings: Settings) -> int:
    """How many exits can be probed so that facts do not grow stale between two probes."""
    in_time = (settings.stale_after_s - settings.timeout_s) * settings.budget_pps / max(1, len(settings.targets))
    return max(1, min(settings.exits, int(in_time)))


def pick(
    ways_out: Mapping[int, Collection[int]], adjacencies: AdjacencyTable, before: Collection[int], most: int
) -> Picked:
    """Those that are up, at most so many. `ways_out` are adjacencies with the next hops that lead there."""
    ranked = sorted(
        (number for number, users in ways_out.items() if users),
        key=lambda number: (number not in before, -len(ways_out[number]), number),
    )
    found: dict[int, Adjacency] = {}
    left_out = 0
    for number in ranked:
        if len(found) == most:
            left_out += adjacencies.is_up(number)
            continue
        seen = adjacencies.get(number)
        if seen is not None and seen.up and seen.gateway is not None:
            found[number] = seen
    return Picked(dict(sorted(found.items())), left_out)


def targets_of(exit_: Adjacency, settings: Settings) -> tuple[Target, ...]:
    """What is asked through an exit: the configured targets of its family, else the neighbour itself."""
    assert exit_.gateway is not None
    version = exit_.gateway.version
    named = [
        Target(probe.label, probe.address, Method(probe.probe), probe.port or 0)
        for probe in settings.targets
        if probe.address.version == version
    ]
    return tuple(named) or (Target(NEXT_HOP, exit_.gateway),)


def probes_of(
    exits: Iterable[Adjacency], settings: Settings, addresses: Collection[Address]
) -> dict[Way, tuple[Exit, Target]]:
    """Every target through every exit, with the address that answers come back to."""
    found = {}
    for exit_ in exits:
        name = exit_name(exit_)
        for target in targets_of(exit_, settings):
            source = source_for(target.address, exit_, addresses)
            sources = (source,) if source is not None else ()
            found[Way(name, target.name)] = (Exit(name, exit_.ifindex, sources, exit_.mac), target)
    return found


def source_for(target: IPAddress, exit_: Adjacency, addresses: Collection[Address]) -> IPAddress | None:
    """Our address that a probe bears: one of the exit's link, of the target's family and scope; else any of ours but
    the loopback's. None where there is none."""
    fit = [
        one
        for one in addresses
        if one.address.version == target.version
        and not one.address.is_loopback
        and one.address.is_link_local == target.is_link_local
    ]
    here = [one for one in fit if one.ifindex == exit_.ifindex]
    ranked = sorted(here or ([] if target.is_link_local else fit), key=lambda one: (one.ifindex, int(one.address)))
    return ranked[0].address if ranked else None
