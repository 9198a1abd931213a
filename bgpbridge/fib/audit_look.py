"""One family in one plane, read and compared with what is wanted: the part of an audit that runs in a thread.

prefixes    tables that hold the same prefixes with the same groups answer every address alike
index       what it says of all addresses, against what it should say: piece by piece, from breakpoint to breakpoint
addresses   where either differs: what packets are told (the index; the trie where that is asked), against the
longest matches of the Loc-RIB, again from breakpoint to breakpoint
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from bgpbridge.fib.audit_prefixes import Differences, Judged, differences, judge
from bgpbridge.fib.indexes import Index
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.order import Entries, in_order
from bgpbridge.fib.ranges import DEFER, Ranges, ranges_of, together
from bgpbridge.fib.sweep import Compared, excuses
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["Look", "look_at_index", "look_at_kernel", "look_at_trie", "look_at_xdp"]

PREFIXES, PIECES = 4096, 20_000  # that are mended between two turns of the loop


@dataclass(frozen=True, slots=True)
class Look:
    """One family in one plane, read and compared. `index` says how `engine` stands; None where there is none."""

    want: Entries
    prefixes: Differences
    addresses: Compared
    index: Compared | None = None
    engine: Index | None = None

    def judged(self, moving: Keys, refused: Keys) -> tuple[Judged, Look]:
        """The differences by prefix that have no reason; the same look with a reason for what else has one."""
        addresses = self.addresses
        if len(addresses.wrong()):
            addresses = addresses.excused(excuses(self.want[0], moving, refused))
        index = self.index_excused(moving, refused)
        return judge(self.prefixes, moving, refused), replace(self, addresses=addresses, index=index)

    def index_excused(self, moving: Keys, refused: Keys) -> Compared | None:
        """The index with a reason for what has one. A place that many prefixes share changes with each of them."""
        if self.index is None or self.engine is None or not len(self.index.wrong()):
            return self.index
        keys, widened = self.want[0], self.engine.widened
        coarse = keys.take(widened(keys).length == keys.length)
        return self.index.excused(excuses(coarse, widened(moving), widened(refused)))

    def slices(self, count: int) -> Iterator[tuple[Compared | None, slice]]:
        """Parts in which `count` prefixes and the index can be mended, each between two turns of the loop."""
        which = self.index.wrong() if self.index is not None else np.empty(0, np.int64)
        prefixes, pieces = range(0, count, PREFIXES), range(0, len(which), PIECES)
        for start, begin in zip_longest(prefixes, pieces, fillvalue=max(count, len(which))):
            some = which[begin : begin + PIECES]
            yield (
                self.index.only(some) if self.index is not None and len(some) else None,
                slice(start, start + PREFIXES),
            )


def look_at_trie(family: Family, xdp: XdpFib, want: Entries) -> tuple[Entries, Differences]:
    """What the trie holds, and where that differs; `want`, which is in order, where it does not: one is enough."""
    table = xdp.table(family)
    prefixes = differences(table, want)
    return table if len(prefixes) else want, prefixes


def look_at_index(family: Family, xdp: XdpFib, want: Entries) -> Compared | None:
    """What the index says of all addresses; `want` is in order. It may be looked at beside the trie."""
    index = xdp.index(family)
    return index.compared(*want) if index is not None else None


def look_at_xdp(
    family: Family, xdp: XdpFib, want: Entries, trie: tuple[Entries, Differences], compared: Compared | None
) -> Look:
    """Both together: what the maps hold, and what packets are told."""
    (table, prefixes), index, asked = trie, xdp.index(family), xdp.asks_index(family)
    addresses = Compared.same(family)
    if len(prefixes) or (asked and compared is not None and len(compared.wrong())):
        told = ranges_of(*table)
        if asked and index is not None:
            told = _answers(index.ranges(), told)
        addresses = Compared.of(told, ranges_of(*want))
    return Look(want, prefixes, addresses, compared, index)


def _answers(index: Ranges, trie: Ranges) -> Ranges:
    """What packets are told: the trie's answer where the index leaves it to the trie."""
    pieces, (first, second) = together([index, trie])
    return pieces.valued(np.where(first & DEFER, second, first)).joined()


def look_at_kernel(family: Family, kernel: KernelFib, want: Entries) -> Look:
    """Our own routes: those of others in the same table are theirs to answer."""
    want = in_order(want)
    breathe()
    table, addresses = kernel.table(family), Compared.same(family)
    prefixes = differences(table, want)
    if len(prefixes):
        addresses = Compared.of(ranges_of(*table), ranges_of(*want))
    return Look(want, prefixes, addresses)
