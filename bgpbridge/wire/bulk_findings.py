"""What is wrong with the blocks of a run, gathered in any order and packed to one key for each block (`found`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Verdict
from bgpbridge.wire.bulk_frame import I64, nonzero
from bgpbridge.wire.found import MOST, VERDICTS

__all__ = ["Notes"]

_VERDICTS = np.array(VERDICTS, np.uint8)
_LAST = 1 << 40  # behind every attribute of a block


class Notes:
    """Findings of blocks. Those of attributes come in the order of the attributes, then what is missing, then
    refusals (`refusals`), which only blocks have that nothing else withdraws."""

    def __init__(self, blocks: int) -> None:
        self.malformed = np.zeros(blocks, np.bool_)  # withdrawn because octets are wrong
        self._of_blocks: list[I64] = []
        self._orders: list[I64] = []
        self._numbers: list[I64] = []
        self._refused: list[tuple[I64, int]] = []

    def attributes(self, blocks: I64, rows: I64, numbers: Any) -> None:
        """Findings of attributes, one of a block in each row of AttributeRows; `numbers` is one, or one for each."""
        if len(blocks):
            self._wrong(blocks, rows, np.broadcast_to(numbers, len(blocks)))

    def missing(self, blocks: I64, place: int, number: int) -> None:
        """A mandatory attribute is not there. `place` is that of the finding among its like."""
        if len(blocks):
            self._wrong(blocks, np.full(len(blocks), _LAST + place), np.full(len(blocks), number))

    def refused(self, blocks: I64, number: int) -> None:
        """A reason to refuse the route, in the order of `refusals`. Nothing for blocks that are malformed, which is
        looked at in the end."""
        if len(blocks):
            self._refused.append((blocks, number))

    def _add(self, blocks: I64, orders: I64, numbers: npt.NDArray[Any]) -> None:
        self._of_blocks.append(blocks)
        self._orders.append(orders)
        self._numbers.append(numbers.astype(np.int64))

    def _wrong(self, blocks: I64, orders: I64, numbers: npt.NDArray[Any]) -> None:
        self._add(blocks, orders, numbers)
        self.malformed[blocks.compress(_VERDICTS.take(numbers) >= Verdict.TREAT_AS_WITHDRAW)] = True

    def keys(self) -> tuple[I64, npt.NDArray[np.uint64], npt.NDArray[np.uint8], I64] | None:
        """(blocks that have findings, their keys, their verdicts, blocks that have too many); None: there are none."""
        for turn, (blocks, number) in enumerate(self._refused):
            fine = blocks.compress(~self.malformed.take(blocks))
            self._add(fine, np.full(len(fine), 2 * _LAST + turn), np.full(len(fine), number))
        if not sum(map(len, self._of_blocks)):
            return None
        block, numbers = np.concatenate(self._of_blocks), np.concatenate(self._numbers)
        order = np.lexsort((np.concatenate(self._orders), block))
        block, numbers = block.take(order), numbers.take(order)
        first = np.ones(len(block), np.bool_)
        np.not_equal(block[1:], block[:-1], out=first[1:])
        begin = nonzero(first)
        place = np.arange(len(block)) - begin.take(np.cumsum(first) - 1)
        many = block.compress(place >= MOST)
        octets = numbers.astype(np.uint64) << (np.minimum(place, MOST) * 8 % 64).astype(np.uint64)
        keys = np.bitwise_or.reduceat(octets, begin)
        verdicts = np.maximum.reduceat(_VERDICTS.take(numbers), begin)
        return block.take(begin), keys, verdicts, many
