"""Which prefixes XDP leaves to the kernel, whatever BGP says: this machine's own and those of other routing.

A foreign route (connected, static, IGP) of a prefix beats ours in the kernel when its metric is not higher; then
XDP must not forward that prefix by itself. With a higher metric it stands in for the time in which BGP has no
route for exactly that prefix: without the overlay XDP would take a shorter BGP prefix instead. And a local
prefix hides all BGP prefixes inside (fib/foreign.py).

The overlay is kept by deltas: `foreign_changed` from netlink, `follow` from each commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from bgpbridge.fib.foreign import NEVER_FORWARDED, ForeignTable
from bgpbridge.fib.observed import TABLE_LOCAL, TABLE_MAIN
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.rib.changes import Changes
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
        our_metric: int,
        has_route: Callable[[Prefix], bool],
        inside: Callable[[Prefix], Iterable[Prefix]],
    ) -> None:
        self._foreign, self._xdp, self._metric = foreign, xdp, our_metric
        self._has_route, self._inside = has_route, inside
        self._weak: set[Prefix] = set()
        self._hiding: set[Prefix] = set(NEVER_FORWARDED)
        self._hidden: set[Prefix] = set()

    def start(self) -> None:
        """Punt everything that is foreign now: before the first prefix, so that none is ever hijacked."""
        for prefix in self._foreign.prefixes():
            self.foreign_changed(prefix)

    def foreign_changed(self, prefix: Prefix) -> None:
        """The foreign routes of a prefix are others than before."""
        strong = self._foreign.punts(prefix, self._metric)
        present = strong or bool(self._foreign.at(prefix, TABLE_MAIN))
        if present and not strong:
            self._weak.add(prefix)
        else:
            self._weak.discard(prefix)
        if strong or (present and not self._has_route(prefix)):
            self._xdp.set_punt([prefix])
        else:
            self._xdp.clear_punt([prefix])
        self._follow_hiding(prefix)

    def _follow_hiding(self, prefix: Prefix) -> None:
        """A local prefix shorter than an address hides what lies inside, or lays it open again."""
        if prefix in NEVER_FORWARDED or prefix.length == prefix.family.bits:
            return
        hides = bool(self._foreign.at(prefix, TABLE_LOCAL))
        if hides == (prefix in self._hiding):
            return
        (self._hiding.add if hides else self._hiding.discard)(prefix)
        for inner in list(self._inside(prefix)):
            if inner != prefix:
                self._settle_hidden(inner, routed=True)

    def _settle_hidden(self, prefix: Prefix, *, routed: bool) -> None:
        """Punt a BGP prefix under a local one; let it go when the route or the hiding is gone."""
        if routed and self._foreign.punts(prefix, self._metric):
            self._hidden.add(prefix)
            self._xdp.set_punt([prefix])
        elif prefix in self._hidden:
            self._hidden.discard(prefix)
            if not self._foreign.at(prefix, TABLE_MAIN) and not self._foreign.at(prefix, TABLE_LOCAL):
                self._xdp.clear_punt([prefix])

    def before(self, changes: Changes) -> None:
        """Prefixes are about to get or lose a group: punts that must stand first are set."""
        for prefix, routed in self._concerned(changes):
            if routed:
                self._settle_hidden(prefix, routed=True)
            elif prefix in self._weak:
                self._xdp.set_punt([prefix])

    def after(self, changes: Changes) -> None:
        """The groups stand: punts that only stood in are taken away."""
        for prefix, routed in self._concerned(changes):
            if not routed:
                self._settle_hidden(prefix, routed=False)
            elif prefix in self._weak:
                self._xdp.clear_punt([prefix])

    def _concerned(self, changes: Changes) -> Iterable[tuple[Prefix, bool]]:
        """The rows of a commit that the overlay has to do with, and whether they have a route now."""
        if len(changes) <= SINGLES:
            return [(p, bool(new)) for p, _, new in changes if p in self._weak or self._under_local(p)]
        mask = self._mask(changes)
        rows = np.flatnonzero(mask).tolist()
        return [(_prefix(changes, row), bool(changes.new[row])) for row in rows]

    def _under_local(self, prefix: Prefix) -> bool:
        return any(outer.covers(prefix) for outer in self._hiding)

    def _mask(self, changes: Changes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        mask = np.zeros(len(changes), np.bool_)
        wide = changes.hi, changes.lo, changes.length
        for outer in (*self._hiding, *self._weak):
            if outer.family is not changes.family:
                continue
            exact = outer in self._weak and outer not in self._hiding
            mask |= _within(outer, *wide, exact=exact)
        return mask


def _prefix(changes: Changes, row: int) -> Prefix:
    value = int(changes.hi[row]) << 64 | int(changes.lo[row])
    return Prefix(changes.family, value, int(changes.length[row]))


def _within(
    outer: Prefix,
    hi: np.ndarray[tuple[int], np.dtype[np.uint64]],
    lo: np.ndarray[tuple[int], np.dtype[np.uint64]],
    length: np.ndarray[tuple[int], np.dtype[np.uint8]],
    *,
    exact: bool,
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows that are `outer` (exact) or lie inside it."""
    inside: np.ndarray[tuple[int], np.dtype[np.bool_]]
    inside = length == outer.length if exact else length >= outer.length
    bits = outer.length if outer.family is Family.IPV6 else outer.length + 96
    high, low = outer.value >> 64, outer.value & 0xFFFFFFFFFFFFFFFF
    if outer.family is Family.IPV6 and bits:
        cut = np.uint64(max(64 - bits, 0))
        inside = inside & (hi >> cut == np.uint64(high) >> cut)
    if bits > 64 and bits < 128 and outer.length:
        cut = np.uint64(128 - bits)
        inside = inside & (lo >> cut == np.uint64(low) >> cut)
    elif bits == 128:
        inside = inside & (lo == np.uint64(low))
    return inside
