"""An array of the kernel's mapped as far as it is used.

The pages of a BPF array that is mapped count as the process's memory, all of them from the start. An index has room for
the largest table there may be and mostly uses the first part of it, so only that is mapped: behind it lie pages of
zeros, at the addresses where the next piece will be. An array that looks at them stays valid for good. What is written
there goes nowhere; nobody does who asks for room (`reach`) before he writes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["ROOMY", "Growing", "Part", "Room"]

PIECE = 1 << 20  # octets; mapping one takes some 20 us
MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000  # asm-generic/mman-common.h
BOTH = mmap.PROT_READ | mmap.PROT_WRITE


class Room(Protocol):
    """What has to be asked before something is written beyond what was used so far."""

    def reach(self, count: int) -> None:
        """Let so many be there."""

    def fit(self, count: int) -> None:
        """So many are used, and nobody reads what is behind them."""


class _Roomy:
    """Memory that is there anyway."""

    def reach(self, count: int) -> None:
        """It is."""

    def fit(self, count: int) -> None:
        """Whatever is used."""


ROOMY: Room = _Roomy()


class Growing:
    """`values` are `count` elements of the array behind `fd`, of which those are the kernel's that were asked for; at
    first none, or all (`whole`: somebody may have written them)."""

    def __init__(self, fd: int, dtype: np.dtype[Any], count: int, *, whole: bool) -> None:
        self._fd, self._each = fd, dtype.itemsize
        self._size = -(-count * dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        self._mapped = 0
        place = mmap.mmap(-1, self._size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        octets = np.frombuffer(place, np.uint8)
        self._address = int(octets.ctypes.data)
        self.values: npt.NDArray[Any] = octets[: count * dtype.itemsize].view(dtype)
        if whole:
            self.fit(count)

    @property
    def mapped_octets(self) -> int:
        """How much of it is the kernel's."""
        return self._mapped

    def reach(self, count: int) -> None:
        """Let so many elements be the array's, if they are not. Raises OSError."""
        if count * self._each > self._mapped:
            self.fit(count)

    def fit(self, count: int) -> None:
        """So many, in whole pieces, and no more: what is behind them nobody reads any more. Raises OSError."""
        wanted = min(-(-count * self._each // PIECE) * PIECE, self._size)
        if wanted > self._mapped:
            self._lay(self._mapped, wanted, mmap.MAP_SHARED, self._fd, self._mapped)
        elif wanted < self._mapped:
            self._lay(wanted, self._mapped, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        self._mapped = wanted

    def _lay(self, begin: int, end: int, flags: int, fd: int, offset: int) -> None:
        """Another mapping in place of what lies there, in one step."""
        found = _libc.mmap(self._address + begin, end - begin, BOTH, flags | MAP_FIXED, fd, offset)
        if found == MAP_FAILED:
            code = ctypes.get_errno()
            raise OSError(code, f"mapping {end - begin} octets: {os.strerror(code)}")


@dataclass(frozen=True, slots=True)
class Part:
    """The part from element `first` on, counted in rows of `each` elements."""

    whole: Growing
    first: int = 0
    each: int = 1

    def reach(self, rows: int) -> None:
        """Let so many rows be there. Raises OSError."""
        self.whole.reach(self.first + rows * self.each)

    def fit(self, rows: int) -> None:
        """So many, and no more. Raises OSError."""
        self.whole.fit(self.first + rows * self.each)
