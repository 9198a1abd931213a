"""The bridge: every room wired to the next, from lanes to packets. The one place that knows them all.

Order of a start (and why): the kernel's state first (next hops resolve over it), then what an earlier run left in
the maps and the kernel (so that ids mean what they meant), then the overlay (so that nothing local is hijacked),
then the program on the interfaces, then the lanes.

A restart is the same start: pinned maps and kernel routes are adopted (`adoption`), peers are asked to send again.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bgpbridge.commits import Cause, CommitLog
from bgpbridge.config import Config, Peer, passwords_of
from bgpbridge.config.model import Decision
from bgpbridge.datapath.abi import MAX_ADJACENCIES
from bgpbridge.errors import AbsentError, BridgeError, CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.feed.control import Command, ControlSender, Reload, Resync
from bgpbridge.feed.lane import LaneMemory
from bgpbridge.feed.reader import LaneReader, Pump
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.kernel import KernelFib, KernelOptions
from bgpbridge.fib.netlink import KernelWatcher, OwnRoutes
from bgpbridge.fib.probe import NeighbourProber
from bgpbridge.fib.resolve import Resolver
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.pipeline.adoption import Adoption
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.feeders import Feeders
from bgpbridge.pipeline.handshakes import Handshakes
from bgpbridge.pipeline.health import HealthWatch
from bgpbridge.pipeline.housekeeping import Housekeeping
from bgpbridge.pipeline.ingest import Ingest
from bgpbridge.pipeline.kernel_events import KernelEvents
from bgpbridge.pipeline.latches import read_latches, write_latches
from bgpbridge.pipeline.latency import Latency
from bgpbridge.pipeline.limits import Limits, ceilings_of
from bgpbridge.pipeline.loop_lag import LoopLag
from bgpbridge.pipeline.overlay import Overlay
from bgpbridge.pipeline.overrides import Overrides
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.peers import PeerState, PeerTable, number_peers
from bgpbridge.pipeline.planes import Committer, Planes
from bgpbridge.pipeline.rpki import Rpki
from bgpbridge.pipeline.self_audit import SelfAudit
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.subjects import announcing
from bgpbridge.pipeline.work import Work
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PeerContext
from bgpbridge.rib.decision import DecisionOptions
from bgpbridge.rib.loc_rib import Capacity, Rib
from bgpbridge.rib.lookups import group_of
from bgpbridge.rib.next_hops import NextHop, Resolution
from bgpbridge.rib.peers import PeerInfo
from bgpbridge.speaker.launch import Handles, replace_file
from bgpbridge.speaker.render import render
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = ["Bridge", "Files", "decision_options", "peer_info"]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the bridge keeps things: its memory of groups, and the speaker's configuration."""

    groups: Path
    speaker_config: Path

    @property
    def feed_socket(self) -> Path:
        """Where `bgpbridge pipe` connects (`pipeline.feeders`)."""
        return self.groups.with_name("feed.sock")


def decision_options(decision: Decision) -> DecisionOptions:
    """The decision's knobs from the configuration."""
    return DecisionOptions(
        med=decision.med,
        missing_med=decision.missing_med,
        compare_router_id=decision.compare_router_id,
        prefer_oldest=decision.prefer_oldest,
        ebgp_paths=decision.multipath.ebgp,
        ibgp_paths=decision.multipath.ibgp,
        relax=decision.multipath.relax,
        backups=decision.backups,
    )


def peer_info(index: int, peer: Peer, ebgp: bool) -> PeerInfo:
    """What the RIB needs to know of a peer."""
    return PeerInfo(
        index=index,
        name=peer.name,
        address=peer.address,
        asn=peer.asn,
        ebgp=ebgp,
        weight=peer.weight,
        add_path_limit=peer.add_path_limit,
        ceilings=ceilings_of(peer.max_prefix),
    )


