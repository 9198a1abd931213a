"""Packets that the program was asked to note (bpf/trace.h): what to ask for, and its rings read out, per CPU.

The program writes a record only where a reader has made room, so no record is ever half written, and a reader that is
slow or gone makes it write no more. Every packet that matches is counted, noted or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath.abi import GROUP_FIRST_FREE, TRACE_FILTER, TRACE_RECORDS, Reason
from bgpbridge.types import Family, Prefix

if TYPE_CHECKING:
    from bgpbridge.datapath.elements import BpfMap

__all__ = ["EVERYTHING", "Batch", "Noted", "TraceFilter", "TraceRings"]


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which packets to note: all, those of one interface, those between prefixes (of one family), or both. `one_in`, a
    power of two: of those that match, one in so many at random."""

    to: Prefix | None = None
    source: Prefix | None = None
    ifindex: int = 0
    one_in: int = 1

    @property
    def row(self) -> npt.NDArray[Any]:
        """As the program reads it."""
        row = np.zeros(1, TRACE_FILTER)
        row["ifindex"], row["sample_mask"] = self.ifindex, self.one_in - 1
        for name, prefix in (("to", self.to), ("from", self.source)):
            if prefix is not None:
                row["version"] = 4 if prefix.family is Family.IPV4 else 6
                row[name], row[f"{name}_mask"] = _words(prefix.octets), _words(_mask(prefix))
        return row

    def store(self, into: BpfMap) -> None:
        """Write it. Nobody may be tracing by another one meanwhile."""
        into.update(0, self.row)


EVERYTHING = TraceFilter()


def _words(octets: bytes) -> npt.NDArray[np.uint64]:
    return np.frombuffer(octets.ljust(16, b"\0"), np.uint64)


def _mask(prefix: Prefix) -> bytes:
    bits = prefix.family.bits
    return ((1 << bits) - (1 << bits - prefix.length)).to_bytes(bits // 8, "big")


@dataclass(frozen=True, slots=True)
class Noted:
    """One packet. `at_s` is the monotonic clock's time; `octets` those of the whole frame, of which `head` is the
    beginning, as it left the program. `slot` is None where no group was asked for one, `adjacency` 0 where none is in
    it."""

    at_s: float
    ifindex: int
    octets: int
    reason: Reason
    group: int
    slot: int | None
    adjacency: int
    head: bytes

    @classmethod
    def of(cls, row: np.void) -> Noted:
        """From a record."""
        reason, group = Reason(int(row["reason"])), int(row["group"])
        slotted = group >= GROUP_FIRST_FREE and reason is not Reason.PASS_GROUP_INVALID
        return cls(
            at_s=int(row["at_ns"]) / 1e9,
            ifindex=int(row["ifindex"]),
            octets=int(row["octets"]),
            reason=reason,
            group=group,
            slot=int(row["slot"]) if slotted else None,
            adjacency=int(row["adjacency"]),
            head=row["head"].tobytes()[: int(row["captured"])],
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What one CPU saw since it was read last: packets and octets of all that match, and those that were noted."""

    packets: int
    octets: int
    noted: tuple[Noted, ...]


class TraceRings:
    """Reader of `trace_rings`, and the one who makes room in them. `begin` before packets are let in."""

    def __init__(self, rings: npt.NDArray[Any]) -> None:
        self._rings = rings
        self._read = rings["head"].astype(np.int64)
        self._counted = np.zeros((len(rings), 2), np.int64)

    @property
    def room(self) -> int:
        """Records of one CPU between two calls of `take`."""
        return TRACE_RECORDS

    def begin(self) -> None:
        """Forget what stands there, and make room."""
        for name in ("group", "slot", "adjacency"):
            self._rings[name] = 0
        self._read = self._rings["head"].astype(np.int64)
        self._counted = self._counts()
        self._rings["limit"] = self._read + TRACE_RECORDS

    def take(self) -> list[Batch]:
        """What came since the last call, of each CPU that saw something; and room for as much again."""
        heads, counts = self._rings["head"].astype(np.int64), self._counts()
        batches = []
        for cpu in np.flatnonzero((counts != self._counted).any(axis=1)).tolist():
            packets, octets = (counts[cpu] - self._counted[cpu]).tolist()
            rows = self._rings["records"][cpu].take(np.arange(self._read[cpu], heads[cpu]) % TRACE_RECORDS)
            batches.append(Batch(packets, octets, tuple(Noted.of(row) for row in rows)))
        self._read, self._counted = heads, counts
        self._rings["limit"] = heads + TRACE_RECORDS
        return batches

    def _counts(self) -> npt.NDArray[np.int64]:
        return np.stack([self._rings[name].astype(np.int64) for name in ("packets", "octets")], axis=1)
