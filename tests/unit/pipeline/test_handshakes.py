"""Handshakes that the datapath has noted become facts of exits; rings as the program writes them, by hand."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bgpbridge.config.latency import Latency as Settings
from bgpbridge.datapath.abi import RTT_RING, RTT_SAMPLES, RTT_SHIFT
from bgpbridge.events import EventLog
from bgpbridge.pipeline.handshakes import Handshakes

NAME = "192.0.2.1%eth1"


class Datapath:
    """The part of `Maps` that is asked for."""

    def __init__(self) -> None:
        self.mapped = True
        self.rtt_rings = np.zeros(2, RTT_RING)
        self.one_in = -1

    def measure_handshakes(self, one_in: int) -> None:
        self.one_in = one_in

    def note(self, cpu: int, adjacency: int, microseconds: int) -> None:
        head = int(self.rtt_rings["head"][cpu])
        self.rtt_rings["samples"][cpu][head % RTT_SAMPLES] = microseconds << RTT_SHIFT | adjacency
        self.rtt_rings["head"][cpu] = head + 1


class Exits:
    """Adjacency 7 is an exit; 8 was one."""

    def __init__(self) -> None:
        self.known = {7: SimpleNamespace(gateway=IPv4Address("192.0.2.1"), link="eth1")}

    def get(self, number: int) -> Any:
        return self.known.get(number)

    def view(self) -> list[Any]:
        return list(self.known.values())


@pytest.fixture
def datapath() -> Datapath:
    return Datapath()


@pytest.fixture
def room(datapath: Datapath) -> Handshakes:
    made = Handshakes(datapath, Exits(), EventLog())  # type: ignore[arg-type]
    made.apply(Settings(handshakes=64))
    return made


def test_samples_of_all_cpus_become_an_exits_facts(room: Handshakes, datapath: Datapath) -> None:
    assert datapath.one_in == 64
    for cpu, rtt_us in ((0, 10_000), (1, 30_000), (0, 20_000)):
        datapath.note(cpu, 7, rtt_us)
    datapath.note(0, 8, 99)  # no exit any more
    room.turn(100.0)
    facts = room.facts(NAME)
    assert facts is not None
    assert (facts.samples, facts.least_s, facts.p50_s, facts.p99_s) == (3, 0.01, 0.02, 0.03)
    assert room.counts == {NAME: 3}
    room.turn(101.0)
    assert room.counts == {NAME: 3}, "nothing twice"


def test_what_came_before_the_start_does_not_count(datapath: Datapath) -> None:
    datapath.note(0, 7, 1000)
    room = Handshakes(datapath, Exits(), EventLog())  # type: ignore[arg-type]
    room.apply(Settings(handshakes=1))
    room.turn(1.0)
    assert room.facts(NAME) is None


def test_a_ring_that_ran_over_gives_its_newest(room: Handshakes, datapath: Datapath) -> None:
    for rtt_us in range(RTT_SAMPLES + 44):
        datapath.note(0, 7, rtt_us)
    room.turn(1.0)
    facts = room.facts(NAME)
    assert facts is not None
    assert (facts.samples, facts.least_s) == (RTT_SAMPLES, 44e-6)


def test_off_again_forgets_and_tells_the_datapath(room: Handshakes, datapath: Datapath) -> None:
    datapath.note(0, 7, 1000)
    room.turn(1.0)
    room.apply(None)
    assert (datapath.one_in, room.facts(NAME)) == (0, None)
    datapath.note(0, 7, 1000)
    room.turn(2.0)
    assert room.facts(NAME) is None


def test_an_exit_that_is_gone_is_forgotten(room: Handshakes, datapath: Datapath) -> None:
    datapath.note(0, 7, 1000)
    room.turn(1.0)
    room._adjacencies.known.clear()  # type: ignore[attr-defined]
    for turn in range(60):
        room.turn(2.0 + turn)
    assert (room.facts(NAME), room.counts) == (None, {})


def test_without_xdp_it_says_that_nothing_is_seen() -> None:
    events = EventLog()
    Handshakes(None, Exits(), events).apply(Settings(handshakes=8))  # type: ignore[arg-type]
    assert [event.kind for event in events.tail(5)] == ["handshakes-not-seen"]
