"""Prometheus metrics, made from the same values that the commands show, at the moment of the scrape.

One collector, one registry of its own, served in the bridge's loop (`api.http`): what is scraped is never half
changed, and a scrape costs a few milliseconds whatever the number of routes. Labels name peers, families, neighbours
and reasons, never prefixes. Names and units follow Prometheus: seconds, bytes, `_total` for what only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bgpbridge.config.latency import LatencyMode
from bgpbridge.fib.kernel import KernelStatus
from bgpbridge.metrics_control import control
from bgpbridge.pipeline.bfd import Watched
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.types import Family
from bgpbridge.view.counters import CounterView, counters
from bgpbridge.view.groups import AdjacencyView, adjacencies
from bgpbridge.view.health import CheckView, checks
from bgpbridge.view.paths import FactsView, PathsView, paths
from bgpbridge.view.peers import LimitView, PeerView, peers
from bgpbridge.view.rpki import RpkiView, rpki
from bgpbridge.view.status import StatusView, status

__all__ = ["BridgeCollector", "exposition"]

QUANTILES = {"0.5": "p50_s", "0.95": "p95_s", "0.99": "p99_s"}
ROUTE_STATES = ("received", "accepted", "rejected", "best", "stale")


class BridgeCollector(Collector):
    """All metrics of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape."""
        seen = status(self._bridge)
        yield from _whole(seen)
        text = "Unix time at which the bridge process started"
        yield _gauge("start_time_seconds", text, self._bridge.started_at)
        yield from _planes(seen)
        if seen.kernel is not None:
            yield from _kernel(seen.kernel)
        yield from _peers(peers(self._bridge))
        yield from _rpki(rpki(self._bridge))
        yield from _packets(counters(self._bridge))
        yield from _adjacencies(adjacencies(self._bridge))
        yield from _health(checks(self._bridge))
        yield from _bfd(self._bridge.health.bfd.watched.values())
        yield from _exits(paths(self._bridge))
        repairs = [(words, float(count)) for words, count in self._bridge.self_audit.repaired.items()]
        yield _counters("audit_repairs", "What an audit found changed and put back", ["plane", "kind"], repairs)
        overrides = [(words, float(count)) for words, count in self._bridge.overrides.counts().items()]
        yield _gauges("overrides", "Prefix overrides by what became of them", ["kind", "state"], overrides)
        text = "Kinds of unreadable lines and neighbours of pipes and replays that were not taken"
        yield _counters(
            "feed_refused", text, ["way", "what"], [(k, float(n)) for k, n in self._bridge.feeders.refused.items()]
        )
        yield from control(self._bridge)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bgpbridge_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"bgpbridge_{name}", text, value=value)


def _gauges(name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    return _labelled(GaugeMetricFamily(f"bgpbridge_{name}", text, labels=labels), rows)


def _counters(name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    return _labelled(CounterMetricFamily(f"bgpbridge_{name}", text, labels=labels), rows)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _by_family(counts: Mapping[Family, int]) -> list[tuple[tuple[str], float]]:
    return [((family.label,), count) for family, count in counts.items()]


def _whole(seen: StatusView) -> Iterator[Metric]:
    labels = {"version": seen.version, "name": seen.name, "asn": str(seen.asn), "loader": seen.loader}
    yield InfoMetricFamily("bgpbridge", "Who this is", value=labels)
    yield _gauge("forwarding", "1 while XDP forwards, 0 after `bgpbridge off`", seen.forwarding)
    yield _gauge("groups", "Next-hop groups", seen.groups)
    yield _gauge("next_hops", "BGP next hops", seen.next_hops)
    yield _gauge("next_hops_unreachable", "BGP next hops that do not resolve", seen.next_hops_unreachable)
    yield _gauge("attributes", "Distinct path attribute blocks", seen.attributes)
    yield _gauge("memory_resident_bytes", "Resident memory of the bridge process", seen.memory.resident)
    yield _gauge("memory_maps_bytes", "What the BPF maps take when full", seen.memory.maps_full)
    yield _gauge("memory_indexes_bytes", "What the indexes in front of the tries take of it", seen.memory.indexes)
    yield _gauge("work_pending", "Whole-table jobs under way", seen.work)
    yield _gauge("adopting", "1 until what an earlier run left is claimed or swept", seen.adopting)
    yield _counter("foreign_repairs", "Routes of ours put back after somebody else changed them", seen.foreign_repairs)
    yield _gauges("loc_rib_routes", "Prefixes with a route", ["family"], _by_family(seen.routes))
    modes = (((view.name, view.mode), 1.0) for view in seen.interfaces)
    yield _gauges("xdp_interface", "1 for each interface, with the mode that XDP has there", ["link", "mode"], modes)


def _planes(seen: StatusView) -> Iterator[Metric]:
    held: list[tuple[tuple[str, str], float]] = []
    refused: list[tuple[tuple[str, str], float]] = []
    if seen.xdp is not None:
        held += [(("xdp", family.label), count) for family, count in seen.xdp.entries.items()]
        refused += [(("xdp", family.label), count) for family, count in seen.xdp.refused.items()]
        yield _gauges("xdp_capacity", "Room for prefixes", ["family"], _by_family(seen.xdp.capacity))
        engines = (((family.label, engine), 1.0) for family, engine in seen.xdp.engine.items())
        yield _gauges("xdp_engine", "1 for what finds the routes of a family", ["family", "engine"], engines)
        yield _gauges("xdp_punted", "Prefixes left to the kernel", ["family"], _by_family(seen.xdp.punted))
    if seen.kernel is not None:
        held += [(("kernel", family.label), count) for family, count in seen.kernel.installed.items()]
        refused += [(("kernel", family.label), count) for family, count in seen.kernel.refused.items()]
    labels = ["plane", "family"]
    yield _gauges("fib_routes", "Routes in a plane", labels, held)
    yield _gauges("fib_refused", "Routes that a plane refuses; each is tried again", labels, refused)


def _kernel(seen: KernelStatus) -> Iterator[Metric]:
    yield _gauge("kernel_behind", "Routes that wait to be written into the kernel", seen.behind)
    yield _gauge("kernel_foreign_held", "Prefixes where another one's route of our metric stands", seen.foreign_held)
    yield _gauge("kernel_nexthops_missing", "Ways that the kernel takes no nexthop for", len(seen.missing_nexthops))
    yield _counter("kernel_messages", "Route messages sent to the kernel", seen.sent)
    yield _counter(
        "kernel_lost_routes", "Routes that the kernel dropped by itself, found and put back", seen.lost_routes
    )
    yield _counter("kernel_mended", "Differences with the kernel that were found and mended", seen.mended)


def _peers(seen: list[PeerView]) -> Iterator[Metric]:
    def each(value: Callable[[PeerView], float]) -> list[tuple[tuple[str], float]]:
        return [((peer.name,), value(peer)) for peer in seen]

    label = ["peer"]
    yield _gauges("peer_established", "1 while the session is up", label, each(lambda p: p.state == "established"))
    yield _gauges(
        "peer_state_timestamp_seconds",
        "Unix time at which the session's present state began",
        label,
        each(lambda p: p.since),
    )
    yield _counters("peer_sessions", "Sessions that came up", label, each(lambda p: p.established))
    yield _counters("peer_updates", "UPDATE messages received", label, each(lambda p: p.updates))
    yield _counters("peer_update_bytes", "Bytes of UPDATE messages received", label, each(lambda p: p.octets))
    routes = [
        ((peer.name, family.label, state), float(getattr(counts, state)))
        for peer in seen
        for family, counts in peer.routes.items()
        for state in ROUTE_STATES
    ]
    yield _gauges("peer_routes", "Routes by what became of them", ["peer", "family", "state"], routes)
    yield from _limits(seen)
    findings: Counter[tuple[str, str, str]] = Counter()
    for peer in seen:
        for finding in peer.findings:
            findings[peer.name, finding.verdict, finding.reason] += finding.count
    labels = ["peer", "verdict", "reason"]
    yield _counters("peer_findings", "Malformed or refused attributes (RFC 7606)", labels, findings.items())


def _limits(seen: list[PeerView]) -> Iterator[Metric]:
    """max-prefix, for the peers and families that have one."""

    def each(value: Callable[[LimitView], float]) -> list[tuple[tuple[str, str], float]]:
        return [((peer.name, family.label), value(one)) for peer in seen for family, one in peer.limits.items()]

    labels = ["peer", "family"]
    yield _gauges("peer_prefix_limit", "The most prefixes that a peer may send", labels, each(lambda v: v.limit))
    text = "Prefixes at which the peer is told of as near its limit"
    yield _gauges("peer_prefix_limit_warning", text, labels, each(lambda v: v.threshold))
    yield _gauges("peer_prefix_limit_used", "Prefixes that count against it", labels, each(lambda v: v.used))
    text = "Announcements of this session that were not taken in for it"
    yield _gauges("peer_prefix_limit_blocked", text, labels, each(lambda v: v.blocked))
    latched = (((peer.name,), float(p is not None and p.left_s is None)) for peer in seen for p in (peer.hold_off,))
    yield _gauges("peer_latched", "1 while only an operator lets the peer in again", ["peer"], latched)


def _rpki(seen: RpkiView) -> Iterator[Metric]:
    if not seen.sources:
        return
    states = (((source.name, source.state), 1.0) for source in seen.sources)
    yield _gauges("rpki_source", "1 for each source of VRPs, with the state that it is in", ["source", "state"], states)
    alarms = (((source.name,), float(source.wrong)) for source in seen.sources)
    yield _gauges("rpki_alarm", "1 while less of a source is used than it offers, or it is wrong", ["source"], alarms)
    ages = (((source.name,), source.age_s) for source in seen.sources if source.age_s is not None)
    yield _gauges("rpki_age_seconds", "Seconds since a source was last heard of or looked at", ["source"], ages)
    vrps = [((s.name, family.label), float(count)) for s in seen.sources for family, count in s.vrps.items()]
    yield _gauges("rpki_vrps", "VRPs of a source", ["source", "family"], vrps)
    yield _gauges("rpki_vrps_in_use", "VRPs that count, of all sources", ["family"], _by_family(seen.vrps))
    counted = seen.routes.items()
    routes = [((state, family.label), float(n)) for state, counts in counted for family, n in counts.items()]
    text = "Routes that peers have sent by state, counted anew every half minute or so"
    yield _gauges("rpki_routes", text, ["state", "family"], routes)


def _packets(seen: list[CounterView]) -> Iterator[Metric]:
    labels = ["reason", "verdict"]
    packets = (((view.reason, view.verdict), view.packets) for view in seen)
    yield _counters("xdp_packets", "Packets by what became of them", labels, packets)
    octets = (((view.reason, view.verdict), view.octets) for view in seen)
    yield _counters("xdp_bytes", "Bytes by what became of them", labels, octets)


def _adjacencies(seen: list[AdjacencyView]) -> Iterator[Metric]:
    """Those that a next hop uses; what an earlier run left has no gateway yet, so no name to count under."""
    named = [((view.gateway, view.link), view) for view in seen if view.references]
    labels = ["gateway", "link"]
    yield _gauges("adjacency_up", "1 while packets can be sent there", labels, ((at, v.up) for at, v in named))
    sent = ((at, v.packets) for at, v in named)
    yield _counters("adjacency_packets", "Packets that XDP sent to a neighbour", labels, sent)
    octets = ((at, v.octets) for at, v in named)
    yield _counters("adjacency_bytes", "Bytes that XDP sent to a neighbour", labels, octets)


def _health(seen: tuple[CheckView, ...]) -> Iterator[Metric]:
    """As many rows as the configuration has checks at subjects."""

    def each(value: Callable[[CheckView], float]) -> list[tuple[tuple[str, str], float]]:
        return [((one.subject, one.check), value(one)) for one in seen]

    labels = ["subject", "check"]
    text = "1 healthy, 0 not (or not again yet); nothing while unknown"
    known = [((one.subject, one.check), float(one.state == "healthy")) for one in seen if one.state != "unknown"]
    yield _gauges("check_healthy", text, labels, known)
    yield _gauges("check_suppressed", "1 while flap damping holds it", labels, each(lambda c: c.state == "suppressed"))
    latencies = (((c.subject, c.check), c.latency_ms / 1000) for c in seen if c.latency_ms is not None)
    yield _gauges("check_latency_seconds", "How long the last answer took", labels, latencies)
    yield _counters("check_failures", "Times that it became unhealthy", labels, each(lambda c: c.failures))
    runs = [
        ((one.subject, one.check, said), float(count))
        for one in seen
        for said, count in (("pass", one.passed), ("fail", one.failed), ("unknown", one.unknown))
    ]
    yield _counters("check_runs", "Runs by what they said", [*labels, "said"], runs)


def _bfd(seen: Iterable[Watched]) -> Iterator[Metric]:
    watched = list(seen)
    up = (((one.name,), float(one.status is not None and one.status.up)) for one in watched)
    yield _gauges("bfd_up", "1 while the BFD session with a peer is up", ["peer"], up)
    held = (((one.name,), float(one.verdict.bad)) for one in watched)
    yield _gauges("bfd_held_down", "1 while BFD keeps traffic off a peer", ["peer"], held)
    downs = (((one.name,), float(one.downs)) for one in watched)
    yield _counters("bfd_downs", "Failures that BFD has detected", ["peer"], downs)


def _exits(seen: PathsView) -> Iterator[Metric]:
    """Latency. Bounded by `latency.exits` and the number of targets."""
    ways = [
        ((exit_.gateway, exit_.link, way.target), way.facts)
        for exit_ in seen.exits
        for way in exit_.targets
        if way.facts is not None
    ]

    def each(value: Callable[[FactsView], float | None]) -> list[tuple[tuple[str, ...], float]]:
        return [(at, number) for at, facts in ways if (number := value(facts)) is not None]

    labels = ["gateway", "link", "target"]
    yield _gauges("exit_rtt_seconds", "Smoothed round-trip time (RFC 6298)", labels, each(lambda f: f.srtt_s))
    yield _gauges("exit_jitter_seconds", "Jitter of round trips (RFC 3550)", labels, each(lambda f: f.jitter_s))
    yield _gauges("exit_loss_ratio", "Share of probes without an answer, 0 to 1", labels, each(lambda f: f.loss))
    yield _gauges("exit_facts_age_seconds", "Since the last probe that ended", labels, each(lambda f: f.age_s))
    quantiles = [
        ((*at, quantile), number)
        for quantile, value in QUANTILES.items()
        for at, number in each(lambda facts, key=value: getattr(facts, key))  # type: ignore[misc]
    ]
    text = "Quantiles of round-trip times in the window"
    yield _gauges("exit_rtt_quantile_seconds", text, [*labels, "quantile"], quantiles)
    modes = [((mode.value,), float(mode is seen.mode)) for mode in LatencyMode]
    yield _gauges("latency_mode", "1 for what becomes of the figures", ["mode"], modes)
    yield _gauge("latency_exits_left_out", "Exits that are up and not probed", seen.left_out)
    passed = [((exit_.gateway, exit_.link), exit_) for exit_ in seen.exits if exit_.handshakes is not None]
    handshakes = [
        ((*at, quantile), number)
        for at, exit_ in passed
        for quantile, value in QUANTILES.items()
        if (number := getattr(exit_.handshakes, value)) is not None
    ]
    labels = ["gateway", "link"]
    text = "Quantiles of round-trip times of TCP handshakes that passed, in the window"
    yield _gauges("exit_handshake_quantile_seconds", text, [*labels, "quantile"], handshakes)
    text = "TCP handshakes that were measured as they passed"
    yield _counters("exit_handshakes", text, labels, ((at, float(exit_.handshakes_total)) for at, exit_ in passed))
    counts = seen.counts
    kinds = [(("moved",), counts.moved), (("would-move",), counts.would), (("back-to-bgp",), counts.returned)]
    text = "Decisions that moved traffic, would have, or ended that"
    yield _counters("latency_moves", text, ["kind"], [(kind, float(count)) for kind, count in kinds])


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """All metrics in the format that the scraper asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
