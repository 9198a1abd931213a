"""The tables of one family: prefixes, what each peer sent, and what the decision made of it.

`settle` is the one way from changed candidates to changed groups, for many rows at once; `settle_one` the
same for one row by the scalar decision. Both leave best paths, groups and their reference counts as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.rib.adj_rib_in import UNLIMITED, AdjRibIn, Plane
from bgpbridge.rib.attributes import MED_SET, NO_RANK, WEIGHT_SET, AttributeTable
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.decision import Candidate, Decision, DecisionOptions, bandwidth_weights, decide
from bgpbridge.rib.decision_bulk import decide_rows
from bgpbridge.rib.groups import BLACKHOLE, PINNED, GroupTable, member_word
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.rib.overrides import OVERRIDE_PEER, Intent, OverrideTable, overridden
from bgpbridge.rib.peers import Differing, Judge, PeerState
from bgpbridge.rib.prefixes import prefix_table
from bgpbridge.rib.sources import PathSource
from bgpbridge.rib.tables import Ids, cells, place_of, zeros
from bgpbridge.types import Family, OverrideKind

__all__ = ["DROPPED", "FamilyRib", "Verdicts"]

DROPPED = -1  # in place of how many paths are active: an override drops the traffic
BY_RANK = itemgetter(0)
LONE_MEMBER = member_word(0, 0)  # the one active path: its weight says nothing


class Verdicts(NamedTuple):
    """Policy on the paths of one plane of a peer: attribute ids as received, as they stand (`before`) and as policy
    wants them (`after`); 0 = refused."""

    peer: int
    plane: int
    slot: int
    rows: Ids
    received: Ids
    before: Ids
    after: Ids

    def only_changed(self) -> Verdicts:
        """Those that differ."""
        at = np.flatnonzero(self.before != self.after)
        columns = (column.take(at) for column in self[3:])
        return Verdicts(self.peer, self.plane, self.slot, *columns)


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
        self.group = zeros(self.size, np.uint16)  # groups.LIMIT has 15 bits
        self.best = zeros(self.size, np.uint16)
        self.group_view, self.best_view = self.group.data, self.best.data
        self.adj: dict[int, AdjRibIn] = {}
        self.sources: list[PathSource] = []
        self.overrides: OverrideTable | None = None  # None where there are none: then they cost nothing
        self.routes = 0  # rows that have a group
        self.undecided = 0  # rows that kept their group because the one they need found no free id
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
            ceiling = state.info.ceilings.get(self.family, UNLIMITED)
            self.adj[index] = AdjRibIn(self.size, limit=state.info.add_path_limit, ceiling=ceiling)
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

    def trim(self) -> None:
        """Untouched pages for what means nothing between two calls."""
        self._scratch = zeros(self.size, np.int32)

    # -- rows ---------------------------------------------------------------------------------------

    def last_of_each(self, rows: Ids) -> Ids:
        """Positions of the last mention of every row."""
        if (rows[1:] > rows[:-1]).all():  # new ones, or a table that comes again as it came
            return np.arange(len(rows))
        order = np.arange(len(rows), dtype=np.int32)
        self._scratch[rows] = order
        return np.flatnonzero(self._scratch.take(rows) == order)

    def chunks(self, size: int, first: int = 1) -> Iterator[tuple[int, int]]:
        """Ranges of rows in use, `first <= row < last`; rows that come meanwhile are included."""
        while first <= self.top:
            yield first, min(first + size, self.top + 1)
            first += size

    def idle(self, first: int, last: int) -> Ids:
        """Rows first..last-1 whose prefixes nobody sends any more, and that have no route."""
        busy = (self.group[first:last] != 0) | (self.best[first:last] != 0) | self.prefixes.returned[first:last]
        for adj in self.adj.values():
            for plane in adj.planes:
                busy |= plane.raw[first:last] != 0
        return np.flatnonzero(~busy) + first

    def changes(self, rows: Ids, old: Ids, new: Ids) -> Changes:
        """Rows with another group, spelled out."""
        hi, lo, length = self.prefixes.columns(rows)
        return Changes(self.family, rows, hi, lo, length, old.astype(np.uint32), new.astype(np.uint32))

    # -- settling -----------------------------------------------------------------------------------

    def settle(self, rows: Ids, options: DecisionOptions) -> Changes:
        """Decide rows (none twice) and store what changed. A row whose group finds no free id keeps the one
        that it has and is counted in `undecided`; all others are settled."""
        if not len(rows):
            return Changes.none(self.family)
        at = place_of(rows)
        current = cells(self.best, at).astype(np.int64)
        try:
            new, best = self._decided(rows, options, current)
        except CapacityError:
            pairs = np.array([self.settle_one(row, options) for row in rows.tolist()], np.int64)
            other = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
            return self.changes(rows.take(other), pairs[other, 0], pairs[other, 1])
        size = len(self._best_counts)
        self.best[at] = best
        self._best_counts += np.bincount(best, minlength=size) - np.bincount(current, minlength=size)
        old = cells(self.group, at).astype(np.int64)
        self.group[at] = new
        other = np.flatnonzero(old != new)
        if not len(other):
            return Changes.none(self.family)
        if len(other) < len(rows):
            rows, old, new = rows.take(other), old.take(other), new.take(other)
        self.groups.moved(old, new)
        self.routes += int(np.count_nonzero(new)) - int(np.count_nonzero(old))
        return self.changes(rows, old, new)

    def _decided(self, rows: Ids, options: DecisionOptions, current: Ids) -> tuple[Ids, Ids]:
        """(groups, slots of the best paths) of rows. Raises CapacityError when groups are short."""
        if self.overrides is None:
            return self._decided_alike(rows, options, current, None)
        new, best = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        for at, intent in self.by_intent(rows, self.overrides):
            new[at], best[at] = self._decided_alike(rows.take(at), options, current.take(at), intent)
        return new, best

    def by_intent(self, rows: Ids, overrides: OverrideTable | None) -> Iterator[tuple[Ids, Intent | None]]:
        """Positions of rows for which these overrides want the same, None: nothing."""
        if overrides is None:
            yield np.arange(len(rows)), None
            return
        ids = overrides.intent_ids(*self.prefixes.columns(rows))
        for number in np.unique(ids).tolist():
            yield np.flatnonzero(ids == number), overrides.intents[number]

    def _decided_alike(
        self, rows: Ids, options: DecisionOptions, current: Ids, intent: Intent | None
    ) -> tuple[Ids, Ids]:
        sources = self.sources
        if intent is None:
            if len(sources) > 1:
                sources = [source for source in sources if source.plane.effective.take(rows).any()]
            if len(sources) == 1:
                return self._alone(rows, sources[0])
        outcome = decide_rows(rows, sources, self.attributes, self.next_hops, options, current, intent)
        if intent is not None and intent.kind is OverrideKind.BLACKHOLE:
            return np.where(outcome.best != 0, BLACKHOLE, 0), outcome.best
        return self.groups.intern_rows(outcome.words, outcome.active), outcome.best

    def _alone(self, rows: Ids, source: PathSource) -> tuple[Ids, Ids]:
        """The same where nobody else has a path for any of the rows: as a first table comes in."""
        table = self.attributes
        ids = source.plane.effective.take(rows)
        hops = self.next_hops.scoped(table.next_hop.take(ids), source.peer)
        usable = self.next_hops.reachable.take(hops) & (table.rank.take(ids) != NO_RANK)
        if usable.all():
            return self.groups.intern_hops(hops, source.peer), np.full(len(rows), source.plane.slot)
        return self.groups.intern_hops(hops * usable, source.peer), source.plane.slot * usable.astype(np.int64)

    def rows_under(self, scopes: OverrideTable, first: int, last: int) -> Ids:
        """Rows first..last-1 that one of these overrides decides on."""
        found = scopes.numbers(*self.prefixes.columns(np.arange(first, last)))
        return np.flatnonzero(found) + first

    def rows_by_next_hop(self, hit: Any, first: int, last: int) -> Ids:
        """Rows first..last-1 with a path over one of the next hops that are True in `hit`."""
        mask = np.zeros(last - first, np.bool_)
        for source in self.sources:
            hops = self.attributes.next_hop.take(source.plane.effective[first:last])
            mask |= hit.take(self.next_hops.scoped(hops, source.peer))
        if self.overrides is not None and any(hit[number] for number in self.overrides.own()):
            mask[self.rows_under(self.overrides, first, last) - first] = True
        return np.flatnonzero(mask) + first

    def verdicts(self, judge: Judge, peers: set[int], first: int, last: int) -> Iterator[Verdicts]:
        """What policy says now about what these peers sent, rows first..last-1: nothing is stored."""
        for peer in sorted(peers & set(self.adj)):
            for number, plane in enumerate(list(self.adj[peer].planes)):
                rows = np.flatnonzero(plane.raw[first:last]) + first
                if len(rows):
                    ids = plane.raw.take(rows).astype(np.int64)
                    hi, lo, length = self.prefixes.columns(rows)
                    effective = judge.judge(peer, self.family, ids, hi, lo, length)
                    self.attributes.keep(effective)
                    before = plane.effective.take(rows).astype(np.int64)
                    yield Verdicts(peer, number, plane.slot, rows, ids, before, effective)

    def rejudge(self, judge: Judge, peers: set[int], first: int, last: int) -> Ids:
        """Ask policy again about what these peers sent; rows first..last-1 whose candidates changed."""
        touched = np.zeros(last - first, np.bool_)
        for found in list(self.verdicts(judge, peers, first, last)):  # all before the first is stored: ids may be short
            changed = self.adj[found.peer].judged(found.plane, found.rows, found.after)
            touched[found.rows.compress(changed) - first] = True
        return np.flatnonzero(touched) + first

    def differing(self, differing: Differing, peers: set[int], first: int, last: int) -> Ids | None:
        """Rows first..last-1 with a route of these peers on which the verdict may be another one; None: any."""
        hit = np.zeros(last - first, np.bool_)
        for peer in peers & set(self.adj):
            for plane in self.adj[peer].planes:
                rows = np.flatnonzero(plane.raw[first:last])
                found = differing(peer, plane.raw[first:last].take(rows).astype(np.int64))
                if found is None:
                    return None
                hit[rows.compress(found)] = True
        return np.flatnonzero(hit) + first

    def rejudge_rows(self, judge: Judge, peers: set[int], chosen: Ids) -> Ids:
        """The same for certain rows, none of them twice."""
        touched = np.zeros(self.top + 1, np.bool_)
        found = []
        for peer in peers & set(self.adj):
            for number, plane in enumerate(self.adj[peer].planes):
                rows = chosen.compress(plane.raw.take(chosen) != 0)
                if len(rows):
                    found.append((peer, number, rows, self._verdicts_on(judge, peer, plane, rows)))
        for peer, number, rows, effective in found:
            touched[rows.compress(self.adj[peer].judged(number, rows, effective))] = True
        return chosen.compress(touched.take(chosen))

    def _verdicts_on(self, judge: Judge, peer: int, plane: Plane, rows: Ids) -> Ids:
        """What policy says now about these rows of one plane of a peer."""
        ids = plane.raw.take(rows).astype(np.int64)
        effective = judge.judge(peer, self.family, ids, *self.prefixes.columns(rows))
        self.attributes.keep(effective)
        return effective

    def settle_one(self, row: int, options: DecisionOptions) -> tuple[int, int]:
        """Decide one row: (old group, new group)."""
        words, active, slot = self._choose_one(row, options)
        try:
            new = BLACKHOLE if active == DROPPED else self.groups.intern_one(words, active)
        except CapacityError:
            new = self.group_view[row]
            self.undecided += 1
        before = self.best_view[row]
        if before != slot:
            self._best_counts[before] -= 1
            self._best_counts[slot] += 1
            self.best_view[row] = slot
        old = self.group_view[row]
        if old != new:
            self.group_view[row] = new
            self.groups.moved_one(old, new)
            self.routes += (new != 0) - (old != 0)
        return old, new

    def rehearse_one(self, row: int, options: DecisionOptions) -> int:
        """The way of `settle_one` without an end: the group that the row has."""
        words, active, _ = self._choose_one(row, options)
        self.groups.known(words, active)
        return self.group_view[row]

    def _choose_one(self, row: int, options: DecisionOptions) -> tuple[tuple[int, ...], int, int]:
        """(member words, how many of them are active, slot of the best path) of a row."""
        if self.overrides is not None and (intent := self.intent(row)) is not None:
            words, active, slot = self._choose_by_steps(row, options)
            return (words, DROPPED if slot and intent.kind is OverrideKind.BLACKHOLE else active, slot)
        ranked = self._ranked(row)
        if not ranked:
            return (), 0, 0
        places = options.backups + 1
        if len(ranked) > 1 and (options.multipath or _ties(ranked, places)):
            return self._choose_by_steps(row, options)
        words = tuple([LONE_MEMBER | source.peer << 16 | hop for _, hop, source in ranked[:places]])
        return words, 1, ranked[0][2].plane.slot

    def _ranked(self, row: int) -> list[tuple[int, int, PathSource]]:
        """(rank of steps 1 to 4, next hop, source) of the usable paths of a row, the best rank first."""
        cell, hops = self.attributes.cell, self.next_hops
        found = []
        for source in self.sources:
            number = source.plane.effective_view[row]
            if number:
                hop = cell.next_hop[number]
                if hops.any_template:
                    hop = hops.scoped_one(hop, source.peer)
                if hops.reachable_view[hop]:
                    rank = cell.rank[number]
                    if source.weight and not cell.flags[number] & WEIGHT_SET:
                        rank -= source.weight << 48
                    found.append((rank, hop, source))
        if len(found) > 1:
            found.sort(key=BY_RANK)
        return found

    def _choose_by_steps(self, row: int, options: DecisionOptions) -> tuple[tuple[int, ...], int, int]:
        """The same by the numbered steps: where paths tie on the first four, or several may be active."""
        decision = self.decide(row, options)
        active, best = decision.multipath, decision.best
        if best is None:
            return (), 0, 0
        weights = [1] * len(active)
        if options.link_bandwidth and len(active) > 1:
            weights = bandwidth_weights([path.link_bandwidth for path in active])
        if best.standing > 0:
            weights = [weight << PINNED for weight in weights]
        words = [member_word(p.peer, p.next_hop, w) for p, w in zip(active, weights, strict=True)]
        words += [member_word(path.peer, path.next_hop) for path in decision.backups]
        return tuple(words), len(active), self._slot_of(row, best)

    def _slot_of(self, row: int, best: Candidate) -> int:
        """The slot of a path; 0 for an override's own, which no peer sent."""
        if best.peer == OVERRIDE_PEER:
            return 0
        planes = self.adj[best.peer].planes
        return next(p.slot for p in planes if p.effective_view[row] and p.path(row) == best.path_id)

    def intent(self, row: int) -> Intent | None:
        """What an override wants for the prefix of a row."""
        if self.overrides is None:
            return None
        prefix = self.prefixes.prefix(row)
        return self.overrides.intent_one(prefix.value, prefix.length)

    def decide(self, row: int, options: DecisionOptions) -> Decision:
        """The scalar decision, with reasons."""
        intent = self.intent(row)
        candidates = self.candidates(row, options)
        if intent is None:
            return decide(candidates, options, self.current(row))
        paths = overridden(candidates, intent, self.next_hops)
        return decide(paths, options, self.current(row), share=intent.share)

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
        cell, hops = self.attributes.cell, self.next_hops
        flags = cell.flags[number]
        next_hop = hops.scoped_one(cell.next_hop[number], source.peer)
        path_too = options.multipath and not options.relax
        bandwidth_too = options.multipath and options.link_bandwidth
        return Candidate(
            peer=source.peer,
            path_id=source.plane.path(row),
            next_hop=next_hop,
            reachable=bool(hops.reachable_view[next_hop]),
            weight=cell.weight[number] if flags & WEIGHT_SET else source.weight,
            local_pref=cell.local_pref[number],
            path_length=cell.path_length[number],
            origin=cell.origin[number],
            med=cell.med[number] if flags & MED_SET else None,
            neighbor_as=cell.neighbor_as[number],
            ebgp=source.ebgp,
            metric=hops.metric_view[next_hop],
            router_id=cell.originator[number] or source.router_id,
            cluster_length=cell.cluster_length[number],
            peer_order=source.order,
            as_path=self.attributes.as_path(number) if path_too else None,
            link_bandwidth=self.attributes.bandwidth(number) if bandwidth_too else 0.0,
            attributes=number,
        )


def _ties(ranked: list[tuple[int, int, PathSource]], places: int) -> bool:
    """True when two paths have one rank and one of them is among the first `places`."""
    last = -1
    for rank, _, _ in ranked[: places + 1]:
        if rank == last:
            return True
        last = rank
    return False


def _source(plane: Plane, state: PeerState) -> PathSource:
    info = state.info
    return PathSource(plane, info.index, info.ebgp, info.weight, state.router_id, state.order)
