"""The RIB as a whole: what the pipeline calls.

Bulk work comes as generators of Changes. Every value they yield, empty or not, is a point at which all
tables agree and anything else may be done, other peers' messages and a collection of unused ids among
them; a generator that is given up is closed. Messages of one peer are applied in their order.

No clock is read: `now` (seconds) is set from outside and is what `changed` columns hold. Timers (stale
routes, collection) belong to the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.errors import CapacityError, UsageError
from bgpbridge.rib.adj_rib_in import UNLIMITED, AdjRibIn, Plane
from bgpbridge.rib.attributes import AttributeTable
from bgpbridge.rib.changes import Applied, Changes, FewChanges, Move
from bgpbridge.rib.collection import collect
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.family import FamilyRib
from bgpbridge.rib.groups import GroupTable
from bgpbridge.rib.intake import Intake, Paths, Said, said_of
from bgpbridge.rib.next_hops import NextHop, NextHopTable, Resolution
from bgpbridge.rib.overrides import Entry, OverrideTable
from bgpbridge.rib.peers import Differing, Judge, PeerCounts, PeerInfo, PeerState
from bgpbridge.rib.pieces import Pieces, Size
from bgpbridge.rib.tables import Ids, Lengths, Words
from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.bulk import Batch, NlriColumns
from bgpbridge.wire.plain_update import plain_route, plain_update
from bgpbridge.wire.update import split_update
from bgpbridge.wire.verdicts import Finding, SessionKind, strongest

__all__ = ["Capacity", "Rib"]

Covers = Callable[[Words, Words, Lengths], npt.NDArray[np.bool_]]

SLICE = 16_384  # rows between two points
WHOLE_SLICE = 32_768  # the same of all routes, which planes find again among a million: the more, the quicker each
REDECIDED = 8192  # the same where each row may move, which a trie takes some 1.5 us of CPU for
ASKED = 32_768  # the same where policy says of attributes only whether its verdicts on them may be others
REJUDGED = 6144  # the same where policy, which is asked first, may have changed its mind
ROWS = (2048, 4096, 6144)  # of what a peer sends, between two points (see pieces.Size): more saves nothing, and what
# hangs on every piece, however small, takes as long as the least
BLOCKS = (1024, 2048, 3072)  # attribute blocks interned between two points
MANY_BLOCKS = 1024  # fewer take less than a millisecond, and need no point
SCAN = 65_536  # rows looked through between two points when few of them matter


@dataclass(frozen=True, slots=True)
class Capacity:
    """Most rows and ids. Room that is not used costs address space only."""

    ipv4: int = 2_000_000
    ipv6: int = 1_000_000
    attributes: int = 2_000_000
    next_hops: int = 65_535


class Rib:
    """Adj-RIBs-In, decision and Loc-RIB of both families.

    `judge` is import policy, `resolve` tells what is known about a new next hop, `router_id` is our own.
    """

    def __init__(
        self,
        options: DecisionOptions,
        judge: Judge,
        *,
        resolve: Callable[[NextHop], Resolution] | None = None,
        router_id: int = 0,
        capacity: Capacity | None = None,
    ) -> None:
        room = capacity or Capacity()
        self.options = options
        self.judge = judge
        self.now = 0
        self.next_hops = NextHopTable(resolve, limit=room.next_hops)
        self.attributes = AttributeTable(self.next_hops, capacity=room.attributes, router_id=router_id)
        self.attributes.on_release(self._forget_blocks)
        self.groups = GroupTable()
        self.families = {
            family: FamilyRib(family, rows, self.attributes, self.next_hops, self.groups)
            for family, rows in ((Family.IPV4, room.ipv4), (Family.IPV6, room.ipv6))
        }
        self._peers: dict[int, PeerState] = {}
        self._pinned: dict[int, Ids] = {}
        self._spared: list[frozenset[int]] = []
        self.pieces = Pieces(Size(*ROWS), Size(*BLOCKS))
        self.runs = 0  # of UPDATEs that came in columns

    # -- peers and sessions -------------------------------------------------------------------------

    def add_peer(self, info: PeerInfo) -> None:
        """Make a peer known, or change what is known of it (`redecide` if its weight changed)."""
        for family, tables in self.families.items():
            if info.index in tables.adj:
                tables.adj[info.index].limit = info.add_path_limit
                tables.adj[info.index].set_ceiling(info.ceilings.get(family, UNLIMITED))
        before = self._peers.get(info.index)
        if before is None:
            self._peers[info.index] = PeerState(info)
        else:
            before.info = info
        addresses = sorted(self._peers.values(), key=lambda s: (s.info.address.version, int(s.info.address)))
        for order, state in enumerate(addresses):
            state.order = order
        self._refresh_sources()

    def remove_peer(self, peer: int) -> Iterator[Changes]:
        """Drop a peer's routes, then the peer. Runs as it is driven."""
        yield from self.drop_peer(peer)
        self._peers.pop(peer, None)

    def peer(self, peer: int) -> PeerState:
        """What is known of a peer. UsageError for an index that was never added."""
        state = self._peers.get(peer)
        if state is None:
            raise UsageError(f"peer {peer} is not known to the RIB", mend="add_peer comes first")
        return state

    def peers(self) -> list[PeerState]:
        """All peers, by index."""
        return [self._peers[index] for index in sorted(self._peers)]

    def session_up(self, session: Session) -> None:
        """A session is established, or goes on with fewer families. Stale routes of an earlier one stay
        until they are announced again or swept."""
        state = self.peer(session.peer)
        state.begin(session)
        for family, tables in self.families.items():
            if family in session.add_path and session.peer in tables.adj:
                tables.adj[session.peer].use_path_ids()
        self._refresh_sources()

    def session_down(self, peer: int, keep_stale: frozenset[Family] = frozenset()) -> Iterator[Changes]:
        """A session ended. At once: routes of `keep_stale` families become stale, those that already were
        (RFC 4724 s4.2: consecutive restarts) and all others are doomed. The iterator removes the doomed
        ones in slices and must be driven; what is announced anew before it gets there stays."""
        self.peer(peer)
        for family, tables in self.families.items():
            adj = tables.adj.get(peer)
            if adj is not None:
                adj.doom(tables.top, only_stale=family in keep_stale)
                adj.mark_stale(tables.top)
        return self._sweep(peer, tuple(Family))

    def drop_peer(self, peer: int, families: Iterable[Family] = tuple(Family)) -> Iterator[Changes]:
        """Remove all routes of a peer in these families: doomed at once, removed as driven."""
        chosen = tuple(families)
        for family in chosen:
            tables = self.families[family]
            if peer in tables.adj:
                tables.adj[peer].doom(tables.top, only_stale=False)
        return self._sweep(peer, chosen)

    def mark_stale(self, peer: int, family: Family) -> None:
        """BoRR (RFC 7313): what is there is stale until it is announced again."""
        tables = self.families[family]
        if peer in tables.adj:
            tables.adj[peer].mark_stale(tables.top)

    def sweep_stale(self, peer: int, family: Family) -> Iterator[Changes]:
        """End-of-RIB, EoRR or the timer: remove what is still stale now. Must be driven."""
        tables = self.families[family]
        if peer in tables.adj:
            tables.adj[peer].doom(tables.top, only_stale=True)
        return self._sweep(peer, (family,))

    def _sweep(self, peer: int, families: tuple[Family, ...]) -> Iterator[Changes]:
        for tables in (self.families[family] for family in families):
            adj = tables.adj.get(peer)
            if adj is None or not adj.may_be_stale:
                continue
            for plane in range(len(adj.planes)):
                for first, last in tables.chunks(SLICE):
                    rows = adj.doomed(plane, first, last)
                    if len(rows):
                        gone = np.zeros(len(rows), np.int64)
                        adj.store(plane, rows, gone, gone, gone, self.now)
                        yield tables.settle(rows, self.options)
            adj.may_be_stale = bool(adj.stale_count(tables.top))
            if not adj.received:
                tables.forget(peer)

    def _refresh_sources(self) -> None:
        for tables in self.families.values():
            tables.refresh_sources(self._peers)

    # -- what peers send ----------------------------------------------------------------------------

    def apply(self, peer: int, batch: Batch) -> Iterator[Changes]:
        """A decoded run, in pieces. Block-level findings are counted for `take_findings`.

        CapacityError, for want of prefixes or attributes, ends it at a piece that does not fit and that has
        changed nothing. Where groups are short nothing is raised: see `undecided`."""
        state = self.peer(peer)
        kind = self._kind(state)
        self.runs += 1
        run, count = self.runs, len(batch.blocks.start)
        ids = self._pinned[run] = np.zeros(count, np.int64)
        try:
            for first, last in self._block_cuts(count):
                ids[first:last] = self.attributes.intern_batch(batch.blocks.part(first, last - first), kind)
                if count >= MANY_BLOCKS:
                    yield Changes.none(Family.IPV4)
            usable = np.append(self._usable(state, ids, batch.second), 0)  # block -1, a withdrawal, takes the last
            for family, columns in batch.columns.items():
                for first, last in self._cuts(columns.message):
                    part = slice(first, last)
                    yield self._intake(family, state).apply(_paths(columns, part, usable))
        finally:
            del self._pinned[run]

    def _block_cuts(self, count: int) -> Iterator[tuple[int, int]]:
        pieces, first = self.pieces, 0
        while first < count:
            last = min(first + int(pieces.blocks.now), count)
            pieces.began(pieces.blocks, last - first)
            yield first, last
            first = last

    def _cuts(self, message: Ids) -> Iterator[tuple[int, int]]:
        """Pieces of rows that end with a message: no UPDATE is seen half applied."""
        pieces, first = self.pieces, 0
        while first < len(message):
            last = first + int(pieces.rows.now)
            if last < len(message):
                last = int(np.searchsorted(message, message[last], side="left"))
                if last <= first:
                    last = int(np.searchsorted(message, message[first], side="right"))
            last = min(last, len(message))
            pieces.began(pieces.rows, last - first)
            yield first, last
            first = last

    def _kind(self, state: PeerState) -> SessionKind:
        if state.kind is None:
            raise UsageError(f"peer {state.info.name} has no session", mend="session_up comes first")
        return state.kind

    def _usable(self, state: PeerState, ids: Ids, second: Iterable[int]) -> Ids:
        """The ids, 0 in place of those to be treated as withdrawn; findings are counted, once for a message whose
        block is there twice (`second`)."""
        verdict = self.attributes.verdict.take(ids)
        if not verdict.any():
            return ids
        for findings, times in self.attributes.findings_by_key(ids.compress(verdict != 0)):
            for finding in findings:
                state.count(finding, times)
        for at in second:
            said = self.attributes.findings(int(ids[at - 1]))
            for finding in self.attributes.findings(int(ids[at])):
                if finding in said:
                    state.count(finding, -1)
        out: Ids = np.where(verdict >= Verdict.TREAT_AS_WITHDRAW, 0, ids)
        return out

    def take_findings(self, peer: int) -> list[tuple[Finding, int]]:
        """Block-level findings of runs since the last call, and how often."""
        state = self.peer(peer)
        found = list(state.findings.items())
        state.findings.clear()
        return found

    def apply_one(self, peer: int, message: bytes) -> Applied:
        """One whole UPDATE, the scalar way."""
        few = self.apply_plain(peer, message)
        return Applied((few,)) if few is not None else self.apply_message(peer, message)

    def apply_plain(self, peer: int, message: bytes) -> FewChanges | None:
        """The commonest UPDATE, by as few steps as can be: one IPv4 prefix that is known, by attributes that the peer
        has used of late, or withdrawn. None: it is none of these, and nothing was done: `apply_message`."""
        found = self._find_plain(peer, message)
        if found is None:
            return None
        adj, plane, number, row, value, length = found
        family, moves = self.families[Family.IPV4], list[Move]()
        if number or plane.raw_view[row]:
            verdict = self.judge.judge_one(peer, Family.IPV4, number, 0, value, length) if number else 0
            if adj.store_one(0, row, number, verdict, 0, self.now):
                old, new = family.settle_one(row, self.options)
                if old != new:
                    moves.append((row, 0, value, length, old, new))
        return FewChanges(Family.IPV4, moves)

    def rehearse(self, peer: int, message: bytes) -> Move | None:
        """The way of `apply_plain` with cells that are stored as they are. The prefix with its group."""
        found = self._find_plain(peer, message)
        if found is None:
            return None
        adj, plane, number, row, value, length = found
        family = self.families[Family.IPV4]
        if number:
            with suppress(CapacityError):  # of another policy than then
                self.judge.judge_one(peer, Family.IPV4, number, 0, value, length)
        adj.store_one(0, row, plane.raw_view[row], plane.effective_view[row], 0, plane.changed_view[row])
        group = family.rehearse_one(row, self.options)
        return row, 0, value, length, group, group

    def _find_plain(self, peer: int, message: bytes) -> tuple[AdjRibIn, Plane, int, int, int, int] | None:
        """What a plain message is about: Adj-RIB-In and its plane, attribute id (0: withdrawn), row, address, length.
        None where it is not plain, or names what is not known."""
        state, family = self._peers.get(peer), self.families[Family.IPV4]
        adj = family.adj.get(peer)
        if state is None or adj is None or self.attributes.marks is not None or adj.near(1):
            return None
        plane, route = adj.lone_plane, plain_route(message, state.plain_octets)
        if plane is None or route is None:
            return None
        block, value, length = route
        number = state.known.get(block, 0) if block else 0
        row = family.prefixes.find_one(0, value, length)
        return (adj, plane, number, row, value, length) if row and (number or not block) else None

    def _forget_blocks(self, _: Ids) -> None:
        """Attribute ids are about to mean something else."""
        for state in self._peers.values():
            state.known.clear()

    def apply_message(self, peer: int, message: bytes) -> Applied:
        """One whole UPDATE of any kind."""
        state = self.peer(peer)
        kind = self._kind(state)
        plain = plain_update(message, state.plain_octets)
        if plain is not None:
            withdrawn, block, announced = plain
            number = self.attributes.intern(block, False, kind) if announced else 0
            if not self.attributes.cell.verdict[number]:
                if announced:
                    state.remember(block, number)
                few = [(0, value, length, 0, 0) for value, length in withdrawn]
                few += [(0, value, length, 0, number) for value, length in announced]
                return Applied((self._intake(Family.IPV4, state).apply_few(few),))
        return self._apply_any(state, kind, message)

    def _intake(self, family: Family, state: PeerState) -> Intake:
        return Intake(self.families[family], state, self.judge, self.options, self.now)

    def _apply_any(self, state: PeerState, kind: SessionKind, message: bytes) -> Applied:
        """One UPDATE of any kind, with what is wrong with it."""
        assert state.session is not None
        raw = split_update(message, state.session)
        findings = list(raw.findings)
        if raw.verdict is Verdict.SESSION_RESET:
            return Applied((), raw.findings, None, Verdict.SESSION_RESET)
        said: dict[Family, list[Said]] = {}
        for prefix, path_id in raw.unreach:
            said.setdefault(prefix.family, []).append(said_of(prefix, path_id, 0))
        for family, mp, prefixes in raw.reach:
            number = self.attributes.intern(raw.block, mp, kind)
            verdict = self.attributes.cell.verdict[number]
            if verdict:
                findings += [f for f in self.attributes.findings(number) if f not in findings]
            usable = number if verdict < Verdict.TREAT_AS_WITHDRAW else 0
            said.setdefault(family, []).extend(said_of(prefix, path_id, usable) for prefix, path_id in prefixes)
        changes: list[Changes | FewChanges] = []
        short: CapacityError | None = None
        for family, words in said.items():
            try:
                changes.append(self._intake(family, state).apply_few(words))
            except CapacityError as error:
                if not changes:
                    raise
                short = error  # what the other family changed has to reach the planes
        return Applied(tuple(changes), tuple(findings), raw.end_of_rib, strongest(findings), short)

    def allow(self, family: Family, prefixes: int) -> int:
        """Take so many prefixes of a family at most, as far as its columns have room. How many it is now."""
        tables = self.families[family]
        tables.prefixes.allow(min(prefixes, tables.size - 1))
        tables.prefixes.beyond = 0
        return tables.prefixes.capacity

    def room(self, family: Family) -> int:
        """How many prefixes of a family are taken at most."""
        return self.families[family].prefixes.capacity

    def known(self, family: Family) -> int:
        """How many of them are used: each has a route, or had one."""
        return self.families[family].prefixes.used

    def beyond(self, family: Family) -> int:
        """How many prefixes there would have been, had something been taken that did not fit; 0: all was taken since
        `allow`."""
        return self.families[family].prefixes.beyond

    def columns(self, family: Family) -> int:
        """How many `allow` can let in."""
        return self.families[family].size - 1

    def idle_rows(self, family: Family) -> Iterator[Ids]:
        """Rows of prefixes that nobody sends any more and that have no route, slice by slice: whoever holds nothing of
        them either may `give_back` those of the slice."""
        tables = self.families[family]
        for first, last in tables.chunks(SCAN):
            yield tables.idle(first, last)

    def give_back(self, family: Family, rows: Ids) -> None:
        """Rows for other prefixes. They are idle, and nobody outside knows of them."""
        if len(rows):
            self.families[family].prefixes.give_back(rows)

    def trim(self) -> None:
        """Give back what bulk work has taken for a moment."""
        for tables in self.families.values():
            tables.trim()

    # -- what changes around the routes -------------------------------------------------------------

    def next_hops_changed(self, ids: Iterable[int]) -> Iterator[Changes]:
        """Decide again what hangs on these next hops: after `next_hops.set` returned True."""
        hit = np.zeros(self.next_hops.limit + 1, np.bool_)
        hit[list(ids)] = True
        for tables in self.families.values():
            for first, last in tables.chunks(SCAN):
                rows = tables.rows_by_next_hop(hit, first, last)
                for at in range(0, len(rows), SLICE):
                    yield tables.settle(rows[at : at + SLICE], self.options)

    def rejudge(self, peers: Iterable[int] | None = None, differing: Differing | None = None) -> Iterator[Changes]:
        """Ask policy again about what these peers (None: all) sent; decide where its verdict changed. A
        new judge is set on `judge` before. With `differing` only routes are looked at that it names, many together."""
        chosen = set(self._peers if peers is None else peers)
        for tables in self.families.values():
            left: Ids = np.empty(0, np.int64)
            for first, last in tables.chunks(SLICE if differing is None else ASKED):
                rows = None if differing is None else tables.differing(differing, chosen, first, last)
                if rows is None:
                    for at in range(first, last, SLICE):
                        rows = tables.rejudge(self.judge, chosen, at, min(at + SLICE, last))
                        yield tables.settle(rows, self.options)
                    continue
                yield Changes.none(tables.family)
                left = np.concatenate([left, rows])
                while len(left) >= REJUDGED:
                    yield self._rejudged(tables, chosen, left[:REJUDGED])
                    left = left[REJUDGED:]
            yield self._rejudged(tables, chosen, left)

    def _rejudged(self, tables: FamilyRib, peers: set[int], rows: Ids) -> Changes:
        return tables.settle(tables.rejudge_rows(self.judge, peers, rows), self.options)

    def rejudge_covered(self, peers: Iterable[int], covers: Mapping[Family, Covers]) -> Iterator[Changes]:
        """The same for those prefixes alone that `covers` says yes to, by (hi, lo, length)."""
        chosen = set(peers)
        for family, covered in covers.items():
            tables = self.families[family]
            for first, last in tables.chunks(SCAN):
                rows = np.arange(first, last)
                rows = rows.compress(covered(*tables.prefixes.columns(rows)))
                yield Changes.none(family)
                for at in range(0, len(rows), SLICE):
                    yield tables.settle(tables.rejudge_rows(self.judge, chosen, rows[at : at + SLICE]), self.options)

    def received(self) -> Iterator[tuple[int, Family, Ids, Words, Words, Lengths]]:
        """(peer, family, attribute ids, hi, lo, length) of all that peers have sent, in pieces."""
        for family, tables in self.families.items():
            for first, last in tables.chunks(SCAN):
                for peer, plane in [(peer, plane) for peer, adj in tables.adj.items() for plane in adj.planes]:
                    rows = np.flatnonzero(plane.raw[first:last]) + first
                    if len(rows):
                        yield peer, family, plane.raw.take(rows).astype(np.int64), *tables.prefixes.columns(rows)

    @property
    def undecided(self) -> int:
        """How many decisions found no free group id since the last `redecide`: their rows kept the groups that
        they had. Drive `redecide` when ids have become free."""
        return sum(tables.undecided for tables in self.families.values())

    def redecide(self) -> Iterator[Changes]:
        """Decide everything again: other options, another weight of a peer, room for more groups."""
        self.groups.thinned = 0
        for tables in self.families.values():
            tables.undecided = 0
            for first, last in tables.chunks(SLICE):
                yield tables.settle(np.arange(first, last), self.options)

    def set_overrides(self, entries: Iterable[Entry]) -> None:
        """From now on these overrides hold, no scope twice. `redecide_under` has to be driven for what they change."""
        listed = list(entries)
        for family, tables in self.families.items():
            table = OverrideTable(family, listed)
            tables.overrides = table if len(table) else None

    def redecide_under(self, scopes: Iterable[Entry]) -> Iterator[Changes]:
        """Decide the prefixes again that these overrides are about: after they came or went."""
        listed = list(scopes)
        for family, tables in self.families.items():
            table = OverrideTable(family, listed)
            for first, last in tables.chunks(SCAN) if len(table) else ():
                rows = tables.rows_under(table, first, last)
                for at in range(0, len(rows), REDECIDED):
                    yield tables.settle(rows[at : at + REDECIDED], self.options)

    def everything(self) -> Iterator[Changes]:
        """All routes that there are, as changes from nothing: for planes that have been told of none so far."""
        for tables in self.families.values():
            for first, last in tables.chunks(WHOLE_SLICE):
                rows = np.flatnonzero(tables.group[first:last]) + first
                yield tables.changes(rows, np.zeros(len(rows), np.int64), tables.group.take(rows).astype(np.int64))

    def collect(self) -> Iterator[int]:
        """Free attribute and next-hop ids that nothing uses, in slices; see `collection`."""
        return collect(self.attributes, self.groups, self._cells, self._pinned.values, self._own_next_hops)

    @contextmanager
    def spare(self, entries: Iterable[Entry]) -> Iterator[None]:
        """No collection takes the next hops of these overrides, which do not hold, for as long as the block runs."""
        mine = frozenset(number for entry in entries for number in entry.intent.own)
        self._spared.append(mine)
        try:
            yield
        finally:
            self._spared.remove(mine)

    def _own_next_hops(self) -> Iterator[int]:
        for numbers in self._spared:
            yield from numbers
        for tables in self.families.values():
            yield from tables.overrides.own() if tables.overrides is not None else ()

    def _cells(self) -> Iterator[Ids]:
        for tables in self.families.values():
            for first, last in tables.chunks(SCAN):
                for source in list(tables.sources):
                    yield source.plane.raw[first:last]
                    if source.plane.parted:
                        yield source.plane.effective[first:last]

    # -- counts -------------------------------------------------------------------------------------

    def against_limit(self, peer: int, family: Family, least: int) -> tuple[int, int]:
        """(routes that count against the peer's ceiling, announcements that were not taken in for it). Stale routes
        count until there are more than `least`: telling them apart costs a look at the whole column."""
        tables = self.families[family]
        adj = tables.adj.get(peer)
        if adj is None:
            return 0, 0
        count = adj.accepted if adj.by_accepted else adj.received
        return (adj.fresh_count(tables.top) if count > least else count), adj.blocked

    def forget_blocked(self, peer: int) -> None:
        """A session begins, or another limit holds: count anew what is not taken in."""
        for tables in self.families.values():
            if peer in tables.adj:
                tables.adj[peer].blocked = 0

    def counts(self, peer: int) -> dict[Family, PeerCounts]:
        """Routes of a peer by family."""
        found = {}
        for family, tables in self.families.items():
            adj = tables.adj.get(peer)
            if adj is None:
                found[family] = PeerCounts(0, 0, 0, 0, 0, 0)
                continue
            rejected = adj.received - adj.accepted
            best, stale = tables.best_count(peer), adj.stale_count(tables.top)
            found[family] = PeerCounts(adj.received, adj.accepted, rejected, best, stale, adj.refused)
        return found


def _paths(columns: NlriColumns, part: slice, usable: Ids) -> Paths:
    return Paths(
        columns.hi[part],
        columns.lo[part],
        columns.length[part],
        columns.path_id[part].astype(np.int64),
        usable.take(columns.block[part]),
    )
