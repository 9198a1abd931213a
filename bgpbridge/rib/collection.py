"""Finding attribute ids and next-hop ids that nothing uses any more, in slices.

Mark and sweep with the tables in use all the while: from the first slice on every id that is interned,
derived or written to a cell counts as used, so an id that moves between slices can't be missed. Derived
ids go before those that they were made from: else a new block under an old number could inherit them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bgpbridge.rib.attributes import AttributeTable
from bgpbridge.rib.groups import GroupTable
from bgpbridge.rib.tables import Ids, zeros

__all__ = ["collect"]

SLICE = 32_768


def collect(
    table: AttributeTable,
    groups: GroupTable,
    cells: Callable[[], Iterator[Ids]],
    pinned: Callable[[], Iterable[Ids]],
    kept: Callable[[], Iterable[int]] = tuple,
) -> Iterator[int]:
    """Free what is unused; yields after every slice how many ids it freed. `cells` goes over all that is
    stored, `pinned` gives the ids that runs under way hold, `kept` the next hops that overrides name. One
    collection at a time: a second one ends at once."""
    if table.marks is not None:
        return
    table.marks = zeros(table.pool.capacity + 1, np.bool_)
    try:
        for ids in cells():
            table.keep(ids)
            yield 0
        for ids in pinned():
            table.keep(ids)
        for derived in (True, False):
            for first in range(1, table.pool.top + 1, SLICE):
                yield _sweep(table, first, min(first + SLICE, table.pool.top + 1), derived=derived)
    finally:
        table.marks = None
    for _ in table.blocks.compact():
        yield 0
    _release_next_hops(table, groups, kept())


def _sweep(table: AttributeTable, first: int, last: int, *, derived: bool) -> int:
    stored = table.base[first:last] != 0 if derived else table.blocks.present[first:last]
    dead = np.flatnonzero(stored & ~table.marks[first:last]) + first
    if len(dead):
        table.release(dead)
    return len(dead)


def _release_next_hops(table: AttributeTable, groups: GroupTable, kept: Iterable[int]) -> None:
    hops = table.next_hops
    used = np.zeros(hops.limit + 1, np.bool_)
    top = table.pool.top + 1
    alive = table.blocks.present[:top] | (table.base[:top] != 0)
    used[table.next_hop[:top].compress(alive)] = True
    used[groups.next_hops()] = True
    used[list(kept)] = True
    hops.release(used)
