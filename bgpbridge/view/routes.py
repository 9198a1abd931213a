"""`routes` and `route ADDRESS`: Adj-RIB-In and Loc-RIB as rows that people read.

Listings are generators with a limit: a full table is never built up in memory for a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib.adj_rib_in import STALE, Plane
from bgpbridge.rib.family import FamilyRib
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.describe import describe

__all__ = ["Filter", "RouteView", "matching_row", "route", "routes"]

SCAN = 65_536


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


def routes(bridge: Bridge, wanted: Filter) -> list[RouteView]:
    """Routes in the order of the tables. Raises UsageError for a peer that is not there."""
    found = _all(bridge, wanted)
    return list(islice(found, wanted.limit) if wanted.limit else found)


def route(bridge: Bridge, address: IPAddress) -> list[RouteView]:
    """All paths of the longest prefix with a route that holds the address, best first."""
    family = Family.of(address)
    row = matching_row(bridge, address)
    if not row:
        return []
    views = list(_paths(bridge, bridge.rib.families[family], row, Filter(limit=0), None))
    order = {"best": 0, "multipath": 1, "backup": 2}
    return sorted(views, key=lambda view: order.get(view.status, 3))


def matching_row(bridge: Bridge, address: IPAddress) -> int:
    """The row of the longest prefix with a route that holds the address, 0 when there is none."""
    tables = bridge.rib.families[Family.of(address)]
    return next((row for row in tables.prefixes.longest(address) if tables.group[row]), 0)


def _all(bridge: Bridge, wanted: Filter) -> Iterator[RouteView]:
    peer = bridge.peers_by_name(wanted.peer).index if wanted.peer is not None else None
    families = [wanted.family] if wanted.family else list(Family)
    if wanted.prefix is not None:
        families = [wanted.prefix.family]
    for family in families:
        tables = bridge.rib.families[family]
        for row in _rows(tables, wanted, peer):
            yield from _paths(bridge, tables, row, wanted, peer)


def _rows(tables: FamilyRib, wanted: Filter, peer: int | None) -> Iterator[int]:
    """Rows that may hold what is wanted, by columns."""
    if wanted.prefix is not None:
        yield from np.sort(tables.prefixes.covered(wanted.prefix)).tolist()
        return
    for first, last in tables.chunks(SCAN):
        mask = np.zeros(last - first, np.bool_)
        for source in tables.sources:
            if peer is not None and source.peer != peer:
                continue
            raw, effective = source.plane.raw[first:last], source.plane.effective[first:last]
            mask |= (raw != 0) & (effective == 0) if wanted.rejected else raw != 0
        yield from (np.flatnonzero(mask) + first).tolist()


def _paths(bridge: Bridge, tables: FamilyRib, row: int, wanted: Filter, peer: int | None) -> Iterator[RouteView]:
    """The paths of one row."""
    roles = _roles(bridge, tables, row)
    for source in tables.sources:
        plane = source.plane
        if not plane.raw[row] or (peer is not None and source.peer != peer):
            continue
        view = _view(bridge, tables, row, source.peer, plane, roles)
        if (wanted.best and view.status not in ("best", "multipath")) or (
            wanted.rejected and view.status != "rejected"
        ):
            continue
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
