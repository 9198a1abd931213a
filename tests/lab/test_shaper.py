"""A wire between two nodes: round trips as long as told, losses, and TCP that passes whole."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bgpbridge.lab import namespaces, runner
from bgpbridge.lab.state import Lab

pytestmark = pytest.mark.root
TOPOLOGY = """
name: wired
topology:
  defaults: {kind: linux}
  nodes:
    left: {exec: [ip address add 192.0.2.1/24 dev eth1]}
    wire: {env: {BGPBRIDGE_NODE: wire}}
    right: {exec: [ip address add 192.0.2.2/24 dev eth1]}
  links:
    - endpoints: ["left:eth1", "wire:eth1"]
    - endpoints: ["wire:eth2", "right:eth1"]
"""
OCTETS = 3_000_000


@pytest.fixture
def lab(lab_name: str, tmp_path: Path) -> Iterator[Lab]:
    path = tmp_path / "wired.clab.yml"
    path.write_text(TOPOLOGY)
    with runner.running(path, lab_name) as made:
        yield made


def said(lab: Lab, node: str, *words: str) -> str:
    done = runner.exec_in(lab, node, words)
    return done.stdout + done.stderr


def test_delay_and_loss_are_as_told_and_can_be_changed_and_tcp_passes(lab: Lab) -> None:
    shaped = json.loads(said(lab, "wire", "shape", "--delay-ms", "15"))
    assert {way: state["delay_ms"] for way, state in shaped.items()} == {"eth1": 15.0, "eth2": 15.0}
    least = re.search(r"rtt min/avg/max/mdev = ([0-9.]+)", said(lab, "left", "ping", "-qc5", "-i0.01", "192.0.2.2"))
    assert least is not None
    assert float(least[1]) >= 30
    said(lab, "wire", "shape", "--delay-ms", "0", "--loss-percent", "100", "--towards", "eth2")
    assert "100% packet loss" in said(lab, "left", "ping", "-qc3", "-i0.01", "-W0.2", "192.0.2.2")
    assert json.loads(said(lab, "wire", "shape", "--loss-percent", "0"))["eth2"]["dropped"] >= 3
    assert "loss is 0 to 100" in said(lab, "wire", "shape", "--loss-percent", "130")
    listener = namespaces.inside(lab.namespace("right"), lambda: socket.create_server(("192.0.2.2", 5001)))
    sender = namespaces.inside(lab.namespace("left"), lambda: socket.create_connection(("192.0.2.2", 5001), timeout=20))
    with listener, sender, listener.accept()[0] as taker, ThreadPoolExecutor(1) as thread:
        taker.settimeout(20)
        sending = thread.submit(sender.sendall, bytes(OCTETS))
        taken = 0
        while taken < OCTETS:
            taken += len(taker.recv(1 << 16))
        sending.result()
