"""A hundred thousand flows over a group of each size: shares are the weights, and a member that comes or goes moves its
share of the flows and no other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bgpbridge.datapath.abi import Adjacency, AdjacencyState
from bgpbridge.datapath.frames import ROUTER_MAC, ethernet, ipv4, udp
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.testrun import run_raw
from bgpbridge.fib.rig import LOOPBACK
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
GROUP, MEMBERS = 16, 5
PORTS = slice(34, 38)
FLOWS = {64: 100_000, 512: 20_000}


class Spread:
    """The program over one route, whose group has members 1 to 5: next hops 00:00:00:00:00:01 to :05."""

    def __init__(self, slots: int) -> None:
        self.maps = Maps.create(Sizes(max_ipv4=1024, max_ipv6=1024, group_slots=slots))
        self.program = load(self.maps.fds, Loader.LIBBPF)
        self.fib = XdpFib(self.maps)
        self.maps.accept_interface(LOOPBACK, ROUTER_MAC)
        for number in range(1, MEMBERS + 1):
            mac = number.to_bytes(6, "big")
            self.maps.store_adjacency(number, Adjacency(mac, ROUTER_MAC, 1500, AdjacencyState.UP, LOOPBACK))
        prefix = Prefix.parse("203.0.113.0/24")
        self.fib.tries[Family.IPV4].table.store_one(0, prefix.value, prefix.length, GROUP)
        self.maps.enable(True)

    def paths(self, count: int) -> np.ndarray:
        """The next hop of each of so many flows, which differ in their ports alone."""
        frame = bytearray(ethernet(ipv4(udp(), dst="203.0.113.9")))
        taken = np.empty(count, np.uint8)
        for flow in range(count):
            frame[PORTS] = (flow * 2654435761 & 0xFFFFFFFF).to_bytes(4, "big")
            taken[flow] = run_raw(self.program.fd, bytes(frame)).frame[5]
        return taken

    def close(self) -> None:
        self.program.close()
        self.maps.close()


@pytest.fixture(params=FLOWS)
def spread(request: pytest.FixtureRequest) -> Iterator[Spread]:
    made = Spread(request.param)
    yield made
    made.close()


def test_shares_are_the_weights_and_only_a_members_share_moves(spread: Spread) -> None:
    slots = spread.maps.slots.shape[1]
    count, weights = FLOWS[slots], {1: 4, 2: 2, 3: 1, 4: 1}
    spread.fib.set_members(GROUP, weights.items())
    before = spread.paths(count)
    for member, weight in weights.items():
        assert (before == member).mean() == pytest.approx(weight / 8, abs=0.02)
    spread.fib.set_members(GROUP, [(member, weight) for member, weight in weights.items() if member != 2])
    lost = spread.paths(count)
    assert set(before[before != lost].tolist()) == {2}, "only flows of the lost member move"
    assert not (lost == 2).any()
    spread.fib.set_members(GROUP, weights.items())
    back = spread.paths(count)
    assert set(back[back != lost].tolist()) == {2}, "and only to the one that came back"
    spread.fib.set_members(GROUP, [*weights.items(), (5, 2)])
    wider = spread.paths(count)
    assert set(wider[wider != back].tolist()) == {5}
    assert (wider != back).mean() == pytest.approx(2 / 10, abs=0.02)
