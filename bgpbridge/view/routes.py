"""`routes` and `route ADDRESS`: Adj-RIB-In and Loc-RIB as rows that people read.

The RIB answers (`rib.lookups`); here its numbers get names, attributes their text, and refusals their reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from bgpbridge.errors import AbsentError
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import PolicyVerdict
from bgpbridge.rib import lookups
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.lookups import Path, RouteFilter, Status
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.describe import describe

__all__ = ["Filter", "Judged", "RouteView", "policy_verdict", "route", "route_view", "routes"]


class Names(Protocol):
    """Peers by index."""

    def name(self, index: int) -> str:
        """Our name for a peer."""
        ...

    def at(self, index: int) -> object:
        """The peer, None for one that has gone."""
        ...


class Judged(Protocol):
    """Where routes stand: a bridge, or a replay."""

    @property
    def rib(self) -> Rib:
        """The routes."""
        ...

    @property
    def judge(self) -> PolicyJudge:
        """What judged them."""
        ...

    @property
    def peers(self) -> Names:
        """Who sent them."""
        ...


@dataclass(frozen=True, slots=True)
class Filter:
    """Which routes. `prefix` alone is that prefix and all inside; `limit` 0 means all. `pages`: those after prefix
    `after` (None: from the first on), and all paths of the prefix at which the limit is reached."""

    peer: str | None = None
    prefix: Prefix | None = None
    family: Family | None = None
    best: bool = False
    rejected: bool = False
    overridden: bool = False
    limit: int = 100
    pages: bool = False
    after: Prefix | None = None


@dataclass(frozen=True, slots=True)
class RouteView:
    """One path. `status`: best, multipath, backup, valid, unreachable or rejected. `changed` is Unix time."""

    prefix: str
    peer: str
    path_id: int
    status: str
    stale: bool
    next_hop: str
    group: int
    changed: int
    attributes: dict[str, Any]
    reason: str


def routes(bridge: Bridge, wanted: Filter) -> Iterator[list[RouteView]]:
    """Routes in the order of the tables, in slices of a few milliseconds, empty ones among them: between two of
    them a caller lets routing go on. Raises UsageError at once for a peer or prefix that is not there."""
    peer = bridge.peers_by_name(wanted.peer).index if wanted.peer is not None else None
    if wanted.after is not None and not lookups.known(bridge.rib, wanted.after):
        raise AbsentError(f"no peer has sent {wanted.after}", mend="begin again with the first page")
    of_rib = RouteFilter(
        wanted.family, peer, wanted.prefix, wanted.best, wanted.rejected, wanted.overridden, wanted.after
    )
    return _views(bridge, lookups.routes(bridge.rib, of_rib), wanted.limit, whole=wanted.pages)


def _views(bridge: Bridge, slices: Iterator[list[Path]], limit: int, *, whole: bool) -> Iterator[list[RouteView]]:
    left = limit
    for paths in slices:
        count = min(left, len(paths)) if limit else len(paths)
        while whole and 0 < count < len(paths) and paths[count].prefix == paths[count - 1].prefix:
            count += 1
        yield [route_view(bridge, path) for path in paths[:count]]
        left -= count
        if limit and left <= 0:
            return


def route(bridge: Bridge, address: IPAddress) -> tuple[RouteView, ...]:
    """All paths of the longest prefix with a route that holds the address, best first."""
    prefix = lookups.longest(bridge.rib, address)
    return tuple(route_view(bridge, path) for path in lookups.paths(bridge.rib, prefix)) if prefix is not None else ()


def route_view(bridge: Judged, path: Path) -> RouteView:
    """One path in words."""
    decoded = bridge.rib.attributes.get(path.attributes).attributes
    hops = bridge.rib.next_hops
    return RouteView(
        prefix=str(path.prefix),
        peer=bridge.peers.name(path.peer),
        path_id=path.path_id,
        status=path.status.value,
        stale=path.stale,
        next_hop=str(hops[path.next_hop].address) if path.next_hop else "",
        group=path.group,
        changed=path.changed_s,
        attributes=describe(decoded) if decoded is not None else {},
        reason=_reason(bridge, path),
    )


def _reason(bridge: Judged, path: Path) -> str:
    """Why a path cannot be used: the line of policy that refused it, or what is wrong with its next hop."""
    if path.status is Status.UNREACHABLE:
        return bridge.rib.next_hops.resolution(path.next_hop).reason
    if path.status is not Status.REJECTED:
        return ""
    verdict = policy_verdict(bridge, path)
    if verdict is None:
        return "refused"
    where = f" ({verdict.place}, term {verdict.term})" if verdict.line else ""
    return f"{verdict.reason}{where}"


def policy_verdict(bridge: Judged, path: Path) -> PolicyVerdict | None:
    """What import policy says about a path as it came in, None when there is no policy to ask: the peer has gone."""
    decoded = bridge.rib.attributes.get(path.received).attributes
    if decoded is None or bridge.peers.at(path.peer) is None:
        return None
    return bridge.judge.explain(path.peer, path.prefix, decoded)
