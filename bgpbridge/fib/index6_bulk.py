"""Many routes of the IPv6 index at once, as columns: a table of 220,000 in a tenth of a second.

Down: prefixes are sorted, so those that share a node stand together; level by level their nodes are found, or are known
to be missing. Up again from the deepest: the nodes of a level that change are laid side by side as one long row of
runs, cut, painted, joined and written elsewhere; each that stood before is replaced by one store, and what came or went
is told to the level above. A reader sees the old answer or the new one of each route, as with single ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index6_lines import Lines
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
class Moved:
    """Nodes that came or went: their slots must point there, or no longer. `line` 0: it went."""

    parent: Rows
    octet: Rows
    line: Rows


class Bulk:
    """Writer of many routes that end in nodes."""

    def __init__(self, nodes: Nodes, lines: Lines) -> None:
        self._nodes, self._lines = nodes, lines

    def write(self, keys: Keys, entry: U32, *, gone: bool) -> None:
        """Prefixes, none twice; the entry that each leaves in its slots, with its owner. `gone`: where exactly the
        prefix owns a slot, otherwise where nothing longer does. Raises CapacityError."""
        order = np.lexsort((keys.lo, keys.hi)) if keys.lo.any() else np.argsort(keys.hi, kind="stable")
        for start in range(0, len(keys), AT_ONCE):
            part = order[start : start + AT_ONCE]
            self._lines.settle(LINES_EACH * len(part))
            self._pass(_batch(keys.take(part), entry[part], gone))

    def _pass(self, batch: Batch) -> None:
        levels = self._down(batch)
        moved = Moved(*(np.empty(0, np.int64) for _ in range(3)))
        for depth in range(len(levels) - 1, -1, -1):
            moved = self._rewrite(batch, levels[depth], depth, moved)
        self._hang(moved)

    # -- down ---------------------------------------------------------------------------------------

    def _down(self, batch: Batch) -> list[Level]:
        begins = _begins(batch.slot)
        slot = batch.slot[begins]
        line = _lines(self._nodes.slots[slot])
        levels = [Level(np.arange(len(batch.slot)), np.cumsum(begins) - 1, slot, np.zeros_like(slot), line, slot)]
        while len((level := self._below(batch, levels[-1], len(levels))).which):
            levels.append(level)
        return levels

    def _below(self, batch: Batch, above: Level, depth: int) -> Level:
        deeper = np.flatnonzero(batch.below[above.which] > 8 * depth)
        which, parent = above.which[deeper], above.node[deeper]
        octet = batch.octet(which, depth - 1)
        begins = _begins(parent, octet)
        node, parent, octet = np.cumsum(begins) - 1, parent[begins], octet[begins]
        at = self._nodes.entry_at(above.line[parent], octet)
        line = np.where(above.line[parent] > 0, _lines(self._nodes.words[at]), 0)
        return Level(which, node, parent, octet, line, at)

    # -- up -----------------------------------------------------------------------------------------

    def _rewrite(self, batch: Batch, level: Level, depth: int, moved: Moved) -> Moved:
        """Bring one level in line. What came or went in it is for the next."""
        ends = np.flatnonzero(batch.below[level.which] <= 8 * (depth + 1))
        which, node = level.which[ends], level.node[ends]
        touched, number = _touched(len(level.line), node, moved.parent)
        if not len(touched):
            return Moved(*(np.empty(0, np.int64) for _ in range(3)))
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