class Bridge:
    """One running bridge. `start`, then `run` until cancelled, then `stop`."""

    def __init__(self, config: Config, handles: Handles, files: Files) -> None:
        self.config, self.handles, self.files = config, handles, files
        self.started_at = time.time()
        self.events = EventLog()
        self.log = CommitLog()
        self.loop_lag = LoopLag()
        self.peers = PeerTable()
        self.feeders = Feeders(files.feed_socket, config.runtime.feed_user, self.peers, self.events)
        self.datapath: Datapath | None = None
        self.leaving: set[int] = set()  # indices of removed peers whose routes are not all gone yet
        self._reader: LaneReader | None = None
        self._sender: ControlSender | None = None
        self._opened = AsyncExitStack()

    # -- start ------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Up to the point where packets are forwarded and lanes are read. Raises BridgeError; `stop` is to be
        called then as well, and gives back what was opened."""
        self._make_rib()
        self._make_fib()
        self._reader = self.handles.reader(from_tail=False)
        self._opened.callback(self._reader.close)
        self._sender = self.handles.sender()
        self._opened.callback(self._sender.close)
        self.feeders.open(self._reader)
        self._opened.callback(self.feeders.close)
        self._add_peers()
        if self.datapath is not None:
            await self.datapath.load()
        await self.watcher.start()
        self.kernel_events.missed = False  # all that it has told so far is what there was
        self._open_kernel()
        self._opened.callback(self.housekeeping.remember)
        await self.adoption.take_over()
        self.overrides.start(self.config.policy_set)
        self._take_over_interfaces()
        self.kernel_events.go_live()
        self._opened.push_async_callback(self.health.close)
        self.health.prepare(self.config)

    def _make_rib(self) -> None:
        capacity = Capacity(ipv4=self.config.datapath.max_ipv4, ipv6=self.config.datapath.max_ipv6)
        self.judge = PolicyJudge(self.config.policy_set)
        self.rib = Rib(
            decision_options(self.config.decision),
            self.judge,
            resolve=self._resolve,
            router_id=int(self.config.router.router_id),
            capacity=capacity,
        )
        self.judge.attach(self.rib.attributes)

    def _resolve(self, next_hop: NextHop) -> Resolution:
        return self.paths.resolve(next_hop)

    def _make_fib(self) -> None:
        settings = self.config.datapath
        if settings.interfaces:
            self.datapath = Datapath.open(settings, self.events)
            self._opened.callback(self.datapath.close)
        kernel = self.config.kernel
        options = KernelOptions(
            table=kernel.table,
            protocol=kernel.protocol,
            metric=kernel.metric,
            metric_ipv6=kernel.metric_ipv6,
            nexthop_id_base=kernel.nexthop_id_base,
        )
        xdp = XdpFib(self.datapath.maps) if self.datapath is not None else None
        self.planes = Planes(xdp, KernelFib(options) if kernel.enabled else None)
        own = OwnRoutes(kernel.protocol, kernel.table, kernel.metric, kernel.metric_ipv6)
        self.watcher = KernelWatcher(own=own)
        self._opened.callback(self.watcher.close)
        state = self.watcher.state
        via_default = self.config.decision.resolve_via_default
        self.resolver = Resolver(state.foreign, state.link_up, via_default=via_default)
        self.paths = Paths(
            self.rib.next_hops, self.rib.groups, self.resolver, self.planes, self.events, self._link_of_peer
        )
        self.committer = Committer(self.planes, self.paths, self.log)
        self.work = Work(self.committer.routes, self._job_refused)
        self._wire_kernel_events()
        self._wire_sessions()
        self._wire_upkeep()

    def _wire_kernel_events(self) -> None:
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
        self._opened.callback(self.prober.close)
        state, loop = self.watcher.state, asyncio.get_running_loop()
        self.adjacencies = AdjacencyTable(words, state, self.prober, loop, self.kernel_events.adjacencies_changed)
        self.paths.adjacencies = self.adjacencies
        state.listeners += [self.adjacencies, self.kernel_events]

    def _wire_sessions(self) -> None:
        self.sessions = Sessions(
            self.peers,
            self.rib,
            self.committer,
            self.work,
            self.events,
            self.send,
            self.config.graceful_restart.stale_time_s,
        )
        self.sessions.on_latch = self._remember_latches
        self.limits = Limits(self.peers, self.rib, self.sessions, self.events)
        self.rpki = Rpki(self.judge, self.rib, self.work, self.limits, self.peers, self.events)
        self.rpki.configure(self.config.rpki)
        self.ingest = Ingest(self.peers, self.rib, self.committer, self.sessions, self.work, self.limits)

    def _wire_upkeep(self) -> None:
        memory = self.files.groups
        store = memory.with_name("overrides.json")
        self.overrides = Overrides(self.rib, self.peers, self.paths, self.work, self.events, store)
        self.adoption = Adoption(
            self.rib, self.peers, self.committer, self.work, self.sessions, self.adjacencies, self.events, memory
        )
        self.sessions.on_synced = self.adoption.synced.set
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
            memory,
        )

        self.health = HealthWatch(
            self.peers,
            self.rib.next_hops,
            self.committer,
            self.sessions,
            self.watcher.state,
            self.resolver,
            self.events,
            self._put_speaker_in_step,
            memory.with_name("withdrawn.json"),
        )
        self.self_audit = SelfAudit(
            self.rib,
            self.planes,
            self.committer,
            self.events,
            self.peers.name,
            lambda: self.adoption.active,
            self.config.audit.cpu_permille,
        )

        self.latency = Latency(self.paths, self.committer, self.adjacencies, self.watcher.state, self.events)
        self._opened.callback(self.latency.close)
        maps = self.datapath.maps if self.datapath is not None else None
        self.handshakes = Handshakes(maps, self.adjacencies, self.events)

    def _job_refused(self, cause: Cause, error: CapacityError) -> None:
        self.housekeeping.job_refused(cause, error)

    @property
    def adopting(self) -> bool:
        """True until everything that an earlier run left is claimed or swept."""
        return self.adoption.active

    def _add_peers(self) -> None:
        assert self._reader is not None
        memory = self._reader.memory
        numbers = number_peers(self.config, memory.read_peers(), len(self._reader.lanes))
        memory.write_peers(numbers)
        for peer in self.config.peers:
            self.add_peer(peer, numbers[peer.name])

    def add_peer(self, peer: Peer, index: int, config: Config | None = None) -> PeerState:
        """Make a peer known to every room that needs to know; `config` where it is not the one in force yet."""
        state = self.peers.add(index, peer, (config or self.config).local_asn(peer))
        self.tell_rib(state)
        self.feeders.add(state)
        return state

    def tell_rib(self, peer: PeerState) -> None:
        """What the RIB and the policies need to know of a peer, new or changed."""
        config = peer.config
        context = PeerContext(config.name, peer.ebgp, config.import_policy, peer.local_asn, config.role, config.asn)
        self.judge.set_peer(peer.index, context)
        self.rib.add_peer(peer_info(peer.index, config, peer.ebgp))

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

    # -- what is there already ----------------------------------------------------------------------------

    def _open_kernel(self) -> None:
        kernel = self.planes.kernel
        if kernel is not None:
            kernel.start()
            self._opened.push_async_callback(asyncio.to_thread, kernel.stop)
            self.watcher.ignore_ports({kernel.port})

    def _take_over_interfaces(self) -> None:
        """Overlay first, then packets."""
        if self.datapath is None or self.planes.xdp is None:
            return
        kernel = self.config.kernel
        metrics = {Family.IPV4: kernel.metric, Family.IPV6: kernel.metric_ipv6}
        foreign = self.watcher.state.foreign
        overlay = Overlay(foreign, self.planes.xdp, metrics, self.has_route, self._routed_inside)
        overlay.start()
        self.committer.overlay = self.kernel_events.overlay = overlay
        for link in list(self.watcher.state.links.values()):
            self.datapath.follow_link(link, True)
        self.datapath.leave_unwanted()
        if not self.datapath.adopted:
            self.planes.xdp.enabled = True

    def has_route(self, prefix: Prefix) -> bool:
        """True when Loc-RIB has a route for exactly this prefix."""
        return self.group_of(prefix) != 0

    def group_of(self, prefix: Prefix) -> int:
        """Loc-RIB's group for exactly this prefix, 0 where there is no route."""
        return group_of(self.rib, prefix)

    def _routed_inside(self, prefix: Prefix) -> Iterator[Prefix]:
        tables = self.rib.families[prefix.family]
        for row in tables.prefixes.covered(prefix).tolist():
            if tables.group[row]:
                yield tables.prefixes.prefix(row)

    # -- run --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read lanes, follow the kernel, keep house, until cancelled. The first room that fails ends it."""
        assert self._reader is not None
        gc.collect()
        gc.freeze()
        self._put_speaker_in_step()
        self.latency.apply(self.config.latency)
        self.handshakes.apply(self.config.latency)
        self.sessions.latch_again(read_latches(self._latches, self.peers.clock()))
        self.send(Resync())
        pump = Pump(self._reader, self.ingest)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.rpki.run(), name="rpki")
            group.create_task(self._serve(pump), name="lanes")
            group.create_task(self.feeders.serve(), name="feeders")
            group.create_task(asyncio.to_thread(self.rib.warm), name="memory")
            group.create_task(self.work.run(), name="work")
            group.create_task(self.watcher.run(), name="kernel watcher")
            group.create_task(self.housekeeping.keep(), name="housekeeping")
            group.create_task(self.self_audit.keep(), name="audit")
            group.create_task(self.overrides.keep(lambda: self.adoption.active), name="overrides")
            group.create_task(self.health.keep(), name="health")
            group.create_task(self.latency.keep(), name="latency")
            group.create_task(self.handshakes.keep(), name="handshakes")
            group.create_task(self.loop_lag.keep(), name="loop lag")
            group.create_task(self.adoption.finish(lambda: self.sessions.stale_time_s), name="adoption")

    async def _serve(self, pump: Pump) -> None:
        """Lanes, once the VRPs that there are have been heard of: what RPKI refuses is not let in for a moment."""
        await self.rpki.ready()
        await pump.serve()

    def _put_speaker_in_step(self) -> None:
        """A bridge that was started again has read the configuration anew; the speaker may still run by the one
        before. Both have to mean the same peers by the same lanes, and nothing is announced that health withdraws."""
        numbers = {peer.name: peer.index for peer in self.peers}
        path, text = self.files.speaker_config, self.speaker_text(self.config, numbers)
        if not path.exists() or path.read_text(encoding="ascii") != text:
            replace_file(path, text, self.config.speaker.user)
            self.send(Reload())

    def speaker_text(self, config: Config, numbers: dict[str, int]) -> str:
        """The speaker's configuration. Raises DocumentError when a password cannot be read."""
        return render(announcing(config, self.health.withdrawn), numbers, passwords_of(config))

    @property
    def _latches(self) -> Path:
        return self.files.groups.with_name("latches.json")

    def _remember_latches(self) -> None:
        latches = self.sessions.latches()
        try:
            write_latches(self._latches, latches, self.peers.clock())
        except OSError as error:
            self.events.add("state-not-written", str(self._latches), str(error), Severity.WARNING)

    def _rebind(self, address: IPAddress) -> None:
        for peer in self.peers:
            if peer.session is not None and peer.session.local_address == address:
                self.sessions.rebind(peer)

    def send(self, command: Command) -> None:
        """A command for the speaker; one that it does not take is an event, not an end."""
        assert self._sender is not None
        if self.feeders.order(command):
            return
        try:
            self._sender.send(command)
        except BridgeError as error:
            self.events.add("speaker-command-lost", "speaker", str(error), Severity.ERROR)

    def _link_of_peer(self, index: int) -> int | None:
        """The interface of a peer's session: the one that holds our address of it."""
        peer = self.peers.at(index)
        if peer is None or peer.session is None:
            return None
        ours = peer.session.local_address
        return next((a.ifindex for a in self.watcher.state.addresses if a.address == ours), None)

    # -- stop -------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Let go of what `start` has come to open; the datapath and the kernel's routes go on forwarding."""
        await self._opened.aclose()
