"""Looking at the IPv6 index: an address as the program looks it up, the nodes that can be reached, where two first
levels over the same lines say something else. What somebody else wrote there may be anything: nothing is believed
that leads out of the arrays, and no way down is longer than addresses are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bgpbridge.fib.index6_lines import lines_of
from bgpbridge.fib.index6_nodes import (
    BEFORE,
    GROUP,
    INHERITED,
    LINE,
    POINTER,
    SHORT_BITS,
    WORDS,
    Nodes,
    place,
    places,
)
from bgpbridge.fib.keys import U32, U64, Rows

__all__ = ["differing", "look_up", "look_up_many", "nodes_under"]

LEVELS = (128 - SHORT_BITS) // 8
MASK128 = (1 << 128) - 1


def look_up(nodes: Nodes, hi: int, lo: int) -> int | None:
    """What the program says of an address; None: it asks the trie. Step by step as in bpf/lookup6.h."""
    slot, bits = place(hi, 128)
    rest = (hi << 64 | lo) << bits & MASK128
    entry, best = nodes.one_slot[slot], 0
    for _ in range(LEVELS):
        if not entry & POINTER:
            break
        line = entry & LINE
        if line >= len(nodes.lines):
            return None
        best = nodes.one_word[WORDS * line + INHERITED] or best
        at = nodes.entry_at_one(line, rest >> 120)
        if at >= len(nodes.words):
            return None
        entry, rest = nodes.one_word[at], rest << 8 & MASK128
    return None if entry & POINTER else (entry or best) & GROUP


def look_up_many(nodes: Nodes, hi: U64, lo: U64) -> Rows:
    """The same for many addresses; -1: the program asks the trie."""
    slot, bits = places(hi, np.full(len(hi), 128))
    octets = _octets(hi, lo)
    entry, best = nodes.slots[slot], np.zeros(len(hi), np.uint32)
    todo = np.arange(len(hi))
    for level in range(LEVELS):
        todo = todo[entry[todo] & POINTER != 0]
        todo = todo[(entry[todo] & LINE) < len(nodes.lines)]
        line = (entry[todo] & LINE).astype(np.int64)
        inherited = nodes.lines[line, INHERITED]
        best[todo] = np.where(inherited != 0, inherited, best[todo])
        place_in = np.minimum((bits[todo] >> 3) + level, 15)
        at = nodes.entry_at(line, octets[todo, place_in].astype(np.int64))
        todo, at = todo[at < len(nodes.words)], at[at < len(nodes.words)]
        entry[todo] = nodes.words[at]
    found = (np.where(entry != 0, entry, best) & np.uint32(GROUP)).astype(np.int64)
    return np.where(entry & POINTER != 0, -1, found)


def _octets(hi: U64, lo: U64) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    words = np.empty((len(hi), 2), ">u8")
    words[:, 0], words[:, 1] = hi, lo
    return words.view(np.uint8)


def nodes_under(nodes: Nodes, slots: U32) -> tuple[Rows, Rows]:
    """Every node that can be reached from a first level: (line, runs)."""
    found, runs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for line, count in _levels(nodes, slots):
        found.append(line)
        runs.append(count)
    return np.concatenate(found), np.concatenate(runs)


def _levels(nodes: Nodes, slots: U32) -> Iterator[tuple[Rows, Rows]]:
    seen = np.zeros(len(nodes.lines), np.bool_)
    entries = slots
    for _ in range(LEVELS):
        line, runs = _sound(nodes, _pointed_at(entries, len(nodes.lines)))
        line, runs = line[~seen[line]], runs[~seen[line]]
        if not len(line):
            return
        seen[line] = True
        yield line, runs
        entries = nodes.words[nodes.entries_at(line, runs)[0]]


def _pointed_at(entries: U32, count: int) -> Rows:
    """The lines that entries point at, each once; those of `count` and more are left out."""
    line = entries[entries & POINTER != 0] & LINE
    named = np.zeros(count, np.bool_)
    named[line[line < count]] = True
    return np.flatnonzero(named)


def _sound(nodes: Nodes, line: Rows) -> tuple[Rows, Rows]:
    """Those of the lines that may be nodes: all of the block is there. With their runs."""
    line = line[(line > 0) & (line < len(nodes.lines))]
    runs = nodes.runs(line)
    whole = (runs > 0) & (line + lines_of(runs) <= len(nodes.lines))
    return line[whole], runs[whole]


def differing(one: Nodes, other: Nodes) -> Rows:
    """The slots under which two indexes, over the same lines or others, do not say exactly the same."""
    entry, its_entry = one.slots.copy(), other.slots
    wrong = np.flatnonzero(((entry | its_entry) & POINTER == 0) & (entry != its_entry)).tolist()
    wrong += np.flatnonzero((entry ^ its_entry) & POINTER).tolist()
    slot = np.flatnonzero(entry & its_entry & POINTER)
    mine, its = _lines(entry[slot]), _lines(its_entry[slot])
    for _ in range(LEVELS):
        if not len(slot):
            break
        slot, mine, its, bad = _compare(one, other, slot, mine, its)
        wrong += bad.tolist()
    return np.unique(np.array([*wrong, *slot.tolist()], np.int64))


def _compare(one: Nodes, other: Nodes, slot: Rows, mine: Rows, its: Rows) -> tuple[Rows, Rows, Rows, Rows]:
    """Nodes in pairs. Returns the pairs that are to be compared next, and the slots of those that are not alike."""
    inside = (mine > 0) & (mine + lines_of(other.runs(its)) <= len(one.lines))
    alike = inside.copy()
    alike[inside] = (one.lines[mine[inside], : BEFORE + 1] == other.lines[its[inside], : BEFORE + 1]).all(axis=1)
    bad, slot, mine, its = slot[~alike], slot[alike], mine[alike], its[alike]
    runs = other.runs(its)
    at, origin = one.entries_at(mine, runs)
    held, wanted = one.words[at], other.words[other.entries_at(its, runs)[0]]
    down = held & wanted & POINTER != 0
    odd = slot[origin[(held != wanted) & ~down]]
    return slot[origin[down]], _lines(held[down]), _lines(wanted[down]), np.concatenate([bad, odd])


def _lines(entries: U32) -> Rows:
    return (entries & LINE).astype(np.int64)
