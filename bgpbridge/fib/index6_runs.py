"""Nodes of the IPv6 index side by side, as one long row of runs: slot s of the n-th node is position 256 n + s.

A row is cut where changes begin and end, its entries are changed, runs that say the same are joined, and all nodes are
written into new blocks. A run never reaches from one node into the next: each node starts with one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index6_lines import Lines
from bgpbridge.fib.index6_nodes import BEFORE, LINE, OWNER, POINTER, Nodes, spread
from bgpbridge.fib.keys import U32, Rows

__all__ = ["Runs"]


class Runs:
    """Nodes by their lines; line 0 is a node that is not there yet: one run that says nothing."""

    def __init__(self, nodes: Nodes, line: Rows) -> None:
        self._nodes, self.line = nodes, line
        there = np.flatnonzero(line)
        octets = np.zeros((len(line), 32), np.uint8)
        octets[:, 0] = 1
        octets[there] = nodes.octets[line[there], :32]
        self._starts = np.flatnonzero(np.unpackbits(octets.ravel(), bitorder="little").view(np.bool_))
        self.count = np.bincount(self._starts >> 8, minlength=len(line))
        at, node = nodes.entries_at(line, self.count)
        self._entries: U32 = np.where(line[node] > 0, nodes.words[at], np.uint32(0))

    def cut(self, *positions: Rows) -> None:
        """Let runs start at all these as well; each says what the run says that it was part of."""
        end = len(self.line) << 8
        there = np.zeros(end + 1, np.bool_)
        there[self._starts] = True
        for some in positions:
            there[some] = True
        there[end] = False
        starts = np.flatnonzero(there)
        was = np.zeros(end, np.bool_)
        was[self._starts] = True
        self._entries = self._entries[np.cumsum(was[starts]) - 1]
        self._starts = starts
        self._number = np.empty(end + 1, np.int32)  # of the run that starts at a position
        self._number[starts] = np.arange(len(starts))
        self._number[end] = len(starts)
        self._says()

    def _says(self) -> None:
        """What each slot says of its own: one that points on keeps that in the node there."""
        self._said = self._entries.copy()
        down = np.flatnonzero(self._entries & POINTER)
        self._said[down] = self._nodes.inherited((self._entries[down] & LINE).astype(np.int64))

    def link(self, position: Rows, line: Rows) -> None:
        """Let slots point at nodes, or at none any more (line 0)."""
        run = self._number[position]
        self._entries[run] = np.where(line > 0, line | POINTER, self._said[run]).astype(np.uint32)

    def paint(self, first: Rows, length: Rows, entry: U32, *, gone: bool) -> None:
        """Write prefixes into their slots; of nested ones the longer wins."""
        for one in np.flatnonzero(np.bincount(length)).tolist():
            which = np.flatnonzero(length == one)
            begin = self._number[first[which]].astype(np.int64)
            end = self._number[first[which] + (1 << (8 - one))]
            run, origin = spread(begin, end - begin)
            owner = self._said[run] >> OWNER
            mine = owner == one if gone else owner <= one
            self._said[run[mine]] = entry[which[origin[mine]]]

    def write(self, lines: Lines) -> Rows:
        """Each node into a block of its own; its line, 0 for one in which nothing stands. Raises CapacityError."""
        self._hand_down()
        self._join()
        node = self._starts >> 8
        count = np.bincount(node, minlength=len(self.line))
        full = (count > 1) | (self._entries[np.cumsum(count) - count] != 0)
        line = np.zeros(len(count), np.int64)
        line[full] = lines.take(count[full])
        self._write_heads(line[full], full)
        at, _ = self._nodes.entries_at(line[full], count[full])
        self._nodes.words[at] = self._entries[full[node]]
        return line

    def _hand_down(self) -> None:
        down = self._entries & POINTER != 0
        self._nodes.inherit((self._entries[down] & LINE).astype(np.int64), self._said[down])
        self._entries = np.where(down, self._entries, self._said)

    def _join(self) -> None:
        starts = self._starts & 255 == 0
        starts[1:] |= self._entries[1:] != self._entries[:-1]
        self._starts, self._entries = self._starts[starts], self._entries[starts]

    def _write_heads(self, line: Rows, full: npt.NDArray[np.bool_]) -> None:
        nodes, there = self._nodes, np.zeros(len(full) << 8, np.bool_)
        there[self._starts] = True
        starts = np.packbits(there, bitorder="little").view(np.uint64).reshape(-1, 4)[full]
        before = np.zeros((len(line), 4), np.uint8)
        np.cumsum(np.bitwise_count(starts[:, :3]), axis=1, dtype=np.uint8, out=before[:, 1:])
        nodes.starts[line, :4] = starts
        nodes.lines[line, BEFORE] = before.view(np.uint32).ravel()
        nodes.inherit(line, np.where(self.line[full] > 0, nodes.inherited(self.line[full]), np.uint32(0)))
