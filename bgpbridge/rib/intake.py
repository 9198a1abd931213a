"""From announcements and withdrawals to cells of an Adj-RIB-In and to settled rows.

Both ways in, columns and one by one, do the same: the last word on a path counts, policy is asked about
what remains, cells are written, rows whose candidates changed are decided. Nothing here pauses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgpbridge.rib.adj_rib_in import NOWHERE, AdjRibIn
from bgpbridge.rib.ceiling import fitting, last_by_first, last_words
from bgpbridge.rib.changes import Changes, FewChanges, Move
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.peers import Judge, PeerState
from bgpbridge.rib.tables import MASK64, Ids, Lengths, Words
from bgpbridge.types import Prefix

__all__ = ["Intake", "Paths", "Said", "said_of"]

MANY = 32  # from so many prefixes of one message on, columns are quicker
Said = tuple[int, int, int, int, int]
"""Of one prefix: hi, lo, length, path id, attribute id as received (0 = withdrawn)."""


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
        adj = self.family.adj_of(self.state)
        if adj.near(len(paths.attributes)):
            paths = self._within_ceiling(adj, paths)
        paths, rows = self._rows(paths)
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
            effective = self._judged(paths)
            changed = rows.compress(adj.store(0, rows, paths.attributes, effective, paths.path_id, self.now))
        return self.family.settle(changed, self.options)

    def _within_ceiling(self, adj: AdjRibIn, paths: Paths) -> Paths:
        """What of it the peer's max-prefix lets in: the last word on each path."""
        paths = paths.take(last_words(paths))
        counts = paths.attributes
        if adj.by_accepted:
            come = np.flatnonzero(counts)
            counts = np.zeros(len(counts), np.int64)
            counts[come] = self._judge(paths.take(come))
        return paths.take(fitting(adj, self.family.prefixes, paths, counts))

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

    def _judged(self, paths: Paths) -> Ids:
        """Verdicts, 0 for what is withdrawn. Asked before the first cell is written: where ids are short nothing has
        changed."""
        come = np.flatnonzero(paths.attributes)
        if len(come) == len(paths.attributes):
            effective = self._judge(paths)
        else:
            effective = np.zeros(len(paths.attributes), np.int64)
            if len(come):
                effective[come] = self._judge(paths.take(come))
        self.family.attributes.keep(effective)
        return effective

    def _judge(self, paths: Paths) -> Ids:
        return self.judge.judge(
            self.state.info.index, self.family.family, paths.attributes, paths.hi, paths.lo, paths.length
        )

    def _store_paths(self, adj: AdjRibIn, rows: Ids, paths: Paths) -> Ids:
        """ADD-PATH: the last word on each (prefix, path id), withdrawals first so that planes get free."""
        at = _last_of_each_pair(rows, paths.path_id)
        rows, paths = rows.take(at), paths.take(at)
        effective = self._judged(paths)
        where = adj.locate(rows, paths.path_id)
        changed = []
        for announced in (False, True):
            for plane in range(len(adj.planes)):
                at = np.flatnonzero((where == plane) & ((paths.attributes != 0) == announced))
                if len(at):
                    changed.append(self._write(adj, plane, rows, paths, effective, at))
        at = np.flatnonzero((where == NOWHERE) & (paths.attributes != 0))
        changed += self._place(adj, rows, paths, effective, at)
        touched = np.concatenate(changed) if changed else np.empty(0, np.int64)
        return touched.take(self.family.last_of_each(touched))

    def _write(self, adj: AdjRibIn, plane: int, rows: Ids, paths: Paths, effective: Ids, at: Ids) -> Ids:
        """Cells of one plane, of the paths at these positions. Rows whose candidates changed."""
        rows = rows.take(at)
        attributes, path_ids = paths.attributes.take(at), paths.path_id.take(at)
        return rows.compress(adj.store(plane, rows, attributes, effective.take(at), path_ids, self.now))

    def _place(self, adj: AdjRibIn, rows: Ids, paths: Paths, effective: Ids, new: Ids) -> list[Ids]:
        """Paths that are new, at positions `new`: each into the lowest free plane of its row, within the peer's
        limit."""
        changed = []
        plane = 0
        while len(new) and plane < adj.limit:
            if plane == len(adj.planes):
                self.family.grow(self.state)
            free = new.compress(adj.free_in(plane, rows.take(new)))
            backwards = free[::-1]  # the first of several in a row goes first
            at = backwards.take(self.family.last_of_each(rows.take(backwards)))
            if len(at):
                changed.append(self._write(adj, plane, rows, paths, effective, at))
                new = new.compress(~np.isin(new, at, assume_unique=True))
            plane += 1
        adj.refused += len(new)
        return changed

    # -- one by one ---------------------------------------------------------------------------------

    def apply_few(self, said: list[Said]) -> Changes | FewChanges:
        """What one message says, withdrawals first."""
        if len(said) >= MANY:
            return self.apply(_columns(said))
        family = self.family
        table, adj = family.prefixes, family.adj_of(self.state)
        if adj.near(len(said)):
            return self.apply(_columns(said)) if said else FewChanges(family.family, [])
        last: dict[tuple[int, int], Said] = {}  # (row, path id) -> the last word on it
        for word in said:
            hi, lo, length, path_id, number = word
            row = table.intern_one(hi, lo, length) if number else table.find_one(hi, lo, length)
            if row:
                last[row, path_id if adj.add_path else 0] = word
        # all verdicts before the first cell is written: where ids are short nothing has changed
        verdicts = [self._judge_one(word) if word[4] else 0 for word in last.values()]
        touched: dict[int, Said] = {}
        for (row, path_id), word in last.items():
            if not word[4] and self._withdraw_one(adj, row, path_id):
                touched[row] = word
        for ((row, path_id), word), effective in zip(last.items(), verdicts, strict=True):
            if word[4] and self._announce_one(adj, row, path_id, word[4], effective):
                touched[row] = word
        moves: list[Move] = []
        for row, (hi, lo, length, _, _) in touched.items():
            old, new = family.settle_one(row, self.options)
            if old != new:
                moves.append((row, hi, lo, length, old, new))
        return FewChanges(family.family, moves)

    def _withdraw_one(self, adj: AdjRibIn, row: int, path_id: int) -> bool:
        plane = adj.locate_one(row, path_id)
        return plane != NOWHERE and adj.store_one(plane, row, 0, 0, 0, self.now)

    def _judge_one(self, word: Said) -> int:
        hi, lo, length, _, number = word
        effective = self.judge.judge_one(self.state.info.index, self.family.family, number, hi, lo, length)
        self.family.attributes.keep_one(effective)
        return effective

    def _announce_one(self, adj: AdjRibIn, row: int, path_id: int, number: int, effective: int) -> bool:
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
    """Positions of the last mention of every (row, path id), in order of their first ones."""
    keys = rows << 32 | path_ids.astype(np.int64)
    order = keys.argsort(kind="stable")
    ordered = keys.take(order)
    other = np.ones(len(order) + 1, np.bool_)
    other[1:-1] = ordered[1:] != ordered[:-1]
    return last_by_first(order, other)


def said_of(prefix: Prefix, path_id: int, number: int) -> Said:
    """A prefix as `apply_few` takes it."""
    return prefix.value >> 64, prefix.value & MASK64, prefix.length, path_id, number


def _columns(said: list[Said]) -> Paths:
    """The columns that the wire's bulk decoder would give."""
    hi, lo, length, path_id, number = zip(*said, strict=True)
    return Paths(
        np.array(hi, np.uint64),
        np.array(lo, np.uint64),
        np.array(length, np.uint8),
        np.array(path_id, np.int64),
        np.array(number, np.int64),
    )
