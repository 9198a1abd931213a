"""A whole bridge without a kernel: real lanes, RIB, policy, paths and timers, planes that are dictionaries, and a
loop whose time passes when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from fnmatch import fnmatch
from ipaddress import IPv4Address, ip_address
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bgpbridge.config import loads_config
from bgpbridge.feed.control import Command, decode_command
from bgpbridge.feed.frames import DownReason, Refresh, RefreshKind, SessionDown, SessionUp, Updates
from bgpbridge.feed.lane import Layout
from bgpbridge.fib.observed import TABLE_MAIN, Address, ForeignRoute, Link, Neighbour, NeighbourState, RouteType
from bgpbridge.pipeline import rooms as room
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.files import Files
from bgpbridge.pipeline.peers import PeerState, lanes_for
from bgpbridge.pipeline.reload import ReloadReport, reload
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.rib.next_hops import Hop
from bgpbridge.speaker.launch import SpeakerProcess
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.message import build_update

V4, V6 = Family.IPV4, Family.IPV6
ETH1, ETH2 = 11, 12
HOPS = {
    "a": ("10.0.1.2", ETH1, 65001),
    "b": ("10.0.2.2", ETH2, 65002),
    "c": ("10.0.1.3", ETH1, 65003),
    "d": ("10.0.2.4", ETH2, 65001),  # of the same AS as a
    "i": ("10.0.1.5", ETH1, 65000),  # of our own
}
TEXT = """
router: {{asn: 65000, router_id: 192.0.2.250}}
kernel: {{enabled: false}}
http: null
datapath: {{max_ipv4: 1024, max_ipv6: 1024}}
speaker: {{user: nobody}}
decision: {decision}
policies: {policies}
peer_defaults: {{families: [ipv4, ipv6], import: accept}}
peers: {peers}
"""
PEER = "{{name: {name}, address: {address}, asn: {asn}{more}}}"


# -- time ------------------------------------------------------------------------------------------------------


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandLoop:
    """The part of an event loop that timers need; `advance` lets time pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._order = count()
        self._timers: list[tuple[float, int, Timer, Callable[..., Any], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer()
        self._timers.append((when, next(self._order), timer, callback, args))
        return timer

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        return self.call_at(self.now + delay, callback, *args)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted(timer[:2] for timer in self._timers if timer[0] <= end):
            entry = next(timer for timer in self._timers if timer[:2] == due[0])
            self._timers.remove(entry)
            self.now = max(self.now, entry[0])
            if not entry[2].cancelled:
                entry[3](*entry[4])
        self.now = end


# -- planes ----------------------------------------------------------------------------------------------------


class Plane:
    """What a plane holds, and what must be true of everything that it is told."""

    def __init__(self) -> None:
        self.routes: dict[Prefix, int] = {}
        self.groups: dict[int, Any] = {}
        self.left: frozenset[int] = frozenset()
        self.stuck: set[int] = set()  # groups that it says it still holds
        self.freed: list[int] = []

    def apply(self, changes: Changes) -> None:
        for prefix, old, new in changes:
            assert self.routes.get(prefix, 0) == old, f"{prefix}: told that it was {old}"
            assert not new or new in self.groups, f"{prefix} points at group {new}, which was never stored"
            if new:
                self.routes[prefix] = new
            else:
                del self.routes[prefix]

    def apply_few(self, few: FewChanges) -> float:
        self.apply(few.columns())
        return time.monotonic()

    def forget(self, family: Family, rows: Any) -> Any:
        return rows

    def free_group(self, group: int) -> None:
        assert group not in self.routes.values(), f"group {group} is freed under prefixes"
        self.groups.pop(group, None)
        self.freed.append(group)


class XdpPlane(Plane):
    next_retry = None
    behind = 0
    waiting = 0

    def __init__(self) -> None:
        super().__init__()
        self.troubles: dict[Family, str] = {}
        self.ended: dict[Family, str] = {}

    def index_trouble(self) -> dict[Family, str]:
        return {family: self.troubles.get(family, "") for family in Family}

    def follower_trouble(self) -> dict[Family, str]:
        return {family: self.ended.get(family, "") for family in Family}

    def set_members(self, group: int, members: list[tuple[int, int]]) -> None:
        self.groups[group] = list(members)

    def foresee(self) -> None:
        pass

    def learn(self) -> Iterator[int]:
        while self.waiting:
            self.waiting -= 1
            yield self.waiting

    def rehearse(self, few: FewChanges) -> None:
        for _, hi, lo, length, old, new in few.moves:
            assert old == new == self.routes.get(Prefix(few.family, hi << 64 | lo, length), 0)

    def entries(self, family: Family) -> int:
        return sum(prefix.family is family for prefix in self.routes)

    def at_rest(self, family: Family, rows: Any) -> Any:
        return rows

    def holds(self) -> set[int]:
        return set(self.stuck)


class KernelPlane(Plane):
    port = 1
    behind = 0

    def __init__(self) -> None:
        super().__init__()
        self.rebuilt: list[int] = []
        self.audits = 0
        self.retried: list[Prefix] = []
        self.swept = False

    def set_groups(self, groups: dict[int, list[Hop]]) -> None:
        self.groups.update(groups)

    def holds(self, groups: Any) -> Any:
        return np.array([int(group) in self.stuck for group in groups], np.bool_)

    def rebuild(self, ifindex: int) -> None:
        self.rebuilt.append(ifindex)

    def audit_soon(self) -> None:
        self.audits += 1

    def retry(self, prefixes: list[Prefix]) -> None:
        self.retried += prefixes

    def check(self) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def groups_there(self) -> Future[frozenset[int]]:
        return done(self.left)

    def adopt(self, read: object = None) -> Future[frozenset[int]]:
        return done(self.left)

    def sweep(self) -> Future[int]:
        self.swept = True
        return done(0)

    def settled(self) -> Future[None]:
        return done(None)


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class Silent:
    """Nobody is asked anything; neighbours answer when the test says so."""

    def resolve(self, address: object, ifindex: int) -> None:
        pass

    confirm = resolve

    def close(self) -> None:
        pass


# -- octets ----------------------------------------------------------------------------------------------------


def nlri(*prefixes: Prefix) -> bytes:
    return b"".join(bytes([p.length]) + p.octets[: (p.length + 7) // 8] for p in prefixes)


def announce(*texts: str, path: tuple[int, ...], hop: str, more: bytes = b"") -> bytes:
    """One UPDATE; all prefixes are of the next hop's family."""
    prefixes = nlri(*map(Prefix.parse, texts))
    octets = encode_attribute(1, b"\0")
    octets += encode_attribute(2, bytes([2, len(path)]) + b"".join(number.to_bytes(4, "big") for number in path))
    address = ip_address(hop)
    if address.version == 4:
        return build_update(octets + encode_attribute(3, address.packed) + more, prefixes)
    reach = b"\0\2\1\x10" + address.packed + b"\0" + prefixes
    return build_update(octets + encode_attribute(14, reach) + more)


def withdraw(*texts: str) -> bytes:
    prefixes = [Prefix.parse(text) for text in texts]
    if prefixes[0].family is V4:
        return build_update(withdrawn=nlri(*prefixes))
    return build_update(encode_attribute(15, b"\0\2\1" + nlri(*prefixes)))


def end_of_rib(family: Family) -> bytes:
    return build_update() if family is V4 else build_update(encode_attribute(15, b"\0\2\1"))


def refresh(kind: RefreshKind, family: Family) -> Refresh:
    return Refresh(b"\xff" * 16 + b"\0\x17\5" + int(family).to_bytes(2, "big") + bytes([kind, 1]))


# -- the bridge --------------------------------------------------------------------------------------------------


def text_of(peers: dict[str, str], policies: str = "[]", decision: str = "{}") -> str:
    """A configuration with these peers (name to further keys)."""
    lines = []
    for name, more in peers.items():
        address, _, asn = HOPS[name[0]]
        lines.append(PEER.format(name=name, address=address, asn=asn, more=more))
    return TEXT.format(peers=f"[{', '.join(lines)}]", policies=policies, decision=decision)


class World:
    """A bridge between two links. `bridge` is real but for its planes."""

    hops = HOPS

    def __init__(self, folder: Path, peers: dict[str, str] | None = None, loop: Any = None, **more: str) -> None:
        self.folder = folder
        self.loop = loop or HandLoop()
        text = text_of(dict.fromkeys("abc", "") if peers is None else peers, **more)
        self.config = loads_config(text, folder / "bgpbridge.yaml")
        self.process = SpeakerProcess(folder / "x.conf", user="nobody", layout=Layout(lanes_for(4), 1 << 20))
        self.bridge = Bridge(self.config, self.process.handles, Files(folder / "groups.json", folder / "exabgp.conf"))
        self.xdp, self.kernel = XdpPlane(), KernelPlane()
        with self.running():
            self._make()
        self.state = self.bridge.watcher.state

    def _make(self) -> None:
        bridge = self.bridge
        bridge.make()
        planes: Any = bridge.planes
        planes.xdp, planes.kernel = self.xdp, self.kernel
        bridge.kernel_events.kernel = planes.kernel
        bridge.peers.clock = bridge.peers.steady = self.loop.time
        bridge._reader, bridge.orders.sender = self.process.handles.reader(), self.process.handles.sender()
        bridge.roster.start(self.config, bridge._reader)
        self._lay_cables()
        bridge.kernel_events.missed = False
        bridge.kernel_events.go_live()

    def _lay_cables(self) -> None:
        state = self.bridge.watcher.state
        for ifindex, third in ((ETH1, 1), (ETH2, 2)):
            state.link(link(ifindex))
            for address, length in ((f"10.0.{third}.1", 24), (f"2001:db8:{third}::1", 64)):
                state.address(Address(ifindex, ip_address(address), length))
                self.connected(f"{ip_address(address) - 1}/{length}", ifindex)

    def connected(self, prefix: str, ifindex: int, *, present: bool = True) -> None:
        route = ForeignRoute(Prefix.parse(prefix), TABLE_MAIN, 2, 0, RouteType.UNICAST, (Hop(None, ifindex),))
        self.bridge.watcher.state.route(route, present=present)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Our loop is the one that runs, as far as `asyncio.get_running_loop` can tell."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        prober, room.NeighbourProber = room.NeighbourProber, Silent  # type: ignore[assignment,misc]
        try:
            yield
        finally:
            room.NeighbourProber = prober  # type: ignore[misc]
            asyncio._set_running_loop(before)

    def close(self) -> None:
        assert self.bridge._reader is not None
        assert self.bridge.orders.sender is not None
        self.bridge._reader.close()
        self.bridge.orders.sender.close()
        self.process.close()

    # -- what peers do

    def peer(self, name: str) -> PeerState:
        return self.bridge.peers_by_name(name)

    def session(self, name: str, **changes: Any) -> Session:
        address, _, asn = HOPS[name[0]]
        fields: dict[str, Any] = {
            "peer": self.peer(name).index,
            "local_as": 65000,
            "peer_as": asn,
            "local_address": IPv4Address(address.rpartition(".")[0] + ".1"),
            "peer_address": IPv4Address(address),
            "router_id": IPv4Address(address),
            "families": frozenset(Family),
            "route_refresh": True,
            "enhanced_refresh": True,
        }
        return Session(**(fields | changes))

    def tell(self, name: str, record: Any) -> None:
        with self.running():
            self.bridge.ingest.one(self.peer(name).index, record)

    def up(
        self, name: str, *, restart_s: int | None = 120, forwarding: bool = False, resync: bool = False, **more: Any
    ) -> None:
        graceful = frozenset(Family) if restart_s is not None else frozenset()
        session = self.session(name, **({"graceful_restart_s": restart_s, "graceful_families": graceful} | more))
        self.tell(name, SessionUp(session, resync, forwarding=session.families if forwarding else frozenset()))

    def down(self, name: str, reason: DownReason = DownReason.TCP_CLOSED, *, graceful: bool = False) -> None:
        self.tell(name, SessionDown(reason, graceful=graceful))

    def says(self, name: str, *messages: bytes, bulk: bool = False) -> None:
        if not bulk:
            self.tell(name, Updates(b"".join(messages)))
            return
        with self.running():
            for _ in self.bridge.ingest.run(self.peer(name).index, b"".join(messages)):
                pass

    def route(self, name: str, *texts: str, longer: int = 0, hop: str = "", more: bytes = b"") -> bytes:
        address, _, asn = HOPS[name[0]]
        if not hop:
            hop = address if "." in texts[0] else f"2001:db8:{address.split('.')[2]}::{address.split('.')[3]}"
        return announce(*texts, path=(asn, *range(64600, 64600 + longer)), hop=hop, more=more)

    # -- what the kernel does

    def link(self, ifindex: int, *, up: bool) -> None:
        with self.running():
            self.state.link(link(ifindex, up=up))

    def neighbour(self, address: str, ifindex: int, state: NeighbourState = NeighbourState.REACHABLE) -> None:
        mac = bytes([2, 0, 0, 1, ifindex, ip_address(address).packed[-1]]) if state.usable else b""
        with self.running():
            self.state.neighbour(Neighbour(ifindex, ip_address(address), mac, state))

    # -- time, work, reload

    def wait(self, seconds: float) -> None:
        with self.running():
            self.loop.advance(seconds)

    def step(self) -> bool:
        with self.running():
            return self.bridge.work.step()

    def finish(self) -> None:
        while self.step():
            pass

    def house(self) -> None:
        """What housekeeping does every few seconds."""
        with self.running():
            self.bridge.housekeeping.look_around()

    def reload(self, peers: dict[str, str], **more: str) -> ReloadReport:
        text = text_of(peers, **more)
        with self.running():
            return reload(self.bridge, loads_config(text, self.folder / "bgpbridge.yaml"))

    def commands(self) -> list[Command]:
        """What the speaker was told since the last call."""
        found = []
        end: socket.socket = self.process._speaker_end
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(decode_command(end.recv(1 << 16)))
        return found

    # -- what stands

    def stale(self, name: str, family: Family = V4) -> int:
        return self.bridge.rib.counts(self.peer(name).index)[family].stale

    def ways(self) -> dict[str, set[str]]:
        """Prefix to the gateways that both planes send its packets to; and that they agree."""
        found: dict[str, set[str]] = {}
        assert self.xdp.routes == self.kernel.routes
        for prefix, group in self.xdp.routes.items():
            seen = {self.bridge.adjacencies.get(number) for number, _ in self.xdp.groups[group]}
            gateways = {str(adjacency.gateway) for adjacency in seen if adjacency is not None}
            assert gateways == {str(hop.gateway) for hop in self.kernel.groups[group]}
            found[str(prefix)] = gateways
        return found

    def events(self, pattern: str) -> list[str]:
        return [event.text for event in self.bridge.events.tail(4000) if fnmatch(event.kind, pattern)]

    def assert_in_step(self) -> None:
        """The planes hold what Loc-RIB says."""
        wanted = {}
        for family, tables in self.bridge.rib.families.items():
            for row in range(1, tables.top + 1):
                if tables.group[row]:
                    prefix = tables.prefixes.prefix(row)
                    assert prefix.family is family
                    wanted[prefix] = int(tables.group[row])
        assert self.xdp.routes == wanted
        assert self.kernel.routes == wanted


def link(ifindex: int, *, up: bool = True) -> Link:
    return Link(ifindex, f"eth{ifindex - 10}", bytes([2, 0, 0, 0, 0, ifindex]), 1500, up=up)


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Worlds that are closed after the test."""
    made: list[World] = []

    def make(*arguments: Any, **more: Any) -> World:
        made.append(World(tmp_path, *arguments, **more))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Peers a, b and c, no session yet."""
    return make_world()


@pytest.fixture(scope="session")
def worlds() -> type[World]:
    """The class itself, for a test that makes many."""
    return World


@pytest.fixture(scope="session")
def octets() -> Any:
    """The builders of messages, as a namespace."""
    import types

    names = {"announce": announce, "withdraw": withdraw, "end_of_rib": end_of_rib, "refresh": refresh, "nlri": nlri}
    return types.SimpleNamespace(**names)
