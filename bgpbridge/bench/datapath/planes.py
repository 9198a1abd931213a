"""The same routes in XDP and in the kernel, filled by the product's own writers.

Group n of a family has one member, next hop n behind r1. The first routes of a table may stand alone, more are added
later. A prefix of the sender's source leads back to where its packets come from, as a reverse-path check wants it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bgpbridge.bench.datapath.place import PORTS, Place, gateway, mac
from bgpbridge.bench.datapath.table import GROUPS, Table, first_group
from bgpbridge.datapath.abi import Adjacency, AdjacencyState
from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix

__all__ = ["DETOUR", "Planes"]

SLICE: Final = 100_000
SETTLE_S: Final = 120.0
MTU: Final = 1500
DETOUR, HOME = GROUPS + 1, GROUPS + 2  # adjacencies behind those of the next hops: by r2; back by r0
HOME_GROUP: Final = first_group(Family.IPV6) + GROUPS
HOMES: Final = {Family.IPV4: Prefix.parse("198.18.0.0/24"), Family.IPV6: Prefix.parse("2001:db8::/64")}


@dataclass(slots=True)
class Planes:
    """Both planes, and how many routes of each family stand in them."""

    place: Place
    maps: Maps
    tables: Mapping[Family, Table]
    xdp: XdpFib = field(init=False)
    kernel: KernelFib = field(init=False)
    in_xdp: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))
    in_kernel: dict[Family, int] = field(default_factory=lambda: dict.fromkeys(Family, 0))

    def __post_init__(self) -> None:
        self.xdp = XdpFib(self.maps, Engine.INDEX)
        self.kernel = KernelFib()

    def start(self) -> None:
        """Interfaces, adjacencies and groups of both planes; no routes. In the router's namespace."""
        for port in ("r0", "r1", "r2"):
            self.maps.accept_interface(PORTS[port], mac(port))
        for number in range(1, GROUPS + 1):
            self.maps.store_adjacency(number, self._adjacency("r1", "s0"))
        self.maps.store_adjacency(DETOUR, self._adjacency("r2", "s1"))
        self.maps.store_adjacency(HOME, self._adjacency("r0", "g0"))
        self.xdp.set_members(HOME_GROUP, [(HOME, 1)])
        self.kernel.start()
        for family, prefix in HOMES.items():
            first = first_group(family)
            for number in range(GROUPS):
                self.xdp.set_members(first + number, [(number + 1, 1)])
            hops = {first + number: [Hop(gateway(family, number), PORTS["r1"])] for number in range(GROUPS)}
            self.kernel.set_groups(hops)
            hi, lo = divmod(prefix.value, 1 << 64)
            row = len(self.tables[family]) + 1
            self.xdp.apply(Changes.of(family, [(row, hi, lo, prefix.length, 0, HOME_GROUP)]))
        self.xdp.enabled = True

    def stop(self) -> None:
        """The kernel's routes go, in slices, and the worker with them."""
        self.kernel.clear().result(SETTLE_S)
        self.kernel.stop()

    def has_index(self, family: Family) -> bool:
        """Whether an index can answer for all routes that stand in XDP."""
        index = self.xdp.tries[family].table.index
        return index is not None and not index.trouble

    def fill_xdp(self, family: Family, upto: int) -> None:
        """Let the first `upto` routes stand in XDP."""
        for part in self._missing(family, self.in_xdp[family], upto):
            self.xdp.apply(part)
        self.xdp.tries[family].table.follower.flush()
        self.in_xdp[family] = max(upto, self.in_xdp[family])

    def fill_kernel(self, family: Family, upto: int) -> None:
        """Let the first `upto` routes stand in the kernel."""
        for part in self._missing(family, self.in_kernel[family], upto):
            self.kernel.apply(part)
        self.kernel.settled().result(SETTLE_S)
        self.in_kernel[family] = max(upto, self.in_kernel[family])

    def _missing(self, family: Family, first: int, upto: int) -> Iterator[Changes]:
        for at in range(first, upto, SLICE):
            yield self.tables[family].changes(np.arange(at, min(at + SLICE, upto)))

    @staticmethod
    def _adjacency(out: str, to: str) -> Adjacency:
        return Adjacency(mac(to), mac(out), MTU, AdjacencyState.UP, PORTS[out])
