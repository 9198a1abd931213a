"""Prometheus metrics of the control plane itself: is it ready, is its loop late, what do commits and events come from.

Bounded: readiness checks, causes, severities and parts of the planes are fixed words.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from bgpbridge.commits import CauseKind
from bgpbridge.events import Severity
from bgpbridge.fib.audit_stores import STORES
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.types import Family
from bgpbridge.view.ready import ready

__all__ = ["control"]


def control(bridge: Bridge) -> Iterator[Metric]:
    """All of them."""
    checks = GaugeMetricFamily("bgpbridge_ready", "1 where a condition of /readyz holds", labels=["check"])
    for check in ready(bridge).checks:
        checks.add_metric([check.name], check.ready)
    yield checks
    lag = HistogramMetricFamily(
        "bgpbridge_loop_lag_seconds",
        "How late the event loop ran what was due, a hundred times a second",
    )
    lag.add_metric([], bridge.loop_lag.late.buckets(), bridge.loop_lag.late.sum_s)
    yield lag
    took = HistogramMetricFamily(
        "bgpbridge_update_store_seconds",
        "Single UPDATEs that moved a prefix: from when the bridge could know of it until XDP had it stored",
    )
    took.add_metric([], bridge.ingest.store_times.buckets(), bridge.ingest.store_times.sum_s)
    yield took
    text = "CPU time of the bridge process, its threads included"
    yield CounterMetricFamily("bgpbridge_cpu_seconds", text, value=time.process_time())
    yield from _commits(bridge)
    events = CounterMetricFamily("bgpbridge_events", "Things that happened (`bgpbridge events`)", labels=["severity"])
    for severity in Severity:
        events.add_metric([severity.value], bridge.events.counts[severity])
    yield events
    text = "Comparisons of a plane with the Loc-RIB in the background"
    compared = CounterMetricFamily("bgpbridge_audit_comparisons", text, labels=["plane", "family"])
    for (plane, family), count in bridge.self_audit.compared.items():
        compared.add_metric([plane, family.label], count)
    yield compared
    yield from _sweeps(bridge)
    yield from _room(bridge)
    heard = bridge.watcher.counters
    text = "Times that the kernel told more than the socket held; all was asked for again"
    yield CounterMetricFamily("bgpbridge_netlink_overruns", text, value=heard.overruns)
    text = "Times that the kernel's state was asked for as a whole, the start included"
    yield CounterMetricFamily("bgpbridge_netlink_resyncs", text, value=heard.resyncs)


def _room(bridge: Bridge) -> Iterator[Metric]:
    """Prefixes against the room for them, and who has found none."""
    uses = {family: bridge.room.use(family) for family in Family}
    used = GaugeMetricFamily("bgpbridge_room_used", "Prefixes that take room", labels=["family"])
    room = GaugeMetricFamily("bgpbridge_room_prefixes", "Room for prefixes", labels=["family"])
    text = "1 while more room is needed and cannot be made"
    short = GaugeMetricFamily("bgpbridge_room_short", text, labels=["family"])
    for family, use in uses.items():
        used.add_metric([family.label], use.used)
        room.add_metric([family.label], use.room)
        short.add_metric([family.label], float(bool(use.short)))
    yield from (used, room, short)
    text = "Sessions that were ended because what they brought did not fit"
    refused = CounterMetricFamily("bgpbridge_room_resets", text, labels=["peer"])
    for name, count in bridge.sessions.refused_room.items():
        refused.add_metric([name], count)
    yield refused


def _commits(bridge: Bridge) -> Iterator[Metric]:
    """Every cause from the start, so that a rate has a beginning."""
    log = bridge.log
    commits = CounterMetricFamily("bgpbridge_commits", "Commits to the Loc-RIB and to groups", labels=["cause"])
    routes = CounterMetricFamily("bgpbridge_commit_routes", "Routes that commits changed", labels=["cause"])
    groups = CounterMetricFamily("bgpbridge_commit_groups", "Groups that commits rewrote", labels=["cause"])
    for kind in CauseKind:
        figures = log.figures[kind]
        commits.add_metric([kind.value], figures.commits)
        routes.add_metric([kind.value], figures.routes)
        groups.add_metric([kind.value], figures.groups)
    yield from (commits, routes, groups)


def _sweeps(bridge: Bridge) -> Iterator[Metric]:
    """What the last sweep of each part found, and how old the last clean one is."""
    text = "Addresses that a plane answered otherwise than the Loc-RIB in its last sweep"
    divergent = GaugeMetricFamily("bgpbridge_audit_addresses_divergent", text, labels=["plane", "family"])
    text = "Since the last sweep that found nothing began"
    clean = GaugeMetricFamily("bgpbridge_audit_clean_age_seconds", text, labels=["plane", "part"])
    text = "How long the last sweep took"
    took = GaugeMetricFamily("bgpbridge_audit_sweep_seconds", text, labels=["plane", "part"])
    now = time.monotonic()
    for (plane, part), swept in bridge.self_audit.swept.items():
        if part != STORES:
            divergent.add_metric([plane, part], float(swept.addresses))
        if swept.clean_s is not None:
            clean.add_metric([plane, part], now - swept.clean_s)
        took.add_metric([plane, part], swept.took_s)
    yield from (divergent, clean, took)
