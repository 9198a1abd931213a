"""Numbered packets through a router of the kernel: all arrive, or their loss is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bgpbridge.bench.rig import rig
from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces
from bgpbridge.lab.state import Lab
from bgpbridge.lab.traffic import Stream, StreamSpec

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The rig without a daemon: source, a router of the kernel (`edge`), and `far` behind two uplinks."""
    with rig() as place:
        yield place.lab


def test_every_packet_of_both_families_arrives_and_its_way_is_known(lab: Lab) -> None:
    stream = Stream.start(lab, StreamSpec("source", "far", ("10.0.1.2", "2001:db8:a::2"), rate_pps=1000))
    time.sleep(0.5)
    report = stream.stop()
    assert report.sent > 200
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.ways == {"eth1": report.received}


@pytest.mark.alone
def test_a_cable_that_is_out_for_a_while_costs_as_many_packets(lab: Lab) -> None:
    stream = Stream.start(lab, StreamSpec("source", "far", ("10.0.1.2",), rate_pps=1000))
    time.sleep(0.3)
    began = time.monotonic_ns()
    # An address that leaves takes the route along and nothing else: the far cable stays in.
    namespaces.set_link(lab.namespace("edge"), "eth1", up=False)
    time.sleep(0.3)
    namespaces.set_link(lab.namespace("edge"), "eth1", up=True)
    out_ms = (time.monotonic_ns() - began) / 1e6
    time.sleep(1.5)
    report = stream.stop()
    lost, lasted_ms = report.lost_within(began - 5_000_000, time.monotonic_ns())
    assert lost == report.lost > 0
    # Neighbour discovery comes after the cable is back: a request that is lost is sent again a second later.
    assert out_ms * 0.8 < lasted_ms < out_ms + 1500
    assert report.longest_gap_ms >= lasted_ms * 0.8


def test_a_sink_that_does_not_listen_is_told(lab: Lab) -> None:
    with pytest.raises(LabError, match="has no node nobody"):
        Stream.start(lab, StreamSpec("source", "nobody", ("10.0.1.2",)))
