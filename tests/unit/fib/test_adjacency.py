"""Adjacencies: what stands in the map after each thing that can happen to a link or a neighbour."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import replace
from ipaddress import ip_address

import numpy as np
import pytest

from bgpbridge.datapath import abi
from bgpbridge.errors import CapacityError
from bgpbridge.fib.adjacency import AdjacencyTable, Timing
from bgpbridge.fib.kernel_state import KernelState
from bgpbridge.fib.observed import Link, Neighbour, NeighbourState

GATEWAY, OTHER = ip_address("192.0.2.2"), ip_address("2001:db8::2")
MAC, NEW_MAC, OURS = bytes.fromhex("020000000002"), bytes.fromhex("0200000000ff"), bytes.fromhex("020000000001")
ETH0 = Link(5, "eth0", OURS, 1500, up=True)
N = NeighbourState


class Handle:
    def __init__(self, callback):
        self.callback = callback

    def cancel(self):
        self.callback = None


class Clock:
    """A clock that a test turns, with the timers of asyncio's loop."""

    def __init__(self):
        self.now, self._order, self._timers = 100.0, itertools.count(), []

    def time(self):
        return self.now

    def call_at(self, when, callback, *args):
        handle = Handle(lambda: callback(*args))
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def turn(self, seconds):
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, handle = heapq.heappop(self._timers)
            if handle.callback is not None:
                handle.callback()
        self.now = until


class Asked(list):
    """A prober that notes what it was asked."""

    def resolve(self, address, ifindex):
        self.append(("resolve", address, ifindex))

    def confirm(self, address, ifindex):
        self.append(("confirm", address, ifindex))


class Room:
    def __init__(self, words=None, size=4096):
        self.words = np.zeros(size, abi.ADJACENCY) if words is None else words
        self.clock, self.asked, self.told, self.kernel = Clock(), Asked(), [], KernelState()
        self.moved = []
        self.kernel.link(ETH0)
        self.table = AdjacencyTable(
            self.words,
            self.kernel,
            self.asked,
            self.clock,
            lambda ids, up: self.told.append((ids, up)),
            timing=Timing(),
            rng=random.Random(7),
            moved=lambda number: self.moved.append((number, self.entry(number))),
        )
        self.kernel.listeners.append(self.table)

    def neighbour(self, state=N.REACHABLE, mac=MAC, address=GATEWAY, present=True):
        self.kernel.neighbour(Neighbour(5, address, mac, state), present)

    def entry(self, number):
        return abi.Adjacency.of(self.words[number])


@pytest.fixture
def room():
    return Room()


def test_an_unknown_neighbour_is_down_and_asked_for_at_once(room):
    number = room.table.claim(GATEWAY, 5)
    room.clock.turn(0)
    assert number == 1
    assert not room.table.is_up(number)
    assert room.asked == [("resolve", GATEWAY, 5)]
    assert room.entry(number).state is abi.AdjacencyState.DOWN
    assert room.words[number]["ifindex"] == 5


def test_a_resolved_neighbour_is_a_full_entry_and_is_told(room):
    number = room.table.claim(GATEWAY, 5)
    room.neighbour()
    assert room.entry(number) == abi.Adjacency(MAC, OURS, 1500, abi.AdjacencyState.UP, 5)
    assert room.told == [((number,), True)]


