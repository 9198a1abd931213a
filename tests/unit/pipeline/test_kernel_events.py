"""Links, neighbours and routes of others: what they do to paths, and to next hops that cannot be reached yet."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from bgpbridge.fib.observed import (
    TABLE_MAIN,
    Address,
    ForeignRoute,
    Link,
    NeighbourState,
    Nexthop,
    OwnRouteChange,
    OwnRouteEvent,
    Resync,
    RouteType,
)
from bgpbridge.rib.lookups import next_hops_in_use
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.message import build_update

NET, SIX = "203.0.113.0/24", "2001:db8:9::/48"
FAR = "192.0.2.99"
A, B = "10.0.1.2", "10.0.2.2"


@pytest.fixture
def both(world):
    for name in "ab":
        world.up(name)
        world.says(name, world.route(name, NET, longer=name == "b"))
    for address, ifindex in ((A, 11), (B, 12)):
        world.neighbour(address, ifindex)
    return world


def foreign(world, prefix: str, gateway: str | None, ifindex: int, *, present: bool = True, metric: int = 20) -> None:
    hop = Hop(ip_address(gateway) if gateway else None, ifindex)
    route = ForeignRoute(Prefix.parse(prefix), TABLE_MAIN, 188, metric, RouteType.UNICAST, (hop,))
    with world.running():
        world.state.route(route, present=present)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_route_whose_next_hop_cannot_be_reached_comes_up_when_it_can(world, octets, bulk):
    world.up("a")
    world.says("a", octets.announce(NET, path=(65001,), hop=FAR), bulk=bulk)
    assert world.ways() == {}
    foreign(world, "192.0.2.0/24", B, 12)
    world.finish()
    assert world.ways() == {NET: {B}}
    foreign(world, "192.0.2.0/24", B, 12, present=False)
    world.finish()
    assert world.ways() == {}


def test_a_next_hop_that_moves_moves_groups_and_no_prefix(world, octets):
    world.up("a")
    foreign(world, "192.0.2.0/24", B, 12)
    world.says("a", octets.announce(NET, path=(65001,), hop=FAR))
    before = dict(world.xdp.routes)
    foreign(world, "192.0.2.96/28", A, 11, metric=20)
    assert world.ways() == {NET: {A}}
    assert world.xdp.routes == before


def test_a_link_that_goes_moves_traffic_at_once_and_gives_it_back(both):
    both.link(11, up=False)
    assert both.ways() == {NET: {B}}, "by its group, before any job"
    both.finish()
    both.link(11, up=True)
    both.finish()
    assert both.ways() == {NET: {A}}
    assert both.kernel.rebuilt == [11, 11]


def test_a_link_that_flaps_while_jobs_wait_ends_as_it_stands(both):
    for number in range(7):
        both.link(11, up=bool(number % 2))
        both.step()
    both.finish()
    assert both.ways() == {NET: {B}}
    both.assert_in_step()
    both.link(11, up=True)
    both.finish()
    assert both.ways() == {NET: {A}}


def test_an_interface_that_comes_back_by_another_number_is_taken_up(both):
    with both.running():
        both.state.link(Link(11, "eth1", bytes(6), 1500, up=False), present=False)
    both.connected("10.0.1.0/24", 11, present=False)
    both.finish()
    assert both.ways() == {NET: {B}}
    with both.running():
        both.state.link(Link(41, "eth1", bytes([2, 0, 0, 0, 0, 41]), 1500, up=True))
        both.state.address(Address(11, ip_address("10.0.1.1"), 24), present=False)
        both.state.address(Address(41, ip_address("10.0.1.1"), 24))
        both.connected("10.0.1.0/24", 41)
    both.neighbour(A, 41)
    both.finish()
    assert both.ways() == {NET: {A}}
    [(_, hops)] = [(group, hops) for group, hops in both.kernel.groups.items() if group in both.kernel.routes.values()]
    assert [hop.ifindex for hop in hops] == [41]


def test_a_link_local_next_hop_follows_the_sessions_address_to_another_link(world, octets):
    local = bytes.fromhex("20010db8000100000000000000000002") + ip_address("fe80::2").packed
    reach = b"\0\2\1\x20" + local + b"\0" + octets.nlri(Prefix.parse(SIX))
    head = encode_attribute(1, b"\0") + encode_attribute(2, b"\2\1\0\0\xfd\xe9")
    world.up("a")
    world.says("a", build_update(head + encode_attribute(14, reach)))
    assert world.ways() == {SIX: {"fe80::2"}}
    ours = Address(11, ip_address("10.0.1.1"), 24)
    with world.running():
        world.state.address(ours, present=False)
        world.state.link(Link(41, "eth1", bytes([2, 0, 0, 0, 0, 41]), 1500, up=True))
        world.state.address(Address(41, ours.address, 24))
    world.finish()
    [hops] = [world.kernel.groups[group] for group in set(world.kernel.routes.values())]
    assert [hop.ifindex for hop in hops] == [41]


def test_a_neighbour_that_does_not_answer_is_left_and_taken_back(both):
    both.neighbour(A, 11, NeighbourState.FAILED)
    assert both.ways() == {NET: {B}}
    both.neighbour(A, 11)
    assert both.ways() == {NET: {A}}


def test_links_that_lead_to_no_next_hop_cost_no_look_at_the_kernels_routes(both):
    for up in (True, False):
        with both.running():
            both.state.link(Link(77, "veth77", bytes([2, 0, 0, 0, 0, 77]), 1500, up=up))
    assert both.kernel.rebuilt == []


def test_what_happened_while_routes_were_adopted_is_looked_into(world):
    events = world.bridge.kernel_events
    events.live = events.missed = False
    world.link(11, up=False)
    assert world.kernel.rebuilt == []
    events.go_live()
    assert world.kernel.audits == 1


def test_lost_events_and_removed_nexthops_ask_for_a_comparison(both):
    both.bridge.kernel_events.on_resync(Resync("link loss", 3))
    assert both.kernel.audits == 0
    both.bridge.kernel_events.on_resync(Resync("overrun", 3))
    assert both.kernel.audits == 1
    protocol = both.bridge.config.kernel.protocol
    both.bridge.kernel_events.on_nexthop(Nexthop(5, protocol + 1), present=False)
    assert both.kernel.audits == 1
    with both.running():
        both.bridge.kernel_events.on_nexthop(Nexthop(5, protocol, Hop(ip_address("10.0.1.2"), 11)), present=False)
        both.bridge.kernel_events.on_nexthop(Nexthop(6, protocol, group=((5, 1),)), present=False)
    assert both.kernel.audits == 3
    both.wait(1)
    (told,) = [event for event in both.bridge.events.tail() if event.kind == "nexthop-deleted"]
    assert (told.subject, told.text.partition(":")[0]) == ("id 5", "to 10.0.1.2 and 1 more")


def test_a_foreign_hand_is_answered_and_told_of(both):
    repaired, ours = [], both.bridge.config.kernel.protocol

    def repair(prefix, *, overwritten, foreign):
        repaired.append((str(prefix), overwritten, foreign))
        return str(prefix) == NET

    both.kernel.repair = repair
    for event in OwnRouteEvent:
        both.bridge.kernel_events.on_own_route_changed(OwnRouteChange(Prefix.parse(NET), 254, 200, event, 4, 99))
    none_of_ours = OwnRouteChange(Prefix.parse("192.0.2.0/24"), 254, 200, OwnRouteEvent.OVERWRITTEN, ours, 99)
    both.bridge.kernel_events.on_own_route_changed(none_of_ours)
    assert repaired == [(NET, False, True), (NET, True, True), ("192.0.2.0/24", True, False)]
    assert len(both.events("foreign-hand")) == both.bridge.kernel_events.repairs == 2


def test_a_foreign_route_that_goes_lets_ours_try_again(both):
    foreign(both, NET, A, 11)
    foreign(both, NET, A, 11, present=False)
    assert both.kernel.retried == [Prefix.parse(NET)]


def test_families_do_not_mix(both):
    both.says("a", both.route("a", SIX))
    both.connected("2001:db8:1::/64", 11, present=False)
    both.finish()
    assert both.ways() == {NET: {A}}
    assert both.bridge.rib.families[Family.IPV6].routes == 0


def test_an_unreachable_next_hop_is_in_use_for_as_long_as_a_route_has_it(both, octets):
    rib = both.bridge.rib
    both.says("b", both.route("b", "192.0.2.0/24", hop=FAR))
    lost = [number for number in rib.next_hops.ids() if not rib.next_hops.reachable[number]]
    assert [str(rib.next_hops[number].address) for number in lost] == [FAR]
    assert next_hops_in_use(rib, lost) == set(lost)
    assert next_hops_in_use(rib, rib.next_hops.ids()) == set(rib.next_hops.ids())
    both.says("b", octets.withdraw("192.0.2.0/24"))
    assert next_hops_in_use(rib, lost) == set()
