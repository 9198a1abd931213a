"""Round-trip times of TCP handshakes that the program saw pass (bpf/rtt.h): read out of its rings, per CPU.

The program writes and never waits; who reads seldom loses the oldest samples, of which there are `RTT_SAMPLES` a CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath.abi import RTT_SAMPLES, RTT_SHIFT

__all__ = ["HandshakeTimes", "Samples"]


class Samples(NamedTuple):
    """Adjacency ids (i8) and round-trip times in seconds (f8, to the microsecond), in the order of one CPU each."""

    adjacency: npt.NDArray[np.int64]
    rtt_s: npt.NDArray[np.float64]


class HandshakeTimes:
    """Reads `Maps.rtt_rings` from where they stand when it is made."""

    def __init__(self, rings: npt.NDArray[Any]) -> None:
        self._rings = rings
        self._read = rings["head"].astype(np.int64)

    def take(self) -> Samples:
        """What came since the last call."""
        heads = self._rings["head"].astype(np.int64)
        parts = [self._of(cpu, int(heads[cpu])) for cpu in np.flatnonzero(heads != self._read).tolist()]
        self._read = heads
        words = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
        ids = words & np.uint64((1 << RTT_SHIFT) - 1)
        return Samples(ids.astype(np.int64), (words >> np.uint64(RTT_SHIFT)) / 1e6)

    def _of(self, cpu: int, head: int) -> npt.NDArray[np.uint64]:
        places = np.arange(max(int(self._read[cpu]), head - RTT_SAMPLES), head) % RTT_SAMPLES
        found: npt.NDArray[np.uint64] = self._rings["samples"][cpu].take(places)
        return found
