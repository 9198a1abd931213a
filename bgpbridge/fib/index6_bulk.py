"""Many routes of the IPv6 index at once, as columns: a table of 220,000 in a tenth of a second.

Down: prefixes are sorted, so those that share a node stand together; level by level their nodes are found, or are known
to be missing; one that a single prefix lacks begins a chain, which is made at once (`index6_lone`). Up again from the
deepest: nodes in which one thing changes are changed one by one (`index6_lone` again), the others are laid side by side
as one long row of runs, cut, painted, joined and written elsewhere; each that stood before is replaced by one store,
and what came or went is told to the level above. A reader sees the old answer or the new one of each route, as with
single ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index6_lines import Lines
from bgpbridge.fib.index6_lone import Lone, Spans
from bgpbridge.fib.index6_nodes import LINE, POINTER, Nodes, places
from bgpbridge.fib.index6_runs import Runs
from bgpbridge.fib.keys import U8, U32, Keys, Rows

__all__ = ["Bulk"]

AT_ONCE = 1 << 15  # prefixes of one pass: bounds what the rows of runs take
LINES_EACH = 4  # lines that a prefix may want; what is wanted beyond that is not waited for


@dataclass(frozen=True, slots=True)
class Batch:
    """Prefixes that end in nodes, sorted. `below`: bits below the slot; `entry`: what each leaves in its slots."""

    slot: Rows
    skip: Rows
    octets: U8
    below: Rows
    entry: U32
    gone: bool

    def octet(self, which: Rows, depth: int) -> Rows:
        """The octets by which nodes of this depth are asked."""
        return self.octets.take(16 * which + self.skip[which] + depth).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Level:
    """The nodes of one depth that a batch comes through or ends in. The first two columns are of prefixes, the rest of
    nodes."""

    which: Rows  # prefixes that come this far
    node: Rows  # their node, by its place in the columns below
    parent: Rows  # the node above, or the slot
    octet: Rows  # where in that
    line: Rows  # where it stands; 0: nowhere yet
    at: Rows  # the word or slot that points at it, if it stands


@dataclass(frozen=True, slots=True)
class Sprouts:
    """Prefixes that lack a node of one depth that no other one of the batch lacks: from there down their way is theirs
    alone."""

    which: Rows
    parent: Rows
    octet: Rows


@dataclass(frozen=True, slots=True)
class Moved:
    """Nodes that came or went: their slots must point there, or no longer. `line` 0: it went."""

    parent: Rows
    octet: Rows
    line: Rows

    @classmethod
    def none(cls) -> Moved:
        """None at all."""
        return cls(*(np.empty(0, np.int64) for _ in range(3)))

    def take(self, which: npt.NDArray[np.bool_]) -> Moved:
        """Some of them."""
        return Moved(self.parent[which], self.octet[which], self.line[which])

    def and_those(self, parent: Rows, octet: Rows, line: Rows) -> Moved:
        """With others."""
        more = (self.parent, parent), (self.octet, octet), (self.line, line)
        return Moved(*(np.concatenate(columns) for columns in more)) if len(line) else self


class Bulk:
    """Writer of many routes that end in nodes."""

    def __init__(self, nodes: Nodes, lines: Lines) -> None:
        self._nodes, self._lines, self._lone = nodes, lines, Lone(nodes, lines)

    def write(self, keys: Keys, entry: U32, *, gone: bool) -> None:
        """Prefixes, none twice; the entry that each leaves in its slots, with its owner. `gone`: where exactly the
        prefix owns a slot, otherwise where nothing longer does. Raises CapacityError."""
        order = np.lexsort((keys.lo, keys.hi)) if keys.lo.any() else np.argsort(keys.hi)
        for start in range(0, len(keys), AT_ONCE):
            part = order[start : start + AT_ONCE]
            self._lines.settle(LINES_EACH * len(part))
            self._pass(_batch(keys.take(part), entry[part], gone))

    def _pass(self, batch: Batch) -> None:
        levels, sprouts = self._down(batch)
        lines = self._grow(batch, sprouts)
        moved = Moved.none()
        for depth in range(len(levels) - 1, -1, -1):
            moved = self._rewrite(batch, levels[depth], depth, moved)
            came = sprouts[depth]
            moved = moved.and_those(came.parent, came.octet, lines[depth])
        self._hang(moved)

    # -- down ---------------------------------------------------------------------------------------

    def _down(self, batch: Batch) -> tuple[list[Level], list[Sprouts]]:
        levels: list[Level] = []
        sprouts: list[Sprouts] = []
        which, parent, octet = np.arange(len(batch.slot)), batch.slot, np.zeros(len(batch.slot), np.int64)
        while len(which):
            level, lone = self._level(batch, levels, which, parent, octet)
            levels.append(level)
            sprouts.append(lone)
            deeper = np.flatnonzero(batch.below[level.which] > 8 * len(levels))
            which, parent = level.which[deeper], level.node[deeper]
            octet = batch.octet(which, len(levels) - 1)
        return levels, sprouts

    def _level(self, batch: Batch, levels: list[Level], which: Rows, above: Rows, octet: Rows) -> tuple[Level, Sprouts]:
        """The nodes that prefixes come to from these nodes (or slots) above."""
        begins = _begins(above, octet)
        first, node = np.flatnonzero(begins), np.cumsum(begins) - 1
        parent, octet = above[first], octet[first]
        if levels:
            there = levels[-1].line[parent]
            at = self._nodes.entry_at(there, octet)
            line = np.where(there > 0, _lines(self._nodes.words[at]), 0)
        else:
            at, line = parent, _lines(self._nodes.slots[parent])
        alone = (line == 0) & (np.diff(first, append=len(which)) == 1) & (not batch.gone)
        sprouts = Sprouts(which[first[alone]], parent[alone], octet[alone])
        if not len(sprouts.which):
            return Level(which, node, parent, octet, line, at), sprouts
        others = ~alone
        rows, number = others[node], np.cumsum(others) - 1
        return Level(which[rows], number[node[rows]], parent[others], octet[others], line[others], at[others]), sprouts

    def _grow(self, batch: Batch, sprouts: list[Sprouts]) -> list[Rows]:
        """Chains of nodes, from the last of each up: the lines of their first ones, by depth."""
        which = np.concatenate([np.empty(0, np.int64), *(lone.which for lone in sprouts)])
        count = [len(lone.which) for lone in sprouts]
        depth = np.repeat(np.arange(len(sprouts)), count)
        last, line = (batch.below[which] - 1) >> 3, np.zeros(len(which), np.int64)
        for at in range(int(last.max(initial=-1)), -1, -1):
            here = np.flatnonzero((depth <= at) & (last >= at))
            mine, ends = which[here], last[here] == at
            spare = np.maximum(8 * (at + 1) - batch.below[mine], 0)
            entry = np.where(ends, batch.entry[mine], line[here] | POINTER).astype(np.uint32)
            line[here] = self._lone.new(batch.octet(mine, at), spare, entry)
        return np.split(line, np.cumsum(count)[:-1])

    # -- up -----------------------------------------------------------------------------------------

    def _rewrite(self, batch: Batch, level: Level, depth: int, moved: Moved) -> Moved:
        """Bring one level in line. What came or went in it is for the next."""
        ends = np.flatnonzero(batch.below[level.which] <= 8 * (depth + 1))
        which, node = level.which[ends], level.node[ends]
        if not batch.gone:
            done = self._change(batch, level, depth, moved, ends)
            which, node = which[~done[: len(which)]], node[~done[: len(node)]]
            moved = moved.take(~done[len(ends) :])
        touched, number = _touched(len(level.line), node, moved.parent)
        if not len(touched):
            return Moved.none()
        runs = Runs(self._nodes, level.line[touched])
        within = batch.below[which] - 8 * depth
        first = (number[node] << 8) + batch.octet(which, depth)
        links = (number[moved.parent] << 8) + moved.octet
        runs.cut(first, first + (1 << (8 - within)), links, links + 1)
        runs.link(links, moved.line)
        runs.paint(first, within, batch.entry[which], gone=batch.gone)
        line = runs.write(self._lines)
        self._replace(level, touched, line, depth)
        self._lines.retire(runs.line[runs.line > 0], runs.count[runs.line > 0])
        other = touched[(line > 0) != (runs.line > 0)]
        return Moved(level.parent[other], level.octet[other], line[(line > 0) != (runs.line > 0)])

    def _change(self, batch: Batch, level: Level, depth: int, moved: Moved, ends: Rows) -> npt.NDArray[np.bool_]:
        """Do what can be done change by change: which of those that end here, then of those that moved."""
        which = level.which[ends]
        within = batch.below[which] - 8 * depth
        links = np.ones_like(moved.line)
        spans = Spans(
            np.concatenate([level.node[ends], moved.parent]),
            np.concatenate([batch.octet(which, depth), moved.octet]),
            np.concatenate([1 << (8 - within), links]),
            np.concatenate([batch.entry[which], (moved.line | POINTER).astype(np.uint32)]),
            np.concatenate([within, 8 * links]),
            np.concatenate([np.zeros_like(which), moved.line]),
        )
        return self._lone.change(level.line, self._nodes.words if depth else self._nodes.slots, level.at, spans)

    def _replace(self, level: Level, touched: Rows, line: Rows, depth: int) -> None:
        stays = (line > 0) & (level.line[touched] > 0)
        target = self._nodes.words if depth else self._nodes.slots
        target[level.at[touched[stays]]] = (line[stays] | POINTER).astype(np.uint32)

    def _hang(self, moved: Moved) -> None:
        """Slots point at nodes that came, or say again what those that went had inherited."""
        slots, came = self._nodes.slots, moved.line > 0
        slot, line = moved.parent[came], moved.line[came]
        self._nodes.inherit(line, slots[slot])
        slots[slot] = (line | POINTER).astype(np.uint32)
        slot = moved.parent[~came]
        slots[slot] = self._nodes.inherited(_lines(slots[slot]))


def _batch(keys: Keys, entry: U32, gone: bool) -> Batch:
    length = keys.length.astype(np.int64)
    slot, bits = places(keys.hi, length)
    return Batch(slot, bits >> 3, keys.octets().ravel(), length - bits, entry, gone)


def _begins(*columns: Rows) -> npt.NDArray[np.bool_]:
    """True where a row differs from the one before."""
    begins = np.ones(len(columns[0]), np.bool_)
    if len(begins):
        begins[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return begins


def _lines(entries: U32) -> Rows:
    """Where entries point to, 0 for those that do not."""
    found: Rows = np.where(entries & POINTER != 0, entries & LINE, 0).astype(np.int64)
    return found


def _touched(count: int, *some: Rows) -> tuple[Rows, Rows]:
    """Which of `count` nodes are named, and for each of all its number among these."""
    named = np.zeros(count, np.bool_)
    for nodes in some:
        named[nodes] = True
    return np.flatnonzero(named), np.cumsum(named) - 1
