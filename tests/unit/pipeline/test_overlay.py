"""The overlay leaves to the kernel what is the kernel's, against a slow oracle that asks every prefix anew."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib.foreign import NEVER_FORWARDED, ForeignTable
from bgpbridge.fib.observed import TABLE_LOCAL, TABLE_MAIN, ForeignRoute, PuntChange, RouteType
from bgpbridge.pipeline import overlay as room
from bgpbridge.pipeline.overlay import Overlay
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family, Prefix

METRIC = 200
POOL = [
    Prefix.parse(text)
    for text in (
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.1.0/24",
        "10.1.1.1/32",
        "10.2.0.0/16",
        "0.0.0.0/0",
        "2001:db8::/32",
        "2001:db8:1::/48",
        "2001:db8:1::1/128",
        "127.0.0.0/24",
    )
]


class Plane:
    """The punts, as XdpFib keeps them."""

    def __init__(self) -> None:
        self.punts: set[Prefix] = set()

    def set_punt(self, prefixes: Iterator[Prefix]) -> None:
        self.punts |= set(prefixes)

    def clear_punt(self, prefixes: Iterator[Prefix]) -> None:
        self.punts -= set(prefixes)


class World:
    def __init__(self) -> None:
        self.foreign, self.plane = ForeignTable(), Plane()
        self.routed: set[Prefix] = set()
        self.overlay = Overlay(
            self.foreign, self.plane, dict.fromkeys(Family, METRIC), self.routed.__contains__, self.inside
        )
        self.overlay.start()

    def inside(self, prefix: Prefix) -> list[Prefix]:
        return [one for one in self.routed if prefix.covers(one)]

    def set_foreign(self, prefix: Prefix, table: int, metric: int | None) -> None:
        kind = RouteType.LOCAL if table == TABLE_LOCAL else RouteType.UNICAST
        routes = () if metric is None else (ForeignRoute(prefix, table, 2, metric, kind),)
        change = self.foreign.put(prefix, table, routes)
        if change is not None:
            assert isinstance(change, PuntChange)
            self.overlay.foreign_changed(change)

    def commit(self, family: Family, rows: dict[Prefix, bool]) -> None:
        """BGP routes come (True) and go, in one batch, as the committer drives it."""
        rows = {p: new for p, new in rows.items() if p.family is family and new != (p in self.routed)}
        prefixes = list(rows)
        changes = Changes(
            family,
            np.arange(len(prefixes)),
            np.array([p.value >> 64 for p in prefixes], np.uint64),
            np.array([p.value & (1 << 64) - 1 for p in prefixes], np.uint64),
            np.array([p.length for p in prefixes], np.uint8),
            np.array([0 if rows[p] else 16 for p in prefixes], np.uint32),
            np.array([16 if rows[p] else 0 for p in prefixes], np.uint32),
        )
        concerned = self.overlay.before(changes)
        for prefix, new in rows.items():
            (self.routed.add if new else self.routed.discard)(prefix)
        self.overlay.after(concerned)

    def wanted(self) -> set[Prefix]:
        """What must be punted, thought through from the start."""
        own = {p for p in POOL if self.foreign.at(p, TABLE_MAIN) or self.foreign.at(p, TABLE_LOCAL)}
        own |= set(NEVER_FORWARDED)
        beaten = {p for p in self.routed if self.foreign.punts(p, METRIC)}
        return beaten | {p for p in own if p not in self.routed}


foreign_steps = st.tuples(
    st.just("foreign"),
    st.sampled_from(POOL),
    st.sampled_from([TABLE_MAIN, TABLE_LOCAL]),
    st.sampled_from([None, 0, METRIC, 1024]),
)
commit_steps = st.tuples(
    st.just("commit"), st.sampled_from(list(Family)), st.dictionaries(st.sampled_from(POOL), st.booleans())
)


@settings(max_examples=150, deadline=None)
@given(st.lists(foreign_steps | commit_steps, max_size=14), st.booleans())
def test_the_overlay_by_deltas_is_the_overlay_from_scratch(steps: list[tuple], columns: bool) -> None:
    before, room.SINGLES = room.SINGLES, -1 if columns else room.SINGLES
    try:
        world = World()
        for kind, *arguments in steps:
            (world.set_foreign if kind == "foreign" else world.commit)(*arguments)
            assert world.plane.punts == world.wanted()
    finally:
        room.SINGLES = before


def test_a_connected_subnet_inside_a_bgp_prefix_is_left_to_the_kernel() -> None:
    world = World()
    world.commit(Family.IPV4, {POOL[0]: True})
    world.set_foreign(POOL[1], TABLE_MAIN, 0)
    assert POOL[1] in world.plane.punts
    assert POOL[0] not in world.plane.punts


def test_a_foreign_route_of_higher_metric_stands_in_only_while_bgp_has_none() -> None:
    world = World()
    world.set_foreign(POOL[1], TABLE_MAIN, 1024)
    assert POOL[1] in world.plane.punts
    world.commit(Family.IPV4, {POOL[1]: True})
    assert POOL[1] not in world.plane.punts
    world.commit(Family.IPV4, {POOL[1]: False})
    assert POOL[1] in world.plane.punts
