"""Adjacencies over a real kernel: resolved, kept alive without traffic, followed through MAC, link and death."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest

from bgpbridge.datapath import abi
from bgpbridge.fib.adjacency import AdjacencyTable, Timing
from bgpbridge.fib.netlink import KernelListener, KernelWatcher, Neighbour, NeighbourState, OwnRoutes
from bgpbridge.fib.probe import NeighbourProber

pytestmark = pytest.mark.root

FAR, FAR6, NOBODY = ip_address("192.0.2.2"), ip_address("2001:db8::2"), ip_address("192.0.2.250")
QUICK = Timing(confirm_s=(0.2, 0.4), retry_first_s=0.2, retry_most_s=1.0, linger_s=0.1)


class Station(KernelListener):
    """Watcher, prober and table wired as the daemon does it, in the current namespace."""

    async def __aenter__(self) -> Station:
        self.bell, self.told, self.states = asyncio.Event(), [], []
        self.words = np.zeros(abi.MAX_ADJACENCIES, abi.ADJACENCY)
        self.watcher = KernelWatcher(own=OwnRoutes(203, 254, 200))
        self.prober = NeighbourProber()
        loop = asyncio.get_running_loop()
        self.table = AdjacencyTable(self.words, self.watcher.state, self.prober, loop, self.changed, timing=QUICK)
        self.watcher.state.listeners += [self.table, self]
        await self.watcher.start()
        self.task = asyncio.create_task(self.watcher.run())
        link = self.watcher.state.link_named("near0")
        assert link is not None
        self.near0 = link.ifindex
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.watcher.close()
        self.prober.close()

    def changed(self, ids: tuple[int, ...], up: bool) -> None:
        self.told.append((time.monotonic(), ids, up))
        self.bell.set()

    def on_neighbour(self, neighbour: Neighbour, present: bool) -> None:
        self.states.append((neighbour.address, neighbour.state if present else None))
        self.bell.set()

    async def until(self, condition: Callable[[], Any], within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                self.bell.clear()
                await self.bell.wait()

    def mac(self, number: int) -> str:
        return abi.Adjacency.of(self.words[number]).dmac.hex(":")


def far_mac(pair) -> str:
    return pair.ip("-o link show far0", pair.far).split("link/ether ")[1].split()[0]


@pytest.mark.parametrize("gateway", [FAR, FAR6], ids=str)
def test_a_claimed_neighbour_is_resolved_and_its_new_mac_followed(pair, gateway):
    async def scenario():
        async with Station() as station:
            number = station.table.claim(gateway, station.near0)
            await station.until(lambda: station.table.is_up(number))
            assert station.mac(number) == far_mac(pair)
            pair.ip("link set far0 address 02:aa:bb:cc:dd:ee", pair.far)
            pair.ip("link set far0 down", pair.far)
            await station.until(lambda: not station.table.is_up(number))
            pair.ip("link set far0 up", pair.far)
            if gateway is FAR6:  # its address went with the link
                pair.ip("addr add fe80::2/64 dev far0 nodad", pair.far)
                pair.ip("addr add 2001:db8::2/64 dev far0 nodad", pair.far)
            await station.until(lambda: station.table.is_up(number))
            assert station.mac(number) == "02:aa:bb:cc:dd:ee"
            assert not station.prober.refused

    pair.inside(scenario)


@pytest.mark.parametrize("gateway", [FAR, FAR6], ids=str)
def test_a_neighbour_without_traffic_is_asked_again_and_again(pair, gateway):
    async def scenario():
        async with Station() as station:
            number = station.table.claim(gateway, station.near0)
            await station.until(lambda: station.table.is_up(number))
            del station.states[:]

            def answers():
                return [state for address, state in station.states if address == gateway]

            await station.until(lambda: answers().count(NeighbourState.REACHABLE) >= 3)
            assert NeighbourState.PROBE in answers()
            assert all(up for _, _, up in station.told), "it was up all the time"

    pair.inside(scenario)


def test_a_neighbour_that_dies_without_a_word_goes_down_and_comes_back(pair):
    async def scenario():
        async with Station() as station:
            number = station.table.claim(FAR, station.near0)
            await station.until(lambda: station.table.is_up(number))
            pair.ip("addr del 192.0.2.2/24 dev far0", pair.far)  # the link stays up
            await station.until(lambda: not station.table.is_up(number))
            assert station.table.get(number).reason == "neighbour does not answer"
            pair.ip("addr add 192.0.2.2/24 dev far0", pair.far)
            await station.until(lambda: station.table.is_up(number))

    pair.inside(scenario)


def test_a_flushed_neighbour_table_interrupts_nothing_for_long(pair):
    async def scenario():
        async with Station() as station:
            number = station.table.claim(FAR, station.near0)
            await station.until(lambda: station.table.is_up(number))
            del station.states[:]
            pair.ip("neigh flush dev near0")
            await station.until(lambda: (FAR, NeighbourState.REACHABLE) in station.states)
            assert station.table.is_up(number)

    pair.inside(scenario)


@pytest.mark.alone
def test_link_loss_takes_the_adjacency_down_within_ten_milliseconds(pair):
    delays = []

    async def scenario():
        async with Station() as station:
            number = station.table.claim(FAR, station.near0)
            for _ in range(10):
                await station.until(lambda: station.table.is_up(number))
                pair.ip("link set far0 down", pair.far)
                returned = time.monotonic()
                await station.until(lambda: not station.table.is_up(number))
                delays.append(station.told[-1][0] - returned)
                assert abi.Adjacency.of(station.words[number]).state is abi.AdjacencyState.DOWN
                pair.ip("link set far0 up", pair.far)

    pair.inside(scenario)
    assert sorted(delays)[len(delays) // 2] < 0.010, delays


def test_nobody_at_that_address_is_down_and_the_kernels_refusals_are_counted(pair):
    async def scenario():
        async with Station() as station:
            number = station.table.claim(NOBODY, station.near0)
            await station.until(lambda: (NOBODY, NeighbourState.FAILED) in station.states)
            assert not station.table.is_up(number)
            station.prober.resolve(FAR, 4242)
            pair.ip(f"addr add {NOBODY}/24 dev far0", pair.far)
            await station.until(lambda: station.table.is_up(number))  # asked again, and after the refusal
            assert station.prober.refused == {"ENODEV": 1}

    pair.inside(scenario)
