"""The first level of the IPv6 index: prefixes that end in `slots`, up to /24 in 2000::/3 and to /16 elsewhere.

Each fills the slots where nothing longer owns them. A slot that points at a node keeps what it would say without in
the node's `inherited`: that is written then. Every write is one aligned store of four octets.
"""

from __future__ import annotations

import numpy as np

from bgpbridge.fib.index6_nodes import LINE, OWNER, POINTER, Nodes, spans, spread
from bgpbridge.fib.keys import U32, U64, Rows

__all__ = ["FirstLevel"]

WIDE = 256  # slots from which on a prefix is written by itself
AT_ONCE = 1 << 17  # slots of one pass


class FirstLevel:
    """Writer of `slots`."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def write(self, hi: U64, length: Rows, entry: U32, *, gone: bool) -> None:
        """Prefixes that end here; the entry that each leaves in its slots, with its owner. `gone`: where exactly the
        prefix owns a slot, otherwise where nothing longer does."""
        for one in np.unique(length).tolist():  # the longer ones later: they win
            which = np.flatnonzero(length == one)
            first, count, origin = _fill(hi[which], one)
            narrow = np.flatnonzero(count < WIDE)
            slot, of = spread(first[narrow], count[narrow])
            self._scatter(slot, entry[which[origin[narrow]]][of], one + 1, gone)
            for index in np.flatnonzero(count >= WIDE).tolist():
                self.write_span(int(first[index]), int(count[index]), int(entry[which[origin[index]]]), one, gone=gone)

    def write_one(self, hi: int, length: int, entry: int, *, gone: bool) -> None:
        """One prefix that ends here."""
        for first, count in spans(hi, length):
            self.write_span(first, count, entry, length, gone=gone)

    def _scatter(self, slot: Rows, entry: U32, owner: int, gone: bool) -> None:
        slots = self._nodes.slots
        held = slots[slot]
        pointer = np.flatnonzero(held & POINTER)
        line = (held[pointer] & LINE).astype(np.int64)
        held[pointer] = self._nodes.inherited(line)
        mine = held >> OWNER == owner if gone else held >> OWNER <= owner
        below = mine[pointer]
        self._nodes.inherit(line[below], entry[pointer[below]])
        mine[pointer] = False
        slots[slot[mine]] = entry[mine]

    def write_span(self, first: int, count: int, entry: int, length: int, *, gone: bool) -> None:
        """Slots in a row, in parts, so that masks stay small."""
        owner = length + 1
        for start in range(first, first + count, AT_ONCE):
            part = self._nodes.slots[start : min(start + AT_ONCE, first + count)]
            held = part.copy()
            pointer = np.flatnonzero(held & POINTER)
            line = (held[pointer] & LINE).astype(np.int64)
            held[pointer] = self._nodes.inherited(line)
            mine = held >> OWNER == owner if gone else held >> OWNER <= owner
            self._nodes.inherit(line[mine[pointer]], np.uint32(entry))
            mine[pointer] = False
            np.copyto(part, np.uint32(entry), where=mine)


def _fill(hi: U64, length: int) -> tuple[Rows, Rows, Rows]:
    """What prefixes of one length fill: first slots, how many, and whose each is."""
    found = [(*span, index) for index, one in enumerate(hi.tolist()) for span in spans(one, length)]
    columns = np.array(found, np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]
