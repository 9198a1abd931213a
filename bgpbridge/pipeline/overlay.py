"""Which prefixes XDP leaves to the kernel, whatever BGP says: this machine's own and those of other routing.

A foreign route (connected, static, IGP) of a prefix beats ours in the kernel when its metric is not higher; then
XDP must not forward that prefix by itself. With a higher metric it stands in while BGP has no route for exactly
that prefix: without the overlay XDP would take a shorter BGP prefix instead. And a local prefix hides all BGP
prefixes inside (fib/foreign.py says why).

The overlay is kept by deltas: `foreign_changed` from the kernel watcher, `before` and `after` from each commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from bgpbridge.fib.foreign import ForeignTable
from bgpbridge.fib.keys import Keys, KeyTable
from bgpbridge.fib.observed import PuntChange
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.types import Family, Prefix

__all__ = ["Overlay"]

SINGLES = 32  # rows up to which a loop beats columns


class Overlay:
    """Keeps XdpFib's punted prefixes true. `inside` lists the BGP prefixes under a prefix that have a route;
    `has_route` tells whether exactly this one has."""

    def __init__(
        self,
        foreign: ForeignTable,
        xdp: XdpFib,
        our_metrics: Mapping[Family, int],
        has_route: Callable[[Prefix], bool],
        inside: Callable[[Prefix], Iterable[Prefix]],
    ) -> None:
        self._foreign, self._xdp, self._metrics = foreign, xdp, our_metrics
        self._has_route, self._inside = has_route, inside
        self._own: set[Prefix] = set()  # prefixes with a foreign route of their own
        self._weak: set[Prefix] = set()  # those of them that a BGP route beats
        self._hidden: set[Prefix] = set()  # BGP prefixes under a local one
        self._named: dict[Family, set[int]] = {family: set() for family in Family}  # own and hidden ones, as numbers
        self._weak_tables: dict[Family, KeyTable | None] = {}

    def start(self) -> None:
        """Punt everything that is foreign now: before the first prefix, so that none is ever hijacked."""
        for prefix in self._foreign.prefixes():
            self._own.add(prefix)
            self._name(prefix)
            if not self._beaten(prefix):
                self._weak.add(prefix)
        self._weak_tables.clear()
        self._xdp.set_punt(p for p in self._own if p not in self._weak or not self._has_route(p))

    def foreign_changed(self, change: PuntChange) -> None:
        """The foreign routes of a prefix are others than before."""
        prefix = change.prefix
        (self._own.add if change.punt else self._own.discard)(prefix)
        self._name(prefix)
        weak = change.punt and not self._beaten(prefix)
        if weak != (prefix in self._weak):
            (self._weak.add if weak else self._weak.discard)(prefix)
            self._weak_tables.pop(prefix.family, None)
        routed = self._has_route(prefix)
        if self._stands(prefix, routed=routed):
            self._xdp.set_punt([prefix])
        else:
            self._xdp.clear_punt([prefix])
        if change.subtree:
            for inner in list(self._inside(prefix)):
                self._settle(inner, routed=True)

    def _name(self, prefix: Prefix) -> None:
        """Keep `_named` in line with `_own` and `_hidden`."""
        number = prefix.value << 8 | prefix.length
        named = self._named[prefix.family]
        (named.add if prefix in self._own or prefix in self._hidden else named.discard)(number)

    def touches(self, few: FewChanges) -> bool:
        """Whether any of these may have to do with the overlay: then `before` and `after` are to be called."""
        family, hides = few.family, self._foreign.hides
        named = self._named[family]
        for _, hi, lo, length, _, _ in few.moves:
            value = hi << 64 | lo
            if value << 8 | length in named or hides(family, value, length):
                return True
        return False

    def before(self, changes: Changes) -> list[tuple[Prefix, bool]]:
        """Prefixes are about to get or lose a group: punts that must stand first are set. What `after` needs."""
        concerned = self._concerned(changes)
        for prefix, routed in concerned:
            if self._stands(prefix, routed=routed):
                self._settle(prefix, routed=routed)
        return concerned

    def after(self, concerned: list[tuple[Prefix, bool]]) -> None:
        """The groups stand: punts that only stood in are taken away."""
        for prefix, routed in concerned:
            if not self._stands(prefix, routed=routed):
                self._settle(prefix, routed=routed)

    def _stands(self, prefix: Prefix, *, routed: bool) -> bool:
        """Whether the prefix is to be punted, given that BGP has a route for it or not."""
        if routed:
            return self._beaten(prefix)
        return prefix in self._own

    def _beaten(self, prefix: Prefix) -> bool:
        """A foreign route wins over ours for this prefix in the kernel."""
        return self._foreign.punts(prefix, self._metrics[prefix.family])

    def _settle(self, prefix: Prefix, *, routed: bool) -> None:
        if self._stands(prefix, routed=routed):
            if prefix not in self._own:
                self._hidden.add(prefix)
                self._name(prefix)
            self._xdp.set_punt([prefix])
        else:
            self._hidden.discard(prefix)
            self._name(prefix)
            self._xdp.clear_punt([prefix])

    def _concerned(self, changes: Changes) -> list[tuple[Prefix, bool]]:
        """The rows of a commit that the overlay has to do with, and whether they have a route now."""
        if len(changes) <= SINGLES:
            return [(p, bool(new)) for p, _, new in changes if self._concerns(p)]
        mask = self._foreign.mask(changes.family, changes.hi, changes.lo, changes.length, self._metrics[changes.family])
        keys = Keys(changes.family, changes.hi, changes.lo, changes.length)
        mask |= self._weak_table(changes.family).find(keys) >= 0
        return [(keys.prefix(row), bool(changes.new[row])) for row in np.flatnonzero(mask).tolist()]

    def _concerns(self, prefix: Prefix) -> bool:
        return prefix in self._weak or prefix in self._hidden or self._beaten(prefix)

    def _weak_table(self, family: Family) -> KeyTable:
        """The prefixes whose punt comes and goes with BGP, for finding them among columns."""
        table = self._weak_tables.get(family)
        if table is None:
            weak = [prefix for prefix in self._weak if prefix.family is family]
            table = self._weak_tables[family] = KeyTable(Keys.of(family, weak))
        return table
