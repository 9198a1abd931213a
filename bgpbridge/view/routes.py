"""`routes` and `route ADDRESS`: Adj-RIB-In and Loc-RIB as rows that people read.

Listings are generators with a limit: a full table is never built up in memory for a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib.adj_rib_in import STALE, Plane
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.tables import Ids
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.view.fib import matching_row
from bgpbridge.wire.describe import describe

__all__ = ["Filter", "RouteView", "paths_at", "route", "routes"]

SCAN = 65_536
BEST = ("best", "multipath")
ORDER = {"best": 0, "multipath": 1, "backup": 2, "valid": 3, "unreachable": 4, "rejected": 5}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which routes. `prefix` alone is that prefix and all inside; `limit` 0 means all."""

    peer: str | None = None
    prefix: Prefix | None = None
    family: Family | None = None
    best: bool = False
    rejected: bool = False
    limit: int = 100


@dataclass(frozen=True, slots=True)
class RouteView:
    """One path. `status`: best, multipath, backup, valid, unreachable or rejected. `changed` is Unix time."""

    prefix: str
    peer: str
    path_id: int
    status: str
    stale: bool
    next_hop: str
    group: int
    changed: int
    attributes: dict[str, Any]
    reason: str


def routes(bridge: Bridge, wanted: Filter) -> Iterator[RouteView]:
    """Routes in the order of the tables, one by one: a caller may wait between two of them while routing goes on.
    Raises UsageError at once for a peer that is not there."""
    peer = bridge.peers_by_name(wanted.peer).index if wanted.peer is not None else None
    found = _all(bridge, wanted, peer)
    return islice(found, wanted.limit) if wanted.limit else found


def route(bridge: Bridge, address: IPAddress) -> tuple[RouteView, ...]:
    """All paths of the longest prefix with a route that holds the address, best first."""
    row = matching_row(bridge, address)
    return paths_at(bridge, bridge.rib.families[Family.of(address)], row) if row else ()


def paths_at(bridge: Bridge, tables: FamilyRib, row: int) -> tuple[RouteView, ...]:
    """All paths of one prefix row, best first."""
    views = _paths(bridge, tables, row, Filter(), None)
    return tuple(sorted(views, key=lambda view: ORDER.get(view.status, len(ORDER))))


def _all(bridge: Bridge, wanted: Filter, peer: int | None) -> Iterator[RouteView]:
    families = [wanted.family] if wanted.family else list(Family)
    if wanted.prefix is not None:
        families = [wanted.prefix.family]
    for family in families:
        tables = bridge.rib.families[family]
        for rows in _slices(tables, wanted.prefix):
            for row in rows[_may_hold(bridge, tables, rows, wanted, peer)].tolist():
                yield from _paths(bridge, tables, row, wanted, peer)


def _slices(tables: FamilyRib, within: Prefix | None) -> Iterator[Ids]:
    """Rows to look at, `SCAN` at a time."""
    if within is None:
        for first, last in tables.chunks(SCAN):
            yield np.arange(first, last)
        return
    rows = np.sort(tables.prefixes.covered(within))
    for first in range(0, len(rows), SCAN):
        yield rows[first : first + SCAN]


def _may_hold(bridge: Bridge, tables: FamilyRib, rows: Ids, wanted: Filter, peer: int | None) -> NDArray[np.bool_]:
    """By columns, where a path of the kind wanted is: a million rows are not decided one by one for the few of a
    peer that were refused."""
    mask = np.zeros(len(rows), np.bool_)
    for source in tables.sources:
        if peer in (None, source.peer):
            raw, effective = source.plane.raw[rows], source.plane.effective[rows]
            mask |= (raw != 0) & (effective == 0) if wanted.rejected else raw != 0
    if wanted.best:
        groups = bridge.rib.groups
        carrying = [n for n in groups.ids() if any(peer in (None, member.peer) for member in groups[n].active)]
        mask &= np.isin(tables.group[rows], carrying)
    return mask


def _paths(bridge: Bridge, tables: FamilyRib, row: int, wanted: Filter, peer: int | None) -> Iterator[RouteView]:
    """The paths of one row."""
    roles = _roles(bridge, tables, row)
    for source in tables.sources:
        plane = source.plane
        if not plane.raw[row] or peer not in (None, source.peer):
            continue
        if wanted.rejected and plane.effective[row]:
            continue
        view = _view(bridge, tables, row, source.peer, plane, roles)
        if not wanted.best or view.status in BEST:
            yield view


def _roles(bridge: Bridge, tables: FamilyRib, row: int) -> dict[tuple[int, int], str]:
    """(peer, path id) to the part that the path plays."""
    decision = tables.decide(row, bridge.rib.options)
    roles = {(c.peer, c.path_id): "backup" for c in decision.backups}
    roles |= {(c.peer, c.path_id): "multipath" for c in decision.multipath}
    if decision.best is not None:
        roles[decision.best.peer, decision.best.path_id] = "best"
    return roles


def _view(
    bridge: Bridge, tables: FamilyRib, row: int, peer: int, plane: Plane, roles: dict[tuple[int, int], str]
) -> RouteView:
    raw, effective, path_id = int(plane.raw[row]), int(plane.effective[row]), plane.path(row)
    number = effective or raw
    prefix = tables.prefixes.prefix(row)
    attributes = bridge.rib.attributes
    hop = bridge.rib.next_hops.scoped_one(int(attributes.next_hop[number]), peer)
    resolution = bridge.rib.next_hops.resolution(hop)
    status, reason = roles.get((peer, path_id), "valid"), ""
    if not effective:
        status, reason = "rejected", _rejection(bridge, peer, prefix, raw)
    elif not resolution.reachable:
        status, reason = "unreachable", resolution.reason
    decoded = attributes.get(number).attributes
    return RouteView(
        prefix=str(prefix),
        peer=bridge.peers.name(peer),
        path_id=path_id,
        status=status,
        stale=bool(plane.stale[row] == STALE),
        next_hop=str(bridge.rib.next_hops[hop].address) if hop else "",
        group=int(tables.group[row]),
        changed=int(plane.changed[row]),
        attributes=describe(decoded) if decoded is not None else {},
        reason=reason,
    )


def _rejection(bridge: Bridge, peer: int, prefix: Prefix, raw: int) -> str:
    """Why import policy refused a route, with the line that says so."""
    decoded = bridge.rib.attributes.get(raw).attributes
    if decoded is None or bridge.peers.at(peer) is None:
        return "refused"
    verdict = bridge.judge.explain(peer, prefix, decoded)
    where = f" ({verdict.place}, term {verdict.term})" if verdict.line else ""
    return f"{verdict.reason}{where}"
