"""Watches the kernel: links, addresses, neighbours, rules, nexthop objects and the routes of others.

Two event sockets, so that a link event never waits behind an IGP that moves 100,000 routes: `links` (links,
addresses, neighbours) and `routes` (routes, nexthops, rules). pyroute2 makes them; we read them ourselves, because
its reader queues without bound and is dead after an overrun, and an overrun is a thing that happens.

At the start, and again after an overrun, everything is dumped in a worker thread and compared with what is
known (`KernelState.reconcile`). A link that went down also asks for a dump: IPv4 routes and nexthop objects over it
vanish without an event. Meanwhile events go on being read.

Everything is in the network namespace of the thread that calls `start`.

    watcher = KernelWatcher(adjacencies, pipeline, own=OwnRoutes(protocol=203, table=254, metric=200))
    await watcher.start()          # state is complete, listeners have heard all of it
    group.create_task(watcher.run())
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bgpbridge.errors import NetlinkError
from bgpbridge.fib import own_filter, rtnetlink
from bgpbridge.fib.dump import take_snapshot
from bgpbridge.fib.dump_requests import LINK_GROUPS, ROUTE_GROUPS
from bgpbridge.fib.early_dump import RECEIVE_BUFFER, EarlyDump, event_socket
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.observed import (
    Address,
    ForeignRoute,
    KernelListener,
    Link,
    Neighbour,
    NeighbourState,
    Nexthop,
    OwnRouteChange,
    OwnRouteEvent,
    PuntChange,
    Resync,
    RouteType,
    Rule,
)
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.pyroute import NLM_F_APPEND, NLM_F_REPLACE, AsyncNetlinkSocket, rtnl
from bgpbridge.fib.rtnetlink import RTM_DELNEXTHOP, RTM_NEWNEXTHOP, Message
from bgpbridge.types import Family

__all__ = [
    "Address",
    "ForeignRoute",
    "KernelListener",
    "KernelState",
    "KernelWatcher",
    "Link",
    "Neighbour",
    "NeighbourState",
    "Nexthop",
    "OwnRouteChange",
    "OwnRouteEvent",
    "OwnRoutes",
    "PuntChange",
    "Resync",
    "RouteType",
    "Rule",
    "WatcherCounters",
]

SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12
DATAGRAMS_A_TURN = 16  # then the other socket, and everyone else in the loop, gets a turn
LARGEST_DATAGRAM = 1 << 16
DRAIN_TURNS = 800
AFTER_OVERRUN_S = 0.2  # who overran us once will do so again at once
AFTER_LINK_LOSS_S = 0.1  # the kernel flushes routes within the same rtnl section; one dump for a whole line card
AFTER_FAILURE_S = 5.0


@dataclass(frozen=True, slots=True)
class OwnRoutes:
    """How our own routes are told from others': protocol number, table and metric (configuration `kernel`)."""

    protocol: int
    table: int
    metric: int
    metric_ipv6: int = 2000

    def metric_of(self, family: Family) -> int:
        """Our metric in one family."""
        return self.metric if family is Family.IPV4 else self.metric_ipv6


@dataclass(slots=True)
class WatcherCounters:
    """Since the start. `overruns`: the kernel had more to say than the socket held; a whole dump followed."""

    events: int = 0
    overruns: int = 0
    resyncs: int = 0
    failed_dumps: int = 0


