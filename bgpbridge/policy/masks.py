"""Attribute masks of one compiled policy by attribute id, worked out once and kept until the id is released.

Also kept: which derived id each action makes of each id, so that judging a table again costs a gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bgpbridge.policy.columns import AttributeBatch, AttributeView, Ids, Truth
from bgpbridge.policy.compile import WORD, CompiledPolicy, join, split
from bgpbridge.policy.edits import Edits, resolve
from bgpbridge.policy.lists import with_community
from bgpbridge.policy.prefix_table import Words
from bgpbridge.types import AttributeChanges

__all__ = ["DerivedIds", "MaskCache"]


INTEGERS_KEPT = 65_536


class Shared(NamedTuple):
    """Which clauses of a policy ask the same of attributes as one of another policy: a mask of those that have the
    same bit, (bit, bit there) of others, and the bits of the rest."""

    in_place: int
    moved: tuple[tuple[int, int], ...]
    other: frozenset[int]

    @classmethod
    def of(cls, before: CompiledPolicy, after: CompiledPolicy) -> Shared:
        """What the later one has of the earlier one."""
        old, new = before.attribute_keys(), after.attribute_keys()
        places = {key: bit for bit, key in enumerate(old)}
        same = [bit for bit, key in enumerate(new) if bit < len(old) and old[bit] == key]
        rest = [bit for bit in range(len(new)) if bit not in set(same)]
        moved = tuple((bit, places[new[bit]]) for bit in rest if new[bit] in places)
        return cls(sum(1 << bit for bit in same), moved, frozenset(rest) - {bit for bit, _ in moved})


def _grown(column: Any, rows: int) -> Any:
    """The column with room for `rows` rows, zeros behind."""
    if rows <= len(column):
        return column
    larger = np.zeros((max(rows, 2 * len(column)), *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger


def _distinct(ids: Ids, top: int) -> Ids:
    """Each id once, upwards; quicker than sorting where ids are small numbers."""
    present = np.zeros(top, np.bool_)
    present[ids] = True
    return np.flatnonzero(present)


class MaskCache:
    """Rows of mask words by attribute id. `before` is that of the policy whose place this one took: of the ids that it
    knows only those clauses are worked out that ask something else."""

    def __init__(self, compiled: CompiledPolicy, view: AttributeView, before: MaskCache | None = None) -> None:
        self.compiled = compiled
        self.view = view
        self._before = before
        if before is not None:
            before._before = None
            self._shared = Shared.of(before.compiled, compiled)
        self._masks = np.zeros((1024, compiled.words), np.uint64)
        self._known = np.zeros(1024, np.bool_)
        self._same = np.zeros(1024, np.bool_)  # of ids that are known: `before` has this mask too
        self._integers: dict[int, int] = {}  # of ids that were asked for one by one

    def masks(self, ids: Ids) -> Words:
        """The masks of many ids; new ones are worked out together."""
        self._learn(ids)
        found: Words = self._masks.take(ids, axis=0)
        return found

    def differing(self, ids: Ids) -> Truth:
        """Which of the ids have another mask than `before` them, or were not known to it."""
        self._learn(ids)
        return ~self._same.take(ids)

    def _learn(self, ids: Ids) -> None:
        top = int(ids.max(initial=0)) + 1
        if top > len(self._known):
            self._masks, self._known, self._same = (_grown(c, top) for c in (self._masks, self._known, self._same))
        unknown = ids.compress(~self._known.take(ids))
        if len(unknown):
            self._fill(_distinct(unknown, top))

    def mask(self, number: int) -> int:
        """The mask of one id as an integer."""
        mask = self._integers.get(number)
        if mask is None:
            if len(self._integers) >= INTEGERS_KEPT:
                self._integers.clear()
            mask = self._integers[number] = join(self.masks(np.array([number], np.int64))[0])
        return mask

    def _fill(self, ids: Ids) -> None:
        self._known[ids] = True
        self._same[ids] = False
        if self._before is not None:
            known = self._before._knows(ids)
            carried = ids.compress(known)
            old = self._before._masks.take(carried, axis=0)
            rows = self._masks[carried] = self._carried(carried, old)
            if old.shape == rows.shape:
                self._same[carried] = (rows == old).all(axis=1)
            ids = ids.compress(~known)
        if not len(ids):
            return
        batch = AttributeBatch(self.view, ids)
        rows = np.empty((len(ids), self.compiled.words), np.uint64)
        rows[:] = split(self.compiled.attribute_free, self.compiled.words)
        for bit, holds in self.compiled.attribute_mask(batch.truth):
            rows[:, bit // WORD] |= holds.astype(np.uint64) << np.uint64(bit % WORD)
        rows[~batch.readable] = 0
        self._masks[ids] = rows

    def _knows(self, ids: Ids) -> Any:
        return self._known.take(ids, mode="clip") & (ids < len(self._known))

    def _carried(self, ids: Ids, old: Words) -> Words:
        """The rows of ids that have `old` ones by the policy before."""
        shared, batch = self._shared, AttributeBatch(self.view, ids)
        rows: Words = np.zeros((len(ids), self.compiled.words), np.uint64)
        words = min(old.shape[1], rows.shape[1])
        rows[:, :words] = old[:, :words] & np.array(split(shared.in_place, words), np.uint64)
        for bit, was in shared.moved:
            holds = old[:, was // WORD] >> np.uint64(was % WORD) & np.uint64(1)
            rows[:, bit // WORD] |= holds << np.uint64(bit % WORD)
        for bit, holds in self.compiled.attribute_mask(batch.truth, shared.other):
            rows[:, bit // WORD] |= (holds & batch.readable).astype(np.uint64) << np.uint64(bit % WORD)
        return rows

    def forget(self, ids: Ids) -> None:
        """These ids will soon mean something else."""
        self._known[ids.compress(ids < len(self._known))] = False
        self._integers.clear()
        if self._before is not None:
            self._before.forget(ids)


class DerivedIds:
    """For one row of edits: the id that each attribute id becomes.

    Wildcards (`remove: 65000:*`) come to something only where a community fits them; all other ids get the
    same changes, in one step.
    """

    def __init__(self, edits: Sequence[Edits], view: AttributeView) -> None:
        self.edits = tuple(edits)
        self.view = view
        self._wild = tuple(p for edit in edits for p in edit.communities.remove if p.value is None)
        self._plain = resolve(self.edits, None)
        self._derived = np.zeros(1024, np.int64)

    def one(self, number: int) -> int:
        """The id that one becomes."""
        changes = resolve(self.edits, self.view.get(number).attributes) if self._wild else self._plain
        return self.view.derive(number, changes)

    def many(self, ids: Ids) -> Ids:
        """The ids that many become."""
        top = int(ids.max(initial=0)) + 1
        self._derived = _grown(self._derived, top)
        missing = _distinct(ids.compress(self._derived.take(ids) == 0), top)
        if len(missing):
            self._derive(missing)
        found: Ids = self._derived.take(ids)
        self.view.keep(found)
        return found

    def _derive(self, ids: Ids) -> None:
        by_changes: dict[AttributeChanges, list[int]] = {}
        if self._wild:
            lists = self.view.lists(ids)
            special = with_community(lists, self._wild) | lists.odd
            for number in ids.compress(special).tolist():
                changes = resolve(self.edits, self.view.get(number).attributes)
                by_changes.setdefault(changes, []).append(number)
            ids = ids.compress(~special)
        self._derived[ids] = self.view.derive_many(ids, self._plain)
        for changes, numbers in by_changes.items():
            some = np.array(numbers, np.int64)
            self._derived[some] = self.view.derive_many(some, changes)

    def forget(self, ids: Ids) -> None:
        """These ids, received or derived, will soon mean something else."""
        self._derived[ids.compress(ids < len(self._derived))] = 0
        self._derived[np.isin(self._derived, ids)] = 0
