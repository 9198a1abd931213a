"""What happens to a path happens to groups: next hops, adjacencies and sessions, with real tables and no kernel."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from ipaddress import IPv4Address

import numpy as np

from bgpbridge.events import EventLog
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.observed import TABLE_MAIN, ForeignRoute, Link, Neighbour, NeighbourState, RouteType
from bgpbridge.fib.resolve import Resolver
from bgpbridge.pipeline.paths import Paths, Spread, shares
from bgpbridge.rib.groups import Group, GroupTable, Member
from bgpbridge.rib.next_hops import Hop, NextHopTable
from bgpbridge.types import Prefix

ETH1, ETH2 = 11, 12
A, B = IPv4Address("203.0.113.2"), IPv4Address("203.0.113.6")


class Clock:
    def time(self) -> float:
        return 0.0

    def call_at(self, when: float, callback: object, *args: object) -> Clock:
        return self

    def cancel(self) -> None:
        pass


class Silent:
    def resolve(self, address: object, ifindex: int) -> None:
        pass

    confirm = resolve


class Stored:
    """What the planes were told, last one wins."""

    def __init__(self) -> None:
        self.groups: dict[int, Spread] = {}
        self.freed: list[int] = []

    def set_groups(self, groups: Iterable[tuple[int, Spread]]) -> None:
        self.groups.update(groups)

    def free_group(self, group: int) -> None:
        self.freed.append(group)


class Router:
    """Two uplinks, a provider behind each."""

    def __init__(self) -> None:
        self.kernel = KernelState()
        for ifindex, name, subnet in ((ETH1, "eth1", "203.0.113.0/30"), (ETH2, "eth2", "203.0.113.4/30")):
            self.kernel.link(Link(ifindex, name, bytes([2, 0, 0, 0, 0, ifindex]), 1500, up=True))
            prefix = Prefix.parse(subnet)
            self.kernel.route(
                ForeignRoute(prefix, TABLE_MAIN, 2, 0, RouteType.UNICAST, (Hop(None, ifindex),)), present=True
            )
        self.next_hops, self.groups = NextHopTable(), GroupTable()
        resolver = Resolver(self.kernel.foreign, self.kernel.link_up)
        self.stored = Stored()
        self.paths = Paths(self.next_hops, self.groups, resolver, self.stored, EventLog(), lambda _: None)
        self.changed: list[tuple[tuple[int, ...], bool]] = []
        words = np.zeros((64, 4), np.uint64)
        self.adjacencies = AdjacencyTable(
            words, self.kernel, Silent(), Clock(), lambda ids, up: self.changed.append((ids, up))
        )
        self.paths.adjacencies = self.adjacencies
        self.kernel.listeners.append(self.adjacencies)
        self.via_a, self.via_b = self.next_hops.intern(A), self.next_hops.intern(B)
        self.group = self.groups.intern(Group((Member(1, self.via_a),), (Member(2, self.via_b),)))
        self.paths.prepare(np.array([self.group], np.uint32))

    def answers(self, address: IPv4Address, ifindex: int) -> None:
        mac = bytes([2, 0, 0, 0, 1, ifindex])
        self.kernel.neighbour(Neighbour(ifindex, address, mac, NeighbourState.REACHABLE))

    def follow(self) -> None:
        """What the pipeline does with the adjacency table's word."""
        for ids, _ in self.changed:
            self.paths.fill(self.paths.adjacencies_changed(ids))
        self.changed.clear()

    def hops(self) -> list[IPv4Address]:
        return [hop.gateway for hop in self.stored.groups[self.group][1]]


def test_a_path_that_is_not_resolved_yet_keeps_its_place() -> None:
    router = Router()
    assert router.hops() == [A], "the kernel gets the packets, and resolves"
    router.answers(B, ETH2)
    router.follow()
    assert router.hops() == [A], "a backup that answers first does not take over"


def test_the_backup_takes_over_when_the_link_goes_and_gives_back_when_it_comes() -> None:
    router = Router()
    router.answers(A, ETH1)
    router.answers(B, ETH2)
    router.follow()
    assert router.hops() == [A]
    router.kernel.link(Link(ETH1, "eth1", bytes(6), 1500, up=False))
    router.follow()
    assert router.hops() == [B]
    router.kernel.link(Link(ETH1, "eth1", bytes([2, 0, 0, 0, 0, ETH1]), 1500, up=True))
    router.follow()
    assert router.hops() == [A]


