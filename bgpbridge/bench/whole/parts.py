"""The parts of the bench: who takes turns at each, what a turn gives, and in which order its steps are.

A turn with the whole IPv4 table has many steps, since loading it is what costs most: load, memory, single UPDATEs,
storms (the second of which is the second feed), memory again, losses, withdrawal. `steps` are those that are wanted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import Uplink
from bgpbridge.bench.whole import losses, updates
from bgpbridge.bench.whole.contenders import Who
from bgpbridge.bench.whole.movers import Movers, movers
from bgpbridge.bench.whole.scale import Scale, words
from bgpbridge.bench.whole.tables import RECORDED, Table, recorded, table
from bgpbridge.bench.whole.turn import AUDIT, Turn
from bgpbridge.types import Family

__all__ = ["QUICK", "RECORDED", "STEPS", "Part", "many", "whole", "with_audit"]

STEPS: Final = ("load", "memory", "updates", "storms", "second", "losses", "withdraw")
SECOND: Final = 3  # the neighbour with the second feed, behind uplink b
MINUTES: Final = (Who.GOBGP, Who.EXABGP)
BEYOND: Final = dict.fromkeys(MINUTES, frozenset({"storms", "second", "losses"}))
"""Steps that take a second feed are not begun with those who take minutes for the first: there would be no end."""
GLANCE: Final = frozenset({"load", "memory"})
QUICK: Final = (Who.OURS, Who.BIRD)
MB: Final = 1e6
Metrics = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """`prefixes` says how large a step is, which its time follows, `room` how many prefixes that are, where several
    neighbours announce the same (0: as many); `neighbours` who is configured; `metrics` what a
    turn of a subject is to give, by unit; `prepare` makes the feeds; `text` a configuration of the
    part's own, in a folder. `once`: one run, whatever the others have; `internal`: sessions of one AS."""

    name: str
    prefixes: int
    metrics: Callable[[Who], Metrics]
    one: Callable[[Turn], Iterator[Figure]]
    who: tuple[Who, ...] = tuple(Who)
    neighbours: tuple[int, ...] = (0,)
    family: Family = Family.IPV4
    once: bool = False
    internal: bool = False
    room: int = 0
    prepare: Callable[[], object] = tuple
    text: Callable[[Who, Sequence[Uplink], Path], str] | None = None


def with_audit(who: Who, metrics: Metrics, *only_ours: str) -> Metrics:
    """Those of a subject: ours has some of its own, and an audit."""
    if who is not Who.OURS:
        return {name: unit for name, unit in metrics.items() if name not in only_ours}
    return {**metrics, AUDIT: "prefixes"}


# --- the whole IPv4 table ----------------------------------------------------------------------------------


def whole(scale: Scale, steps: frozenset[str]) -> Part:
    """All steps that are wanted, in one turn."""
    size = words(scale.ipv4)

    def given(who: Who) -> frozenset[str]:
        return steps & GLANCE if who in scale.glanced else steps

    def tables() -> tuple[Table, Table]:
        return table(scale.ipv4, 0, scale.samples), table(scale.ipv4, SECOND, scale.samples, longer=1)

    def metrics(who: Who) -> Metrics:
        found, wanted = _load_metrics(f"load_v4_{size}"), given(who)
        if "memory" in wanted:
            found |= {f"memory_{size}": "MB", f"maps_{size}": "MB"}
        if "updates" in wanted:
            found |= updates.METRICS | updates.OWN
        if "storms" in wanted:
            found |= updates.STORMS
        if "second" in wanted:
            found |= {f"memory_{size}_x2": "MB", f"maps_{size}_x2": "MB"}
        if "losses" in wanted:
            found |= loss_metrics(size)
        if "withdraw" in wanted:
            found |= {f"withdraw_all_{size}_xdp": "s", f"withdraw_all_{size}": "s"}
        ours = (f"load_v4_{size}_xdp", f"maps_{size}", f"maps_{size}_x2", f"withdraw_all_{size}_xdp", *updates.OWN)
        return with_audit(who, found, *ours)

    def one(turn: Turn) -> Iterator[Figure]:
        first, second = tables()
        able = given(turn.who) - BEYOND.get(turn.who, frozenset())
        turn.tester(0)
        turn.rest()
        yield from _loaded(turn, first, f"load_v4_{size}")
        turn.rest()
        if "memory" in able:
            yield from _memory(turn, size)
        if able & {"updates", "storms"}:
            turn.tester(1, moving[0].octets)
            turn.rest()
        if "updates" in able:
            yield from updates.updates(turn, moving[0])
        if able & {"storms", "second", "losses"}:
            yield from _fed_twice(turn, able, moving[0], second)
        yield from turn.audited()
        if "losses" in able:
            yield from losses.lost(turn, first, SECOND)
        if "withdraw" in able:
            yield from _left_alone(turn, first, second)

    moving: list[Movers] = []

    def prepare() -> None:
        if not moving:
            moving.append(movers(tables()[0].feed))
        tables()

    return Part("whole", scale.ipv4, metrics, one, neighbours=(0, 1, SECOND), prepare=prepare)


def _fed_twice(turn: Turn, steps: frozenset[str], moving: Movers, second: Table) -> Iterator[Figure]:
    """The second feed, in the midst of single UPDATEs where these are wanted."""
    turn.tester(SECOND)
    if "storms" in steps:
        yield from updates.storms(turn, moving, second)
    else:
        turn.testers[SECOND].send(second.octets)
    turn.forwards(second.samples[-1:], turn.port(SECOND), "the second feed")
    turn.leave(1)
    turn.rest()
    if "second" in steps:
        yield from _memory(turn, f"{words(len(second.feed))}_x2")


