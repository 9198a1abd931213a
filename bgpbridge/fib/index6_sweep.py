"""The IPv6 index for an audit: what packets to every address are told, and whether all of it is laid out as it should.

What somebody else wrote may be anything. Nothing is followed that leads out of the arrays; where a way down has no end
or the ways are more than routes can make, the rest says DEFER, which no routes do. Where packets are told the right
thing by nodes that are not as the routes make them (owners, inherited entries: the writer goes by those), the whole
slot is HIDDEN.
"""

from __future__ import annotations

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.fib.index6_nodes import GROUP, LINE, POINTER, SHORT_BITS, Nodes, places, spread
from bgpbridge.fib.index6_reader import differing
from bgpbridge.fib.keys import U32, U64, Keys, Rows
from bgpbridge.fib.ranges import DEFER, HIDDEN, Ranges, ranges_of, together
from bgpbridge.fib.sweep import DIVERGENT, Compared
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["compared", "said", "slots_of", "widened"]

LEVELS = (128 - SHORT_BITS) // 8
WINDOW = np.uint64(0x2000 << 48), np.uint64(0x4000 << 48)  # 2000::/3, in slots of 24 bits
BEFORE, INSIDE = 0x2000, abi.INDEX6_SLOTS - abi.INDEX6_SHORT  # slots in front of it, slots of it
AT_ONCE = 1 << 14  # nodes that are laid open at a time
MOST = 1 << 22  # ways down


# -- what packets are told --------------------------------------------------------------------------------------


class _Pieces:
    """Gathers pieces in any order."""

    def __init__(self) -> None:
        self._parts: list[tuple[U64, U64, U32]] = []

    def add(self, hi: U64, lo: U64, value: U32) -> None:
        self._parts.append((hi, lo, value))

    def ranges(self) -> Ranges:
        hi, lo, value = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.lexsort((lo, hi))
        return Ranges(Family.IPV6, hi[order], lo[order], value[order]).joined()


def said(nodes: Nodes) -> Ranges:
    """Groups by ranges of addresses, as the program finds them."""
    found = _Pieces()
    slot = _in_order()
    entry = nodes.slots[slot]
    begins = np.ones(len(entry), np.bool_)
    begins[1:] = (entry[1:] != entry[:-1]) | (entry[1:] & POINTER != 0)
    slot, entry = slot[begins], entry[begins]
    hi, bits = _place_of(slot)
    flat = entry & POINTER == 0
    found.add(hi[flat], np.zeros(int(flat.sum()), np.uint64), entry[flat] & np.uint32(GROUP))
    way = hi[~flat], np.zeros(int((~flat).sum()), np.uint64), bits[~flat], entry[~flat], np.zeros_like(entry[~flat])
    for _ in range(LEVELS):
        way = _down(nodes, way, found)
    found.add(way[0], way[1], np.full(len(way[0]), DEFER, np.uint32))
    return found.ranges()


Way = tuple[U64, U64, Rows, U32, U32]
"""Addresses, bits of them that are spent, the entry that points on, the last entry above that says something."""


def _down(nodes: Nodes, way: Way, found: _Pieces) -> Way:
    """One level."""
    hi, lo, bits, entry, _ = way
    lost = ((entry & LINE) >= len(nodes.lines)) | (bits > 120)
    lost[MOST:] = True
    found.add(hi[lost], lo[lost], np.full(int(lost.sum()), DEFER, np.uint32))
    parts: list[Way] = []
    sound = np.flatnonzero(~lost)
    for start in range(0, len(sound), AT_ONCE):
        which = sound[start : start + AT_ONCE]
        parts.append(_lay_open(nodes, tuple(column[which] for column in way), found))  # type: ignore[arg-type]
        breathe()
    if not parts:
        return tuple(column[:0] for column in way)  # type: ignore[return-value]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def _lay_open(nodes: Nodes, way: Way, found: _Pieces) -> Way:
    hi, lo, bits, entry, best = way
    line = (entry & LINE).astype(np.int64)
    inherited = nodes.inherited(line)
    best = np.where(inherited != 0, inherited, best)
    runs = np.unpackbits(np.ascontiguousarray(nodes.octets[line, :32]), axis=1, bitorder="little").astype(np.bool_)
    runs[:, ::64] = True  # there the program counts anew, whatever the bits say
    node, octet = np.divmod(np.flatnonzero(runs), 256)
    at = nodes.entry_at(line[node], octet)
    out = at >= len(nodes.words)
    entry = nodes.words[np.minimum(at, len(nodes.words) - 1)]
    behind = np.append(np.where(node[1:] == node[:-1], octet[1:], 256), 256)
    ends = (entry & POINTER == 0) | out
    value = np.where(entry != 0, entry, best[node]) & np.uint32(GROUP)
    its_hi, its_lo = _step(hi[node], lo[node], bits[node], octet)
    found.add(its_hi[ends], its_lo[ends], np.where(out, DEFER, value)[ends].astype(np.uint32))
    # a pointer that somebody has made wide is followed by each of its octets
    octet, origin = spread(octet[~ends], (behind - octet)[~ends])
    node = node[~ends][origin]
    its_hi, its_lo = _step(hi[node], lo[node], bits[node], octet)
    return its_hi, its_lo, bits[node] + 8, entry[~ends][origin], best[node]


