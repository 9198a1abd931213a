"""What is kept of the kernel: the kernel's own order of routes, nexthop objects, dumps against events."""

from __future__ import annotations

from ipaddress import ip_address

from bgpbridge.fib.kernel_state import KernelState, Snapshot
from bgpbridge.fib.observed import (
    TABLE_LOCAL,
    TABLE_MAIN,
    Address,
    ForeignRoute,
    KernelListener,
    Link,
    Neighbour,
    NeighbourState,
    Nexthop,
    PuntChange,
    RouteType,
)
from bgpbridge.fib.route_order import with_added, with_removed
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Prefix

P, A = Prefix.parse, ip_address
ETH0, ETH1 = Link(5, "eth0", bytes(6), 1500, True), Link(6, "eth1", bytes(6), 1500, True)


def route(*hops, prefix="10.0.0.0/8", metric=0, table=TABLE_MAIN, **more):
    return ForeignRoute(P(prefix), table, 3, metric, RouteType.UNICAST, tuple(Hop(A(g), 5) for g in hops), **more)


class Heard(KernelListener):
    def __init__(self):
        self.all = []

    def on_link(self, link, present):
        self.all.append(("link", link.name, present))

    def on_address(self, address, present):
        self.all.append(("address", str(address.address), present))

    def on_neighbour(self, neighbour, present):
        self.all.append(("neighbour", str(neighbour.address), present))

    def on_foreign_route(self, one, present):
        self.all.append(("route", str(one.prefix), present))

    def on_punt_change(self, change):
        self.all.append(change)

    def on_nexthop(self, nexthop, present):
        self.all.append(("nexthop", nexthop.id, present))

    def on_resync(self, resync):
        self.all.append(resync)

    def take(self):
        taken, self.all = self.all, []
        return taken


def state():
    heard = Heard()
    return KernelState([heard]), heard


def add(routes, new, *, replaces=False, appends=False):
    return with_added(routes, new, replaces=replaces, appends=appends)


def test_the_kernel_uses_the_newest_of_equal_routes_unless_it_was_appended():
    old, new = route("192.0.2.1"), route("192.0.2.2")
    assert add((old,), new) == (new, old)
    assert add((old,), new, appends=True) == (old, new)
    assert add((old,), new, replaces=True) == (new,)
    assert add((old, route("192.0.2.3")), new, replaces=True) == (new, route("192.0.2.3"))


def test_in_ipv6_the_oldest_of_equal_routes_is_used():
    old, new = (route(prefix="fe80::/64"), route("fe80::1", prefix="fe80::/64"))
    other = ForeignRoute(P("fe80::/64"), TABLE_MAIN, 2, 0, RouteType.UNICAST, (Hop(None, 6),))
    assert add((new,), other) == (new, other)
    assert add((old,), new) == (new,), "more hops of the same route"


def test_metrics_order_routes_and_replace_only_their_own():
    low, high = route("192.0.2.1", metric=10), route("192.0.2.1", metric=20)
    assert add((high,), low) == (low, high)
    assert add((low, high), route("192.0.2.9", metric=20), replaces=True) == (low, route("192.0.2.9", metric=20))
    assert with_removed((low, high), high) == (low,)


def test_a_hop_that_goes_leaves_the_others():
    both = route("192.0.2.1", "192.0.2.2")
    assert with_removed((both,), route("192.0.2.1")) == (route("192.0.2.2"),)
    assert with_removed((both,), both) == ()
    assert with_removed((both,), route("192.0.2.7")) == (both,), "none of ours"
    assert with_removed((both,), route()) == (), "the kernel named no hops"
    assert with_removed((), both) == ()


def test_a_repeated_event_is_told_once():
    kernel, heard = state()
    kernel.link(ETH0)
    kernel.link(ETH0)
    kernel.link(ETH1, present=False)
    kernel.address(Address(5, A("192.0.2.1"), 24))
    kernel.address(Address(5, A("192.0.2.1"), 24))
    kernel.neighbour(Neighbour(5, A("192.0.2.2"), b"", NeighbourState.FAILED), present=False)
    kernel.route(route("192.0.2.1"))
    kernel.route(route("192.0.2.1"))
    assert heard.take() == [
        ("link", "eth0", True),
        ("address", "192.0.2.1", True),
        PuntChange(P("10.0.0.0/8"), 0),
        ("route", "10.0.0.0/8", True),
    ]


