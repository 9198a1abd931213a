"""Numbered packets through a router of the kernel: all arrive, or their loss is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces, runner
from bgpbridge.lab.state import Lab
from bgpbridge.lab.traffic import Stream, StreamSpec

pytestmark = pytest.mark.root

TOPOLOGY = """
name: bbt{pid}
topology:
  defaults:
    kind: linux
    sysctls:
      net.ipv4.ip_forward: 1
      net.ipv6.conf.all.forwarding: 1
      net.ipv6.conf.default.accept_dad: 0
  nodes:
    source:
      exec: [ip route add default via 10.0.0.1, ip -6 route add default via "2001:db8::1"]
    router: {{}}
    sink: {{}}
  links:
    - type: veth
      endpoints:
        - {{node: source, interface: eth1, ipv4: 10.0.0.2/24, ipv6: "2001:db8::2/64"}}
        - {{node: router, interface: eth1, ipv4: 10.0.0.1/24, ipv6: "2001:db8::1/64"}}
    - type: veth
      endpoints:
        - {{node: router, interface: eth2, ipv4: 10.0.1.1/24, ipv6: "2001:db8:1::1/64"}}
        - {{node: sink, interface: eth7, ipv4: 10.0.1.2/24, ipv6: "2001:db8:1::2/64"}}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    path = tmp_path / "traffic.clab.yml"
    path.write_text(TOPOLOGY.format(pid=os.getpid()))
    with runner.running(path) as made:
        yield made


def test_every_packet_of_both_families_arrives_and_its_way_is_known(lab: Lab) -> None:
    stream = Stream.start(lab, StreamSpec("source", "sink", ("10.0.1.2", "2001:db8:1::2"), rate_pps=1000))
    time.sleep(0.5)
    report = stream.stop()
    assert report.sent > 200
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.ways == {"eth7": report.received}


def test_a_cable_that_is_out_for_a_while_costs_as_many_packets(lab: Lab) -> None:
    stream = Stream.start(lab, StreamSpec("source", "sink", ("10.0.1.2",), rate_pps=1000))
    time.sleep(0.3)
    began = time.monotonic_ns()
    # An address that leaves takes the route along and nothing else: the sink's cable stays in.
    namespaces.set_link(lab.namespace("router"), "eth2", up=False)
    time.sleep(0.3)
    namespaces.set_link(lab.namespace("router"), "eth2", up=True)
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
