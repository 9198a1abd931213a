"""The tables of one family: prefixes, what each peer sent, and what the decision made of it.

`settle` is the one way from changed candidates to changed groups, for many rows at once; `settle_one` the
same for one row by the scalar decision. Both leave best paths, groups and their reference counts as one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bgpbridge.rib.adj_rib_in import AdjRibIn, Plane
from bgpbridge.rib.attributes import MED_SET, WEIGHT_SET, AttributeTable
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.decision import Candidate, Decision, DecisionOptions, bandwidth_weights, decide
from bgpbridge.rib.decision_bulk import PathSource, decide_rows
from bgpbridge.rib.groups import GroupTable, member_word
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.rib.peers import PeerState
from bgpbridge.rib.prefixes import prefix_table
from bgpbridge.rib.tables import Ids, zeros
from bgpbridge.types import Family

__all__ = ["FamilyRib"]


class FamilyRib:
    """Columns by prefix row: `group` (id, 0 = no route) and `best` (slot of the best path, 0 = none)."""

    def __init__(
        self,
        family: Family,
        capacity: int,
        attributes: AttributeTable,
        next_hops: NextHopTable,
        groups: GroupTable,
    ) -> None:
        self.family = family
        self.attributes, self.next_hops, self.groups = attributes, next_hops, groups
        self.prefixes = prefix_table(family, capacity)
        self.size = capacity + 1
        self.group = zeros(self.size, np.uint32)
        self.best = zeros(self.size, np.uint16)
        self.adj: dict[int, AdjRibIn] = {}
        self.sources: list[PathSource] = []
        self.routes = 0  # rows that have a group
        self._scratch = zeros(self.size, np.int32)
        self._slots: dict[int, tuple[int, Plane]] = {}  # slot -> (peer, plane)
        self._best_counts = np.zeros(1, np.int64)  # by slot

    @property
    def top(self) -> int:
        """The highest row in use."""
        return self.prefixes.count

    # -- peers and planes ---------------------------------------------------------------------------

    def adj_of(self, state: PeerState) -> AdjRibIn:
        """The peer's Adj-RIB-In, made when its first route comes."""
        index = state.info.index
        if index not in self.adj:
            self.adj[index] = AdjRibIn(self.size, limit=state.info.add_path_limit)
            if state.session is not None and self.family in state.session.add_path:
                self.adj[index].use_path_ids()
        return self.adj[index]

    def grow(self, state: PeerState) -> None:
        """One more plane for a peer."""
        slot = next(number for number in range(1, 0x10000) if number not in self._slots)
        plane = self.adj_of(state).grow(slot)
        self._slots[slot] = (state.info.index, plane)
        if slot >= len(self._best_counts):
            self._best_counts = np.concatenate([self._best_counts, np.zeros(slot + 1, np.int64)])
        self.sources.append(_source(plane, state))

    def refresh_sources(self, peers: dict[int, PeerState]) -> None:
        """Something about peers changed that the decision reads."""
        slots = sorted(self._slots.items())
        self.sources = [_source(plane, peers[peer]) for _, (peer, plane) in slots]

    def forget(self, peer: int) -> None:
        """Drop the columns of a peer that has no routes left."""
        adj = self.adj.pop(peer, None)
        if adj is None:
            return
        gone = {plane.slot for plane in adj.planes}
        self._slots = {slot: entry for slot, entry in self._slots.items() if slot not in gone}
        self.sources = [source for source in self.sources if source.plane.slot not in gone]

    def best_count(self, peer: int) -> int:
        """For how many prefixes the peer has the best path."""
        adj = self.adj.get(peer)
        return sum(int(self._best_counts[plane.slot]) for plane in adj.planes) if adj else 0

    def slot(self, number: int) -> tuple[int, Plane]:
        """(peer, plane) of a slot."""
        return self._slots[number]

    # -- rows ---------------------------------------------------------------------------------------

    def last_of_each(self, rows: Ids) -> Ids:
        """Positions of the last mention of every row."""
        order = np.arange(len(rows), dtype=np.int32)
        self._scratch[rows] = order
        return np.flatnonzero(self._scratch.take(rows) == order)

    def chunks(self, size: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows in use, `first <= row < last`; rows that come meanwhile are included."""
        first = 1
        while first <= self.top:
            yield first, min(first + size, self.top + 1)
            first += size

    def changes(self, rows: Ids, old: Ids, new: Ids) -> Changes:
        """Rows with another group, spelled out."""
        prefixes = self.prefixes
        lo, length = prefixes.lo.take(rows), prefixes.length.take(rows)
        return Changes(self.family, rows, prefixes.hi(rows), lo, length, old.astype(np.uint32), new.astype(np.uint32))

    # -- settling -----------------------------------------------------------------------------------

    def settle(self, rows: Ids, options: DecisionOptions) -> Changes:
        """Decide rows (none twice) and store what changed."""
        if not len(rows):
            return Changes.none(self.family)
        current = self.best.take(rows).astype(np.int64)
        outcome = decide_rows(rows, self.sources, self.attributes, self.next_hops, options, current)
        new = self.groups.intern_rows(outcome.words, outcome.active)
        size = len(self._best_counts)
        self.best[rows] = outcome.best
        self._best_counts += np.bincount(outcome.best, minlength=size) - np.bincount(current, minlength=size)
        old = self.group.take(rows).astype(np.int64)
        moved = np.flatnonzero(old != new)
        if not len(moved):
            return Changes.none(self.family)
        rows, old, new = rows.take(moved), old.take(moved), new.take(moved)
        self.group[rows] = new
        self.groups.moved(old, new)
        self.routes += int(np.count_nonzero(new)) - int(np.count_nonzero(old))
        return self.changes(rows, old, new)

    def settle_one(self, row: int, options: DecisionOptions) -> tuple[int, int]:
        """Decide one row: (old group, new group)."""
        decision = self.decide(row, options)
        active = decision.multipath
        weights = [1] * len(active)
        if options.link_bandwidth and len(active) > 1:
            weights = bandwidth_weights([path.link_bandwidth for path in active])
        words = [member_word(p.peer, p.next_hop, w) for p, w in zip(active, weights, strict=True)]
        words += [member_word(path.peer, path.next_hop) for path in decision.backups]
        new = self.groups.intern_one(tuple(words), len(active))
        self._store_best(row, decision.best)
        old = int(self.group[row])
        if old != new:
            self.group[row] = new
            self.groups.moved_one(old, new)
            self.routes += (new != 0) - (old != 0)
        return old, new

    def _store_best(self, row: int, best: Candidate | None) -> None:
        slot = 0
        if best is not None:
            slot = next(
                plane.slot
                for plane in self.adj[best.peer].planes
                if plane.effective_view[row] == best.attributes and plane.path(row) == best.path_id
            )
        self._best_counts[int(self.best[row])] -= 1
        self._best_counts[slot] += 1
        self.best[row] = slot

    def decide(self, row: int, options: DecisionOptions) -> Decision:
        """The scalar decision, with reasons."""
        return decide(self.candidates(row, options), options, self.current(row))

    def current(self, row: int) -> tuple[int, int] | None:
        """(peer, path id) of the path that is best now."""
        slot = int(self.best[row])
        if not slot:
            return None
        peer, plane = self._slots[slot]
        return peer, plane.path(row)

    def candidates(self, row: int, options: DecisionOptions) -> list[Candidate]:
        """The paths of a prefix that import policy has let in."""
        found = []
        for source in self.sources:
            number = source.plane.effective_view[row]
            if number:
                found.append(self._candidate(row, source, number, options))
        return found

    def _candidate(self, row: int, source: PathSource, number: int, options: DecisionOptions) -> Candidate:
        table = self.attributes
        flags = table.flags[number]
        next_hop = self.next_hops.scoped_one(int(table.next_hop[number]), source.peer)
        multipath = max(options.ebgp_paths, options.ibgp_paths) > 1
        return Candidate(
            peer=source.peer,
            path_id=source.plane.path(row),
            next_hop=next_hop,
            reachable=bool(self.next_hops.reachable[next_hop]),
            weight=int(table.weight[number]) if flags & WEIGHT_SET else source.weight,
            local_pref=int(table.local_pref[number]),
            path_length=int(table.path_length[number]),
            origin=int(table.origin[number]),
            med=int(table.med[number]) if flags & MED_SET else None,
            neighbor_as=int(table.neighbor_as[number]),
            ebgp=source.ebgp,
            metric=int(self.next_hops.metric[next_hop]),
            router_id=int(table.originator[number]) or source.router_id,
            cluster_length=int(table.cluster_length[number]),
            peer_order=source.order,
            as_path=table.as_path(number) if multipath and not options.relax else None,
            link_bandwidth=table.bandwidth(number) if multipath and options.link_bandwidth else 0.0,
            attributes=number,
        )


def _source(plane: Plane, state: PeerState) -> PathSource:
    info = state.info
    return PathSource(plane, info.index, info.ebgp, info.weight, state.router_id, state.order)
