"""Every room of the bridge, made and introduced to its neighbours. To add a room, or to let one know of another, is
to change this file; what they do, and in which order, is `bridge`.

The order is by need: the RIB, the planes, paths between the two, the kernel's events, sessions, and then those who
look after what is there. What two rooms that are made one after the other need of each other is a callback.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import numpy as np

from bgpbridge.commits import Cause, CommitLog
from bgpbridge.config import Config
from bgpbridge.datapath.abi import MAX_ADJACENCIES
from bgpbridge.datapath.maps import Maps
from bgpbridge.errors import CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.kernel import KernelFib, KernelOptions
from bgpbridge.fib.netlink import KernelWatcher, OwnRoutes
from bgpbridge.fib.probe import NeighbourProber
from bgpbridge.fib.resolve import Resolver
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.pipeline.adoption import Adoption
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.feeders import Feeders
from bgpbridge.pipeline.files import Files
from bgpbridge.pipeline.garbage import Garbage
from bgpbridge.pipeline.handshakes import Handshakes
from bgpbridge.pipeline.health import HealthWatch
from bgpbridge.pipeline.housekeeping import Housekeeping
from bgpbridge.pipeline.ingest import Ingest
from bgpbridge.pipeline.kernel_events import KernelEvents
from bgpbridge.pipeline.latches import write_latches
from bgpbridge.pipeline.latency import Latency
from bgpbridge.pipeline.limits import Limits
from bgpbridge.pipeline.loop_lag import LoopLag
from bgpbridge.pipeline.orders import Orders
from bgpbridge.pipeline.overrides import Overrides
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.peers import PeerTable
from bgpbridge.pipeline.planes import Committer, Planes
from bgpbridge.pipeline.rib_settings import decision_options
from bgpbridge.pipeline.room import Room
from bgpbridge.pipeline.roster import Roster
from bgpbridge.pipeline.rpki import Rpki
from bgpbridge.pipeline.self_audit import SelfAudit
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.tracing import Tracing
from bgpbridge.pipeline.upgrade import Upgrade
from bgpbridge.pipeline.work import Work
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.next_hops import NextHop, Resolution
from bgpbridge.types import Family, IPAddress

__all__ = ["Rooms"]

MAIN_TABLE = 254  # RT_TABLE_MAIN
# columns are address space until they are used: max_ipv4 may be raised; some 290,000 attribute blocks are a table's
ROOM_IPV4, ROOM_IPV6, ROOM_ATTRIBUTES = 4_000_000, 2_000_000, 4_000_000


def _carrier(maps: Maps | None) -> Callable[[int], None] | None:
    """What carries an adjacency over where the array is a copy of the map."""
    return maps.stored_adjacency if maps is not None and not maps.mapped else None


class Rooms:
    """All of them by name. What is opened as they are made is closed by `opened`, the last one first."""

    def __init__(self, config: Config, files: Files) -> None:
        self.config, self.files = config, files
        self.opened = AsyncExitStack()
        self.started_at, self.began_s = time.time(), time.monotonic()
        self.events = EventLog()
        self.log = CommitLog()
        self.loop_lag = LoopLag()
        self.peers = PeerTable()
        self.feeders = Feeders(files.feed_socket, config.runtime.feed_user, self.peers, self.events)
        self.orders = Orders(
            files.speaker_config,
            self.peers,
            self.feeders,
            self.events,
            lambda: self.config,
            lambda: self.health.withdrawn,
        )
        self.datapath: Datapath | None = None

    def make(self) -> None:
        """In the running loop. Raises BridgeError; what was opened until then is in `opened`."""
        self._make_rib()
        self._make_planes()
        self._make_paths()
        self._make_adjacencies()
        self._make_sessions()
        self._make_memory()
        self._make_watches()

    def _make_rib(self) -> None:
        most = {Family.IPV4: self.config.datapath.max_ipv4, Family.IPV6: self.config.datapath.max_ipv6}
        ipv4, ipv6 = max(most[Family.IPV4], ROOM_IPV4), max(most[Family.IPV6], ROOM_IPV6)
        capacity = Capacity(ipv4=ipv4, ipv6=ipv6, attributes=ROOM_ATTRIBUTES)
        self.judge = PolicyJudge(self.config.policy_set)
        self.rib = Rib(
            decision_options(self.config.decision),
            self.judge,
            resolve=self._resolve,
            router_id=int(self.config.router.router_id),
            capacity=capacity,
        )
        for family, prefixes in most.items():
            self.rib.allow(family, prefixes)
        self.judge.attach(self.rib.attributes)

    def _make_planes(self) -> None:
        settings = self.config.datapath
        if settings.interfaces:
            self.datapath = Datapath.open(settings, self.events, self.files.program)
            self.opened.callback(self.datapath.close)
            self._make_room(self.datapath.maps)
        kernel = self.config.kernel
        options = KernelOptions(
            table=kernel.table,
            protocol=kernel.protocol,
            metric=kernel.metric,
            metric_ipv6=kernel.metric_ipv6,
            nexthop_id_base=kernel.nexthop_id_base,
        )
        xdp = XdpFib(self.datapath.maps, Engine(settings.engine.value)) if self.datapath is not None else None
        self.planes = Planes(xdp, KernelFib(options) if kernel.enabled else None)
        own = OwnRoutes(kernel.protocol, kernel.table, kernel.metric, kernel.metric_ipv6)
        self.watcher = KernelWatcher(own=own)
        self.opened.callback(self.watcher.close)

    def _make_paths(self) -> None:
        state = self.watcher.state
        if self.datapath is not None:
            self.datapath.all_links = state.links
            self.datapath.main_table = self.config.kernel.table == MAIN_TABLE
        via_default = self.config.decision.resolve_via_default
        self.resolver = Resolver(state.foreign, state.link_up, via_default=via_default)
        self.paths = Paths(
            self.rib.next_hops, self.rib.groups, self.resolver, self.planes, self.events, self._link_of_peer
        )
        self.committer = Committer(self.planes, self.paths, self.log)
        self.work = Work(self.committer.routes, self._job_refused)

    def _make_adjacencies(self) -> None:
        self.kernel_events = KernelEvents(
            self.rib,
            self.paths,
            self.resolver,
            self.committer,
            self.work,
            self.events,
            self.config.kernel.protocol,
            datapath=self.datapath,
            kernel=self.planes.kernel,
            rebind=self._rebind,
        )
        maps = self.datapath.maps if self.datapath is not None else None
        words = maps.adjacencies if maps is not None else np.zeros((MAX_ADJACENCIES, 4), np.uint64)
        self.prober = NeighbourProber()
        self.opened.callback(self.prober.close)
        state, loop = self.watcher.state, asyncio.get_running_loop()
        self.adjacencies = AdjacencyTable(
            words,
            state,
            self.prober,
            loop,
            self.kernel_events.adjacencies_changed,
            stored=_carrier(maps),
            moved=self._adjacency_moved,
        )
        self.paths.adjacencies = self.adjacencies
        state.listeners += [self.adjacencies, self.kernel_events]

    def _make_sessions(self) -> None:
        self.sessions = Sessions(
            self.peers,
            self.rib,
            self.committer,
            self.work,
            self.events,
            self.orders.send,
            self.config.graceful_restart.stale_time_s,
        )
        self.sessions.on_latch = self._remember_latches
        self.roster = Roster(self.peers, self.rib, self.judge, self.sessions, self.feeders)
        self.limits = Limits(self.peers, self.rib, self.sessions, self.events)
        self.rpki = Rpki(self.judge, self.rib, self.work, self.limits, self.peers, self.events)
        self.rpki.configure(self.config.rpki)
        self.ingest = Ingest(self.peers, self.rib, self.committer, self.sessions, self.work, self.limits)

    def _make_memory(self) -> None:
        self.overrides = Overrides(self.rib, self.peers, self.paths, self.work, self.events, self.files.overrides)
        self.adoption = Adoption(
            self.rib,
            self.peers,
            self.committer,
            self.work,
            self.sessions,
            self.adjacencies,
            self.events,
            self.files.groups,
        )
        self.sessions.on_synced = self.adoption.synced.set
        self.garbage = Garbage()
        self.housekeeping = Housekeeping(
            self.rib,
            self.planes,
            self.paths,
            self.work,
            self.adoption,
            self.events,
            self.datapath,
            self.watcher.state.links,
            self.peers.name,
            self.files.groups,
            self.garbage,
        )

    def _make_watches(self) -> None:
        self.health = HealthWatch(
            self.peers,
            self.rib.next_hops,
            self.committer,
            self.sessions,
            self.watcher.state,
            self.resolver,
            self.events,
            self.orders.put_in_step,
            self.files.withdrawn,
        )
        self.self_audit = SelfAudit(
            self.rib,
            self.planes,
            self.committer,
            self.events,
            self.peers.name,
            lambda: self.adoption.active,
            self.config.audit.cpu_permille,
            self.adjacencies.words,
        )
        self.latency = Latency(self.paths, self.committer, self.adjacencies, self.watcher.state, self.events)
        self.opened.callback(self.latency.close)
        maps = self.datapath.maps if self.datapath is not None else None
        self.handshakes = Handshakes(maps, self.adjacencies, self.events)
        self.tracing = Tracing(maps)
        self.upgrade: Upgrade | None = None
        if self.datapath is not None and self.planes.xdp is not None:
            movers = (self._move_adjacencies, self.handshakes.move, self.tracing.move, self._make_room)
            alone = self.self_audit.one_at_a_time
            self.upgrade = Upgrade(self.datapath, self.planes.xdp, movers, self.events, alone)
        self.room = Room(
            self.rib,
            self.planes,
            self.work,
            self.sessions,
            self.events,
            lambda: self.config.datapath,
            lambda: self.adoption.active,
            self.upgrade,
        )

    # -- what one room needs of another that is made after it ---------------------------------------------

    def _adjacency_moved(self, number: int) -> None:
        if self.datapath is not None:
            self.datapath.maps.adjacency_moved(number)

    def _move_adjacencies(self, maps: Maps) -> None:
        self.adjacencies.move(maps.adjacencies, _carrier(maps))
        self.self_audit.words = self.adjacencies.words

    def _make_room(self, maps: Maps) -> None:
        """The RIB takes as many prefixes as the maps do."""
        self.rib.allow(Family.IPV4, maps.lpm4.max_entries)
        self.rib.allow(Family.IPV6, maps.lpm6.max_entries)

    def _resolve(self, next_hop: NextHop) -> Resolution:
        return self.paths.resolve(next_hop)

    def _link_of_peer(self, index: int) -> int | None:
        """The interface of a peer's session: the one that holds our address of it."""
        peer = self.peers.at(index)
        if peer is None or peer.session is None:
            return None
        ours = peer.session.local_address
        return next((a.ifindex for a in self.watcher.state.addresses if a.address == ours), None)

    def _job_refused(self, cause: Cause, error: CapacityError) -> None:
        self.housekeeping.job_refused(cause, error)

    def _rebind(self, address: IPAddress) -> None:
        for peer in self.peers:
            if peer.session is not None and peer.session.local_address == address:
                self.sessions.rebind(peer)

    def _remember_latches(self) -> None:
        latches = self.sessions.latches()
        try:
            write_latches(self.files.latches, latches, self.peers.clock())
        except OSError as error:
            self.events.add("state-not-written", str(self.files.latches), str(error), Severity.WARNING)