class KernelWatcher:
    """Keeps a `KernelState` true, and tells the listeners, in the order given."""

    def __init__(self, *listeners: KernelListener, own: OwnRoutes, receive_buffer_octets: int = RECEIVE_BUFFER) -> None:
        self.state = KernelState(listeners)
        self.counters = WatcherCounters()
        self._own = own
        self._receive_buffer = receive_buffer_octets
        self._ports: frozenset[int] = frozenset()
        self._sockets: list[AsyncNetlinkSocket | socket.socket] = []
        self._links: socket.socket | None = None
        self._routes: socket.socket | None = None
        self._wanted = asyncio.Event()
        self._dumping = asyncio.Lock()
        self._cause = ""
        self._pending: asyncio.TimerHandle | None = None

    async def start(self, ours: OwnDump | None = None, early: EarlyDump | None = None) -> None:
        """Open, dump, tell the listeners all of it, then follow events; `ours` gets our own routes of its table. What
        has been opened and read `early` is taken over. Raises NetlinkError."""
        loop = asyncio.get_running_loop()
        if early is not None and early.events:
            self._links, self._routes = self._taken_over(*early.events)
        else:
            early = None
            self._links = self._opened(LINK_GROUPS, lambda _: None)
            self._routes = self._opened(ROUTE_GROUPS, self._filter)
        await self.resync("start", ours, early)
        for sock in (self._links, self._routes):
            loop.add_reader(sock, self._readable, sock)

    def _taken_over(self, links: socket.socket, routes: socket.socket) -> tuple[socket.socket, socket.socket]:
        """Event sockets that have heard what changed since before the first question."""
        self._sockets += [links, routes]
        self._filter(routes)
        return links, routes

    async def run(self) -> None:
        """Dump again when there is reason to; ends by cancellation only."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.resync(self._cause)
            except NetlinkError:
                self.counters.failed_dumps += 1
                self._want_resync(self._cause, AFTER_FAILURE_S)

    def close(self) -> None:
        """Stop following. Safe to call twice, and before `start`."""
        loop = asyncio.get_running_loop()
        for sock in (self._links, self._routes):
            if sock is not None:
                loop.remove_reader(sock)
        for opened in self._sockets:
            opened.close()
        if self._pending is not None:
            self._pending.cancel()
        self._sockets, self._links, self._routes = [], None, None

    def ignore_ports(self, ports: Collection[int]) -> None:
        """The netlink port ids that our own writes come from: their events never reach this socket. What others
        do to our routes then stands out by its port."""
        self._ports = frozenset(ports)
        if self._routes is not None:
            self._filter(self._routes)

    async def resync(self, cause: str, ours: OwnDump | None = None, early: EarlyDump | None = None) -> Resync:
        """Dump everything now and tell the differences. One at a time. Raises NetlinkError."""
        async with self._dumping:
            return await self._resync(cause, ours, early)

    async def _resync(self, cause: str, ours: OwnDump | None, early: EarlyDump | None) -> Resync:
        dump = self._socket()
        if early is None:  # else what has come in meanwhile is younger, and is read when the dump is taken up
            await self._drain()
        self.state.begin_reconcile()
        try:
            dump.socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            snapshot = await asyncio.to_thread(take_snapshot, dump.socket, self._own.protocol, ours, early)
        except BaseException:
            self.state.abandon_reconcile()
            raise
        finally:
            dump.close()
        for _ in self.state.reconcile(snapshot, cause):
            await asyncio.sleep(0)
        self.counters.resyncs += 1
        assert self.state.last_resync is not None
        return self.state.last_resync

    def _socket(self) -> AsyncNetlinkSocket:
        return AsyncNetlinkSocket(family=0)

    def _opened(self, groups: Collection[int], prepare: Callable[[socket.socket], None]) -> socket.socket:
        sock = event_socket(groups, self._receive_buffer, prepare)
        self._sockets.append(sock)
        return sock

    def _filter(self, routes: socket.socket) -> None:
        own_filter.attach(routes, own_filter.own_filter(self._ports, self._own.protocol))

    async def _drain(self) -> None:
        """Before a dump: read what is there, so that whatever is read later is younger than the dump's start. In
        a flood that does not end, begin all the same: it will overrun us, and bring the next dump."""
        for sock in (self._links, self._routes):
            turns = DRAIN_TURNS
            while sock is not None and turns and self._read(sock, DATAGRAMS_A_TURN):
                turns -= 1
                await asyncio.sleep(0)

    def _readable(self, sock: socket.socket) -> None:
        self._read(sock, DATAGRAMS_A_TURN)

    def _read(self, sock: socket.socket, limit: int) -> bool:
        """Up to `limit` datagrams; False when the socket is empty."""
        for _ in range(limit):
            try:
                data = sock.recv(LARGEST_DATAGRAM)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.counters.overruns += 1
                self._want_resync("overrun", AFTER_OVERRUN_S)
                continue
            for message in rtnetlink.messages(data):
                self.counters.events += 1
                dispatch = DISPATCH.get(message.type)
                if dispatch is not None:
                    dispatch(self, message)
        return True

    def _want_resync(self, cause: str, delay_s: float) -> None:
        """One dump for all causes that come together; an overrun is the one to be named."""
        if self._cause != "overrun" or not (self._wanted.is_set() or self._pending):
            self._cause = cause
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(delay_s, self._delayed)

    def _delayed(self) -> None:
        self._pending = None
        self._wanted.set()

    # -- one message each

    def _link(self, message: Message) -> None:
        link = rtnetlink.decode_link(message)
        if link is None:
            return
        before = self.state.links.get(link.ifindex)
        present = message.type == rtnl.RTM_NEWLINK
        self.state.link(link, present)
        if before is not None and _less(before, link if present else None):
            self._want_resync("link loss", AFTER_LINK_LOSS_S)

    def _address(self, message: Message) -> None:
        address = rtnetlink.decode_address(message)
        if address is not None:
            self.state.address(address, message.type == rtnl.RTM_NEWADDR)

    def _neighbour(self, message: Message) -> None:
        neighbour = rtnetlink.decode_neighbour(message)
        if neighbour is not None:
            self.state.neighbour(neighbour, message.type == rtnl.RTM_NEWNEIGH)

    def _rule(self, message: Message) -> None:
        rule = rtnetlink.decode_rule(message)
        if rule is not None:
            self.state.rule(rule, message.type == rtnl.RTM_NEWRULE)

    def _nexthop(self, message: Message) -> None:
        nexthop = rtnetlink.decode_nexthop(message)
        if nexthop is None or message.port in self._ports:
            return
        if nexthop.protocol != self._own.protocol or message.type == RTM_DELNEXTHOP:
            self.state.nexthop(nexthop, message.type == RTM_NEWNEXTHOP)

    def _route(self, message: Message) -> None:
        route = rtnetlink.decode_route(message)
        if route is None or message.port in self._ports:
            return
        new = message.type == rtnl.RTM_NEWROUTE
        event = self._what_befell_us(route, message, new=new)
        if event is not None:
            port = message.port
            self.state.own_route_changed(
                OwnRouteChange(route.prefix, route.table, route.metric, event, route.protocol, port)
            )
        if route.protocol != self._own.protocol:
            replaces, appends = bool(message.flags & NLM_F_REPLACE), bool(message.flags & NLM_F_APPEND)
            self.state.route(route, new, replaces=new and replaces, appends=new and appends)

    def _what_befell_us(self, route: ForeignRoute, message: Message, *, new: bool) -> OwnRouteEvent | None:
        """A deletion of our protocol's route, or another route put in the place of ours: same table and metric
        (FACTS: CREATE|REPLACE does not look at the protocol). Whether there was one, the kernel FIB knows; a route that
        is merely added has replaced none."""
        if route.table != self._own.table:
            return None
        if route.protocol == self._own.protocol:
            return OwnRouteEvent.OVERWRITTEN if new else OwnRouteEvent.DELETED
        if new and route.metric == self._own.metric_of(route.prefix.family) and message.flags & NLM_F_REPLACE:
            return OwnRouteEvent.OVERWRITTEN
        return None


def _less(before: Link, now: Link | None) -> bool:
    """Whether the kernel may have taken routes along without a word: where a link no longer carries, and where one that
    did not carry any more is set down by hand (net/ipv4/fib_frontend.c, fib_disable_ip)."""
    return (before.up and not (now and now.up)) or (before.admin_up and not (now and now.admin_up))


DISPATCH: dict[int, Callable[[KernelWatcher, Message], None]] = {
    rtnl.RTM_NEWLINK: KernelWatcher._link,
    rtnl.RTM_DELLINK: KernelWatcher._link,
    rtnl.RTM_NEWADDR: KernelWatcher._address,
    rtnl.RTM_DELADDR: KernelWatcher._address,
    rtnl.RTM_NEWNEIGH: KernelWatcher._neighbour,
    rtnl.RTM_DELNEIGH: KernelWatcher._neighbour,
    rtnl.RTM_NEWRULE: KernelWatcher._rule,
    rtnl.RTM_DELRULE: KernelWatcher._rule,
    rtnl.RTM_NEWROUTE: KernelWatcher._route,
    rtnl.RTM_DELROUTE: KernelWatcher._route,
    RTM_NEWNEXTHOP: KernelWatcher._nexthop,
    RTM_DELNEXTHOP: KernelWatcher._nexthop,
}
