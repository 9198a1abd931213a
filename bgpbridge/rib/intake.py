"""From announcements and withdrawals to cells of an Adj-RIB-In and to settled rows.

Both ways in, columns and one by one, do the same: the last word on a path counts, policy is asked about
what remains, cells are written, rows whose candidates changed are decided. Nothing here pauses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgpbridge.rib.adj_rib_in import NOWHERE, AdjRibIn
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.peers import Judge, PeerState
from bgpbridge.rib.tables import MASK64, Ids, Lengths, Words
from bgpbridge.types import Prefix

__all__ = ["Intake", "Paths"]

MANY = 32  # from so many prefixes of one message on, columns are quicker


@dataclass(slots=True)
class Paths:
    """A piece of a run, in order. `attributes` are ids as received, 0 = withdrawn."""

    hi: Words
    lo: Words
    length: Lengths
    path_id: Ids
    attributes: Ids

    def take(self, at: Ids) -> Paths:
        """Some of them."""
        return Paths(*(getattr(self, name).take(at) for name in self.__slots__))


class Intake:
    """Applies what one peer sent to one family's tables."""

    def __init__(self, family: FamilyRib, state: PeerState, judge: Judge, options: DecisionOptions, now: int) -> None:
        self.family, self.state, self.judge, self.options, self.now = family, state, judge, options, now

    # -- columns ------------------------------------------------------------------------------------

    def apply(self, paths: Paths) -> Changes:
        """A piece of a run at once."""
        paths, rows = self._rows(paths)
        adj = self.family.adj_of(self.state)
        if not len(rows):
            return Changes.none(self.family.family)
        if adj.add_path:
            changed = self._store_paths(adj, rows, paths)
        else:
            at = self.family.last_of_each(rows)
            if len(at) < len(rows):
                rows, paths = rows.take(at), paths.take(at)
            if not adj.planes:
                self.family.grow(self.state)
            changed = rows.compress(self._store(adj, 0, rows, paths))
        return self.family.settle(changed, self.options)

    def _rows(self, paths: Paths) -> tuple[Paths, Ids]:
        """Rows of prefixes. A withdrawal of a prefix that nobody knows makes no row."""
        table = self.family.prefixes
        gone = np.flatnonzero(paths.attributes == 0)
        if not len(gone):
            return paths, table.intern(paths.hi, paths.lo, paths.length)
        come = np.flatnonzero(paths.attributes)
        rows = np.empty(len(paths.lo), np.int64)
        if len(come):
            rows[come] = table.intern(paths.hi.take(come), paths.lo.take(come), paths.length.take(come))
        rows[gone] = table.find(paths.hi.take(gone), paths.lo.take(gone), paths.length.take(gone))
        known = np.flatnonzero(rows)
        return (paths, rows) if len(known) == len(rows) else (paths.take(known), rows.take(known))

    def _store(self, adj: AdjRibIn, plane: int, rows: Ids, paths: Paths) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Judge and write cells of one plane."""
        effective = np.zeros(len(rows), np.int64)
        come = np.flatnonzero(paths.attributes)
        if len(come) == len(rows):
            effective = self._judge(paths)
        elif len(come):
            effective[come] = self._judge(paths.take(come))
        self.family.attributes.keep(effective)
        return adj.store(plane, rows, paths.attributes, effective, paths.path_id, self.now)

    def _judge(self, paths: Paths) -> Ids:
        return self.judge.judge(
            self.state.info.index, self.family.family, paths.attributes, paths.hi, paths.lo, paths.length
        )

    def _store_paths(self, adj: AdjRibIn, rows: Ids, paths: Paths) -> Ids:
        """ADD-PATH: the last word on each (prefix, path id), withdrawals first so that planes get free."""
        at = _last_of_each_pair(rows, paths.path_id)
        rows, paths = rows.take(at), paths.take(at)
        where = adj.locate(rows, paths.path_id)
        changed = []
        for announced in (False, True):
            for plane in range(len(adj.planes)):
                at = np.flatnonzero((where == plane) & ((paths.attributes != 0) == announced))
                if len(at):
                    mask = self._store(adj, plane, rows.take(at), paths.take(at))
                    changed.append(rows.take(at).compress(mask))
        at = np.flatnonzero((where == NOWHERE) & (paths.attributes != 0))
        changed += self._place(adj, rows.take(at), paths.take(at))
        touched = np.concatenate(changed) if changed else np.empty(0, np.int64)
        return touched.take(self.family.last_of_each(touched))

    def _place(self, adj: AdjRibIn, rows: Ids, paths: Paths) -> list[Ids]:
        """Paths that are new: each into the lowest free plane of its row, within the peer's limit."""
        changed = []
        plane = 0
        while len(rows) and plane < adj.limit:
            if plane == len(adj.planes):
                self.family.grow(self.state)
            free = np.flatnonzero(adj.free_in(plane, rows))
            backwards = free[::-1]  # the first of several in a row goes first
            at = backwards.take(self.family.last_of_each(rows.take(backwards)))
            if len(at):
                mask = self._store(adj, plane, rows.take(at), paths.take(at))
                changed.append(rows.take(at).compress(mask))
                rest = np.ones(len(rows), np.bool_)
                rest[at] = False
                rows, paths = rows.compress(rest), paths.take(np.flatnonzero(rest))
            plane += 1
        adj.refused += len(rows)
        return changed

    # -- one by one ---------------------------------------------------------------------------------

    def apply_few(self, said: list[tuple[Prefix, int, int]]) -> Changes:
        """(prefix, path id, attribute id or 0 = withdrawn) of one message, withdrawals first."""
        if len(said) >= MANY:
            return self.apply(_columns(said))
        table = self.family.prefixes
        adj = self.family.adj_of(self.state)
        last: dict[tuple[int, int], tuple[int, int, int, int]] = {}  # (row, path id) -> the last word on it
        for prefix, path_id, number in said:
            hi, lo, length = prefix.value >> 64, prefix.value & MASK64, prefix.length
            row = table.intern_one(hi, lo, length) if number else table.find_one(hi, lo, length)
            if row:
                last[row, path_id if adj.add_path else 0] = (number, hi, lo, length)
        touched = {
            row: None
            for (row, path_id), (number, *_) in last.items()
            if not number and self._withdraw_one(adj, row, path_id)
        }
        for (row, path_id), (number, hi, lo, length) in last.items():
            if number and self._announce_one(adj, row, path_id, number, hi, lo, length):
                touched[row] = None
        settled = [(row, *self.family.settle_one(row, self.options)) for row in touched]
        return self.family.changes_of([entry for entry in settled if entry[1] != entry[2]])

    def _withdraw_one(self, adj: AdjRibIn, row: int, path_id: int) -> bool:
        plane = adj.locate_one(row, path_id)
        return plane != NOWHERE and adj.store_one(plane, row, 0, 0, 0, self.now)

    def _announce_one(self, adj: AdjRibIn, row: int, path_id: int, number: int, hi: int, lo: int, length: int) -> bool:
        effective = self.judge.judge_one(self.state.info.index, self.family.family, number, hi, lo, length)
        self.family.attributes.keep_one(effective)
        plane = adj.locate_one(row, path_id)
        if plane == NOWHERE:
            plane = adj.free_one(row)
            if plane >= adj.limit:
                adj.refused += 1
                return False
            if plane == len(adj.planes):
                self.family.grow(self.state)
        return adj.store_one(plane, row, number, effective, path_id, self.now)


def _last_of_each_pair(rows: Ids, path_ids: Ids) -> Ids:
    """Positions of the last mention of every (row, path id), in order of mention."""
    keys = rows << 32 | path_ids.astype(np.int64)
    order = keys.argsort(kind="stable")
    ordered = keys.take(order)
    last = np.ones(len(order), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    return np.sort(order.compress(last))


def _columns(said: list[tuple[Prefix, int, int]]) -> Paths:
    """The columns that the wire's bulk decoder would give."""
    return Paths(
        np.array([prefix.value >> 64 for prefix, _, _ in said], np.uint64),
        np.array([prefix.value & MASK64 for prefix, _, _ in said], np.uint64),
        np.array([prefix.length for prefix, _, _ in said], np.uint8),
        np.array([path_id for _, path_id, _ in said], np.int64),
        np.array([number for _, _, number in said], np.int64),
    )