def test_a_neighbour_known_before_is_up_without_asking(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.clock.turn(1)
    assert room.table.is_up(number)
    assert room.asked == []
    assert room.told == [], "who claims looks at is_up"


def test_a_stale_neighbour_is_used_and_confirmed_at_once(room):
    room.neighbour(N.STALE)
    number = room.table.claim(GATEWAY, 5)
    room.clock.turn(0)
    assert room.table.is_up(number)
    assert room.asked == [("confirm", GATEWAY, 5)]


def test_another_mac_is_one_word(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    before = room.words[number].copy()
    room.neighbour(mac=NEW_MAC)
    assert room.entry(number).dmac == NEW_MAC
    assert all(before[name] == room.words[number][name] for name in ("word1", "ifindex", "outer", "inner", "reserved"))
    assert room.told == []


def test_a_lost_link_takes_all_its_adjacencies_down_in_one_word(room):
    room.neighbour()
    room.neighbour(address=OTHER)
    numbers = room.table.claim(GATEWAY, 5), room.table.claim(OTHER, 5)
    room.kernel.link(replace(ETH0, up=False))
    assert room.told == [(numbers, False)]
    assert [room.entry(n).state for n in numbers] == [abi.AdjacencyState.DOWN] * 2
    assert room.table.get(numbers[0]).reason == "link down"


def test_the_link_comes_back_with_a_known_neighbour(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.kernel.link(replace(ETH0, up=False))
    room.clock.turn(100)
    assert room.asked == [], "nobody is asked over a dead link"
    room.kernel.link(ETH0)
    assert room.table.is_up(number)
    room.clock.turn(0)
    assert room.asked == [("confirm", GATEWAY, 5)], "known from before, so it is asked now"
    room.clock.turn(25)
    assert len(room.asked) == 2, "and kept alive again"


def test_the_link_comes_back_and_its_neighbours_were_forgotten(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.kernel.link(replace(ETH0, up=False))
    room.neighbour(present=False)
    room.kernel.link(ETH0)
    assert not room.table.is_up(number)
    assert room.table.get(number).reason == "neighbour not resolved yet"
    room.clock.turn(0)
    assert room.asked == [("resolve", GATEWAY, 5)]
    room.neighbour()
    assert room.table.is_up(number)


def test_a_link_that_goes_for_good(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.kernel.link(ETH0, present=False)
    assert room.table.get(number).reason == "link gone"
    assert not room.table.is_up(number)


def test_mtu_and_own_mac_follow_the_link(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.kernel.link(replace(ETH0, mtu=9000, mac=NEW_MAC))
    assert room.entry(number) == abi.Adjacency(MAC, NEW_MAC, 9000, abi.AdjacencyState.UP, 5)


def test_neighbours_in_use_are_confirmed_every_15_to_25_seconds(room):
    room.neighbour()
    room.table.claim(GATEWAY, 5)
    room.clock.turn(14.9)
    assert room.asked == []
    room.clock.turn(1000)
    assert 1000 / 25 <= len(room.asked) <= 1000 / 15 + 1


def test_a_permanent_neighbour_is_never_asked(room):
    room.neighbour(N.PERMANENT)
    room.table.claim(GATEWAY, 5)
    room.clock.turn(1000)
    assert room.asked == []


def test_a_neighbour_that_stays_silent_is_down_and_asked_with_back_off(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.neighbour(N.FAILED, mac=b"")
    assert room.told == [((number,), False)]
    assert room.table.get(number).reason == "neighbour does not answer"
    times = []
    for _ in range(1200):
        before = len(room.asked)
        room.clock.turn(0.1)
        times += [room.clock.now] * (len(room.asked) - before)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert gaps[0] <= 1.1
    assert gaps == sorted(gaps) or max(gaps) <= 30.1
    assert max(gaps) > 20
    room.neighbour()
    assert room.table.is_up(number)


def test_an_entry_that_the_kernel_collected_is_kept_and_asked_for(room):
    room.neighbour()
    number = room.table.claim(GATEWAY, 5)
    room.neighbour(present=False)
    assert room.table.is_up(number), "to the kernel an XDP neighbour looks unused; it is there all the same"
    room.clock.turn(0)
    assert room.asked == [("resolve", GATEWAY, 5)]
    room.neighbour(N.INCOMPLETE, mac=b"")
    assert room.table.is_up(number)
    room.neighbour(N.FAILED, mac=b"")
    assert not room.table.is_up(number)


def test_an_id_is_given_out_again_only_after_its_grace(room):
    number = room.table.claim(GATEWAY, 5)
    assert room.table.claim(GATEWAY, 5) == number
    room.table.release(number)
    room.table.release(number)
    room.clock.turn(9)
    room.neighbour(present=False)
    assert room.table.find(GATEWAY, 5) == number
    assert room.table.claim(GATEWAY, 5) == number, "claimed again within the grace"
    room.table.release(number)
    room.clock.turn(11)
    assert room.table.find(GATEWAY, 5) is None
    assert not room.words[number]["ifindex"]
    assert room.table.links() == frozenset()
    assert room.table.claim(OTHER, 5) != number, "the longest unused id comes first"


def test_no_room_left_is_an_error_that_says_so():
    room = Room(size=3)
    room.table.claim(GATEWAY, 5)
    room.table.claim(OTHER, 5)
    with pytest.raises(CapacityError, match="all 2 adjacencies"):
        room.table.claim(ip_address("192.0.2.9"), 5)


def test_a_restart_adopts_by_gateway_and_sweeps_the_rest():
    first = Room()
    for address in (GATEWAY, OTHER):
        first.neighbour(address=address)
    kept, unclaimed = first.table.claim(GATEWAY, 5), first.table.claim(OTHER, 5)
    second = Room(words=first.words)
    before = second.words.copy()
    assert second.table.adopt() == 2
    assert (second.words == before).all()
    assert second.table.is_up(kept)
    assert second.table.claim(GATEWAY, 5) == kept
    assert second.table.is_up(kept), "no word from the kernel yet: as it was"
    second.clock.turn(0)
    assert second.asked == [("resolve", GATEWAY, 5)]
    assert second.table.claim(ip_address("192.0.2.9"), 5) not in (kept, unclaimed)
    assert second.table.sweep() == 1
    assert not second.table.is_up(unclaimed)
    second.clock.turn(11)
    assert second.table.get(unclaimed) is None
    assert second.table.is_up(kept)


def test_a_restart_after_a_link_loss_takes_adopted_entries_down():
    first = Room()
    first.neighbour()
    number = first.table.claim(GATEWAY, 5)
    second = Room(words=first.words)
    second.kernel.link(replace(ETH0, up=False))
    second.table.adopt()
    assert not second.table.is_up(number)
    third = Room(words=first.words)
    third.table.adopt()
    third.kernel.link(replace(ETH0, up=False))
    assert third.entry(number).state is abi.AdjacencyState.DOWN


def test_a_link_without_ethernet_addresses_never_comes_up(room):
    room.kernel.link(Link(6, "tun0", b"", 1500, up=True, kind="tun"))
    number = room.table.claim(GATEWAY, 6)
    room.clock.turn(0)
    assert room.table.get(number).reason == "tun0 has no Ethernet address"
    assert not room.table.is_up(number)


PORT_MAC = bytes.fromhex("020000000005")
TAG, INNER = abi.TagFlag.PRESENT | abi.TagFlag.SERVICE | 20, abi.TagFlag.PRESENT | 30
VLAN = Link(8, "eth0.20", OURS, 1500, up=True, kind="vlan", peer=5, vlan=TAG)
STACKED = Link(9, "eth0.20.30", OURS, 1500, up=True, kind="vlan", peer=8, vlan=INNER)


def behind(room, ifindex, mac=MAC):
    room.kernel.neighbour(Neighbour(ifindex, GATEWAY, mac, N.REACHABLE))
    return room.table.claim(GATEWAY, ifindex)


def test_a_neighbour_on_a_vlan_interface_leaves_by_the_port_with_the_tag(room):
    room.kernel.link(replace(ETH0, mac=PORT_MAC))
    room.kernel.link(VLAN)
    number = behind(room, 8)
    assert room.entry(number) == abi.Adjacency(MAC, OURS, 1500, abi.AdjacencyState.UP, 5, TAG)
    assert room.table.get(number).link == "eth0.20"
    room.kernel.link(replace(VLAN, up=False))
    assert room.told[-1] == ((number,), False)


def test_a_second_tag_leaves_less_room_and_follows_the_ports_mtu(room):
    room.kernel.link(VLAN)
    room.kernel.link(STACKED)
    number = behind(room, 9)
    assert room.entry(number) == abi.Adjacency(MAC, OURS, 1496, abi.AdjacencyState.UP, 5, TAG, INNER)
    room.kernel.link(replace(ETH0, mtu=1600))
    assert room.entry(number).mtu == 1500


def test_a_vlan_interface_that_is_known_before_its_port_gets_its_place_later(room):
    room.kernel.link(ETH0, present=False)
    room.kernel.link(VLAN)
    number = behind(room, 8)
    assert room.words[number]["ifindex"] == 8, "no port: the kernel's to send"
    room.kernel.link(ETH0)
    assert room.entry(number) == abi.Adjacency(MAC, OURS, 1500, abi.AdjacencyState.UP, 5, TAG)
    ((moved, then),) = room.moved
    assert (moved, then.state, abi.Place(then.ifindex, then.outer)) == (
        number,
        abi.AdjacencyState.DOWN,
        abi.Place(5, TAG),
    )


def test_a_restart_finds_entries_on_vlan_interfaces():
    first = Room()
    first.kernel.link(VLAN)
    number, other = behind(first, 8), behind(first, 5)
    second = Room(words=first.words)
    second.kernel.link(VLAN)
    assert second.table.adopt() == 2
    assert second.table.claim(GATEWAY, 8) == number
    assert second.table.claim(GATEWAY, 5) == other
    assert second.table.links() == {5, 8}
