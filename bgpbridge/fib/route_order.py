"""The routes of one prefix in the kernel's own order, after one more route event.

Several routes to one prefix are usual: two links in one subnet, fe80::/64 on every link, one route for each metric.
Which of them the kernel uses depends on the order in which it keeps them, and the events do not say it outright.
Pure.
"""

from __future__ import annotations

from dataclasses import replace

from bgpbridge.fib.observed import ForeignRoute
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, IPAddress

__all__ = ["with_added", "with_removed"]


def with_added(
    routes: tuple[ForeignRoute, ...], new: ForeignRoute, *, replaces: bool, appends: bool
) -> tuple[ForeignRoute, ...]:
    """The routes of a prefix after RTM_NEWROUTE, in the kernel's order: by metric, and within one metric the
    newest first unless it was appended (net/ipv4/fib_trie.c), in IPv6 the oldest (ip6_fib.c). An IPv6 event
    names all hops of a multipath route, so a route whose hops are among the new one's is its former self."""
    out = list(routes)
    same = [r for r in out if r.metric == new.metric and r.tos == new.tos and r.source_length == new.source_length]
    for old in same:
        if (replaces and old is same[0]) or (old.type == new.type and set(old.hops) <= set(new.hops)):
            out[out.index(old)] = new
            return tuple(out)
    at = out.index(same[0]) if same else len(out)
    if same and (appends or new.prefix.family is Family.IPV6):
        at = out.index(same[-1]) + 1
    out.insert(at, new)
    return tuple(sorted(out, key=lambda route: route.metric))


def with_removed(routes: tuple[ForeignRoute, ...], gone: ForeignRoute) -> tuple[ForeignRoute, ...]:
    """The routes of a prefix after RTM_DELROUTE. An IPv6 event may name single hops of a multipath route."""
    if gone in routes:
        return tuple(route for route in routes if route != gone)
    places = {_place(hop) for hop in gone.hops}
    for old in routes:
        if _kind(old) != _kind(gone):
            continue
        whole = gone.nexthop_id or not gone.hops
        left = () if whole else tuple(hop for hop in old.hops if _place(hop) not in places)
        if whole or len(left) < len(old.hops):
            return tuple(replace(r, hops=left) if r is old else r for r in routes if r is not old or left)
    return routes


def _place(hop: Hop) -> tuple[IPAddress | None, int]:
    return hop.gateway, hop.ifindex


def _kind(route: ForeignRoute) -> tuple[int, ...]:
    return route.metric, route.tos, route.source_length, route.type, route.nexthop_id
