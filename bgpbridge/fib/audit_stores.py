"""What prefixes lead to, held against what we stored: groups, adjacencies, the control word.

They are arrays that we alone write, in the event loop: so a copy of each store is compared in one turn, in a few
milliseconds for all, and nothing can be on its way. Where packets come in and go out: `audit_links`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bgpbridge.fib.adjacency_words import AdjacencyWords
from bgpbridge.fib.audit_links import crooked_links
from bgpbridge.fib.audit_tally import ADJACENCY, CONTROL, EXAMPLES, GROUP, Divergence, Tally
from bgpbridge.fib.xdp import XdpFib

__all__ = ["STORES", "Stores"]

PLANE, STORES = "xdp", "stores"


@dataclass(frozen=True, slots=True)
class Stores:
    """The arrays behind the program."""

    xdp: XdpFib
    adjacencies: AdjacencyWords

    def look(self, tally: Tally, *, mend: bool) -> None:
        """Compare all, and with `mend` bring in line what differs: what is pointed at before what points at it."""
        with tally.part(PLANE, STORES):
            self._look(tally, mend=mend)

    def _look(self, tally: Tally, *, mend: bool) -> None:
        groups, words, control = self.xdp.groups, self.adjacencies, self.xdp.maps.control_word
        tally.stores.update(groups=groups.used, adjacencies=words.in_use, control=1)
        tally.add_all(_told(ADJACENCY, words.crooked(), words.told, words.mend if mend else None))
        tally.add_all(_told(GROUP, groups.crooked(), groups.told, groups.mend if mend else None))
        for name, have, want in control.crooked():
            tally.add_all([Divergence(PLANE, CONTROL, None, have, want, f"{name} is {have:#x}, should be {want:#x}")])
        if mend:
            control.mend()
        tally.add_all(crooked_links(self.xdp.maps, mend=mend))


def _told(
    kind: str, crooked: Iterable[int], told: Callable[[int], str], mend: Callable[[int], None] | None
) -> Iterator[Divergence]:
    for position, number in enumerate(crooked):
        detail = told(number) if position < EXAMPLES else ""
        if mend is not None:
            mend(number)
        yield Divergence(PLANE, kind, None, number, number, detail)
