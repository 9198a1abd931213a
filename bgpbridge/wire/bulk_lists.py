"""AS paths, communities and OTC of many blocks at once, as flat columns: what policies look through.

Only for blocks of which at most attributes were discarded (RFC 7606); the caller marks others odd. Of those,
blocks whose path is more than one AS_SEQUENCE, or that need AS4_PATH (RFC 6793 s4.2.3), are marked odd here and
left to `attributes.decode_attributes`. Held equal to it by tests/property/test_wire_lists.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bgpbridge.wire.attributes import Code
from bgpbridge.wire.bulk_attributes import AttributeRows, walk_attributes
from bgpbridge.wire.bulk_frame import I64, U64, Octets, nonzero, ranges
from bgpbridge.wire.segments import SegmentKind

__all__ = ["AttributeLists", "decode_lists"]

U32 = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]


@dataclass
class AttributeLists:
    """Flat columns over n blocks. The path of block i is `asns[path_start[i] : path_start[i] + path_count[i]]`,
    neighbour first; a community column comes with the block of each value. Blocks that are `odd` have
    nothing in them that counts. Large communities are two columns: first 32 bits, last 64. A block has at most one
    OTC (RFC 9234)."""

    path_start: I64
    path_count: I64
    asns: U32
    standard_block: I64
    standard: U32
    extended_block: I64
    extended: U64
    large_block: I64
    large_global: U32
    large_local: U64
    otc_block: I64
    otc: U32
    odd: Mask

    @cached_property
    def asn_block(self) -> I64:
        """The block of each AS number in `asns`."""
        order = np.argsort(self.path_start, kind="stable")
        return np.repeat(order, self.path_count.take(order))


def decode_lists(octets: Octets, start: I64, end: I64, asn4: Mask) -> AttributeLists:
    """The lists of the blocks `start[i]..end[i]`; `asn4` tells whose AS numbers have four octets."""
    rows = walk_attributes(octets, start, end)
    odd = rows.odd.copy()
    odd[_blocks_with(rows, Code.AS4_PATH)] = True
    path_start, path_count, asns = _paths(octets, rows, asn4, odd)
    standard_block, standard = _values(rows, Code.COMMUNITIES, 4, odd)
    extended_block, extended = _values(rows, Code.EXTENDED, 8, odd)
    large_block, large = _values(rows, Code.LARGE, 12, odd)
    otc_block, otc = _values(rows, Code.OTC, 4, odd)
    return AttributeLists(
        path_start,
        path_count,
        asns,
        standard_block,
        (octets.load(standard) >> np.uint64(32)).astype(np.uint32),
        extended_block,
        octets.load(extended),
        large_block,
        (octets.load(large) >> np.uint64(32)).astype(np.uint32),
        octets.load(large + 4),
        otc_block,
        (octets.load(otc) >> np.uint64(32)).astype(np.uint32),
        odd,
    )


def _blocks_with(rows: AttributeRows, code: int) -> I64:
    return rows.block.compress(rows.kind >> 2 == code)


def _one_each(rows: AttributeRows, code: int, odd: Mask) -> I64:
    """The rows of an attribute; blocks that have it twice are odd."""
    which = nonzero(rows.kind >> 2 == code)
    if not len(which):
        return which
    twice = np.bincount(rows.block.take(which), minlength=len(odd)) > 1
    odd |= twice
    return which.compress(~twice.take(rows.block.take(which)))


def _paths(octets: Octets, rows: AttributeRows, asn4: Mask, odd: Mask) -> tuple[I64, I64, U32]:
    """AS_PATH where it is empty or one AS_SEQUENCE."""
    which = _one_each(rows, Code.AS_PATH, odd)
    block, value, length = rows.block.take(which), rows.value.take(which), rows.length.take(which)
    head = octets.load(value)
    count = ((head >> np.uint64(48)) & np.uint64(255)).view(np.int64)
    size = np.where(asn4.take(block), 4, 2)
    plain = (head >> np.uint64(56) == SegmentKind.AS_SEQUENCE) & (length == 2 + size * count) & (count > 0)
    odd[block.compress(~plain & (length > 0))] = True
    path_start, path_count = np.zeros(len(odd), np.int64), np.zeros(len(odd), np.int64)
    columns, done = [np.empty(0, np.uint32)], 0
    for octets_each in (4, 2):
        here = nonzero(plain & (size == octets_each))
        blocks, counts = block.take(here), count.take(here)
        path_count[blocks] = counts
        path_start[blocks] = done + np.cumsum(counts) - counts
        done += int(counts.sum())
        words = octets.load(ranges(value.take(here) + 2, counts, octets_each))
        columns.append((words >> np.uint64(64 - 8 * octets_each)).astype(np.uint32))
    return path_start, path_count, np.concatenate(columns)


def _values(rows: AttributeRows, code: int, size: int, odd: Mask) -> tuple[I64, I64]:
    """(block, position) of every value of a list of values of `size` octets."""
    which = _one_each(rows, code, odd)
    if not len(which):
        return which, which
    block, length = rows.block.take(which), rows.length.take(which)
    odd[block.compress(length % size != 0)] = True
    count = length // size
    return np.repeat(block, count), ranges(rows.value.take(which), count, size)
