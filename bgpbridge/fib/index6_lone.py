"""Nodes of the IPv6 index that hold or change one thing only: most of those that a table makes or touches as it comes
in. Nothing has to be laid out for them: what they are follows from the octets where a span of slots begins and ends.

    a chain     a prefix below everything that stands: each node of its way has one span of slots, in one line
    a change    one span within one run of a node that stands: a run more on either side of it, at most

A node in which a few things change is changed as many times, one after the other: that is quicker than to lay it out.
What is not of this kind is left to `index6_runs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.index6_lines import Lines
from bgpbridge.fib.index6_nodes import BEFORE, HEAD, LINE, OWNER, POINTER, WIDTH, WORDS, Nodes
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
THREE = 3  # runs, which fit into one line
TIMES = 4  # a node is changed, one thing after the other


def _plain() -> U32:
    """Nodes of which one aligned span of 1 to 128 slots says something (not written here), the rest nothing: the span
    of 2**n slots from s on is number 256 + s >> n."""
    rows = np.zeros((512, WORDS), np.uint32)
    rows[:, 0], rows[:, BEFORE] = 1, 0x01010100
    for number in range(2, 512):
        width = 1 << 9 - number.bit_length()
        first = number * width - 256
        rows[number, :HEAD] += HEADS[first] + HEADS[first + width]
    return rows


PLAIN = _plain()


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

    def new(self, first: Rows, spare: Rows, entry: U32) -> Rows:
        """Nodes that say one thing in one span of 2**spare slots, and nothing elsewhere: their lines. Raises
        CapacityError."""
        row = PLAIN.take(256 + first >> spare, axis=0)
        row[np.arange(len(first)), HEAD + (first > 0)] = entry
        line = self._lines.take_alike(THREE, len(first))
        self._nodes.fill(line, row)
        return line

    def change(self, line: Rows, target: U32, at: Rows, spans: Spans) -> Mask:
        """Which of the spans are done: those of nodes that stand, and in which not many change, that meet one run when
        it is their turn. `line` and `at` are of nodes: where each stands, which this brings up to date, and which word
        of `target` points at it. Raises CapacityError."""
        done = np.zeros(len(spans.node), np.bool_)
        for turn in _turns(line, spans.node):
            done[turn] = self._once(line, target, at, spans.take(turn))
        return done

    def _once(self, line: Rows, target: U32, at: Rows, spans: Spans) -> Mask:
        """The same for spans of which none shares its node with another."""
        nodes, done = self._nodes, np.zeros(len(spans.node), np.bool_)
        stands, first = line[spans.node], spans.first
        end, word = first + spans.count, nodes.entry_at(stands, first)
        held = nodes.words[word]
        down = held & POINTER != 0
        idle = down | (held == spans.entry) | (held >> OWNER > spans.owner)
        cut = self._cuts(stands, first) == 0, self._cuts(stands, end) == 0
        other = ~cut[0] & (first > 0) & (nodes.words[word - 1] == spans.entry)
        other |= ~cut[1] & (end < 256) & (nodes.words.take(word + 1, mode="clip") == spans.entry)  # they would join
        other &= ~idle
        wide = np.flatnonzero(spans.count > 1)
        other[wide] |= word[wide] != nodes.entry_at(stands[wide], end[wide] - 1)
        done[:] = ~other
        down &= done
        self._hand_down(held[down], spans.entry[down])
        todo = np.flatnonzero(done & ~idle)
        some, stands, word, held = spans.take(todo), stands[todo], word[todo], held[todo]
        before, after = cut[0][todo], cut[1][todo]
        linked = some.child > 0
        nodes.inherit(some.child[linked], held[linked])
        over = ~(before | after)
        nodes.words[word[over]] = some.entry[over]
        more = np.flatnonzero(~over)
        fresh = self._wider(stands[more], word[more], some.take(more), before[more], after[more])
        node = some.node[more]
        target[at[node]] = (fresh | POINTER).astype(np.uint32)
        line[node] = fresh
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
        size = runs + more + HEAD + WORDS - 1 >> WIDTH
        place = word - WORDS * line + before
        head = HEADS.take(np.where(before, some.first, 0), axis=0)
        head += HEADS.take(np.where(after, some.first + some.count, 0), axis=0)
        kind = 2 * size + more
        for one in np.flatnonzero(np.bincount(kind)).tolist():
            of, shift = np.flatnonzero(kind == one), 2 - one % 2
            number, column = np.arange((one - shift) // 2), np.arange(HEAD + 1, WORDS * ((one - shift) // 2))
            held = nodes.lines.take(line[of][:, None] + number, axis=0, mode="clip").reshape(len(of), -1)
            row = held.copy()
            moved = column > place[of][:, None]
            np.copyto(row[:, HEAD + 1 :], held[:, HEAD + 1 - shift : -shift], where=moved)
            row[:, :HEAD] += head[of]
            row[np.arange(len(of)), place[of]] = some.entry[of]
            nodes.fill((fresh[of][:, None] + number).ravel(), row.reshape(-1, WORDS))
        self._lines.retire(line, runs)
        return fresh


def _turns(line: Rows, node: Rows) -> Iterator[Rows]:
    """Changes of nodes that stand, and in which few change, so that none shares its node with another of its turn."""
    times = np.bincount(node, minlength=len(line))[node]
    few = (times <= TIMES) & (line[node] > 0)
    several = np.flatnonzero(few & (times > 1))
    several = several.take(node[several].argsort(kind="stable"))
    begins = np.ones(len(several), np.bool_)
    begins[1:] = node[several[1:]] != node[several[:-1]]
    first = np.flatnonzero(begins)
    number = np.arange(len(several)) - np.repeat(first, np.diff(first, append=len(several)))
    turn = np.concatenate([np.flatnonzero(few & (times == 1)), several[first]])
    for at in range(1, TIMES + 1):
        if not len(turn):
            return
        yield turn
        turn = several[number == at]
