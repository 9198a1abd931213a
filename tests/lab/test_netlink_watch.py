"""The watcher against a real kernel: what happens to links, neighbours and routes is heard, also what is silent."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from bgpbridge.fib.dump_requests import ALL
from bgpbridge.fib.early_dump import EarlyDump
from bgpbridge.fib.netlink import (
    ForeignRoute,
    KernelListener,
    KernelWatcher,
    Link,
    Neighbour,
    NeighbourState,
    Nexthop,
    OwnRouteChange,
    OwnRouteEvent,
    OwnRoutes,
    Resync,
    RouteType,
)
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Prefix

pytestmark = pytest.mark.root

OWN = OwnRoutes(protocol=203, table=254, metric=200)
P = Prefix.parse


class Recorder(KernelListener):
    """Notes everything, and lets a test wait for a condition."""

    def __init__(self) -> None:
        self.links: list[tuple[float, Link, bool]] = []
        self.neighbours: list[tuple[Neighbour, bool]] = []
        self.routes: list[tuple[ForeignRoute, bool]] = []
        self.own: list[OwnRouteChange] = []
        self.nexthops: list[tuple[Nexthop, bool]] = []
        self.resyncs: list[Resync] = []
        self.bell = asyncio.Event()

    def on_link(self, link: Link, present: bool) -> None:
        self.links.append((time.monotonic(), link, present))
        self.bell.set()

    def on_neighbour(self, neighbour: Neighbour, present: bool) -> None:
        self.neighbours.append((neighbour, present))
        self.bell.set()

    def on_foreign_route(self, route: ForeignRoute, present: bool) -> None:
        self.routes.append((route, present))
        self.bell.set()

    def on_own_route_changed(self, change: OwnRouteChange) -> None:
        self.own.append(change)
        self.bell.set()

    def on_nexthop(self, nexthop: Nexthop, present: bool) -> None:
        self.nexthops.append((nexthop, present))
        self.bell.set()

    def on_resync(self, resync: Resync) -> None:
        self.resyncs.append(resync)
        self.bell.set()

    async def until(self, condition: Callable[[], Any], within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self.bell.clear()
                await self.bell.wait()


class Watch:
    """A started watcher with its recorder and its task."""

    def __init__(self, early: EarlyDump | None = None, **options: Any) -> None:
        self.early = early
        self.recorder = Recorder()
        self.watcher = KernelWatcher(self.recorder, own=OWN, **options)
        self.state = self.watcher.state

    async def __aenter__(self) -> Watch:
        await self.watcher.start(early=self.early)
        self.task = asyncio.create_task(self.watcher.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.watcher.close()

    def link(self, name: str) -> Link:
        link = self.state.link_named(name)
        assert link is not None
        return link

    def at(self, prefix: str) -> tuple[ForeignRoute, ...]:
        return self.state.foreign.at(P(prefix), 254)


def test_the_first_dump_is_complete(pair):
    pair.ip("route add 198.51.100.0/24 via 192.0.2.2 metric 20 proto ospf")
    pair.ip("route add blackhole 203.0.113.0/24")
    pair.ip("route add 10.9.0.0/16 via 192.0.2.2 proto 203 metric 200")
    pair.ip("rule add priority 100 table 77")

    async def scenario():
        async with Watch() as watch:
            near0 = watch.link("near0")
            assert (near0.up, near0.kind, near0.mtu, len(near0.mac)) == (True, "veth", 1500, 6)
            assert {a.address for a in watch.state.addresses} >= {ip_address("192.0.2.1"), ip_address("2001:db8::1")}
            (route,) = watch.at("198.51.100.0/24")
            assert (route.metric, route.protocol) == (20, 188)
            assert route.hops == (Hop(ip_address("192.0.2.2"), near0.ifindex),)
            assert watch.at("203.0.113.0/24")[0].type is RouteType.BLACKHOLE
            assert watch.at("192.0.2.0/24")[0].hops == (Hop(None, near0.ifindex),)
            assert watch.at("2001:db8::/64")[0].hops == (Hop(None, near0.ifindex),)
            assert not watch.at("10.9.0.0/16"), "our own route is no foreign one"
            assert watch.state.foreign.at(P("192.0.2.1/32"), 255)[0].type is RouteType.LOCAL
            assert watch.state.foreign.at(P("2001:db8::1/128"), 255)[0].type is RouteType.LOCAL
            assert any(rule.table == 77 for rule in watch.state.rules)
            assert [r.cause for r in watch.recorder.resyncs] == ["start"]
            assert len(watch.recorder.routes) == sum(1 for _ in watch.state.foreign.routes())

    pair.inside(scenario)


def read_early() -> EarlyDump:
    """All has been read, and waits to be taken up."""
    early = EarlyDump()
    for queue in early._answers.values():
        parts = []
        while (part := queue.get()) is not None:
            parts.append(part)
        for part in (*parts, None):
            queue.put(part)
    assert len(early._answers) == len(ALL)
    return early


def test_what_changes_after_an_early_look_is_heard_of(pair):
    for prefix in ("198.51.100.0/24", "203.0.113.0/24"):
        pair.ip(f"route add {prefix} via 192.0.2.2 metric 20 proto ospf")
    pair.ip("route add 10.9.0.0/16 via 192.0.2.2 proto 203 metric 200")

    async def scenario():
        early = read_early()
        pair.ip("route del 198.51.100.0/24 via 192.0.2.2 metric 20")
        pair.ip("route add 198.51.101.0/24 via 192.0.2.2 metric 20 proto ospf")
        pair.ip("route replace 203.0.113.0/24 dev near0 metric 20 proto ospf")
        pair.ip("route del 10.9.0.0/16 proto 203 metric 200")
        async with Watch(early) as watch:
            near0 = watch.link("near0")
            await watch.recorder.until(lambda: watch.recorder.own)
            await watch.recorder.until(lambda: watch.at("203.0.113.0/24")[0].hops == (Hop(None, near0.ifindex),))
            assert not watch.at("198.51.100.0/24")
            assert watch.at("198.51.101.0/24")
            assert [(change.prefix, change.event) for change in watch.recorder.own] == [
                (P("10.9.0.0/16"), OwnRouteEvent.DELETED)
            ]

    pair.inside(scenario)


def test_a_link_lost_after_an_early_look_takes_its_routes_along(pair):
    pair.ip("route add 198.51.100.0/24 via 192.0.2.2 metric 20 proto ospf")

    async def scenario():
        early = read_early()
        pair.ip("link set near0 down")  # no event tells of the route
        async with Watch(early) as watch:
            await watch.recorder.until(lambda: len(watch.recorder.resyncs) > 1)
            assert watch.recorder.resyncs[1].cause == "link loss"
            assert not watch.at("198.51.100.0/24")

    pair.inside(scenario)


@pytest.mark.alone
def test_loss_of_carrier_is_heard_within_ten_milliseconds(pair):
    delays = []

    async def scenario():
        async with Watch() as watch:
            for _ in range(10):
                seen = len(watch.recorder.links)
                pair.ip("link set far0 down", pair.far)  # returns after the kernel has queued the event
                returned = time.monotonic()
                await watch.recorder.until(lambda: not watch.link("near0").up)
                when = next(t for t, link, _ in watch.recorder.links[seen:] if link.name == "near0" and not link.up)
                delays.append(when - returned)
                pair.ip("link set far0 up", pair.far)
                await watch.recorder.until(lambda: watch.link("near0").up)

    pair.inside(scenario)
    assert sorted(delays)[len(delays) // 2] < 0.010, delays


@pytest.mark.parametrize("carries", [True, False])
def test_routes_that_vanish_silently_with_a_link_are_missed_by_the_next_dump(pair, carries):
    pair.ip("route add 198.51.100.0/24 via 192.0.2.2")
    pair.ip("nexthop add id 5 via 192.0.2.2 dev near0")
    pair.ip("route add 203.0.113.0/24 nhid 5")

    async def scenario():
        async with Watch() as watch:
            assert watch.at("203.0.113.0/24")[0].hops[0].gateway == ip_address("192.0.2.2")
            if not carries:  # the kernel keeps its routes then
                pair.ip("link set far0 down", pair.far)
                await watch.recorder.until(lambda: len(watch.recorder.resyncs) > 1)
                assert watch.at("198.51.100.0/24")
            before = len(watch.recorder.resyncs)
            pair.ip("link set near0 down")
            await watch.recorder.until(lambda: len(watch.recorder.resyncs) > before)
            assert watch.recorder.resyncs[-1].cause == "link loss"
            assert not watch.at("198.51.100.0/24")
            assert not watch.at("203.0.113.0/24")
            assert not watch.at("192.0.2.0/24")
            assert 5 not in watch.state.nexthops
            pair.ip("link set far0 up", pair.far)
            pair.ip("link set near0 up")
            await watch.recorder.until(lambda: watch.at("192.0.2.0/24"))

    pair.inside(scenario)


def test_routes_come_change_and_go(pair):
    pair.ip("link add two0 type veth peer name two1")
    pair.ip("addr add 192.0.2.99/24 dev two0")

    async def scenario():
        async with Watch() as watch:
            near0 = watch.link("near0").ifindex
            pair.ip("route add 198.51.100.0/24 via 192.0.2.2 metric 20")
            await watch.recorder.until(lambda: watch.at("198.51.100.0/24"))
            pair.ip("route replace 198.51.100.0/24 via 192.0.2.3 metric 20")
            await watch.recorder.until(
                lambda: watch.at("198.51.100.0/24")[0].hops[0].gateway == ip_address("192.0.2.3")
            )
            pair.ip("route add 198.51.100.0/24 via 192.0.2.4 metric 10")
            await watch.recorder.until(lambda: len(watch.at("198.51.100.0/24")) == 2)
            assert [r.metric for r in watch.at("198.51.100.0/24")] == [10, 20]
            pair.ip("route del 198.51.100.0/24 metric 10")
            await watch.recorder.until(lambda: len(watch.at("198.51.100.0/24")) == 1)
            pair.ip("link set two0 up")  # the same connected prefix on two links
            await watch.recorder.until(lambda: len(watch.at("192.0.2.0/24")) == 2)
            assert watch.at("192.0.2.0/24")[0].hops[0].ifindex == near0, "the kernel uses the older one"
            pair.ip("route add 198.18.0.0/15 nexthop via 192.0.2.2 weight 3 nexthop via inet6 2001:db8::2 dev near0")
            await watch.recorder.until(lambda: watch.at("198.18.0.0/15"))
            (both,) = watch.at("198.18.0.0/15")
            assert set(both.hops) == {Hop(ip_address("192.0.2.2"), near0, 3), Hop(ip_address("2001:db8::2"), near0, 1)}

    pair.inside(scenario)


def test_an_ipv6_multipath_route_loses_one_hop_at_a_time(pair):
    async def scenario():
        async with Watch() as watch:
            pair.ip("-6 route add 2001:db8:1::/48 nexthop via 2001:db8::2 nexthop via 2001:db8::3")
            await watch.recorder.until(lambda: watch.at("2001:db8:1::/48"))
            assert len(watch.at("2001:db8:1::/48")[0].hops) == 2
            pair.ip("-6 route append 2001:db8:1::/48 via 2001:db8::4")
            await watch.recorder.until(lambda: len(watch.at("2001:db8:1::/48")[0].hops) == 3)
            pair.ip("-6 route del 2001:db8:1::/48 via 2001:db8::3")
            await watch.recorder.until(lambda: len(watch.at("2001:db8:1::/48")[0].hops) == 2)
            assert (await watch.watcher.resync("test")).differences == 0, "the events told the same as the dump"

    pair.inside(scenario)


def test_a_route_by_nexthop_object_follows_the_object_without_route_events(pair):
    async def scenario():
        with open("/proc/sys/net/ipv4/nexthop_compat_mode", "w") as file:  # noqa: PTH123, ASYNC230
            file.write("0")
        async with Watch() as watch:
            pair.ip("nexthop add id 7 via 192.0.2.2 dev near0")
            pair.ip("nexthop add id 8 via 192.0.2.3 dev near0")
            pair.ip("nexthop add id 9 group 7,3/8,1")
            pair.ip("route add 198.51.100.0/24 nhid 9")
            await watch.recorder.until(lambda: watch.at("198.51.100.0/24"))
            assert {(str(h.gateway), h.weight) for h in watch.at("198.51.100.0/24")[0].hops} == {
                ("192.0.2.2", 3),
                ("192.0.2.3", 1),
            }
            pair.ip("nexthop replace id 7 via 192.0.2.77 dev near0")
            await watch.recorder.until(
                lambda: "192.0.2.77" in {str(h.gateway) for h in watch.at("198.51.100.0/24")[0].hops}
            )
            pair.ip("nexthop del id 8")
            await watch.recorder.until(lambda: len(watch.at("198.51.100.0/24")[0].hops) == 1)
            pair.ip("nexthop del id 9")
            await watch.recorder.until(lambda: not watch.at("198.51.100.0/24"))
            assert (await watch.watcher.resync("test")).differences == 0

    pair.inside(scenario)


def test_a_foreign_hand_on_our_routes_is_told_and_our_own_writes_are_not(pair):
    async def scenario():
        async with Watch() as watch:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            sock.bind((0, 0))
            watch.watcher.ignore_ports({sock.getsockname()[0]})
            events = watch.watcher.counters.events
            near0 = watch.link("near0").ifindex
            for third in range(50):
                write_own_route(sock, third, near0)
            pair.ip("route add 198.51.100.0/24 dev near0")  # behind ours in the same socket
            await watch.recorder.until(lambda: watch.at("198.51.100.0/24"))
            assert watch.watcher.counters.events - events == 1
            pair.ip("route del 10.0.3.0/24 metric 200")
            pair.ip("route add 10.0.99.0/24 via 192.0.2.2 metric 200")  # which takes nobody's place
            pair.ip("route replace 10.0.4.0/24 via 192.0.2.2 metric 200")
            await watch.recorder.until(lambda: len(watch.recorder.own) == 2)
            deleted, overwritten = watch.recorder.own
            assert (deleted.prefix, deleted.event, deleted.by_protocol) == (
                P("10.0.3.0/24"),
                OwnRouteEvent.DELETED,
                203,
            )
            assert (overwritten.prefix, overwritten.event) == (P("10.0.4.0/24"), OwnRouteEvent.OVERWRITTEN)
            assert overwritten.by_protocol == 3
            sock.close()

    pair.inside(scenario)


def write_own_route(sock, third, ifindex):
    body = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 203, 253, 1, 0)
    body += struct.pack("=HH4s", 8, 1, bytes([10, 0, third, 0])) + struct.pack("=HHIHHI", 8, 4, ifindex, 8, 6, 200)
    sock.send(struct.pack("=IHHII", 16 + len(body), 24, 0x401, third + 1, 0) + body)


def test_an_overrun_is_counted_and_made_good_by_a_dump(pair):
    async def scenario():
        async with Watch(receive_buffer_octets=4096) as watch:
            pair.batch([f"route add 10.{n >> 8}.{n & 255}.0/24 via 192.0.2.2" for n in range(3000)])
            await watch.recorder.until(lambda: any(r.cause == "overrun" for r in watch.recorder.resyncs))
            assert watch.watcher.counters.overruns >= 1
            assert all(watch.at(f"10.{n >> 8}.{n & 255}.0/24") for n in range(3000))
            lost = next(r for r in watch.recorder.resyncs if r.cause == "overrun")
            assert lost.differences > 0
            told = {route.prefix for route, present in watch.recorder.routes if present}
            assert all(P(f"10.{n >> 8}.{n & 255}.0/24") in told for n in range(3000))

    pair.inside(scenario)


def test_an_interface_that_vanishes_comes_back_as_another_one(pair):
    async def scenario():
        async with Watch() as watch:
            before = watch.link("near0")
            pair.ip("link del near0")
            await watch.recorder.until(lambda: watch.state.link_named("near0") is None)
            assert (watch.recorder.links[-1][1].ifindex, watch.recorder.links[-1][2]) == (before.ifindex, False)
            await watch.recorder.until(lambda: not watch.at("192.0.2.0/24"))
            pair.ip(f"link add near0 type veth peer name far0 netns {pair.far}")
            pair.ip("link set far0 up", pair.far)
            pair.ip("addr add 192.0.2.1/24 dev near0")
            pair.ip("link set near0 up")
            await watch.recorder.until(lambda: watch.at("192.0.2.0/24") and watch.link("near0").up)
            assert watch.link("near0").ifindex != before.ifindex

    pair.inside(scenario)


def test_a_port_that_leaves_its_bridge_is_no_vanished_link(pair):
    async def scenario():
        async with Watch() as watch:
            pair.ip("link add br0 type bridge")
            pair.ip("link set near0 master br0")
            await watch.recorder.until(lambda: watch.link("near0").master)
            pair.ip("link set near0 nomaster")
            await watch.recorder.until(lambda: not watch.link("near0").master)
            assert all(present for _, link, present in watch.recorder.links if link.name == "near0")

    pair.inside(scenario)


def test_a_neighbour_that_changes_its_mac_is_heard(pair):
    async def scenario():
        async with Watch() as watch:
            ifindex = watch.link("near0").ifindex
            key = (ifindex, ip_address("192.0.2.2"))
            pair.ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev near0 nud reachable")
            await watch.recorder.until(lambda: key in watch.state.neighbours)
            assert watch.state.neighbours[key].state is NeighbourState.REACHABLE
            pair.ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev near0 nud permanent")
            await watch.recorder.until(lambda: watch.state.neighbours[key].mac == bytes.fromhex("020000000002"))
            assert watch.state.neighbours[key].state is NeighbourState.PERMANENT
            pair.ip("neigh del 192.0.2.2 dev near0")
            await watch.recorder.until(lambda: key not in watch.state.neighbours)

    pair.inside(scenario)


def test_close_gives_back_every_descriptor(pair):
    async def scenario():
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        async with Watch() as watch:
            await watch.watcher.resync("test")
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208

    pair.inside(scenario)
