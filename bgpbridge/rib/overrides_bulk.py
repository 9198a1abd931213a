"""What an override makes of the paths of many prefixes at once: `overrides.overridden` for columns.

Held equal to it by tests/property/test_rib_overrides.py. Ranks (steps 1 to 4 as one integer) are changed or struck in
place; a pin needs more than a rank can say and is handed back as the truth of which paths stand first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bgpbridge.rib.adj_rib_in import Plane
from bgpbridge.rib.attributes import MOST_WEIGHT, NO_RANK, rank_of
from bgpbridge.rib.overrides import INCOMPLETE, LAST_ORDER, LONGEST_PATH, OVERRIDE_PEER, Intent
from bgpbridge.rib.sources import PathSource
from bgpbridge.types import IPAddress, OverrideKind

__all__ = ["Standing", "standing"]

UNUSABLE = np.uint64(NO_RANK)
LAST_RANK = np.uint64(rank_of(0, 0, LONGEST_PATH, INCOMPLETE))
NOWHERE = Plane(0, 0, path_ids=False)  # of a path that no peer sent: slot 0 is no slot
Matrix = Any  # (paths, rows) of numbers
Truth = Any  # (paths, rows) of truth values


class FromPeer(Protocol):
    """What is read of a line of the matrix."""

    @property
    def peer(self) -> int:
        """Index of the peer."""
        ...


class NextHops(Protocol):
    """What is read of the next hops."""

    reachable: Any

    def address(self, number: int) -> IPAddress | None:
        """The global address of a next hop."""
        ...


@dataclass(slots=True)
class Standing:
    """The pinned paths. `sources`, `hops` and `rank` are lines to be added behind those that there are: next hops of
    the override's own. `pinned` has them too."""

    pinned: Truth
    share: bool
    sources: list[PathSource] = field(default_factory=list)
    hops: Matrix = None
    rank: Matrix = None

    def first(self, rank: Matrix) -> Matrix:
        """Ranks to choose by: where a pinned path is left, only those count."""
        mine = np.where(self.pinned, rank, UNUSABLE)
        return np.where((mine != UNUSABLE).any(axis=0), mine, rank)

    def of(self, line: Any) -> Any:
        """For each row whether the path `line` of it is pinned; -1, no path, is not."""
        return self.pinned[line, np.arange(len(line))] & (line >= 0)


def standing(
    intent: Intent, sources: Sequence[FromPeer], hops: Matrix, rank: Matrix, table: NextHops
) -> Standing | None:
    """Change the ranks as the intent says; for a pin, which paths stand first."""
    usable = rank != UNUSABLE
    meant = usable & _meant(intent, sources, hops, table)
    if intent.kind is OverrideKind.PIN:
        return _pinned(intent, hops, meant, usable, table)
    if intent.kind is OverrideKind.REJECT:
        rank[meant] = UNUSABLE
    elif intent.kind is OverrideKind.WEIGHT:
        rank[meant] = rank[meant] & np.uint64((1 << 48) - 1) | np.uint64((MOST_WEIGHT - intent.value) << 48)
    elif intent.kind is OverrideKind.PREFER:
        kept = rank[meant] & np.uint64(0xFFFF << 48 | 0xFFFF)
        rank[meant] = kept | np.uint64((0xFFFFFFFF - intent.value) << 16)
    return None


def _meant(intent: Intent, sources: Sequence[FromPeer], hops: Matrix, table: NextHops) -> Truth:
    if intent.everything:
        return np.ones(hops.shape, np.bool_)
    meant = np.zeros(hops.shape, np.bool_)
    for line, source in enumerate(sources):
        meant[line] = source.peer in intent.peers
    if intent.addresses:
        ids = [number for number in np.unique(hops).tolist() if table.address(number) in intent.addresses]
        meant |= np.isin(hops, ids)
    return meant


def _pinned(intent: Intent, hops: Matrix, meant: Truth, usable: Truth, table: NextHops) -> Standing:
    found = Standing(meant, intent.share)
    routed = usable.any(axis=0)
    lines, ranks = [], []
    for number in intent.own:
        same = [other for other in np.unique(hops).tolist() if table.address(other) == table.address(number)]
        have = (np.isin(hops, same) & usable).any(axis=0)
        good = routed & ~have & bool(table.reachable[number])
        lines.append(np.full(hops.shape[1], number, np.int64))
        ranks.append(np.where(good, LAST_RANK, UNUSABLE))
        found.sources.append(PathSource(NOWHERE, OVERRIDE_PEER, False, 0, 0xFFFFFFFF, LAST_ORDER))
    if lines:
        found.hops, found.rank = np.array(lines), np.array(ranks)
        found.pinned = np.concatenate([meant, found.rank != UNUSABLE])
    return found
