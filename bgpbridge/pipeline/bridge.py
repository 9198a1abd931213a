"""The life of the bridge, from lanes to packets: how it starts, what runs, how it ends. Its rooms are made in `rooms`,
a changed configuration comes by `reload`.

Order of a start (and why): the kernel's state first (next hops resolve over it), beside it what an earlier run left in
the maps and the kernel (so that ids mean what they meant), then the overlay (so that nothing local is hijacked),
then the program on the interfaces, then the lanes.

A restart is the same start: pinned maps and kernel routes are adopted (`adoption`), peers are asked to send again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from bgpbridge.config import Config
from bgpbridge.errors import AbsentError
from bgpbridge.events import Severity
from bgpbridge.feed.control import Resync
from bgpbridge.feed.lane import LaneMemory
from bgpbridge.feed.reader import LaneReader, Pump
from bgpbridge.fib.early_dump import EarlyDump
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.trie_dump import TrieDump
from bgpbridge.pipeline.files import Files
from bgpbridge.pipeline.latches import read_latches
from bgpbridge.pipeline.overlay import Overlay
from bgpbridge.pipeline.peers import PeerState
from bgpbridge.pipeline.rooms import Rooms
from bgpbridge.rib.lookups import group_of
from bgpbridge.speaker.launch import Handles
from bgpbridge.types import Family, Prefix

__all__ = ["Bridge"]


class Bridge(Rooms):
    """One running bridge. `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, config: Config, handles: Handles, files: Files) -> None:
        super().__init__(config, files)
        self.handles = handles
        self._reader: LaneReader | None = None

    # -- start ------------------------------------------------------------------------------------------

    async def start(self, tries: TrieDump | None = None, early: EarlyDump | None = None) -> None:
        """Up to the point where packets are forwarded and lanes are read. `tries` have been read already, the kernel's
        state `early`. Raises BridgeError; `stop` is to be called then as well, and gives back what was opened."""
        self.make()
        self._open_lanes()
        self._open_kernel()
        ours = OwnDump(self.config.kernel.table)
        await self._look_around(ours if self.planes.kernel is not None else None, tries, early)
        self.opened.callback(self.housekeeping.remember)
        await self.adoption.take_over(ours)
        self.overrides.start(self.config.policy_set)
        self._take_over_interfaces()
        self.kernel_events.go_live()
        self.opened.push_async_callback(self.health.close)
        self.health.prepare(self.config)

    def _open_lanes(self) -> None:
        self._reader = self.handles.reader(from_tail=False)
        self.opened.callback(self._reader.close)
        self.orders.sender = self.handles.sender()
        self.opened.callback(self.orders.sender.close)
        self.feeders.open(self._reader)
        self.opened.callback(self.feeders.close)
        self.roster.start(self.config, self._reader)

    async def _look_around(self, ours: OwnDump | None, tries: TrieDump | None, early: EarlyDump | None) -> None:
        """The kernel's state, what an earlier run left, and the program, which a child compiles: side by side."""
        looks: list[Coroutine[Any, Any, object]] = [self.adoption.read(tries), self.watcher.start(ours, early)]
        looks += [self.datapath.load()] if self.datapath is not None else []
        ends = await asyncio.gather(*looks, return_exceptions=True)  # whatever fails: nobody reads on behind `stop`
        for error in ends:
            if isinstance(error, BaseException):
                raise error

    def _open_kernel(self) -> None:
        kernel = self.planes.kernel
        if kernel is not None:
            kernel.start()
            self.opened.push_async_callback(asyncio.to_thread, kernel.stop)
            self.watcher.ignore_ports({kernel.port})

    def _take_over_interfaces(self) -> None:
        """Overlay first, then packets. Maps that begin empty beside a kernel with an earlier run's routes forward when
        they have them too: a covering route that comes first would lead packets astray."""
        if self.datapath is None or self.planes.xdp is None:
            return
        kernel = self.config.kernel
        metrics = {Family.IPV4: kernel.metric, Family.IPV6: kernel.metric_ipv6}
        foreign = self.watcher.state.foreign
        overlay = Overlay(foreign, self.planes.xdp, metrics, self._has_route, self._routed_inside)
        overlay.start()
        self.committer.overlay = self.kernel_events.overlay = overlay
        for link in list(self.watcher.state.links.values()):
            self.datapath.follow_link(link, True)
        self.datapath.leave_unwanted()
        self.datapath.leave_earlier()
        if self.adopting:
            self.adoption.when_selected = self.datapath.begin
        else:
            self.datapath.begin()

    def _has_route(self, prefix: Prefix) -> bool:
        return group_of(self.rib, prefix) != 0

    def _routed_inside(self, prefix: Prefix) -> Iterator[Prefix]:
        tables = self.rib.families[prefix.family]
        for row in tables.prefixes.covered(prefix).tolist():
            if tables.group[row]:
                yield tables.prefixes.prefix(row)

    # -- run --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read lanes, follow the kernel, keep house, until cancelled. The first room that fails ends it."""
        assert self._reader is not None
        self.garbage.begin()
        self.opened.callback(self.garbage.end)
        self.orders.put_in_step()
        self.latency.apply(self.config.latency)
        self.handshakes.apply(self.config.latency)
        self.sessions.latch_again(read_latches(self.files.latches, self.peers.clock()))
        self.orders.send(Resync())
        pump = Pump(self._reader, self.ingest, lambda: self.loop_lag.woken_s, self.loop_lag.first)
        self.ingest.stored, self.loop_lag.rehearse = self.loop_lag.keep_warm, pump.rehearse
        self.loop_lag.rehearsal_failed = self._rehearsal_failed
        async with asyncio.TaskGroup() as group:
            group.create_task(self.rpki.run(), name="rpki")
            group.create_task(self._serve(pump), name="lanes")
            group.create_task(self.feeders.serve(), name="feeders")
            group.create_task(self.work.run(), name="work")
            group.create_task(self.watcher.run(), name="kernel watcher")
            group.create_task(self.housekeeping.keep(), name="housekeeping")
            group.create_task(self.room.keep(), name="room")
            group.create_task(self.self_audit.keep(), name="audit")
            group.create_task(self.overrides.keep(lambda: self.adoption.active), name="overrides")
            group.create_task(self.health.keep(), name="health")
            group.create_task(self.latency.keep(), name="latency")
            group.create_task(self.handshakes.keep(), name="handshakes")
            group.create_task(self.adoption.finish(lambda: self.sessions.stale_time_s), name="adoption")

    def _rehearsal_failed(self, error: Exception) -> None:
        text = f"{error!r}: the way of single UPDATEs is kept warm no more; they take longer, and nothing else changes"
        self.events.add("rehearsal-ended", "loop", text, Severity.ERROR)

    async def _serve(self, pump: Pump) -> None:
        """Lanes, once the VRPs that there are have been heard of: what RPKI refuses is not let in for a moment."""
        await self.rpki.ready()
        await pump.serve()

    # -- stop -------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Let go of what `start` has come to open; the datapath and the kernel's routes go on forwarding."""
        await self.opened.aclose()

    # -- what others ask --------------------------------------------------------------------------------

    @property
    def adopting(self) -> bool:
        """True until everything that an earlier run left is claimed or swept."""
        return self.adoption.active

    @property
    def lanes(self) -> int:
        """How many lanes there are, the speaker's own included."""
        assert self._reader is not None
        return len(self._reader.lanes)

    @property
    def lane_memory(self) -> LaneMemory:
        """The lanes' memory, which holds the table of peers."""
        assert self._reader is not None
        return self._reader.memory

    def peers_by_name(self, name: str) -> PeerState:
        """A configured peer. Raises UsageError with the names that there are."""
        peer = self.peers.named(name)
        if peer is None:
            names = ", ".join(sorted(p.name for p in self.peers)) or "none"
            raise AbsentError(f"there is no peer {name}", mend=f"peers are: {names}")
        return peer
