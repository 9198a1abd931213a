"""Nodes of the IPv6 index that hold or change one thing only: most of those that a table makes or touches as it comes
in. Nothing has to be laid out for them: what they are follows from the octets where a span of slots begins and ends.

    a chain     a prefix below everything that stands: each node of its way has one span of slots, in one line
    a change    one span within one run of a node that stands: a run more on either side of it, at most

What is not of this kind is left to `index6_runs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index6_lines import Lines
from bgpbridge.fib.index6_nodes import BEFORE, HEAD, LINE, OWNER, POINTER, WORDS, Nodes
from bgpbridge.fib.keys import U32, Rows

__all__ = ["Lone", "Spans"]

Mask = npt.NDArray[np.bool_]


def _heads() -> U32:
    """By octet, what a run that starts there adds to the head of a node: its bit, and one more run before each later
    part. Nothing for 0, where each node has a run, and for 256, the end."""
    heads = np.zeros((257, HEAD), np.uint32)
    for octet in range(1, 256):
        heads[octet, octet >> 5] = 1 << (octet & 31)
        heads[octet, BEFORE] = sum(1 << 8 * part for part in range((octet >> 6) + 1, 4))
    return heads


HEADS = _heads()
BARE = np.zeros(WORDS, np.uint32)  # a node of one run that says nothing
BARE[0], BARE[BEFORE] = 1, 0x01010100
THREE = 3  # runs, which fit into one line


@dataclass(frozen=True, slots=True)
class Spans:
    """Slots in a row that are to say something: of which node, from where, how many; the entry; its owner. `child` is
    the line of a node that they are to point at (one slot), 0 for a route."""

    node: Rows
    first: Rows
    count: Rows
    entry: U32
    owner: Rows
    child: Rows

    def take(self, which: Rows | Mask) -> Spans:
        """Some of them."""
        return Spans(*(getattr(self, name)[which] for name in self.__slots__))


class Lone:
    """Writer of such nodes."""

    def __init__(self, nodes: Nodes, lines: Lines) -> None:
        self._nodes, self._lines = nodes, lines

    def new(self, first: Rows, count: Rows, entry: U32) -> Rows:
        """Nodes that say one thing in one span of slots, and nothing elsewhere: their lines. Raises CapacityError."""
        row = BARE + np.zeros((len(first), 1), np.uint32)
        row[:, :HEAD] += HEADS.take(first, axis=0)
        row[:, :HEAD] += HEADS.take(first + count, axis=0)
        row[np.arange(len(first)), HEAD + (first > 0)] = entry
        line = self._lines.take(np.full(len(first), THREE))
        self._nodes.lines[line] = row
        return line

    def change(self, line: Rows, target: U32, at: Rows, spans: Spans) -> Mask:
        """Which of the spans are done: those that are all that changes in a node that stands, and meet one run there.
        `line` and `at` are of nodes: where each stands, and which word of `target` points at it. Raises
        CapacityError."""
        nodes, done = self._nodes, np.zeros(len(spans.node), np.bool_)
        if not len(done):
            return done
        times = np.bincount(spans.node, minlength=len(line))
        which = np.flatnonzero((times[spans.node] == 1) & (line[spans.node] > 0))
        stands = line[spans.node[which]]
        first, end = spans.first[which], spans.first[which] + spans.count[which]
        word = nodes.entry_at(stands, first)
        one = word == nodes.entry_at(stands, end - 1)
        which, stands, first, end, word = which[one], stands[one], first[one], end[one], word[one]
        held, some = nodes.words[word], spans.take(which)
        down = held & POINTER != 0
        self._hand_down(held[down], some.entry[down])
        idle = down | (held == some.entry) | (held >> OWNER > some.owner)
        done[which[idle]] = True
        cut = self._cuts(stands, first) == 0, self._cuts(stands, end) == 0
        joins = ~cut[0] & (first > 0) & (nodes.words[word - 1] == some.entry)
        joins |= ~cut[1] & (end < 256) & (nodes.words.take(word + 1, mode="clip") == some.entry)
        todo = np.flatnonzero(~idle & ~joins)
        done[which[todo]] = True
        some, stands, word, held = some.take(todo), stands[todo], word[todo], held[todo]
        before, after = cut[0][todo], cut[1][todo]
        linked = some.child > 0
        nodes.inherit(some.child[linked], held[linked])
        over = ~(before | after)
        nodes.words[word[over]] = some.entry[over]
        more = np.flatnonzero(~over)
        fresh = self._wider(stands[more], word[more], some.take(more), before[more], after[more])
        target[at[some.node[more]]] = (fresh | POINTER).astype(np.uint32)
        return done

    def _hand_down(self, held: U32, entry: U32) -> None:
        """Slots that point on keep their route in the node there: nothing that stands in this one is longer."""
        self._nodes.inherit((held & LINE).astype(np.int64), entry)

    def _cuts(self, line: Rows, octet: Rows) -> U32:
        """Whether a run starts at an octet, or would behind the last."""
        inside = np.minimum(octet, 255)
        starts = self._nodes.lines[line, inside >> 5] >> (inside & 31).astype(np.uint32) & 1
        cuts: U32 = starts | (octet == 256).astype(np.uint32)
        return cuts

    def _wider(self, line: Rows, word: Rows, some: Spans, before: Mask, after: Mask) -> Rows:
        """The same nodes elsewhere, each with a span in the run at `word`, what is left of which stands before or after
        it. Their lines."""
        nodes, runs = self._nodes, self._nodes.runs(line)
        more = before.astype(np.int64) + after
        fresh = self._lines.take(runs + more)
        size = (runs + more + HEAD + WORDS - 1) // WORDS
        place = word - WORDS * line + before
        head = HEADS.take(np.where(before, some.first, 0), axis=0)
        head += HEADS.take(np.where(after, some.first + some.count, 0), axis=0)
        for lines in np.flatnonzero(np.bincount(size)).tolist():
            of = np.flatnonzero(size == lines)
            column = np.arange(WORDS * lines)
            source = (WORDS * line[of])[:, None] + column - more[of][:, None] * (column > place[of][:, None])
            row = nodes.words.take(source, mode="clip")
            row[:, :HEAD] += head[of]
            row[np.arange(len(of)), place[of]] = some.entry[of]
            for number in range(lines):
                nodes.lines[fresh[of] + number] = row[:, WORDS * number : WORDS * (number + 1)]
        self._lines.retire(line, runs)
        return fresh
