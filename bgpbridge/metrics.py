"""Prometheus metrics, made from the same values that the commands show, at the moment of the scrape.

One collector, one registry of its own, served by aiohttp in the bridge's loop: what is scraped is never half
changed, and a scrape costs a few milliseconds whatever the number of routes.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bgpbridge.config.model import Metrics as Settings
from bgpbridge.errors import BridgeError
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.view.counters import counters
from bgpbridge.view.groups import adjacencies
from bgpbridge.view.peers import PeerView, peers
from bgpbridge.view.status import StatusView, status

__all__ = ["BridgeCollector", "MetricsServer"]


class BridgeCollector(Collector):
    """All metrics of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape."""
        seen = status(self._bridge)
        yield from _whole(seen)
        yield from _planes(seen)
        yield from _peers(peers(self._bridge))
        yield from self._datapath()

    def _datapath(self) -> Iterator[Metric]:
        packets = CounterMetricFamily("bgpbridge_xdp_packets", "Packets by what became of them", labels=["reason"])
        octets = CounterMetricFamily("bgpbridge_xdp_octets", "Octets by what became of them", labels=["reason"])
        for counter in counters(self._bridge):
            packets.add_metric([counter.reason], counter.packets)
            octets.add_metric([counter.reason], counter.octets)
        labels = ["gateway", "link"]
        sent = CounterMetricFamily("bgpbridge_adjacency_packets", "Packets that XDP sent to a neighbour", labels=labels)
        up = GaugeMetricFamily("bgpbridge_adjacency_up", "1 while packets can be sent there", labels=labels)
        for adjacency in adjacencies(self._bridge):
            sent.add_metric([adjacency.gateway, adjacency.link], adjacency.packets)
            up.add_metric([adjacency.gateway, adjacency.link], adjacency.up)
        yield from (packets, octets, sent, up)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bgpbridge_{name}", text, value=value)


def _whole(seen: StatusView) -> Iterator[Metric]:
    labels = {"version": seen.version, "name": seen.name, "asn": str(seen.asn), "loader": seen.loader}
    yield InfoMetricFamily("bgpbridge", "Who this is", value=labels)
    yield _gauge("forwarding", "1 while XDP forwards, 0 after `bgpbridge off`", seen.forwarding)
    yield _gauge("uptime_seconds", "Seconds since the bridge process started", seen.uptime_s)
    yield _gauge("groups", "Next-hop groups", seen.groups)
    yield _gauge("next_hops", "BGP next hops", seen.next_hops)
    yield _gauge("next_hops_unreachable", "BGP next hops that do not resolve", seen.next_hops_unreachable)
    yield _gauge("attributes", "Distinct path attribute blocks", seen.attributes)
    yield _gauge("memory_resident_bytes", "Resident memory of the bridge process", seen.memory.resident)
    yield _gauge("work_pending", "Whole-table jobs under way", seen.work)
    yield CounterMetricFamily("bgpbridge_commits", "Commits to the Loc-RIB and to groups", value=seen.commits)
    yield CounterMetricFamily("bgpbridge_foreign_repairs", "Own routes put back", value=seen.foreign_repairs)
    routes = GaugeMetricFamily("bgpbridge_loc_rib_routes", "Prefixes with a route", labels=["family"])
    for family, count in seen.routes.items():
        routes.add_metric([family.label], count)
    yield routes


def _planes(seen: StatusView) -> Iterator[Metric]:
    entries = GaugeMetricFamily("bgpbridge_fib_routes", "Routes in a plane", labels=["plane", "family"])
    refused = GaugeMetricFamily("bgpbridge_fib_refused", "Routes that a plane refuses", labels=["plane", "family"])
    if seen.xdp is not None:
        for family in seen.xdp.entries:
            entries.add_metric(["xdp", family.label], seen.xdp.entries[family])
            refused.add_metric(["xdp", family.label], seen.xdp.refused[family])
    if seen.kernel is not None:
        for family in seen.kernel.installed:
            entries.add_metric(["kernel", family.label], seen.kernel.installed[family])
            refused.add_metric(["kernel", family.label], seen.kernel.refused[family])
        yield _gauge("kernel_behind", "Routes that wait to be written into the kernel", seen.kernel.behind)
    yield from (entries, refused)


def _peers(seen: list[PeerView]) -> Iterator[Metric]:
    up = GaugeMetricFamily("bgpbridge_peer_established", "1 while the session is up", labels=["peer"])
    updates = CounterMetricFamily("bgpbridge_peer_updates", "UPDATE messages received", labels=["peer"])
    labels = ["peer", "family", "state"]
    routes = GaugeMetricFamily("bgpbridge_peer_routes", "Routes of a peer by what became of them", labels=labels)
    labels = ["peer", "verdict", "reason"]
    findings = CounterMetricFamily("bgpbridge_peer_findings", "Malformed or refused UPDATEs", labels=labels)
    for peer in seen:
        up.add_metric([peer.name], peer.state == "established")
        updates.add_metric([peer.name], peer.updates)
        for family, counts in peer.routes.items():
            for state in ("received", "accepted", "rejected", "best", "stale"):
                routes.add_metric([peer.name, family.label, state], getattr(counts, state))
        for finding in peer.findings:
            findings.add_metric([peer.name, finding.verdict, finding.reason], finding.count)
    yield from (up, updates, routes, findings)


class MetricsServer:
    """Serves /metrics where the configuration says; nothing when it says nothing."""

    def __init__(self, bridge: Bridge, settings: Settings | None) -> None:
        self._settings = settings
        self._registry = CollectorRegistry(auto_describe=False)
        self._collector = BridgeCollector(bridge)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises BridgeError when the port is in use."""
        if self._settings is None:
            return
        self._registry.register(self._collector)
        app = web.Application()
        app.add_routes([web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        host, port = self._settings.listen, self._settings.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise BridgeError(
                f"metrics cannot listen on {host} port {port}: {error.strerror}",
                mend="set another metrics.port, or `metrics: null`",
            ) from None

    async def stop(self) -> None:
        """Answer no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
