"""Engines: which one answers, how one takes over from the other, and that packets cannot tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from bgpbridge.datapath.abi import Adjacency, AdjacencyState, XdpVerdict
from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.frames import ROUTER_MAC, ethernet, ipv4, udp
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.testrun import run_raw
from bgpbridge.fib import xdp
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.rig import LOOPBACK
from bgpbridge.fib.xdp import Engine, XdpFib
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family

pytestmark = pytest.mark.root
GROUP = 16


@pytest.fixture
def maps() -> Iterator[Maps]:
    made = Maps.create(Sizes(max_ipv4=30_000, max_ipv6=1024))
    yield made
    made.close()


def slash24s(first: int, count: int, group: int) -> Changes:
    number = np.arange(first, first + count, dtype=np.uint64)
    keys = Keys(
        Family.IPV4, np.zeros_like(number), number + np.uint64(0xCB0000) << np.uint64(8), np.full(count, 24, np.uint8)
    )
    groups = np.full(count, group, np.uint32)
    rows = (number + np.uint64(1)).astype(np.int64)
    return Changes(Family.IPV4, rows, keys.hi, keys.lo, keys.length, np.zeros_like(groups), groups)


def test_auto_takes_the_index_when_the_table_grows_and_lets_go_when_it_shrinks(maps: Maps) -> None:
    fib = XdpFib(maps)
    fib.apply(slash24s(0, xdp.INDEX_FROM - 1, GROUP))
    assert fib.engine_of(Family.IPV4) is Engine.LPM
    fib.apply(slash24s(xdp.INDEX_FROM, 1, GROUP))
    assert fib.engine_of(Family.IPV4) is Engine.INDEX
    fib.apply(slash24s(0, 2, 0))
    assert fib.engine_of(Family.IPV4) is Engine.INDEX, "not back at once"
    fib.apply(slash24s(0, xdp.INDEX_FROM - xdp.INDEX_DOWN_TO + 1, 0))
    assert fib.engine_of(Family.IPV4) is Engine.LPM


@pytest.mark.parametrize("engine", [Engine.LPM, Engine.INDEX])
def test_a_chosen_engine_stays(maps: Maps, engine: Engine) -> None:
    fib = XdpFib(maps, engine)
    for count in (1, xdp.INDEX_FROM + 1):
        fib.apply(slash24s(0, count, GROUP))
        assert fib.engine_of(Family.IPV4) is engine


def test_without_room_for_an_index_the_trie_answers() -> None:
    maps = Maps.create(Sizes(max_ipv4=30_000, max_ipv6=1024, indexed=False))
    fib = XdpFib(maps, Engine.INDEX)
    fib.apply(slash24s(0, 5000, GROUP))
    assert fib.engine_of(Family.IPV4) is Engine.LPM
    maps.close()


def test_an_adopted_index_is_put_in_line_with_the_trie(maps: Maps) -> None:
    XdpFib(maps).apply(slash24s(0, 5000, GROUP))
    assert maps.index4 is not None
    stood = maps.index4.copy()
    maps.index4[0xCB0000:0xCB0100] ^= 0x333
    again = XdpFib(maps)
    again.adopt()
    assert np.array_equal(maps.index4, stood)
    assert again.engine_of(Family.IPV4) is Engine.INDEX


def test_maps_of_another_engine_are_adopted_as_they_are(pin_path) -> None:
    ensure_bpffs(pin_path)
    Maps.open(pin_path, Sizes(1024, 1024, indexed=False, group_slots=128))[0].close()
    maps, adopted = Maps.open(pin_path, Sizes(1024, 1024))
    assert adopted
    assert not maps.indexed
    assert maps.slots.shape[1] == 128
    maps.close()


def test_no_packet_is_lost_while_engines_change(maps: Maps) -> None:
    program = load(maps.fds, Loader.LIBBPF)
    maps.accept_interface(LOOPBACK, ROUTER_MAC)
    maps.store_adjacency(1, Adjacency(b"\x02\0\0\0\0\x09", ROUTER_MAC, 1500, AdjacencyState.UP, LOOPBACK))
    fib = XdpFib(maps)
    fib.set_members(GROUP, [(1, 1)])
    fib.apply(slash24s(0, 1, GROUP))
    maps.enable(True)
    frame = ethernet(ipv4(udp(), dst="203.0.0.9"))
    ended = threading.Event()

    def grow_and_shrink() -> None:
        for _ in range(5):
            fib.apply(slash24s(1, 2000, GROUP))
            fib.apply(slash24s(1, 2000, 0))
        ended.set()

    thread = threading.Thread(target=grow_and_shrink)
    thread.start()
    runs = 0
    while not ended.is_set():
        assert run_raw(program.fd, frame).verdict is XdpVerdict.REDIRECT
        runs += 1
    thread.join()
    assert runs > 100
    program.close()
