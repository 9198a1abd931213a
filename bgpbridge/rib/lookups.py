"""Questions about the RIB: what `routes`, `route`, `fib`, `explain` and `audit` show. Nothing here changes anything.

Answers are values of numbers and prefixes, without names or texts: those are the view's. A listing comes in
slices of a few milliseconds, between which the caller may let routing go on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from bgpbridge.rib.adj_rib_in import FRESH, Mask
from bgpbridge.rib.decision import Decision
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.sources import PathSource
from bgpbridge.rib.tables import Ids, Lengths, Words
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = [
    "Installed",
    "Path",
    "RouteFilter",
    "Status",
    "explain",
    "group_of",
    "installed",
    "installed_in_slices",
    "known",
    "longest",
    "next_hops_in_use",
    "paths",
    "routes",
    "telling",
]

SCAN = 65_536  # rows looked at by columns between two waits
SLICE = 25  # rows, or paths, that are read between two waits: to decide and to show them takes some 2 ms


class Status(enum.Enum):
    """The part that a path plays, in the order in which paths are shown."""

    BEST = "best"
    MULTIPATH = "multipath"
    BACKUP = "backup"
    VALID = "valid"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"


ORDER = list(Status)
CHOSEN = {Status.BEST, Status.MULTIPATH}


@dataclass(frozen=True, slots=True)
class Path:
    """One path in an Adj-RIB-In. `received` and `effective` are attribute ids, before and after policy
    (effective 0 = refused by policy); `next_hop` is the id of the next hop, on the peer's own link if it is
    link-local; `stale`: not sent again since the session was lost (RFC 4724), or about to be removed;
    `changed_s` is what `Rib.now` was at the last change; `group` is the group of the prefix."""

    prefix: Prefix
    peer: int
    path_id: int
    received: int
    effective: int
    next_hop: int
    status: Status
    stale: bool
    changed_s: int
    group: int

    @property
    def attributes(self) -> int:
        """The id that counts: after policy, or as received where policy refused the path."""
        return self.effective or self.received


@dataclass(frozen=True, slots=True)
class RouteFilter:
    """Which paths to list. `within` keeps a prefix and what it covers; `best` those that carry traffic,
    `overridden` those of prefixes that an override decides on. `after` begins behind a prefix that is `known`."""

    family: Family | None = None
    peer: int | None = None
    within: Prefix | None = None
    best: bool = False
    rejected: bool = False
    overridden: bool = False
    after: Prefix | None = None

    @property
    def families(self) -> list[Family]:
        """The tables to look into: that of the prefix, where one is given."""
        family = self.within.family if self.within is not None else self.family
        tables = [family] if family is not None else list(Family)
        return [one for one in tables if self.after is None or one >= self.after.family]


@dataclass(frozen=True, slots=True)
class Installed:
    """Prefixes of a family that have a route, with their groups: copies, as of one moment."""

    hi: Words
    lo: Words
    length: Lengths
    group: Ids


def installed(rib: Rib, family: Family) -> Installed:
    """What the planes below should hold of a family, all of it: 30 ms for a million prefixes."""
    tables = rib.families[family]
    return _installed(tables, 1, tables.top + 1)


def installed_in_slices(rib: Rib, family: Family) -> Iterator[Installed]:
    """The same, `SCAN` rows at a time: each as of when it is asked for, some 2 ms."""
    tables = rib.families[family]
    for first, last in tables.chunks(SCAN):
        yield _installed(tables, first, last)


def _installed(tables: FamilyRib, first: int, last: int) -> Installed:
    rows = np.flatnonzero(tables.group[first:last]) + first
    return Installed(*tables.prefixes.columns(rows), tables.group.take(rows).astype(np.int64))


def next_hops_in_use(rib: Rib, wanted: Iterable[int]) -> set[int]:
    """Those of these next hops that an accepted path has. The others wait for a collection. It looks until each is
    found: a few milliseconds for a million rows when one is not."""
    asked, hops = set(wanted), rib.next_hops
    left, hit = set(asked), np.zeros(hops.limit + 1, np.bool_)
    hit[list(asked)] = True
    for tables in rib.families.values():
        for first in range(1, tables.top + 1, SCAN):
            for source in tables.sources if left else ():
                ids = source.plane.effective[first : min(first + SCAN, tables.top + 1)]
                found = hops.scoped(rib.attributes.next_hop.take(ids), source.peer)
                met = np.unique(found.compress(hit.take(found)))
                hit[met] = False
                left.difference_update(met.tolist())
    return asked - left


# -- one address, one prefix --------------------------------------------------------------------------------


def longest(rib: Rib, address: IPAddress) -> Prefix | None:
    """The longest prefix with a route that holds the address."""
    tables = rib.families[Family.of(address)]
    row = next((row for row in tables.prefixes.longest(address) if tables.group[row]), 0)
    return tables.prefixes.prefix(row) if row else None


def telling(rib: Rib, address: IPAddress) -> Prefix | None:
    """The prefix that tells most about an address: the longest with a route; where there is none the longest
    that a peer sends, whose paths tell why; else the longest that one has sent, whose history does."""
    tables = rib.families[Family.of(address)]
    rows = tables.prefixes.longest(address)
    sent = [row for row in rows if any(source.plane.raw[row] for source in tables.sources)]
    row = next(iter([*(row for row in sent if tables.group[row]), *sent, *rows]), 0)
    return tables.prefixes.prefix(row) if row else None


def known(rib: Rib, prefix: Prefix) -> bool:
    """True when a peer sends exactly this prefix, or has sent it."""
    return rib.families[prefix.family].prefixes.row(prefix) != 0


def group_of(rib: Rib, prefix: Prefix) -> int:
    """The group of exactly this prefix, 0 = no route."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    return int(tables.group[row]) if row else 0


