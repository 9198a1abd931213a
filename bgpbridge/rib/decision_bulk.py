"""The decision for many prefixes at once: integer keys compared column by column.

Held equal to `decision.decide` by tests/property/test_rib_decision.py. A matrix has one line per slot (a
plane of a peer) and one column per prefix. Steps 0 to 4 are one key that every path has; the later steps
are worked out only where paths tie on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bgpbridge.rib.attributes import MED_SET, NO_RANK, WEIGHT_SET, AttributeTable
from bgpbridge.rib.decision import (
    MOST_SHARED,
    WORST_MED,
    DecisionOptions,
    MedMode,
    MissingMed,
    bandwidth_weights,
)
from bgpbridge.rib.groups import PINNED
from bgpbridge.rib.overrides import Intent
from bgpbridge.rib.overrides_bulk import Standing, standing
from bgpbridge.rib.sources import PathSource
from bgpbridge.rib.tables import Ids, Words
from bgpbridge.types import IPAddress

__all__ = ["Outcome", "PathSource", "Reach", "decide_rows"]

NONE = -1
UNUSABLE = np.uint64(NO_RANK)
FEW = 4  # up to so many paths MED is compared pair by pair, beyond by sorting
Matrix = Any  # (paths, rows) of numbers
Truth = Any  # (paths, rows) of truth values


class Cells(Protocol):
    """What is read of a plane: one column, or a slice of it."""

    @property
    def slot(self) -> int:
        """Number of the plane within its family."""
        ...

    @property
    def effective(self) -> Any:
        """Attribute ids, 0 = no path."""
        ...

    @property
    def path_id(self) -> Any:
        """Path identifiers, or None."""
        ...


class Source(Protocol):
    """One line of the matrix, as it is read here."""

    @property
    def plane(self) -> Cells:
        """The paths."""
        ...

    @property
    def peer(self) -> int:
        """Index of the peer."""
        ...

    @property
    def ebgp(self) -> bool:
        """True for an external peer."""
        ...

    @property
    def weight(self) -> int:
        """What its routes have where policy sets none."""
        ...

    @property
    def router_id(self) -> int:
        """BGP Identifier."""
        ...

    @property
    def order(self) -> int:
        """Place of the peer's address."""
        ...


class Reach(Protocol):
    """What is read of the next hops: the table, or what it would say."""

    reachable: Any
    metric: Any

    def scoped(self, numbers: Ids, peer: int) -> Ids:
        """Ids on the peer's own link."""
        ...

    def address(self, number: int) -> IPAddress | None:
        """The global address of a next hop."""
        ...


@dataclass(slots=True)
class Outcome:
    """For each row: member words in order of the decision (see groups.member_word; 0 = no more), how
    many of them are active, and the slot of the best path (0 = none)."""

    words: list[Words]
    active: Ids
    best: Ids


def decide_rows(
    rows: Ids,
    sources: Sequence[Source],
    attributes: AttributeTable,
    next_hops: Reach,
    options: DecisionOptions,
    current: Ids,
    intent: Intent | None = None,
) -> Outcome:
    """Decide prefixes. `current` holds the slots that are best now (0 = none), for step 8; `intent` is what an
    override wants for all of these rows."""
    if not sources:
        nothing = np.zeros(len(rows), np.int64)
        return Outcome([nothing.view(np.uint64)], nothing, nothing)
    matrix = _Rows(rows, sources, attributes, next_hops, options, current)
    if intent is not None:
        matrix.obey(intent, next_hops)
    return matrix.outcome()


