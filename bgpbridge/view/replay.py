"""What a replayed file came to: its records, its peers, the routes that stand at the end, and what was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.pipeline.replay import Replay
from bgpbridge.pipeline.replay_peers import ReplayPeer
from bgpbridge.rib import lookups
from bgpbridge.rib.lookups import RouteFilter
from bgpbridge.types import Family, Verdict
from bgpbridge.view.routes import RouteView, route_view
from bgpbridge.wire.verdicts import Finding

__all__ = ["FindingCount", "PeerRoutes", "ReplayView", "replay_routes", "replay_view"]


@dataclass(frozen=True, slots=True)
class FindingCount:
    """Something that was wrong with UPDATEs, what RFC 7606 says to do about it, and how often it was found."""

    reason: str
    verdict: Verdict
    times: int


@dataclass(frozen=True, slots=True)
class PeerRoutes:
    """A peer at the end of the file. `sessions_lost` counts ends of sessions, each of which took its routes away."""

    name: str
    address: str
    asn: int
    updates: int
    sessions_lost: int
    received: dict[str, int]
    accepted: dict[str, int]
    best: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReplayView:
    """The whole. `recorded_s` is the time from the first record to the last, `took_s` ours; `update_octets` what the
    UPDATEs weighed; `routes` are prefixes with a route, `paths` what all peers send; `damage` says where the file
    could not be read further."""

    file: str
    records: dict[str, int]
    updates: int
    update_octets: int
    recorded_s: float
    took_s: float
    records_per_s: float
    routes: dict[str, int]
    paths: dict[str, int]
    attribute_blocks: int
    peers: tuple[PeerRoutes, ...]
    findings: tuple[FindingCount, ...]
    damage: str | None


def replay_view(replay: Replay, file: str, took_s: float, damage: str | None) -> ReplayView:
    """A finished replay in figures."""
    peers = tuple(_peer(replay, peer) for peer in replay.peers)
    findings: Counter[Finding] = sum((peer.findings for peer in replay.peers), Counter())
    records = sum(replay.records.values())
    return ReplayView(
        file=file,
        records=dict(sorted(replay.records.items())),
        updates=sum(peer.updates for peer in peers),
        update_octets=replay.octets,
        recorded_s=replay.now_s - replay.began_s,
        took_s=took_s,
        records_per_s=records / took_s if took_s else 0.0,
        routes={family.label: tables.routes for family, tables in replay.rib.families.items()},
        paths={family.label: sum(peer.received[family.label] for peer in peers) for family in Family},
        attribute_blocks=len(replay.rib.attributes),
        peers=peers,
        findings=tuple(FindingCount(f.reason, f.verdict, times) for f, times in findings.most_common()),
        damage=damage,
    )


def _peer(replay: Replay, peer: ReplayPeer) -> PeerRoutes:
    counts = {family.label: of_family for family, of_family in replay.rib.counts(peer.index).items()}
    return PeerRoutes(
        name=peer.name,
        address=str(peer.address),
        asn=peer.asn,
        updates=peer.updates,
        sessions_lost=peer.lost,
        received={label: of_family.received for label, of_family in counts.items()},
        accepted={label: of_family.accepted for label, of_family in counts.items()},
        best={label: of_family.best for label, of_family in counts.items()},
    )


def replay_routes(replay: Replay) -> Iterator[RouteView]:
    """Every path that stands at the end, in the order of the tables."""
    for paths in lookups.routes(replay.rib, RouteFilter()):
        for path in paths:
            yield route_view(replay, path)
