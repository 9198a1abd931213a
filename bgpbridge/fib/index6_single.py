"""One route of the IPv6 index at a time: what a single UPDATE waits for.

    runs stay where they are     their entries are stored over, one aligned store each
    runs come or go              the node is written elsewhere whole, and one store lets its slot point there
    nothing longer is left       one store lets the slot say what the node had inherited

So a reader sees the old answer or the new one. What it may still read is in limbo (`Lines.retire_one`).
"""

from __future__ import annotations

from array import array

from bgpbridge.fib.index6_lines import Lines
from bgpbridge.fib.index6_nodes import HEAD, INHERITED, LINE, OWNER, POINTER, WORDS, Nodes, place

__all__ = ["Node", "Single"]

MASK128 = (1 << 128) - 1
Words = memoryview
Way = list[tuple[int, int]]
"""The nodes on the way down: (the word that points at one, its line). The first is pointed at by a slot."""


class Node:
    """A node in hand: `starts` has a bit where a run starts, `entries` what each run says."""

    __slots__ = ("entries", "inherited", "starts")

    def __init__(self, starts: int = 1, entries: list[int] | None = None, inherited: int = 0) -> None:
        self.starts = starts
        self.entries = [0] if entries is None else entries
        self.inherited = inherited

    @property
    def empty(self) -> bool:
        """Nothing stands in it."""
        return self.entries == [0]

    def run(self, octet: int) -> int:
        """The run that a slot belongs to."""
        return (self.starts & (2 << octet) - 1).bit_count() - 1

    def cut(self, octet: int) -> None:
        """Let a run start here."""
        if octet < 256 and not self.starts >> octet & 1:
            run = self.run(octet)
            self.entries.insert(run, self.entries[run])
            self.starts |= 1 << octet

    def join(self, first: int, last: int) -> None:
        """Runs that start from `first` to `last` and say what the one before says are no runs of their own."""
        todo = self.starts >> first & (2 << (last - first)) - 1
        while todo:
            octet = first + todo.bit_length() - 1
            todo ^= 1 << (octet - first)
            run = self.run(octet)
            if run and self.entries[run] == self.entries[run - 1]:
                del self.entries[run]
                self.starts ^= 1 << octet

    def set(self, octet: int, entry: int) -> None:
        """Let one slot say this."""
        self.cut(octet)
        self.cut(octet + 1)
        self.entries[self.run(octet)] = entry
        self.join(octet, octet + 1)

    def paint(self, first: int, length: int, entry: int, words: Words, *, gone: bool) -> None:
        """Write a prefix of so many bits into its slots: where nothing longer owns them, or (`gone`) where exactly it
        does. A slot that points on hands it down as what the node there inherits."""
        behind = first + (1 << (8 - length))
        self.cut(first)
        self.cut(behind)
        for run in range(self.run(first), self.run(behind - 1) + 1):
            held = self.entries[run]
            below = WORDS * (held & LINE) + INHERITED if held & POINTER else 0
            owner = (words[below] if below else held) >> OWNER
            if owner == length if gone else owner <= length:
                if below:
                    words[below] = entry
                else:
                    self.entries[run] = entry
        self.join(first, behind)


class Single:
    """Writer of single routes that end in a node."""

    def __init__(self, nodes: Nodes, lines: Lines) -> None:
        self._nodes, self._lines = nodes, lines

    def write(self, hi: int, lo: int, length: int, entry: int, *, gone: bool) -> None:
        """A prefix and the entry that it leaves in its slots, with its owner. `gone`: where exactly the prefix owns a
        slot, otherwise where nothing longer does. Raises CapacityError."""
        slot, bits = place(hi, length)
        octets = ((hi << 64 | lo) << bits & MASK128).to_bytes(16, "big")
        depth, within = divmod(length - bits - 1, 8)
        way = self._way_down(slot, octets, depth)
        if len(way) <= depth:
            if not gone:
                self._grow(slot, octets, way, depth, within + 1, entry)
            return
        node = self._load(way[-1][1])
        node.paint(octets[depth], within + 1, entry, self._nodes.one_word, gone=gone)
        self._put_back(slot, octets, way, node)

    def _way_down(self, slot: int, octets: bytes, depth: int) -> Way:
        """The nodes down to this depth, as far as there are any."""
        nodes, way = self._nodes, []
        at, entry = -1, nodes.one_slot[slot]
        for octet in octets[: depth + 1]:
            if not entry & POINTER:
                break
            line = entry & LINE
            way.append((at, line))
            at = nodes.entry_at_one(line, octet)
            entry = nodes.one_word[at]
        return way

    def _load(self, line: int) -> Node:
        starts = self._nodes.starts_of(line)
        first = WORDS * line + HEAD
        entries = self._nodes.one_word[first : first + starts.bit_count()].tolist()
        return Node(starts, entries, self._nodes.one_word[WORDS * line + INHERITED])

    def _write(self, node: Node) -> int:
        """A node into a block of its own, that nothing points at yet."""
        line, words = self._lines.take_one(len(node.entries)), self._nodes.one_word
        self._nodes.write_starts(line, node.starts)
        words[WORDS * line + INHERITED] = node.inherited
        first = WORDS * line + HEAD
        words[first : first + len(node.entries)] = array("I", node.entries)
        return line

    def _point(self, slot: int, at: int, entry: int) -> None:
        """The one store that a reader sees."""
        if at < 0:
            self._nodes.one_slot[slot] = entry
        else:
            self._nodes.one_word[at] = entry

    def _grow(self, slot: int, octets: bytes, way: Way, depth: int, within: int, entry: int) -> None:
        """Nodes from where the way ends down to the prefix, made from below; then its last slot points there."""
        node = Node()
        node.paint(octets[depth], within, entry, self._nodes.one_word, gone=False)
        line = self._write(node)
        for octet in octets[len(way) : depth][::-1]:
            node = Node()
            node.set(octet, line | POINTER)
            line = self._write(node)
        inherited = WORDS * line + INHERITED
        if not way:
            self._nodes.one_word[inherited] = self._nodes.one_slot[slot]
            self._nodes.one_slot[slot] = line | POINTER
            return
        octet, node = octets[len(way) - 1], self._load(way[-1][1])
        self._nodes.one_word[inherited] = node.entries[node.run(octet)]
        node.set(octet, line | POINTER)
        self._put_back(slot, octets, way, node)

    def _put_back(self, slot: int, octets: bytes, way: Way, node: Node) -> None:
        """Let the last node of a way be as it is in hand. One that is empty goes, and the slot above is as without."""
        left = []
        while node.empty and len(way) > 1:
            left.append(way.pop()[1])
            above = self._load(way[-1][1])
            above.set(octets[len(way) - 1], node.inherited)
            node = above
        at, line = way[-1]
        if node.empty:
            self._point(slot, at, node.inherited)
            left.append(line)
        elif self._nodes.starts_of(line) == node.starts:
            self._store_over(line, node.entries)
        else:
            self._point(slot, at, self._write(node) | POINTER)
            left.append(line)
        for gone in left:
            self._lines.retire_one(gone, self._nodes.starts_of(gone).bit_count())

    def _store_over(self, line: int, entries: list[int]) -> None:
        words, first = self._nodes.one_word, WORDS * line + HEAD
        held = words[first : first + len(entries)].tolist()
        for run, entry in enumerate(entries):
            if held[run] != entry:
                words[first + run] = entry
