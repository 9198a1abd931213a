"""Next-hop resolution: which route, which hops, which reason; held against a slow oracle."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib.foreign import ForeignTable
from bgpbridge.fib.observed import TABLE_LOCAL, TABLE_MAIN, ForeignRoute, RouteType
from bgpbridge.fib.resolve import Resolver
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix

P = Prefix.parse
A = ip_address


def route(prefix, *hops, kind=RouteType.UNICAST, metric=0, table=TABLE_MAIN, **more):
    return ForeignRoute(P(prefix), table, 3, metric, kind, tuple(hops), **more)


class Net:
    """A handful of routes and the links that are up."""

    def __init__(self, *routes, up=(1, 2, 3), via_default=False):
        self.table, self.up = ForeignTable(), set(up)
        for one in routes:
            self.add(one)
        self.resolver = Resolver(self.table, self.up.__contains__, via_default=via_default)

    def add(self, one):
        self.table.put(one.prefix, one.table, (*self.table.at(one.prefix, one.table), one))

    def remove(self, prefix):
        self.table.put(P(prefix), TABLE_MAIN, ())

    def __call__(self, address, ifindex=None):
        return self.resolver.resolve(A(address), ifindex)


CONNECTED = route("192.0.2.0/24", Hop(None, 1))
OWN = route("192.0.2.1/32", Hop(None, 1), kind=RouteType.LOCAL, table=TABLE_LOCAL)
IGP = route("198.51.100.0/24", Hop(A("192.0.2.9"), 1), metric=20)
DEFAULT = route("0.0.0.0/0", Hop(A("192.0.2.254"), 1))


def test_on_a_connected_subnet_the_next_hop_is_its_own_gateway():
    found = Net(CONNECTED)("192.0.2.7")
    assert (found.reachable, found.metric, found.hops) == (True, 0, (Hop(A("192.0.2.7"), 1),))
    assert found.reason == "by 192.0.2.0/24"


def test_an_igp_route_gives_its_gateway_and_metric():
    found = Net(CONNECTED, IGP)("198.51.100.7")
    assert (found.reachable, found.metric, found.hops) == (True, 20, (Hop(A("192.0.2.9"), 1),))


def test_a_gateway_without_a_link_is_resolved_in_turn_and_shares_multiply():
    net = Net(
        route("203.0.113.0/24", Hop(A("198.51.100.1"), 0, 3), Hop(A("10.0.0.1"), 2)),
        route("198.51.100.0/24", Hop(A("192.0.2.9"), 1, 2), Hop(A("192.0.2.8"), 1)),
        CONNECTED,
    )
    assert set(net("203.0.113.5").hops) == {
        Hop(A("192.0.2.9"), 1, 6),
        Hop(A("192.0.2.8"), 1, 3),
        Hop(A("10.0.0.1"), 2, 1),
    }


def test_routes_in_a_circle_end():
    net = Net(route("10.0.0.0/8", Hop(A("11.0.0.1"), 0)), route("11.0.0.0/8", Hop(A("10.0.0.1"), 0)))
    assert net("10.1.1.1").reason.endswith("routes lead in a circle")


def test_an_own_address_is_not_reachable_it_is_ours():
    found = Net(CONNECTED, OWN)("192.0.2.1")
    assert (found.reachable, found.reason) == (False, "ours")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (RouteType.BLACKHOLE, "blackhole route 198.51.100.0/24"),
        (RouteType.UNREACHABLE, "unreachable route 198.51.100.0/24"),
        (RouteType.PROHIBIT, "prohibit route 198.51.100.0/24"),
        (RouteType.THROW, "throw route 198.51.100.0/24"),
    ],
)
def test_a_route_that_refuses_hides_the_shorter_ones(kind, reason):
    net = Net(route("198.51.100.0/24", kind=kind), route("198.51.0.0/16", Hop(A("192.0.2.9"), 1)))
    assert (net("198.51.100.1").reachable, net("198.51.100.1").reason) == (False, reason)
    assert net("198.51.101.1").reachable


def test_the_default_route_counts_only_where_told():
    assert not Net(DEFAULT, CONNECTED)("8.8.8.8").reachable
    assert "default route" in Net(DEFAULT, CONNECTED)("8.8.8.8").reason
    assert Net(DEFAULT, CONNECTED, via_default=True)("8.8.8.8").hops == (Hop(A("192.0.2.254"), 1),)


def test_no_route_at_all():
    assert Net()("8.8.8.8").reason == "no route"


def test_hops_on_a_dead_link_are_left_out():
    net = Net(route("198.51.100.0/24", Hop(A("192.0.2.9"), 1), Hop(A("10.0.0.9"), 2)))
    net.up.discard(1)
    assert net("198.51.100.1").hops == (Hop(A("10.0.0.9"), 2),)
    net.up.discard(2)
    assert net("198.51.100.1").reason == "198.51.100.0/24: link down"


def test_past_a_dead_route_comes_the_next_metric_then_the_shorter_prefix():
    net = Net(
        route("198.51.100.0/24", Hop(A("192.0.2.9"), 1), metric=10),
        route("198.51.100.0/24", Hop(A("10.0.0.9"), 2), metric=20),
        route("198.51.0.0/16", Hop(A("10.1.0.9"), 3), metric=30),
    )
    assert net("198.51.100.1").metric == 10
    net.up.discard(1)
    assert net("198.51.100.1").metric == 20
    net.up.discard(2)
    assert net("198.51.100.1").metric == 30


def test_a_link_local_next_hop_needs_its_link():
    net = Net()
    assert not net("fe80::1").reachable
    assert net("fe80::1", 2).hops == (Hop(A("fe80::1"), 2),)
    net.up.discard(2)
    assert net("fe80::1", 2).reason == "link down"


def test_an_ipv4_next_hop_over_an_ipv6_gateway():
    assert Net(route("198.51.100.0/24", Hop(A("2001:db8::2"), 1)))("198.51.100.1").hops == (Hop(A("2001:db8::2"), 1),)


def test_routes_for_some_packets_only_do_not_resolve():
    net = Net(route("198.51.100.0/24", Hop(A("192.0.2.9"), 1), tos=8), route("198.51.0.0/16", Hop(A("192.0.2.8"), 1)))
    assert net("198.51.100.1").hops[0].gateway == A("192.0.2.8")


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.5", "::", "ff02::1"])
def test_addresses_that_are_no_next_hop(address):
    assert not Net(DEFAULT, route("::/0", Hop(A("2001:db8::1"), 1)), via_default=True)(address).reachable


def test_a_changed_prefix_concerns_the_next_hops_inside_and_those_behind_them():
    net = Net(CONNECTED, route("203.0.113.0/24", Hop(A("198.51.100.1"), 0)), IGP)
    for key, address in enumerate(("192.0.2.7", "203.0.113.5", "198.51.100.7", "2001:db8::1")):
        net.resolver.watch(key, A(address))
    assert net.resolver.affected_by_prefix(P("192.0.2.0/25")) == [0]
    assert net.resolver.affected_by_prefix(P("198.51.100.0/24")) == [1, 2], "203.0.113.5 goes by 198.51.100.1"
    assert net.resolver.affected_by_prefix(P("::/0")) == [3]
    net.remove("198.51.100.0/24")
    changed = dict(net.resolver.refresh(net.resolver.affected_by_prefix(P("198.51.100.0/24"))))
    assert changed.keys() == {1, 2}
    assert not changed[1].reachable
    net.resolver.unwatch(1)
    net.resolver.unwatch(1)
    assert net.resolver.affected_by_prefix(P("198.51.100.0/24")) == [2]


def test_a_changed_link_concerns_the_next_hops_that_asked_for_it_also_when_it_was_down():
    net = Net(CONNECTED, IGP, route("10.0.0.0/8", Hop(None, 2)), up=(2,))
    for key, address in enumerate(("192.0.2.7", "10.0.0.5", "fe80::1")):
        net.resolver.watch(key, A(address), 1 if address.startswith("fe80") else None)
    assert net.resolver.affected_by_link(1) == [0, 2]
    net.up.add(1)
    assert [key for key, _ in net.resolver.refresh(net.resolver.affected_by_link(1))] == [0, 2]
    assert net.resolver.refresh([0, 1, 2]) == []


FEW = st.integers(0, 15)


@st.composite
def tables(draw):
    """Routes in a space small enough to collide: 16 values in the top bits, and their links."""
    family = draw(st.sampled_from(list(Family)))
    routes = []
    for top, length, metric, kind, links in draw(
        st.lists(
            st.tuples(
                FEW,
                st.integers(0, 5),
                st.integers(0, 3),
                st.sampled_from([RouteType.UNICAST] * 5 + [RouteType.BLACKHOLE]),
                st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True),
            ),
            max_size=12,
        )
    ):
        prefix = Prefix.make(family, top << (family.bits - 4), min(length, family.bits))
        hops = tuple(Hop(None, link) for link in links) if kind is RouteType.UNICAST else ()
        routes.append(ForeignRoute(prefix, TABLE_MAIN, 3, metric, kind, hops))
    return family, routes, draw(st.sets(st.integers(1, 4))), draw(st.booleans())


def slowly(routes, address, up, via_default):
    """The rules, said once more without any index."""
    matching = [r for r in routes if r.prefix.covers(address)]
    for one in sorted(matching, key=lambda r: (-r.prefix.length, r.metric)):
        if one.prefix.length == 0 and not via_default:
            return None
        if one.type is not RouteType.UNICAST:
            return None
        live = {hop.ifindex for hop in one.hops if hop.ifindex in up}
        if live:
            return one.metric, live
    return None


@settings(max_examples=150, deadline=None)
@given(tables(), st.lists(FEW, min_size=1, max_size=4))
def test_the_same_answer_as_the_slow_oracle(table, tops):
    family, routes, up, via_default = table
    net = Net(*routes, up=up, via_default=via_default)
    for top in tops:
        value = (top << (family.bits - 4)) + 5
        if family is Family.IPV4 and top >= 14:
            continue  # multicast
        address = IPv4Address(value) if family is Family.IPV4 else IPv6Address(value)
        if address.is_multicast or address.is_link_local:
            continue
        found, wanted = net.resolver.resolve(address), slowly(routes, address, up, via_default)
        assert (found.metric, {h.ifindex for h in found.hops}) == wanted if wanted else not found.reachable


@settings(max_examples=100, deadline=None)
@given(tables(), st.data())
def test_the_reverse_index_misses_no_next_hop_that_changes(table, data):
    family, routes, up, via_default = table
    net = Net(*routes, up=up, via_default=via_default)
    addresses = [family_address(family, (top << (family.bits - 4)) + 5) for top in range(14)]
    before = {key: net.resolver.watch(key, address) for key, address in enumerate(addresses)}
    if routes and data.draw(st.booleans()):
        gone = data.draw(st.sampled_from(routes)).prefix
        net.table.put(gone, TABLE_MAIN, ())
        affected = net.resolver.affected_by_prefix(gone)
    else:
        link = data.draw(st.integers(1, 4))
        net.up.symmetric_difference_update({link})
        affected = net.resolver.affected_by_link(link)
    for key, address in enumerate(addresses):
        if net.resolver.resolve(address) != before[key]:
            assert key in affected


def family_address(family, value):
    return IPv4Address(value) if family is Family.IPV4 else IPv6Address(value)