class _Rows:
    """The matrix of one call: candidates by (source, row)."""

    def __init__(
        self,
        rows: Ids,
        sources: Sequence[Source],
        attributes: AttributeTable,
        next_hops: Reach,
        options: DecisionOptions,
        current: Ids,
    ) -> None:
        self.rows, self.sources, self.table, self.options = rows, sources, attributes, options
        self.current, self.metrics = current, next_hops.metric
        self.pins: Standing | None = None
        shape = (len(sources), len(rows))
        self.ids = np.empty(shape, np.int64)
        self.hops = np.empty(shape, np.int64)
        self.rank = np.empty(shape, np.uint64)
        for line, source in enumerate(sources):
            ids = source.plane.effective.take(rows)
            hops = next_hops.scoped(attributes.next_hop.take(ids), source.peer)
            rank = attributes.rank.take(ids)
            if source.weight:
                plain = (attributes.flags.take(ids) & WEIGHT_SET == 0) & (rank != UNUSABLE)
                rank -= plain * np.uint64(source.weight << 48)
            rank[~next_hops.reachable.take(hops)] = UNUSABLE  # step 0
            self.ids[line], self.hops[line], self.rank[line] = ids, hops, rank

    def obey(self, intent: Intent, hops: Reach) -> None:
        """Let an override have its say: ranks changed or struck, pinned paths noted, its own next hops added."""
        self.pins = standing(intent, self.sources, self.hops, self.rank, hops)
        if self.pins is not None and self.pins.sources:
            lines = (len(self.pins.sources), len(self.rows))
            self.sources = [*self.sources, *self.pins.sources]
            self.ids = np.concatenate([self.ids, np.zeros(lines, np.int64)])
            self.hops = np.concatenate([self.hops, self.pins.hops])
            self.rank = np.concatenate([self.rank, self.pins.rank])

    def outcome(self) -> Outcome:
        """Best, equals, backups."""
        best, equal = self._best()
        chosen = [best]
        pinned = self.pins.of(best) if self.pins is not None else None
        shared = self._shared(best) if self.pins is not None and self.pins.share else []
        if shared and equal is not None and pinned is not None:
            equal = equal & ~pinned
        if self.options.multipath and equal is not None:
            chosen += _either(shared, self._multipath(best, equal))
        else:
            chosen += shared
        words = self._active_words(chosen)
        if pinned is not None:
            words = [_marked(column, pinned) for column in words]
        active = np.sum([line != NONE for line in chosen], axis=0)
        for line in chosen:
            self._strike(line)
        for _ in range(self.options.backups):
            if (self.rank == UNUSABLE).all():
                break
            backup, _ = self._best()
            words.append(self._words(backup))
            self._strike(backup)
        slots = np.array([source.plane.slot for source in self.sources] + [0])
        return Outcome(_close_up(words, active) if len(chosen) > 1 else words, active, slots.take(best))

    def _strike(self, line: Ids) -> None:
        """Take one path out of each row where `line` names one."""
        for number in range(len(self.sources)):
            self.rank[number][line == number] = UNUSABLE

    def _words(self, line: Ids, weight: Any = 1) -> Words:
        """Member words of the paths that `line` names, 0 where it names none."""
        out = np.zeros(len(line), np.int64)
        for number, source in enumerate(self.sources):
            np.copyto(out, self.hops[number] | source.peer << 16, where=line == number)
        out |= (out != 0) * (np.int64(1) * weight << 32)
        return out.view(np.uint64)

    # -- one best path per row -----------------------------------------------------------------------

    def _best(self) -> tuple[Ids, Truth | None]:
        """The line of the best path of each row (NONE = no path), and who was equal after step 7, None
        when nobody ties anywhere."""
        return self._best_of(self.rank if self.pins is None else self.pins.first(self.rank))

    def _best_of(self, rank: Matrix) -> tuple[Ids, Truth | None]:
        lowest = rank.min(axis=0)
        left = rank == lowest
        left &= lowest != UNUSABLE
        equal = None
        if len(self.sources) > 1:
            tied = np.flatnonzero(left.sum(axis=0, dtype=np.uint16) > 1)
            if len(tied):
                equal = left.copy()
                survivors, after_seven = self._break_ties(left[:, tied], tied)
                left[:, tied], equal[:, tied] = survivors, after_seven
        best = np.full(len(self.rows), NONE, np.int64)
        for line in range(len(self.sources) - 1, -1, -1):
            best[left[line]] = line
        return best, equal

    def _break_ties(self, left: Truth, at: Ids) -> tuple[Truth, Truth]:
        """Steps 5 to 12 in the columns `at`: (the survivors, those left after step 7)."""
        ids = self.ids[:, at]
        left = self._by_med(left, ids)
        left = _lowest(left, self._inner_keys(at))
        equal = left
        left = self._oldest(left, at)
        if (left.sum(axis=0, dtype=np.uint16) > 1).any():
            for key in self._tie_keys(ids, at):
                left = _lowest(left, key)
        return left, equal

    def _by_med(self, left: Truth, ids: Matrix) -> Truth:
        """Step 5: who has a path of the same neighbour AS with a lower MED beside it is out."""
        mode = self.options.med
        if mode is MedMode.IGNORE:
            return left
        med = self.table.med.take(ids).astype(np.int64)
        if self.options.missing_med is MissingMed.WORST:
            med[self.table.flags.take(ids) & MED_SET == 0] = WORST_MED
        if (med == med[0]).all():
            return left
        neighbor = self.table.neighbor_as.take(ids) if mode is MedMode.SAME_NEIGHBOR else np.zeros_like(ids)
        return _med_by_pairs(left, neighbor, med) if len(left) <= FEW else _med_by_sorting(left, neighbor, med)

    def _inner_keys(self, at: Ids) -> Matrix:
        """Steps 6 and 7 as one number."""
        metric = self.metrics.take(self.hops[:, at]).astype(np.uint64)
        internal = np.array([not source.ebgp for source in self.sources], np.uint64)
        return metric | internal[:, None] << np.uint64(32)

    def _oldest(self, left: Truth, at: Ids) -> Truth:
        """Step 8 (RFC 5004)."""
        if not self.options.prefer_oldest:
            return left
        current = self.current.take(at)
        stays = np.array([[source.plane.slot] for source in self.sources]) == current
        stays &= left & np.array([[source.ebgp] for source in self.sources])
        held: Truth = np.where(stays.any(axis=0), stays, left)
        return held

    def _tie_keys(self, ids: Matrix, at: Ids) -> list[Matrix]:
        """Steps 9 to 11 as one number, step 12 as another where path identifiers are in use."""
        order = np.array([source.order for source in self.sources], np.uint64)[:, None]
        key = self.table.cluster_length.take(ids).astype(np.uint64) << np.uint64(16) | order
        if self.options.compare_router_id:
            own = np.array([source.router_id for source in self.sources], np.uint64)[:, None]
            originator = self.table.originator.take(ids).astype(np.uint64)
            key |= np.where(originator != 0, originator, own) << np.uint64(32)
        if all(source.plane.path_id is None for source in self.sources):
            return [key]
        rows = self.rows.take(at)
        paths = [
            np.zeros(len(rows), np.uint64) if source.plane.path_id is None else source.plane.path_id.take(rows)
            for source in self.sources
        ]
        return [key, np.array(paths, np.uint64)]

    # -- multipath -----------------------------------------------------------------------------------

    def _shared(self, best: Ids) -> list[Ids]:
        """Further pinned paths that share the traffic: the best of each next hop, as `decision._shared`."""
        assert self.pins is not None
        every, last = np.arange(len(best)), best
        more: list[Ids] = []
        rank = np.where(self.pins.pinned & self.pins.of(best), self.rank, UNUSABLE)
        while len(more) < MOST_SHARED - 1:
            rank[self._same_hop(last, every)] = UNUSABLE
            if (rank == UNUSABLE).all():
                break
            last, _ = self._best_of(rank)
            more.append(last)
        return more

    def _multipath(self, best: Ids, equal: Truth) -> list[Ids]:
        """Further active paths, in order: lines per row, NONE where there is no more."""
        limits = np.array(
            [self.options.ebgp_paths if s.ebgp else self.options.ibgp_paths for s in self.sources] + [1]
        ).take(best)
        at = np.flatnonzero((equal.sum(axis=0, dtype=np.uint16) > 1) & (limits > 1))
        if not len(at):
            return []
        open_to = equal[:, at]
        keys = self._tie_keys(self.ids[:, at], at)
        if not self.options.relax:
            open_to = open_to & self._same_as_path(best.take(at), at, open_to)
        last, more = best.take(at), []
        for number in range(1, int(limits.max())):
            open_to = open_to & ~self._same_hop(last, at) & (number < limits.take(at))
            if not open_to.any():
                break
            last = _only(open_to, keys)
            line = np.full(len(best), NONE, np.int64)
            line[at] = last
            more.append(line)
        return more

    def _same_hop(self, line: Ids, at: Ids) -> Truth:
        """Paths to the next hop that the path `line` of each column goes to (itself among them)."""
        hops = self.hops[:, at]
        chosen = hops[line, np.arange(len(at))]
        return (hops == chosen) & (line != NONE)

    def _same_as_path(self, best: Ids, at: Ids, open_to: Truth) -> Truth:
        """Who has the AS path of the best one. Read whole only where the cheap columns agree."""
        ids = self.ids[:, at]
        mine = ids[best, np.arange(len(at))]
        same: Truth = open_to & (self.table.neighbor_as.take(ids) == self.table.neighbor_as.take(mine))
        same &= self.table.origin_as.take(ids) == self.table.origin_as.take(mine)
        as_path = self.table.as_path
        for line, column in zip(*(index.tolist() for index in np.nonzero(same & (ids != mine))), strict=True):
            same[line, column] = as_path(int(ids[line, column])) == as_path(int(mine[column]))
        return same

    def _active_words(self, chosen: list[Ids]) -> list[Words]:
        if len(chosen) == 1 or not self.options.link_bandwidth:
            return [self._words(line) for line in chosen]
        weights = np.ones((len(chosen), len(self.rows)), np.int64)
        for column in np.flatnonzero(chosen[1] != NONE).tolist():
            lines = [int(line[column]) for line in chosen if line[column] != NONE]
            bandwidths = [self.table.bandwidth(int(self.ids[line, column])) for line in lines]
            weights[: len(lines), column] = bandwidth_weights(bandwidths)
        return [self._words(line, weight) for line, weight in zip(chosen, weights, strict=True)]


