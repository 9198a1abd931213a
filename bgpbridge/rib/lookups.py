"""Reading the RIB: what `routes`, `route`, `explain` and metrics show. Nothing here changes anything.

Iteration goes by rows and may be paused: `after` of one answer's last path starts the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bgpbridge.rib.adj_rib_in import FRESH
from bgpbridge.rib.decision import Candidate, Decision
from bgpbridge.rib.decision_bulk import PathSource
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.tables import Ids, Lengths, Words
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = [
    "Installed",
    "Path",
    "RouteFilter",
    "candidates",
    "explain",
    "group_of",
    "installed",
    "longest",
    "paths",
    "routes",
]

SCAN = 65_536


@dataclass(frozen=True, slots=True)
class Path:
    """One path in an Adj-RIB-In. `received` and `effective` are attribute ids, before and after policy
    (effective 0 = refused by policy); `changed_s` is what `Rib.now` was at the last change; `group` is
    the group of the prefix."""

    prefix: Prefix
    row: int
    peer: int
    path_id: int
    received: int
    effective: int
    best: bool
    stale: bool
    changed_s: int
    group: int


@dataclass(frozen=True, slots=True)
class RouteFilter:
    """Which paths to list. `within` keeps a prefix and what it covers. `after` is a row to go on behind."""

    family: Family = Family.IPV4
    peer: int | None = None
    within: Prefix | None = None
    best: bool = False
    rejected: bool = False
    after: int = 0


@dataclass(frozen=True, slots=True)
class Installed:
    """All prefixes of a family that have a route, with their groups: copies, as of one moment."""

    hi: Words
    lo: Words
    length: Lengths
    group: Ids


def installed(rib: Rib, family: Family) -> Installed:
    """What the planes below should hold of a family."""
    tables = rib.families[family]
    rows = np.flatnonzero(tables.group[: tables.top + 1])
    prefixes = tables.prefixes
    group = tables.group.take(rows).astype(np.int64)
    return Installed(prefixes.hi(rows), prefixes.lo.take(rows), prefixes.length.take(rows), group)


def routes(rib: Rib, wanted: RouteFilter, limit: int) -> list[Path]:
    """Paths that pass the filter, by row. At least `limit` if there are as many: all paths of the last
    prefix are there, so `after=result[-1].row` goes on without a gap."""
    tables = rib.families[wanted.family]
    found: list[Path] = []
    for row in _rows(tables, wanted):
        found += [path for path in _paths_of(tables, row) if _passes(path, wanted)]
        if len(found) >= limit:
            break
    return found


def _rows(tables: FamilyRib, wanted: RouteFilter) -> Iterator[int]:
    if wanted.within is not None:
        rows = tables.prefixes.covered(wanted.within)
        yield from rows.compress(rows > wanted.after).tolist()
        return
    for first in range(wanted.after + 1, tables.top + 1, SCAN):
        last = min(first + SCAN, tables.top + 1)
        mask = np.zeros(last - first, np.bool_)
        for source in tables.sources:
            if wanted.peer in {None, source.peer}:
                mask |= source.plane.raw[first:last] != 0
        yield from (np.flatnonzero(mask) + first).tolist()


def _passes(path: Path, wanted: RouteFilter) -> bool:
    if wanted.peer is not None and path.peer != wanted.peer:
        return False
    return (path.best or not wanted.best) and (not path.effective or not wanted.rejected)


def _paths_of(tables: FamilyRib, row: int) -> list[Path]:
    sources = [source for source in tables.sources if source.plane.raw_view[row]]
    return [_path(tables, row, source) for source in sources]


def _path(tables: FamilyRib, row: int, source: PathSource) -> Path:
    plane = source.plane
    return Path(
        prefix=tables.prefixes.prefix(row),
        row=row,
        peer=source.peer,
        path_id=plane.path(row),
        received=int(plane.raw_view[row]),
        effective=int(plane.effective_view[row]),
        best=int(tables.best[row]) == plane.slot,
        stale=int(plane.stale[row]) != FRESH,
        changed_s=int(plane.changed[row]),
        group=int(tables.group[row]),
    )


def paths(rib: Rib, prefix: Prefix) -> list[Path]:
    """All paths of exactly this prefix, refused ones too."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    return _paths_of(tables, row) if row else []


def longest(rib: Rib, address: IPAddress) -> Prefix | None:
    """The longest prefix with a route that holds the address."""
    tables = rib.families[Family.of(address)]
    for row in tables.prefixes.longest(address):
        if tables.group[row]:
            return tables.prefixes.prefix(row)
    return None


def group_of(rib: Rib, prefix: Prefix) -> int:
    """The group of exactly this prefix, 0 = no route."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    return int(tables.group[row]) if row else 0


def candidates(rib: Rib, prefix: Prefix) -> list[Candidate]:
    """The paths that the decision chooses among."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    return tables.candidates(row, rib.options) if row else []


def explain(rib: Rib, prefix: Prefix) -> Decision:
    """The decision about exactly this prefix, with reasons."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    return tables.decide(row, rib.options) if row else Decision(None)
