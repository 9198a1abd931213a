"""A run of messages as words, and where its messages start.

Everything in `bulk_*` reads octets eight at a time: the run is copied once into aligned big-endian words,
and `load` gives the 8 octets at any positions by two aligned reads and shifts (5 ns each; unaligned fancy
indexing takes 9, gathering octets 27).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bgpbridge.errors import WireError
from bgpbridge.wire.message import MARKER, MessageType, header_problem

__all__ = ["I64", "U64", "Octets", "frame_run", "nonzero", "padded_size", "ranges"]

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
PADDING = 32  # zero octets behind the data, so that a load may run over its end
_LEADING = np.array([1 << 8 * k for k in range(1, 8)], np.uint64)


def nonzero(mask: npt.NDArray[np.bool_]) -> I64:
    """Positions of True."""
    return np.flatnonzero(mask)


class Octets:
    """Octets that can be read as words at any position: `data`, padded with zeros, and `words`."""

    __slots__ = ("data", "size", "words")

    def __init__(self, padded: npt.NDArray[np.uint8], size: int) -> None:
        """`padded` has a size that is a multiple of 8, with at least PADDING zeros behind `size`."""
        self.data = padded
        self.size = size
        self.words: U64 = padded.view(">u8").astype(np.uint64)

    @classmethod
    def copy(cls, data: bytes | memoryview) -> Octets:
        """From a caller's buffer, which is not kept."""
        size = len(data)
        padded = np.zeros(padded_size(size), np.uint8)
        padded[:size] = np.frombuffer(data, np.uint8)
        return cls(padded, size)

    def load(self, position: I64) -> U64:
        """The 8 octets at each position as one big-endian number."""
        word = position >> 3
        shift = ((position & 7) << 3).view(np.uint64)
        high = self.words.take(word, mode="clip")
        high <<= shift
        word += 1
        low = self.words.take(word, mode="clip")
        low >>= np.uint64(63) - shift
        low >>= np.uint64(1)  # a shift by 64 would not be one
        high |= low
        return high

    def pieces(self, start: I64, length: I64) -> npt.NDArray[np.uint8]:
        """A copy of some octets, back to back. Eight at a time: what one piece has too many of is written over by the
        next, for numpy stores in the order of the indexes."""
        count = length + 7 >> 3
        copied = np.zeros(int(length.sum()) + 8, np.uint8)
        _anywhere(copied)[ranges(np.cumsum(length) - length, count, 8)] = _anywhere(self.data)[ranges(start, count, 8)]
        return copied[:-8]

    def slice(self, start: int, end: int) -> bytes:
        """A copy of some octets."""
        return self.data[start:end].tobytes()


def _anywhere(octets: npt.NDArray[np.uint8]) -> U64:
    """The eight octets from any one on, as they stand in memory."""
    return np.ndarray((len(octets) - 7,), np.uint64, octets, 0, (1,))


def padded_size(size: int) -> int:
    """Octets to reserve for `size` octets that are to be read as words."""
    return (size + PADDING + 7) // 8 * 8


def frame_run(run: Octets, maximum: int) -> tuple[I64, I64, tuple[str, tuple[int, int]] | None]:
    """Starts and lengths of the UPDATEs in a run, and what is wrong where they end too early.

    Looks for words of ones (each marker holds an aligned one), then proves that the messages so found
    chain from the first octet to the last. Where they don't, walks. Raises WireError when a message is
    not an UPDATE.
    """
    found = _find(run, maximum)
    return (*found, None) if found else _walk(run, maximum)


def _find(run: Octets, maximum: int) -> tuple[I64, I64] | None:
    last = nonzero(run.words == ONES)
    if not len(last):
        return None
    ends = np.ones(len(last), np.bool_)
    np.not_equal(last[1:], last[:-1] + 1, out=ends[:-1])
    last = last.compress(ends)  # the last word of ones of each marker
    rest = ~run.words.take(last + 1, mode="clip")  # its leading ones belong to the marker too
    lead = np.zeros(len(last), np.int64)
    for limit in _LEADING:
        lead += rest < limit
    start = (last + 1) * 8 + lead - 16
    start = start.compress(start >= 0)
    start = start.compress((run.load(start) == ONES) & (run.load(start + 8) == ONES))
    if not len(start) or start[0]:
        return None
    header = run.load(start + 16)
    length = (header >> np.uint64(48)).view(np.int64)
    following = start + length
    chained = following[-1] == run.size and bool((following[:-1] == start[1:]).all())
    updates = (header >> np.uint64(40)) & np.uint64(255) == MessageType.UPDATE
    if not chained or not updates.all() or length.min() < 23 or length.max() > maximum:
        return None
    return start, length


def _walk(run: Octets, maximum: int) -> tuple[I64, I64, tuple[str, tuple[int, int]] | None]:
    """One header after the other, up to the first that is wrong."""
    data = run.slice(0, run.size)
    starts, lengths = [], []
    position = 0
    problem = None
    while position < len(data):
        length = data[position + 16] << 8 | data[position + 17] if position + 19 <= len(data) else 0
        plain = 23 <= length <= maximum and position + length <= len(data) and data[position + 18] == MessageType.UPDATE
        if not plain or not data.startswith(MARKER, position):
            problem = header_problem(data, position, maximum)
            if problem is None:
                raise WireError(f"message type {data[position + 18]} at octet {position} of a run; UPDATE (2) expected")
            break
        starts.append(position)
        lengths.append(length)
        position += length
    return np.array(starts, np.int64), np.array(lengths, np.int64), problem


def ranges(starts: I64, counts: I64, step: int = 1) -> I64:
    """`counts[i]` positions from `starts[i]` on, `step` apart, for all i one after the other."""
    before = np.cumsum(counts) - counts
    spread = np.arange(int(counts.sum()))
    if step == 1:
        return np.repeat(starts - before, counts) + spread
    return np.repeat(starts - before * step, counts) + spread * step