def _step(hi: U64, lo: U64, bits: Rows, octet: Rows) -> tuple[U64, U64]:
    """Addresses with their next octet."""
    shift = (120 - bits).astype(np.uint64)
    upper, value = bits < 64, octet.astype(np.uint64)
    hi = hi | np.where(upper, value << (shift & np.uint64(63)), np.uint64(0))
    return hi, lo | np.where(upper, np.uint64(0), value << (shift & np.uint64(63)))


# -- slots ------------------------------------------------------------------------------------------------------


def _in_order() -> Rows:
    """The slots in the order of addresses."""
    short = np.arange(abi.INDEX6_SHORT)
    return np.concatenate([short[:BEFORE], np.arange(abi.INDEX6_SHORT, abi.INDEX6_SLOTS), short[2 * BEFORE :]])


def _place_of(slot: Rows) -> tuple[U64, Rows]:
    """Where slots begin, and how many bits each stands for."""
    long = slot >= abi.INDEX6_SHORT
    inside = WINDOW[0] + ((slot - abi.INDEX6_SHORT).astype(np.uint64) << np.uint64(40))
    return np.where(long, inside, slot.astype(np.uint64) << np.uint64(48)), np.where(long, 24, 16)


def _number(hi: U64) -> Rows:
    """The number of the slot of an address in the order of addresses."""
    coarse = (hi >> np.uint64(48)).astype(np.int64)
    inside = BEFORE + ((hi - WINDOW[0]) >> np.uint64(40)).astype(np.int64)
    above = coarse - BEFORE + INSIDE
    return np.where(hi < WINDOW[0], coarse, np.where(hi < WINDOW[1], inside, above))


def slots_of(wrong: Compared) -> Rows:
    """The slots of the pieces that are DIVERGENT."""
    which, hi, lo = wrong.wrong(), wrong.pieces.hi, wrong.pieces.lo
    end_hi, end_lo = np.append(hi[1:], np.uint64(0)), np.append(lo[1:], np.uint64(0))
    last = end_hi - (end_lo == 0)  # the upper half of the last address
    first, behind = _number(hi[which]), _number(last[which]) + 1
    reached = _in_order()[np.unique(spread(first, behind - first)[0])]
    # slots of 16 bits inside 2000::/3 are asked by nobody, and are kept all the same
    first, behind = ((word >> np.uint64(48)).astype(np.int64) for word in (hi[which], last[which]))
    coarse = np.unique(spread(first, behind + 1 - first)[0])
    return np.concatenate([reached, coarse[(coarse >= BEFORE) & (coarse < 2 * BEFORE)]])


def widened(keys: Keys) -> Keys:
    """Prefixes that end in nodes by their slot."""
    length = keys.length.astype(np.int64)
    _, bits = places(keys.hi, length)
    deep = length > bits
    mask = np.where(bits == 24, np.uint64((1 << 64) - (1 << 40)), np.uint64((1 << 64) - (1 << 48)))
    hi = np.where(deep, keys.hi & mask, keys.hi)
    return Keys(Family.IPV6, hi, np.where(deep, np.uint64(0), keys.lo), np.minimum(length, bits).astype(np.uint8))


# -- beside what should be --------------------------------------------------------------------------------------


def compared(nodes: Nodes, fresh: Nodes, keys: Keys, groups: U32) -> Compared:
    """All that stands in an index beside one that was made of these routes a moment ago."""
    told = Compared.of(said(nodes), ranges_of(keys, groups))
    slot = differing(nodes, fresh)
    if not len(slot):
        return told
    hi, bits = _place_of(slot)
    there = Keys(Family.IPV6, hi, np.zeros(len(hi), np.uint64), bits.astype(np.uint8))
    odd = ranges_of(there, np.full(len(slot), HIDDEN, np.uint32))
    numbers = told.pieces.valued(np.arange(len(told.pieces), dtype=np.uint32))
    pieces, (number, hidden) = together([numbers, odd])
    right = (told.pieces.value[number] != DIVERGENT) & (hidden != 0)
    state = np.where(hidden != 0, np.uint32(DIVERGENT), told.pieces.value[number])
    have = np.where(right, hidden, told.have[number])
    return Compared(pieces.valued(state.astype(np.uint32)), have.astype(np.uint32), told.want[number])