def test_tables_other_than_main_and_local_do_not_count():
    kernel, heard = state()
    kernel.route(route("192.0.2.1", table=77))
    assert heard.take() == []
    assert len(kernel.foreign) == 0


def test_routes_follow_their_nexthop_object_and_its_group():
    kernel, heard = state()
    for number, last in ((1, 1), (2, 2)):
        kernel.nexthop(Nexthop(number, 3, Hop(A(f"192.0.2.{last}"), 5)))
    kernel.nexthop(Nexthop(9, 3, None, ((1, 3), (2, 1))))
    kernel.route(route(nexthop_id=9))

    def hops():
        return kernel.foreign.at(P("10.0.0.0/8"), TABLE_MAIN)[0].hops

    assert hops() == (Hop(A("192.0.2.1"), 5, 3), Hop(A("192.0.2.2"), 5, 1))
    heard.take()
    kernel.nexthop(Nexthop(1, 3, Hop(A("192.0.2.7"), 5)))
    assert hops() == (Hop(A("192.0.2.2"), 5, 1), Hop(A("192.0.2.7"), 5, 3))
    assert heard.take() == [("nexthop", 1, True), ("route", "10.0.0.0/8", False), ("route", "10.0.0.0/8", True)]
    kernel.nexthop(Nexthop(2, 3), present=False)
    assert len(hops()) == 1
    kernel.nexthop(Nexthop(9, 3), present=False)
    assert not kernel.foreign.at(P("10.0.0.0/8"), TABLE_MAIN), "the kernel drops them without a word"


def test_a_route_before_its_nexthop_object_gets_its_hops_later():
    kernel, _ = state()
    kernel.route(route(nexthop_id=1))
    kernel.nexthop(Nexthop(1, 3, blackhole=True))
    assert kernel.foreign.at(P("10.0.0.0/8"), TABLE_MAIN)[0].type is RouteType.BLACKHOLE


def test_a_dump_tells_only_the_differences():
    kernel, heard = state()
    own = route(prefix="192.0.2.1/32", table=TABLE_LOCAL)
    near = Neighbour(5, A("192.0.2.2"), bytes(6), NeighbourState.REACHABLE)
    kernel.link(ETH0)
    kernel.link(ETH1)
    kernel.route(route("192.0.2.1"))
    kernel.route(own)
    heard.take()
    snapshot = Snapshot(
        links=[ETH0],
        addresses=[Address(5, A("192.0.2.1"), 24)],
        neighbours=[near],
        routes={(own.prefix, TABLE_LOCAL): (own,)},
    )
    kernel.begin_reconcile()
    for _ in kernel.reconcile(snapshot, "overrun"):
        pass
    *told, resync = heard.take()
    assert told == [
        ("link", "eth1", False),
        ("address", "192.0.2.1", True),
        ("neighbour", "192.0.2.2", True),
        PuntChange(P("10.0.0.0/8"), None),
        ("route", "10.0.0.0/8", False),
    ]
    assert (resync.cause, resync.differences) == ("overrun", 4)
    assert kernel.last_resync is resync


def test_events_during_a_dump_are_newer_than_the_dump():
    kernel, heard = state()
    down = Link(5, "eth0", bytes(6), 1500, False)
    kernel.link(ETH0)
    stale = Snapshot(links=[ETH0], routes={(P("10.0.0.0/8"), TABLE_MAIN): (route("192.0.2.1"),)})
    kernel.begin_reconcile()
    kernel.link(down)
    kernel.route(route("192.0.2.1"))
    kernel.route(route("192.0.2.1"), present=False)
    kernel.link(ETH1)
    heard.take()
    for _ in kernel.reconcile(stale, "test"):
        pass
    assert not kernel.link_up(5)
    assert kernel.link_up(6)
    assert len(kernel.foreign) == 0
    assert [type(one).__name__ for one in heard.take()] == ["Resync"]
