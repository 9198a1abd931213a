"""Millions of packets a second from the sender through a router to the sink, where they are counted; all three on one
CPU, so that the sender's and the sink's work is in every figure, and alike. `forward_nothing` is what those two do
alone, with the sink in the router's place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgpbridge.bench.datapath.lookups import engines_of, words
from bgpbridge.bench.datapath.routers import INDEX, KERNEL, ROUTERS, attached, routing, sinking
from bgpbridge.bench.datapath.stand import Stand
from bgpbridge.bench.records import OURS
from bgpbridge.bench.results import Figure
from bgpbridge.types import Family

__all__ = ["few_routes", "forwarding", "routers_of"]

UNIT = "Mpps"
FEW = 10


def few_routes(stand: Stand, family: Family = Family.IPV4) -> Iterator[tuple[str, Figure]]:
    """Ten routes, as in most labs."""
    stand.aim(stand.table(family).destinations(stand.plan.walked, "random", among=FEW), family)
    yield from _nothing(stand, family)
    yield from _in_turn(stand, family, f"forward_{FEW}_random")


def forwarding(stand: Stand, family: Family, draws: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    """The whole table, on one CPU; the first draw on all CPUs as well."""
    table = stand.table(family)
    six = "" if family is Family.IPV4 else "v6_"
    for draw in draws:
        metric = f"forward_{six}{words(len(table))}_{draw}"
        stand.aim(table.destinations(stand.plan.walked, draw, among=len(table)), family)
        yield from _in_turn(stand, family, metric)
        if draw == draws[0] and len(stand.cpus) > 1 and family is Family.IPV4:
            yield from _in_turn(stand, family, f"{metric}_{len(stand.cpus)}_cpus", (OURS, KERNEL), stand.cpus)


def routers_of(stand: Stand, family: Family) -> tuple[str, ...]:
    """Ours is the index; where there is none it is the trie, and measured as that."""
    return ROUTERS if INDEX in engines_of(stand, family) else ROUTERS[1:]


def _in_turn(
    stand: Stand, family: Family, metric: str, subjects: Sequence[str] = (), cpus: Sequence[int] | None = None
) -> Iterator[tuple[str, Figure]]:
    with sinking(stand):
        for _ in range(stand.plan.runs):
            for subject in subjects or routers_of(stand, family):
                with routing(stand, subject, family):
                    yield subject, Figure(metric, UNIT, stand.rate(family, stand.plan.turn_s, cpus))


def _nothing(stand: Stand, family: Family) -> Iterator[tuple[str, Figure]]:
    for _ in range(stand.plan.runs):
        with attached(stand, "sink", "r0"):
            yield "sender and sink", Figure("forward_nothing", UNIT, stand.rate(family, stand.plan.turn_s))
