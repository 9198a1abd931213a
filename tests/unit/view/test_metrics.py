"""What Prometheus gets: valid text, no series twice, the same figures as the commands show."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bgpbridge.datapath.abi import Reason
from bgpbridge.fib.kernel import KernelStatus
from bgpbridge.fib.xdp import XdpStatus
from bgpbridge.metrics import BridgeCollector
from bgpbridge.types import Family
from bgpbridge.view.counters import CounterView
from bgpbridge.view.status import status

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def scraped(rig):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BridgeCollector(rig.bridge))
    samples = [
        s for family in text_string_to_metric_families(generate_latest(registry).decode()) for s in family.samples
    ]
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}, samples


def test_figures_of_peers_and_tables(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24", "10.1.0.0/16"], [64601])
    found, _ = scraped(rig)
    assert found["bgpbridge_loc_rib_routes", (("family", "ipv4"),)] == 1
    assert found["bgpbridge_peer_established", (("peer", "isp-a"),)] == 1
    assert found["bgpbridge_peer_established", (("peer", "closed"),)] == 0
    assert found["bgpbridge_peer_updates_total", (("peer", "isp-a"),)] == 1
    assert found["bgpbridge_peer_routes", (("family", "ipv4"), ("peer", "isp-a"), ("state", "rejected"))] == 1
    assert found["bgpbridge_adjacency_up", (("gateway", "203.0.113.2"), ("link", "eth1"))] == 1
    assert found["bgpbridge_forwarding", ()] == 0


def test_no_series_comes_twice(rig):
    for name, asn in (("isp-a", 64601), ("isp-b", 64602)):
        rig.session(name)
        rig.announce(name, ["198.51.100.0/24"], [asn, 64700])
        rig.announce(name, ["198.51.101.0/24"], [asn, 0])
    found, samples = scraped(rig)
    assert len(found) == len(samples)


def test_every_reason_of_the_datapath_is_a_series(rig, monkeypatch):
    views = [CounterView(r.label, r.verdict.name.lower(), int(r), 100 * int(r)) for r in Reason]
    monkeypatch.setattr("bgpbridge.metrics.counters", lambda bridge: views)
    found, _ = scraped(rig)
    assert found["bgpbridge_xdp_packets_total", (("reason", "pass_ttl"), ("verdict", "pass"))] == Reason.PASS_TTL
    assert sum(name == "bgpbridge_xdp_bytes_total" for name, _ in found) == len(Reason)


def test_every_metric_is_in_the_manual(rig):
    collected = {family.name: family.type for family in BridgeCollector(rig.bridge).collect()}
    named = set(re.findall(r"`(bgpbridge(?:_[a-z0-9_]+)?)`", OPERATIONS.read_text()))
    shown = {name + {"counter": "_total", "info": "_info"}.get(kind, "") for name, kind in collected.items()}
    assert shown <= named, f"not in docs/operations.md: {sorted(shown - named)}"


def test_more_routes_are_not_more_series(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24", "10.1.0.0/16"], [64601])
    few, _ = scraped(rig)
    for third in range(200):
        rig.announce("isp-a", [f"100.{third}.{n}.0/24" for n in range(10)], [64601, 64500 + third])
    many, _ = scraped(rig)
    assert many.keys() == few.keys()


def test_promtool_has_nothing_to_say(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24"], [64601])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BridgeCollector(rig.bridge))
    command = ["promtool", "check", "metrics"]
    checked = subprocess.run(command, input=generate_latest(registry), capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_both_planes_have_their_figures_and_stand_in_the_manual(rig, monkeypatch):
    both = {Family.IPV4: 2000, Family.IPV6: 500}
    none = {Family.IPV4: 0, Family.IPV6: 0}
    xdp = XdpStatus(
        True,
        both,
        {Family.IPV4: 1_200_000, Family.IPV6: 400_000},
        none,
        both,
        none,
        {Family.IPV4: "index", Family.IPV6: "lpm"},
        dict.fromkeys(Family, ""),
    )
    kernel = KernelStatus(7, both, none, {}, 0, 0, 3, 0, 4744, none, ("192.0.2.1 if 3: Network is down",), "")
    seen = dataclasses.replace(status(rig.bridge), xdp=xdp, kernel=kernel)
    monkeypatch.setattr("bgpbridge.metrics.status", lambda bridge: seen)
    found, _ = scraped(rig)
    assert found["bgpbridge_fib_routes", (("family", "ipv6"), ("plane", "kernel"))] == 500
    assert found["bgpbridge_xdp_capacity", (("family", "ipv4"),)] == 1_200_000
    assert found["bgpbridge_kernel_behind", ()] == 7
    assert found["bgpbridge_kernel_nexthops_missing", ()] == 1
    assert found["bgpbridge_kernel_lost_routes_total", ()] == 3
    test_every_metric_is_in_the_manual(rig)


def test_commits_events_and_readiness_by_kind(rig):
    rig.session("isp-a")
    rig.announce("isp-a", ["198.51.100.0/24", "198.51.101.0/24"], [64601])
    found, _ = scraped(rig)
    assert found["bgpbridge_commits_total", (("cause", "update"),)] == 1
    assert found["bgpbridge_commit_routes_total", (("cause", "update"),)] == 2
    assert found["bgpbridge_commits_total", (("cause", "health"),)] == 0
    assert found["bgpbridge_events_total", (("severity", "error"),)] == 0
    assert sum(v for (name, _), v in found.items() if name == "bgpbridge_events_total") == rig.bridge.events.total
    assert found["bgpbridge_ready", (("check", "sessions"),)] == 0
    assert found["bgpbridge_ready", (("check", "xdp"),)] == 1
    assert found["bgpbridge_loop_lag_seconds_bucket", (("le", "+Inf"),)] == 0
