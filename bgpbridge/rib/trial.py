"""What the tables would become under another judge, other overrides and options, without peers that go: `plan`.

Nothing is stored. A slice of rows is taken through the stages that a reload goes through, in its order, by the same
`FamilyRib.verdicts` and `decide_rows`; where a reload would write, a copy of the slice is written. Attribute ids that
policy derives on the way are interned and unused, so that the next collection takes them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.decision_bulk import Reach, decide_rows
from bgpbridge.rib.family import DROPPED, FamilyRib, Verdicts
from bgpbridge.rib.groups import BLACKHOLE, GroupTable
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.overrides import Intent, OverrideTable
from bgpbridge.rib.peers import Judge, PeerInfo
from bgpbridge.rib.tables import Ids
from bgpbridge.types import Family, OverrideKind

__all__ = ["Outlook", "Trial", "members_of", "outlook"]

SLICE = 4096  # rows between two waits: some ten milliseconds under a policy of a hundred terms


@dataclass(frozen=True, slots=True)
class Trial:
    """What would be another. `rejudged`: peers whose routes are judged again; `leaving`: peers whose routes go;
    `infos`: peers that stay, as they would be known; `redecide`: every row is decided, not only what changed."""

    judge: Judge
    options: DecisionOptions
    reach: Reach
    rejudged: frozenset[int] = frozenset()
    leaving: tuple[int, ...] = ()
    infos: Mapping[int, PeerInfo] | None = None
    redecide: bool = False
    weights: bool = False
    overrides: Mapping[Family, OverrideTable] | None = None
    """Those that would hold; None: those that do. `differing` are those that come or go."""
    differing: Mapping[Family, OverrideTable] = field(default_factory=dict)


class Outlook(NamedTuple):
    """A slice of rows: `verdicts` are those that changed (`before` to `after`), `rows` all that would have another
    group: the group now, and the members then as `members_of` tells them."""

    family: Family
    verdicts: list[Verdicts]
    rows: Ids
    group: Ids
    words: Any
    active: Ids


def members_of(groups: GroupTable, ids: Ids) -> tuple[Any, Ids]:
    """`GroupTable.members`, with DROPPED in place of how many are active where an override drops the traffic."""
    words, active = groups.members(ids)
    active[ids == BLACKHOLE] = DROPPED
    return words, active


class _Cells(NamedTuple):
    """A slice of a plane's columns."""

    slot: int
    effective: Any
    path_id: Any


class _Source(NamedTuple):
    """A PathSource over a slice."""

    plane: _Cells
    peer: int
    ebgp: bool
    weight: int
    router_id: int
    order: int


def outlook(rib: Rib, trial: Trial) -> Iterator[Outlook]:
    """Both families slice by slice; between two of them the tables may change, and what comes after is told of the
    tables as they are then. Raises CapacityError when derived attributes find no room."""
    order = _order(rib, trial)
    for tables in rib.families.values():
        for first, last in tables.chunks(SLICE):
            yield _Slice(rib, tables, trial, order, first, last).look()


def _order(rib: Rib, trial: Trial) -> dict[int, int]:
    """Places of the peers' addresses (decision step 11) as they would be."""
    known = {state.info.index: state.info for state in rib.peers()} | dict(trial.infos or {})
    addresses = sorted(known.values(), key=lambda info: (info.address.version, int(info.address)))
    return {info.index: place for place, info in enumerate(addresses)}


class _Slice:
    """Rows first..last-1 on their way through the stages."""

    def __init__(
        self, rib: Rib, tables: FamilyRib, trial: Trial, order: Mapping[int, int], first: int, last: int
    ) -> None:
        self.rib, self.tables, self.trial, self.first, self.last = rib, tables, trial, first, last
        self.sources = [self._source(source, order) for source in tables.sources]
        self.group = tables.group[first:last].astype(np.int64)
        self.before = members_of(rib.groups, self.group)
        self.words, self.active = self.before[0].copy(), self.before[1].copy()
        self.best = tables.best[first:last].astype(np.int64)

    def _source(self, source: Any, order: Mapping[int, int]) -> _Source:
        plane, part = source.plane, slice(self.first, self.last)
        cells = _Cells(plane.slot, plane.effective[part].copy(), None if plane.path_id is None else plane.path_id[part])
        info = (self.trial.infos or {}).get(source.peer)
        ebgp, weight = (info.ebgp, info.weight) if info is not None else (source.ebgp, source.weight)
        return _Source(cells, source.peer, ebgp, weight, source.router_id, order[source.peer])

    def look(self) -> Outlook:
        """The stages in the order of `pipeline.reload`."""
        trial = self.trial
        for peer in trial.leaving:
            for source in self.sources:
                if source.peer == peer:
                    rows = np.flatnonzero(source.plane.effective)
                    source.plane.effective[rows] = 0
                    self._decide(rows)
        everything = np.arange(self.last - self.first)
        if trial.weights:
            self._decide(everything)
        verdicts = list(self._judge())
        touched = [found.rows - self.first for found in verdicts]
        if touched:
            self._decide(np.unique(np.concatenate(touched)))
        if trial.redecide:
            self._decide(everything)
        differing = trial.differing.get(self.tables.family)
        if differing is not None:
            self._decide(self.tables.rows_under(differing, self.first, self.last) - self.first)
        return self._outlook(verdicts)

    def _judge(self) -> Iterator[Verdicts]:
        by_slot = {source.plane.slot: source.plane for source in self.sources}
        for found in self.tables.verdicts(self.trial.judge, set(self.trial.rejudged), self.first, self.last):
            changed = found.only_changed()
            if len(changed.rows):
                by_slot[changed.slot].effective[changed.rows - self.first] = changed.after
                yield changed

    def _decide(self, rows: Ids) -> None:
        """`FamilyRib.settle` for the slice."""
        if not len(rows):
            return
        overrides = self.tables.overrides
        if self.trial.overrides is not None:
            overrides = self.trial.overrides.get(self.tables.family)
        for at, intent in self.tables.by_intent(rows + self.first, overrides):
            self._decide_alike(rows.take(at), intent)

    def _decide_alike(self, rows: Ids, intent: Intent | None) -> None:
        rib, trial = self.rib, self.trial
        current = self.best.take(rows)
        outcome = decide_rows(rows, self.sources, rib.attributes, trial.reach, trial.options, current, intent)
        self.words[rows], self.best[rows] = 0, outcome.best
        if intent is not None and intent.kind is OverrideKind.BLACKHOLE:
            self.active[rows] = np.where(outcome.best != 0, DROPPED, 0)
            return
        for place, column in enumerate(outcome.words[: self.words.shape[1]]):
            self.words[rows, place] = column
        self.active[rows] = outcome.active

    def _outlook(self, verdicts: list[Verdicts]) -> Outlook:
        words, active = self.before
        rows: Ids = np.flatnonzero((words != self.words).any(axis=1) | (active != self.active))
        return Outlook(
            self.tables.family,
            verdicts,
            rows + self.first,
            self.group.take(rows),
            self.words[rows],
            self.active.take(rows),
        )
