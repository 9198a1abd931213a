"""Next-hop resolution (RFC 4271 s5.1.3, s9.1.2.1): which gateway on which link leads to a BGP next hop.

The routes asked are the kernel's own, never ours: connected, static and IGP, tables local and main. Reachable
means that a unicast route matches and that at least one of its links is up. A route all of whose links are
down is passed over for the next one, as the kernel (which removes it a moment later) would.

`Resolver.watch` keeps a next hop in a reverse index, so that a change of one prefix or one link asks again
only for the next hops that it can concern. Pure: routes and link states are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from bgpbridge.fib.foreign import ForeignTable
from bgpbridge.fib.observed import ForeignRoute, RouteType
from bgpbridge.fib.tracking import NextHopIndex
from bgpbridge.rib.next_hops import Hop, Resolution
from bgpbridge.types import IPAddress, Prefix

__all__ = ["Resolver"]

MAX_DEPTH = 8  # routes by routes by routes: real networks need two or three, a loop needs an end

NOT_UNICAST = {
    RouteType.LOCAL: "ours",
    RouteType.ANYCAST: "ours",
    RouteType.BROADCAST: "broadcast address",
    RouteType.MULTICAST: "multicast address",
}


@dataclass(slots=True)
class Trace:
    """What an answer depends on: every address looked up and every link asked."""

    addresses: list[IPAddress] = field(default_factory=list)
    links: set[int] = field(default_factory=set)


class Resolver:
    """Resolves next hops over foreign routes. `link_up` tells whether an interface can send now."""

    def __init__(self, routes: ForeignTable, link_up: Callable[[int], bool], *, via_default: bool = False) -> None:
        self.via_default = via_default
        self._routes = routes
        self._link_up = link_up
        self._index = NextHopIndex()
        self._watched: dict[int, tuple[IPAddress, int | None, Resolution]] = {}

    def resolve(self, address: IPAddress, ifindex: int | None = None) -> Resolution:
        """Where `address` is reached. A link-local one needs `ifindex`, the link of the peer that named it.
        The hops' gateways are always filled in: on a connected subnet it is the next hop itself."""
        return self._resolve(address, ifindex, Trace())

    def watch(self, key: int, address: IPAddress, ifindex: int | None = None) -> Resolution:
        """Resolve and remember as next hop `key` (the id of rib's NextHopTable)."""
        trace = Trace()
        resolution = self._resolve(address, ifindex, trace)
        self._watched[key] = (address, ifindex, resolution)
        self._index.set(key, trace.addresses, trace.links)
        return resolution

    def unwatch(self, key: int) -> None:
        """Forget a next hop; one that is not watched is no error."""
        self._watched.pop(key, None)
        self._index.remove(key)

    def affected_by_prefix(self, prefix: Prefix) -> list[int]:
        """The watched next hops whose answer a change of the routes to `prefix` may change."""
        return self._index.inside(prefix)

    def affected_by_link(self, ifindex: int) -> list[int]:
        """The watched next hops whose answer a change of this link may change."""
        return self._index.on_link(ifindex)

    def refresh(self, keys: Iterable[int]) -> list[tuple[int, Resolution]]:
        """Resolve these watched next hops again; those whose answer is another one now."""
        changed = []
        for key in keys:
            address, ifindex, before = self._watched[key]
            now = self.watch(key, address, ifindex)
            if now != before:
                changed.append((key, now))
        return changed

    def _resolve(self, address: IPAddress, ifindex: int | None, trace: Trace) -> Resolution:
        if address.is_link_local and address.version == 6:
            return self._on_link(address, ifindex, trace)
        return self._walk(address, trace, depth=0)

    def _on_link(self, address: IPAddress, ifindex: int | None, trace: Trace) -> Resolution:
        if ifindex is None:
            return _unreachable("link-local next hop of a peer that is on no link of ours")
        trace.links.add(ifindex)
        if not self._link_up(ifindex):
            return _unreachable("link down")
        return Resolution(reachable=True, hops=(Hop(address, ifindex),), reason="link-local")

    def _walk(self, address: IPAddress, trace: Trace, depth: int) -> Resolution:
        trace.addresses.append(address)
        if address.is_unspecified or address.is_multicast:
            return _unreachable("unspecified address" if address.is_unspecified else "multicast address")
        local = self._routes.local_match(address)
        if local is not None and local.type in NOT_UNICAST:
            return _unreachable(NOT_UNICAST[local.type])
        why = "no route"
        for prefix, routes in self._routes.main_matches(address):
            if prefix.length == 0 and not self.via_default:
                return _unreachable("only the default route leads there, and decision.resolve_via_default is off")
            for route in routes:
                if route.tos or route.source_length:
                    continue
                if route.type is not RouteType.UNICAST:
                    return _unreachable(f"{route.type.name.lower()} route {prefix}")
                hops, why = self._live_hops(address, route, trace, depth)
                if not hops:
                    why = f"{prefix}: {why}"
                else:
                    return Resolution(reachable=True, metric=route.metric, hops=hops, reason=_by(prefix))
        return _unreachable(why)

    def _live_hops(
        self, address: IPAddress, route: ForeignRoute, trace: Trace, depth: int
    ) -> tuple[tuple[Hop, ...], str]:
        """The hops of a route that can send now, merged by gateway and link; and why there are none."""
        weights: dict[tuple[IPAddress | None, int], int] = {}
        why = "no hop"
        for hop in route.hops:
            if not hop.ifindex:
                inner, why = self._recurse(hop, trace, depth)
            else:
                trace.links.add(hop.ifindex)
                inner = (hop,) if self._link_up(hop.ifindex) else ()
                why = "link down"
            for live in inner:
                key = (live.gateway or address, live.ifindex)
                weights[key] = weights.get(key, 0) + live.weight
        return tuple(Hop(gateway, ifindex, weight) for (gateway, ifindex), weight in weights.items()), why

    def _recurse(self, hop: Hop, trace: Trace, depth: int) -> tuple[tuple[Hop, ...], str]:
        """A gateway without a link of its own is a next hop to resolve in turn."""
        if hop.gateway is None or depth >= MAX_DEPTH:
            return (), "routes lead in a circle" if hop.gateway else "no gateway"
        inner = self._walk(hop.gateway, trace, depth + 1)
        return tuple(Hop(h.gateway, h.ifindex, h.weight * hop.weight) for h in inner.hops), inner.reason


@lru_cache(maxsize=1 << 14)
def _by(prefix: Prefix) -> str:
    """Cached: to write an IPv6 prefix takes longer than to find its route."""
    return f"by {prefix}"


def _unreachable(reason: str) -> Resolution:
    return Resolution(reachable=False, reason=reason)