def _either(some: list[Ids], others: list[Ids]) -> list[Ids]:
    """Lines of rows that are in the one list or in the other."""
    longer, shorter = (some, others) if len(some) >= len(others) else (others, some)
    merged = [np.where(line == NONE, other, line) for line, other in zip(longer, shorter, strict=False)]
    return merged + longer[len(shorter) :]


def _marked(words: Words, pinned: Truth) -> Words:
    """Active member words with the weights of pinned members where the best path is pinned."""
    marked: Words = np.where(
        pinned, words >> np.uint64(32) << np.uint64(32 + PINNED) | words & np.uint64(0xFFFFFFFF), words
    )
    return marked


def _lowest(left: Truth, key: Matrix) -> Truth:
    """Of those left in each column, the ones with the lowest key."""
    key = np.where(left, key, UNUSABLE)
    lowest: Truth = left & (key == key.min(axis=0))
    return lowest


def _only(left: Truth, keys: list[Matrix]) -> Ids:
    """The line of the one with the lowest keys in each column, NONE where nobody is left."""
    for key in keys:
        left = _lowest(left, key)
    line: Ids = np.where(left.any(axis=0), left.argmax(axis=0), NONE)
    return line


def _med_by_pairs(left: Truth, neighbor: Matrix, med: Matrix) -> Truth:
    out = np.zeros_like(left)
    for mine in range(len(left)):
        for other in range(len(left)):
            if mine != other:
                out[mine] |= left[other] & (neighbor[mine] == neighbor[other]) & (med[other] < med[mine])
    return left & ~out


def _med_by_sorting(left: Truth, neighbor: Matrix, med: Matrix) -> Truth:
    """Sort the paths that are left by (column, neighbour, MED): the first of each run has the lowest."""
    lines, columns = np.nonzero(left)
    neighbors, meds = neighbor[lines, columns], med[lines, columns]
    order = np.lexsort((meds, neighbors, columns))
    column, near, value = columns.take(order), neighbors.take(order), meds.take(order)
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (column[1:] != column[:-1]) | (near[1:] != near[:-1])
    lowest = value.take(np.flatnonzero(starts)).take(np.cumsum(starts) - 1)
    kept = np.zeros_like(left)
    kept[lines.take(order), column] = value == lowest
    return kept


def _close_up(words: list[Words], active: Ids) -> list[Words]:
    """Backups follow at once on the active ones, also in rows that have fewer of these."""
    most = int(active.max()) if len(active) else 0
    for have in range(1, most):
        at = np.flatnonzero(active == have)
        if len(at):
            moved = [column.take(at) for column in words[most:]]
            for place in range(have, len(words)):
                words[place][at] = moved[place - have] if place - have < len(moved) else 0
    return words
