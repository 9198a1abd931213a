"""The attributes of many blocks in lock-step: round k reads the k-th attribute of every block.

Gives one row per attribute, for `bulk_blocks` (where are the MP attributes) and `bulk_fields` (what do
they say). Held equal to `attributes.frame_attributes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.wire.attributes import EXTENDED_LENGTH
from bgpbridge.wire.bulk_frame import I64, Octets, nonzero

__all__ = ["AttributeRows", "walk_attributes"]

_ROUNDS = 40  # a block of more attributes than this is left to the scalar way; no real one has half of them


@dataclass(slots=True)
class AttributeRows:
    """One row per attribute, in no particular order, except that those of one block stand in the order
    of the block. `kind` is code << 2 | flags >> 6; `odd` marks blocks whose attributes do not fill them
    exactly, or are too many."""

    block: I64
    kind: I64
    value: I64
    length: I64
    odd: npt.NDArray[np.bool_]


def walk_attributes(octets: Octets, start: I64, end: I64) -> AttributeRows:
    """The attributes of the blocks `start[i]..end[i]`."""
    odd = np.zeros(len(start), np.bool_)
    active = nonzero(start < end)
    position, stop = start.take(active), end.take(active)
    rows: list[tuple[I64, I64, I64, I64]] = []
    while len(active) and len(rows) < _ROUNDS:
        word = octets.load(position)
        top = (word >> np.uint64(32)).view(np.int64)  # flags, code and both forms of the length
        wide = (top >> 28) & 1  # the extended-length bit
        length = np.where(wide, top & 0xFFFF, (top >> 8) & 0xFF)
        value = position + wide
        value += 3
        rows.append((active, (top >> 14) & 0x3FC | top >> 30, value, length))
        position = value + length
        going = nonzero(position < stop)
        if len(going) < len(active):
            odd[active.compress(position > stop)] = True
            active, position, stop = active.take(going), position.take(going), stop.take(going)
    odd[active] = True
    if not rows:
        return AttributeRows(active, active, active, active, odd)
    block, kind, value, length = (np.concatenate(column) for column in zip(*rows, strict=True))
    return AttributeRows(block, kind, value, length, odd)


assert EXTENDED_LENGTH == 0x10  # bit 28 of the first four octets