def _left_alone(turn: Turn, first: Table, second: Table) -> Iterator[Figure]:
    """One neighbour is left and goes."""
    turn.leave(1)
    last = SECOND if SECOND in turn.testers else 0
    if last == SECOND:
        turn.leave(0)
    turn.rest()
    yield from losses.withdrawn(turn, last, second if last == SECOND else first)


def _load_metrics(name: str) -> dict[str, str]:
    return {f"{name}_xdp": "s", name: "s"}


def loss_metrics(size: str) -> dict[str, str]:
    """Of both losses."""
    return {f"peer_loss_last_{size}": "s", f"link_loss_last_{size}": "s"}


def _loaded(turn: Turn, first: Table, name: str) -> Iterator[Figure]:
    """Seconds until the whole table of neighbour 0 stands."""
    xdp_s, kernel_s = turn.loads({0: first}, "loading")
    if xdp_s is not None:
        yield Figure(f"{name}_xdp", "s", xdp_s)
    yield Figure(name, "s", kernel_s)


def _memory(turn: Turn, size: str) -> Iterator[Figure]:
    """All processes' PSS; and the maps, which are partly in it: those that the bridge has mapped."""
    yield Figure(f"memory_{size}", "MB", turn.contender.pss_octets() / MB)
    if turn.contender.ours:
        yield Figure(f"maps_{size}", "MB", turn.contender.maps_octets() / MB)


# --- other tables --------------------------------------------------------------------------------------------


def ipv6(scale: Scale) -> Part:
    """The whole IPv6 table."""
    name = f"load_v6_{words(scale.ipv6)}"

    def first() -> Table:
        return table(scale.ipv6, 0, scale.samples, Family.IPV6)

    return _load_part("v6", name, scale.ipv6, first, family=Family.IPV6)


def real(scale: Scale) -> Part | None:
    """The recorded table of 2015, where it is; not for those who take minutes for such a table."""
    if not scale.recorded or not RECORDED.exists():
        return None
    kept: list[Table] = []

    def first() -> Table:
        if not kept:
            kept.append(recorded(RECORDED, scale.samples))
        return kept[0]

    who = tuple(one for one in Who if one not in MINUTES)
    return dataclasses.replace(_load_part("real", "load_real_2015", 577_703, first, who=who), internal=True)


def sizes(scale: Scale) -> list[Part]:
    """How loading grows with prefixes, beside the whole table."""
    return [
        _load_part(
            f"size-{words(count)}",
            f"load_v4_{words(count)}",
            count,
            lambda count=count: table(count, 0, scale.samples),  # type: ignore[misc]
            who=QUICK,
            once=True,
        )
        for count in scale.sizes
        if count != scale.ipv4
    ]


def _load_part(
    name: str,
    metric: str,
    prefixes: int,
    first: Callable[[], Table],
    *,
    who: tuple[Who, ...] = tuple(Who),
    family: Family = Family.IPV4,
    once: bool = False,
) -> Part:
    def one(turn: Turn) -> Iterator[Figure]:
        fed = first()
        turn.tester(0)
        turn.rest()
        yield from _loaded(turn, fed, metric)
        yield from turn.audited()

    def metrics(who: Who) -> Metrics:
        return with_audit(who, _load_metrics(metric), f"{metric}_xdp")

    return Part(name, prefixes, metrics, one, who, family=family, once=once, prepare=first)


# --- losses with smaller tables, and many neighbours -------------------------------------------------------------


def small_losses(scale: Scale) -> list[Part]:
    """A lost path with each smaller table."""
    return [_losses_of(scale, count) for count in scale.losses if count != scale.ipv4]


def _losses_of(scale: Scale, count: int) -> Part:
    def tables() -> tuple[Table, Table]:
        return table(count, 0, scale.samples), table(count, 1, scale.samples, longer=1)

    def one(turn: Turn) -> Iterator[Figure]:
        first, second = tables()
        turn.tester(1, second.octets)
        turn.forwards(second.samples, turn.port(1), "loading")
        turn.tester(0, first.octets)
        turn.forwards(first.samples, turn.port(0), "loading")
        turn.rest()
        yield from turn.audited()
        yield from losses.lost(turn, first, 1)

    def metrics(who: Who) -> Metrics:
        return with_audit(who, loss_metrics(words(count)))

    return Part(f"losses-{words(count)}", count, metrics, one, neighbours=(0, 1), prepare=tables)


def many(scale: Scale) -> list[Part]:
    """Whole tables from several neighbours at the same time."""
    return [_from_many(scale, count) for count in scale.peers]


def _from_many(scale: Scale, count: int) -> Part:
    name = f"peers_{count}x{words(scale.ipv4)}"

    def tables() -> dict[int, Table]:
        return {number: table(scale.ipv4, number, scale.samples, longer=int(number > 0)) for number in range(count)}

    def one(turn: Turn) -> Iterator[Figure]:
        fed = tables()
        for number in fed:
            turn.tester(number)
        turn.rest()
        xdp_s, kernel_s = turn.loads(fed, "loading")
        if xdp_s is not None:
            yield Figure(f"{name}_xdp", "s", xdp_s)
        yield Figure(name, "s", kernel_s)
        turn.rest()
        yield Figure(f"{name}_memory", "MB", turn.contender.pss_octets() / MB)
        yield from turn.audited()

    def metrics(who: Who) -> Metrics:
        return with_audit(who, {f"{name}_xdp": "s", name: "s", f"{name}_memory": "MB"}, f"{name}_xdp")

    numbers = tuple(range(count))
    once = count != 2
    return Part(
        name, scale.ipv4 * count, metrics, one, QUICK, numbers, once=once, prepare=tables, room=scale.ipv4 + count
    )