def test_a_neighbour_that_fails_is_left_for_the_backup() -> None:
    router = Router()
    router.answers(A, ETH1)
    router.answers(B, ETH2)
    router.follow()
    router.kernel.neighbour(Neighbour(ETH1, A, b"", NeighbourState.FAILED))
    router.follow()
    assert router.hops() == [B]


def test_a_lost_session_moves_its_groups_and_its_return_moves_them_back() -> None:
    router = Router()
    router.paths.fill(router.paths.peer_lost(1))
    assert router.hops() == [B]
    assert router.paths.is_dead_peer(1)
    router.paths.fill(router.paths.peer_back(1))
    assert router.hops() == [A]
    assert router.paths.peer_back(1) == set()


def test_an_unhealthy_path_is_left_for_as_long_as_another_lives() -> None:
    router = Router()
    first, second = router.groups[router.group].active[0], router.groups[router.group].backup[0]
    assert router.paths.hold_down({1}, ()) == {router.group}
    router.paths.fill([router.group])
    assert router.hops() == [B]
    assert router.paths.is_unhealthy(first)
    assert not router.paths.is_unhealthy(second)
    assert router.paths.hold_down({1}, {second.next_hop}) == {router.group}
    router.paths.fill([router.group])
    assert router.hops() == [A], "where all are unhealthy, traffic stays on what BGP has"
    assert router.paths.hold_down((), ()) == {router.group}
    assert router.paths.hold_down((), ()) == set()


def test_what_arranges_is_asked_about_usable_members_only() -> None:
    router = Router()
    asked: list[Group] = []

    def swap(group: int, usable: Group) -> tuple[Member, ...]:
        assert group == router.group
        asked.append(usable)
        return tuple(member._replace(weight=3) for member in (*usable.backup, *usable.active))

    router.paths.arrange = swap
    router.paths.fill([router.group])
    assert router.hops() == [B, A]
    router.paths.fill(router.paths.peer_lost(2))
    assert router.hops() == [A]
    assert asked[-1] == Group(router.groups[router.group].active)


def test_when_nothing_lives_the_first_path_stands_for_the_kernel_to_try() -> None:
    router = Router()
    router.paths.fill(router.paths.peer_lost(1) | router.paths.peer_lost(2))
    assert router.hops() == [A]


def test_weights_of_members_and_of_their_hops_multiply() -> None:
    router = Router()
    ecmp = Prefix.parse("198.51.100.0/24")
    hops = (Hop(A, ETH1, 3), Hop(B, ETH2, 1))
    router.kernel.route(ForeignRoute(ecmp, TABLE_MAIN, 4, 0, RouteType.UNICAST, hops), present=True)
    behind = router.next_hops.intern(IPv4Address("198.51.100.1"))
    group = router.groups.intern(Group((Member(1, behind, 2), Member(2, router.via_b, 2))))
    router.paths.prepare(np.array([group], np.uint32))
    slots, kernel = router.stored.groups[group]
    weights: dict[int, int] = {}
    for adjacency, weight in slots:
        weights[adjacency] = weights.get(adjacency, 0) + weight
    total = sum(weights.values())
    a = router.adjacencies.find(A, ETH1)
    assert a is not None
    assert Fraction(weights[a], total) == Fraction(3, 8)
    assert {hop.gateway: hop.weight for hop in kernel} == {A: 3, B: 5}


def test_a_collected_next_hop_gives_its_adjacency_back() -> None:
    router = Router()
    number = router.adjacencies.find(B, ETH2)
    assert number is not None
    references = router.adjacencies.get(number).references
    used = np.zeros(router.next_hops.limit + 1, np.bool_)
    used[router.via_a] = True
    router.next_hops.release(used)
    router.paths.forget_unknown()
    assert router.adjacencies.get(number).references == references - 1


def test_freed_groups_are_cleared_below() -> None:
    router = Router()
    router.paths.freed([router.group])
    assert router.stored.freed == [router.group]
    assert not router.paths.written[router.group]


def test_shares_are_the_smallest_integers_of_the_same_ratio() -> None:
    assert shares([Fraction(1, 2), Fraction(1, 3)]) == [3, 2]
    assert shares([Fraction(2)]) == [1]
    assert shares([]) == []