def paths(rib: Rib, prefix: Prefix) -> list[Path]:
    """All paths of exactly this prefix, refused ones too, best first."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    found = _paths_of(rib, tables, row, RouteFilter()) if row else []
    return sorted(found, key=lambda path: ORDER.index(path.status))


def explain(rib: Rib, prefix: Prefix) -> Decision:
    """The decision about exactly this prefix, with reasons."""
    tables = rib.families[prefix.family]
    row = tables.prefixes.row(prefix)
    return tables.decide(row, rib.options) if row else Decision(None)


# -- listings -----------------------------------------------------------------------------------------------


def routes(rib: Rib, wanted: RouteFilter) -> Iterator[list[Path]]:
    """Paths that pass the filter, in the order of the tables, some `SLICE` at a time. A slice may be empty:
    much was looked at and nothing found. Prefixes that come while the caller waits are listed too, and all paths of
    a prefix are in one slice. A prefix keeps its place for as long as the bridge runs: `after` skips none."""
    for family in wanted.families:
        tables, after = rib.families[family], wanted.after
        begin = tables.prefixes.row(after) + 1 if after is not None and after.family is family else 1
        for first, last in tables.chunks(SCAN, begin):
            found: list[Path] = []
            for count, row in enumerate(_rows(rib, tables, wanted, first, last), 1):
                found += _paths_of(rib, tables, row, wanted)
                if len(found) >= SLICE or not count % SLICE:
                    yield found
                    found = []
            yield found


def _rows(rib: Rib, tables: FamilyRib, wanted: RouteFilter, first: int, last: int) -> list[int]:
    """By columns, rows first..last-1 that may hold a path of the kind wanted: a million rows are not decided
    one by one for the few of a peer that were refused."""
    mask: Mask = np.zeros(last - first, np.bool_)
    for source in tables.sources:
        if wanted.peer in {None, source.peer}:
            raw, effective = source.plane.raw[first:last], source.plane.effective[first:last]
            mask |= (raw != 0) & (effective == 0) if wanted.rejected else raw != 0
    if wanted.best:
        mask &= np.isin(tables.group[first:last], _carrying(rib, wanted.peer))
    if wanted.overridden:
        decided = np.zeros(last - first, np.bool_)
        if tables.overrides is not None:
            decided[tables.rows_under(tables.overrides, first, last) - first] = True
        mask &= decided
    if wanted.within is not None:
        inside = np.zeros(last - first, np.bool_)
        inside[tables.prefixes.covered(wanted.within, first, last) - first] = True
        mask &= inside
    rows: list[int] = (np.flatnonzero(mask) + first).tolist()
    return rows


def _carrying(rib: Rib, peer: int | None) -> list[int]:
    """Groups by which a peer (None: any) carries traffic."""
    groups = rib.groups
    if peer is None:
        return groups.ids()
    return [number for number in groups.using_peer(peer) if any(m.peer == peer for m in groups[number].active)]


def _paths_of(rib: Rib, tables: FamilyRib, row: int, wanted: RouteFilter) -> list[Path]:
    """The paths of one row that pass the filter. What is refused takes no part in the decision."""
    sources = [source for source in tables.sources if _sends(source, row, wanted)]
    parts = _parts(rib, tables, row) if any(source.plane.effective_view[row] for source in sources) else {}
    found = [_path(rib, tables, row, source, parts) for source in sources]
    return [path for path in found if path.status in CHOSEN] if wanted.best else found


def _sends(source: PathSource, row: int, wanted: RouteFilter) -> bool:
    refused = not source.plane.effective_view[row]
    return bool(source.plane.raw_view[row]) and wanted.peer in {None, source.peer} and (refused or not wanted.rejected)


def _parts(rib: Rib, tables: FamilyRib, row: int) -> dict[tuple[int, int], Status]:
    """(peer, path id) to the part that the path plays, for those that the decision keeps."""
    decision = tables.decide(row, rib.options)
    parts = {(c.peer, c.path_id): Status.BACKUP for c in decision.backups}
    parts |= {(c.peer, c.path_id): Status.MULTIPATH for c in decision.multipath}
    if decision.best is not None:
        parts[decision.best.peer, decision.best.path_id] = Status.BEST
    return parts


def _path(rib: Rib, tables: FamilyRib, row: int, source: PathSource, parts: dict[tuple[int, int], Status]) -> Path:
    plane, hops = source.plane, rib.next_hops
    received, effective, path_id = int(plane.raw_view[row]), int(plane.effective_view[row]), plane.path(row)
    hop = hops.scoped_one(int(rib.attributes.next_hop[effective or received]), source.peer)
    status = parts.get((source.peer, path_id), Status.VALID)
    if not effective:
        status = Status.REJECTED
    elif not hops.resolution(hop).reachable:
        status = Status.UNREACHABLE
    return Path(
        prefix=tables.prefixes.prefix(row),
        peer=source.peer,
        path_id=path_id,
        received=received,
        effective=effective,
        next_hop=hop,
        status=status,
        stale=int(plane.stale[row]) != FRESH,
        changed_s=int(plane.changed[row]),
        group=int(tables.group[row]),
    )
