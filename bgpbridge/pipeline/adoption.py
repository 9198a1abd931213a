"""What a restarted bridge does with the datapath of its former self.

Prefixes in the pinned tries and in the kernel go on forwarding by group ids. Groups that the memory file knows get
their ids again (`remembered`), all others' ids are kept off. Prefixes stay as they are until the peers have sent their
tables (RFC 4724 s4.1: a restarting speaker does not select before; else all traffic would move to the peer that
answers first), or `SELECT_AFTER_S` have passed. What nobody has claimed when every peer that had routes is through, or
when the stale timer ends, is swept: prefixes first, then the groups and adjacencies that only they used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.trie_dump import TrieDump
from bgpbridge.pipeline.peers import OVERRIDE_NAME, PeerTable
from bgpbridge.pipeline.planes import Committer
from bgpbridge.pipeline.remembered import read_groups
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.changes import Changes
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.overrides import OVERRIDE_PEER

__all__ = ["Adoption"]

SELECT_AFTER_S = 30.0


@dataclass(slots=True)
class Adoption:
    """`active` until everything is claimed or swept; `left` are the group ids of the earlier run that may still stand
    under its prefixes. `when_selected` is called when both planes have what the peers have sent again."""

    rib: Rib
    peers: PeerTable
    committer: Committer
    work: Work
    sessions: Sessions
    adjacencies: AdjacencyTable
    events: EventLog
    memory: Path
    active: bool = False
    left: set[int] = field(default_factory=set)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    when_selected: Callable[[], None] = lambda: None
    _found: frozenset[int] | None = None
    _kernel_routes: Future[frozenset[int]] | None = None

    async def read(self, tries: TrieDump | None = None) -> None:
        """What stands in both planes, which are open. Nobody else may touch the tries meanwhile; `tries` have been read
        already."""
        planes, found = self.committer.planes, frozenset[int]()
        if planes.xdp is not None:
            found |= (await asyncio.to_thread(planes.xdp.adopt, tries)).groups
        if planes.kernel is not None:
            kept: frozenset[int] = await asyncio.wrap_future(planes.kernel.groups_there())
            found |= kept
        self._found = found

    async def take_over(self, ours: OwnDump | None = None) -> None:
        """Ids keep their meaning, entries are neither lost nor rewritten. Both planes are open; `ours` are the kernel's
        routes where they have been read already."""
        self.adjacencies.adopt()
        if self._found is None:
            await self.read()
        self.left = set(self._found or ())
        known = read_groups(self.memory, self.left, self._index_of, self.rib.next_hops)
        for number, group in known.items():
            self.rib.groups.seed(number, group)
        self.rib.groups.reserve(self.left - known.keys())
        self.committer.paths.watch_fresh()
        self.committer.paths.fill(known)
        if self.committer.planes.kernel is not None:  # its thread sorts them while the peers send
            self._kernel_routes = self.committer.planes.kernel.adopt(ours)
        self.active = self.committer.deferred = bool(self.left)
        had = {member.peer for group in known.values() for side in group for member in side}
        had.discard(OVERRIDE_PEER)
        self.sessions.wait_for(had or {peer.index for peer in self.peers})
        if self.left:
            text = f"{len(self.left)} groups of an earlier run, {len(known)} of them known by their members"
            self.events.add("adopted", "datapath", text, Severity.NOTICE)

    def _index_of(self, name: str) -> int | None:
        if name == OVERRIDE_NAME:
            return OVERRIDE_PEER
        peer = self.peers.named(name)
        return peer.index if peer is not None else None

    async def finish(self, stale_time_s: Callable[[], float]) -> None:
        """Wait for the peers, select, sweep. Ends at once where there was nothing to adopt. Raises NetlinkError when
        the kernel did not tell its routes."""
        if self._kernel_routes is not None:
            await asyncio.wrap_future(self._kernel_routes)
        if not self.active:
            return
        await self._synced_within(min(SELECT_AFTER_S, stale_time_s()))
        self.committer.deferred = False
        await self._done(Cause(CauseKind.REPAIR, detail="selection after a restart"), self.rib.everything())
        self.when_selected()
        await self._synced_within(stale_time_s() - SELECT_AFTER_S)
        await self._sweep()
        self.adjacencies.sweep()
        self.left = {number for number in self.left if number not in self.rib.groups}
        self.active = False
        text = f"{len(self.left)} groups are of no use any more"
        self.free_strangers()
        self.events.add("adoption-finished", "datapath", text, Severity.NOTICE)

    async def _sweep(self) -> None:
        planes = self.committer.planes
        if planes.xdp is not None:
            await self._done(Cause(CauseKind.STALE_SWEPT, detail="leftovers of an earlier run"), planes.xdp.sweep())
        if planes.kernel is not None:
            gone: Future[int] = planes.kernel.sweep()
            await asyncio.wrap_future(gone)
            settled: Future[None] = planes.kernel.settled()
            await asyncio.wrap_future(settled)

    async def _synced_within(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.synced.wait(), seconds)

    async def _done(self, cause: Cause, steps: Iterator[Changes] | Iterator[int]) -> None:
        """Have a job done, and wait for its end."""
        done = asyncio.Event()
        self.work.add(cause, steps, done.set)
        await done.wait()

    def free_strangers(self) -> None:
        """Groups of the earlier run that came up in none of this one's routes: their ids are free again when no plane
        forwards by them any more. To be called now and then, until none is left."""
        if self.active or not self.left:
            return
        strangers = np.array(sorted(self.left), np.int64)
        gone = strangers[~self.committer.planes.held(strangers)].tolist()
        self.committer.paths.freed(gone)
        self.rib.groups.unreserve(gone)
        self.left.difference_update(gone)
