"""Runs of UPDATEs in numpy: the values that `decode_run` gives.

Held equal to `update.split_update` by tests/property/test_wire_bulk.py and by every vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.verdicts import Finding

__all__ = ["Batch", "Blocks", "NlriColumns", "decode_run"]

I64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class NlriColumns:
    """The prefixes of one family in a run, in message order, withdrawals before announcements within a
    message. Host bits are zero. IPv4 addresses are in `lo`. `block` is an index into Blocks, -1 for a
    withdrawal."""

    message: I64
    hi: npt.NDArray[np.uint64]
    lo: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint8]
    path_id: npt.NDArray[np.uint32]
    block: I64


@dataclass(slots=True)
class Batch:
    """A run, decoded. `messages` is the number of messages that count: one that resets the session ends
    the run before itself. `findings` are those of messages; blocks have their own when decoded."""

    messages: int
    columns: dict[Family, NlriColumns]
    blocks: Blocks
    end_of_rib: tuple[tuple[int, Family], ...]
    findings: tuple[tuple[int, Finding], ...]
    verdict: Verdict


def decode_run(data: bytes | memoryview, session: Session) -> Batch:
    """Decode whole UPDATE messages that stand back to back."""
    raise NotImplementedError
