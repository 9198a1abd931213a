"""Attribute blocks of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Blocks"]


@dataclass(slots=True)
class Blocks:
    """Canonical blocks (see `attributes`): block i is `octets[start[i] : start[i] + length[i]]`.

    `octets` ends with at least 32 zero octets and its size is a multiple of 8, so that words can be read
    at any position. `mp` says that the NLRI of the block came in MP_REACH_NLRI. The octets are a copy
    of the run: the caller's buffer may be reused at once.
    """

    octets: npt.NDArray[np.uint8]
    start: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    mp: npt.NDArray[np.bool_]

    def block(self, index: int) -> bytes:
        """The octets of one block."""
        start = int(self.start[index])
        return self.octets[start : start + int(self.length[index])].tobytes()
