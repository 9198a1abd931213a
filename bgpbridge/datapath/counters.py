"""Counters of the datapath as values: per-CPU cells summed, by reason, by adjacency and by group.

Reading stops nothing; a sum may miss a packet that is being counted, never one that was. Counters live in
the pinned maps: they go on over restarts of the bridge and over program upgrades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bgpbridge.datapath.abi import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from bgpbridge.datapath.elements import BpfMap
    from bgpbridge.datapath.maps import Maps

__all__ = ["Count", "read_adjacencies", "read_group", "read_reasons"]


@dataclass(frozen=True, slots=True)
class Count:
    """Packets, and the octets of their frames without FCS."""

    packets: int
    octets: int

    def __sub__(self, earlier: Count) -> Count:
        return Count(self.packets - earlier.packets, self.octets - earlier.octets)

    def __add__(self, other: Count) -> Count:
        return Count(self.packets + other.packets, self.octets + other.octets)


def _sums(counters: BpfMap) -> npt.NDArray[Any]:
    """(entries, 2) of packets and octets, summed over CPUs, in the order of the keys."""
    keys, values = counters.dump()
    sums = np.zeros((counters.max_entries, 2), np.uint64)
    sums[keys, 0] = values["packets"].sum(axis=1, dtype=np.uint64)
    sums[keys, 1] = values["octets"].sum(axis=1, dtype=np.uint64)
    return sums


def read_reasons(maps: Maps) -> Mapping[Reason, Count]:
    """What became of every packet so far: all reasons, those that never happened too."""
    sums = _sums(maps.by_name["counters"]).tolist()
    return {reason: Count(*sums[reason]) for reason in Reason}


def read_adjacencies(maps: Maps) -> Mapping[int, Count]:
    """Packets forwarded by adjacency id; adjacencies that carried none are left out."""
    sums = _sums(maps.by_name["adjacency_counters"])
    return {int(index): Count(*sums[index].tolist()) for index in np.flatnonzero(sums[:, 0])}


def read_group(maps: Maps, group: int) -> Count:
    """Packets forwarded by one group, since its id was given to it."""
    counts = maps.by_name["group_counters"]
    cells = counts.lookup(np.array([group], counts.key))
    return Count(0, 0) if cells is None else Count(int(cells["packets"].sum()), int(cells["octets"].sum()))
