"""The kernel's links, addresses, neighbours, nexthop objects, rules and foreign routes as we know them now.

`netlink` feeds in single events and whole dumps; every difference to what was known goes to the listeners, the
state first. What the kernel does silently is made good here or by the next dump:

- a route by nexthop object names only the object when `nexthop_compat_mode` is 0 (and we set it to 0), and no
  route event tells when the object changes: routes are filed by object and told again;
- IPv4 routes over a link that goes down vanish without an event: `netlink` asks for a dump after a link loss.

While a dump is under way events keep coming and are newer than it: what they touched, `reconcile` leaves alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from bgpbridge.fib.foreign import ForeignTable
from bgpbridge.fib.observed import (
    TABLE_LOCAL,
    TABLE_MAIN,
    Address,
    ForeignRoute,
    KernelListener,
    Link,
    Neighbour,
    Nexthop,
    OwnRouteChange,
    Resync,
    RouteType,
    Rule,
)
from bgpbridge.fib.route_order import with_added, with_removed
from bgpbridge.fib.rtnetlink import hop_order
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = ["KernelState", "Snapshot"]

SLICE = 1000  # routes compared before others get a turn: about 5 ms
MAX_GROUP_DEPTH = 2  # groups of groups exist for multipath over resilient groups only


@dataclass(slots=True)
class Snapshot:
    """A whole dump. Routes of tables main and local only, by prefix and table, and none of ours."""

    links: list[Link] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    neighbours: list[Neighbour] = field(default_factory=list)
    nexthops: list[Nexthop] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    routes: dict[tuple[Prefix, int], tuple[ForeignRoute, ...]] = field(default_factory=dict)
    interrupted: bool = False


class KernelState:
    """What is known of the kernel, and the only one who changes it."""

    def __init__(self, listeners: Iterable[KernelListener] = ()) -> None:
        self.links: dict[int, Link] = {}
        self.addresses: set[Address] = set()
        self.neighbours: dict[tuple[int, IPAddress], Neighbour] = {}
        self.nexthops: dict[int, Nexthop] = {}
        self.rules: set[Rule] = set()
        self.foreign = ForeignTable()
        self.listeners: list[KernelListener] = list(listeners)
        self._by_nexthop: dict[int, set[tuple[Prefix, int]]] = {}
        self.last_resync: Resync | None = None
        self._touched: set[Hashable] | None = None
        self._told = 0

    def link_up(self, ifindex: int) -> bool:
        """True when a packet may leave by this interface."""
        link = self.links.get(ifindex)
        return link is not None and link.up

    def link_named(self, name: str) -> Link | None:
        """The link of this name."""
        return next((link for link in self.links.values() if link.name == name), None)

    # -- single events

    def link(self, link: Link, present: bool = True) -> None:
        """RTM_NEWLINK, RTM_DELLINK. One that changes nothing we know is not told."""
        self._touch("link", link.ifindex)
        if present and self.links.get(link.ifindex) == link:
            return
        if present:
            self.links[link.ifindex] = link
        elif self.links.pop(link.ifindex, None) is None:
            return
        self._told += 1
        for listener in self.listeners:
            listener.on_link(link, present)

    def address(self, address: Address, present: bool = True) -> None:
        """RTM_NEWADDR, RTM_DELADDR."""
        self._touch("address", address)
        if present == (address in self.addresses):
            return
        (self.addresses.add if present else self.addresses.discard)(address)
        self._told += 1
        for listener in self.listeners:
            listener.on_address(address, present)

    def neighbour(self, neighbour: Neighbour, present: bool = True) -> None:
        """RTM_NEWNEIGH, RTM_DELNEIGH."""
        key = (neighbour.ifindex, neighbour.address)
        self._touch("neighbour", key)
        if present and self.neighbours.get(key) == neighbour:
            return
        if present:
            self.neighbours[key] = neighbour
        elif self.neighbours.pop(key, None) is None:
            return
        self._told += 1
        for listener in self.listeners:
            listener.on_neighbour(neighbour, present)

    def rule(self, rule: Rule, present: bool = True) -> None:
        """RTM_NEWRULE, RTM_DELRULE: for doctor and status, nobody is told."""
        self._touch("rule", rule)
        (self.rules.add if present else self.rules.discard)(rule)

    def nexthop(self, nexthop: Nexthop, present: bool = True) -> None:
        """RTM_NEWNEXTHOP, RTM_DELNEXTHOP. The routes over the object change with it, or go with it."""
        self._touch("nexthop", nexthop.id)
        if present and self.nexthops.get(nexthop.id) == nexthop:
            return
        if present:
            self.nexthops[nexthop.id] = nexthop
        else:
            self.nexthops.pop(nexthop.id, None)  # one of ours is not kept, and its deletion is news all the same
        self._told += 1
        for listener in self.listeners:
            listener.on_nexthop(nexthop, present)
        self._rewrite_routes_of(nexthop.id, gone=not present)

    def route(
        self, route: ForeignRoute, present: bool = True, *, replaces: bool = False, appends: bool = False
    ) -> None:
        """RTM_NEWROUTE (with its NLM_F_REPLACE and NLM_F_APPEND), RTM_DELROUTE: a route that is not ours."""
        if route.table not in (TABLE_MAIN, TABLE_LOCAL):
            return
        self._touch("route", (route.prefix, route.table))
        route = self._with_hops(route)
        before = self.foreign.at(route.prefix, route.table)
        if present:
            after = with_added(before, route, replaces=replaces, appends=appends)
        else:
            after = with_removed(before, route)
        self._set_routes(route.prefix, route.table, after)

    def own_route_changed(self, change: OwnRouteChange) -> None:
        """A foreign hand on a route of ours: nothing to keep, only to tell."""
        for listener in self.listeners:
            listener.on_own_route_changed(change)

    # -- whole dumps

    def begin_reconcile(self) -> None:
        """A dump begins: from now on, note what events touch."""
        self._touched = set()

    def abandon_reconcile(self) -> None:
        """The dump failed."""
        self._touched = None

    def reconcile(self, snapshot: Snapshot, cause: str) -> Iterator[None]:
        """Take over a dump; tells every difference, then `on_resync`. In slices: every yield is a safe point, at
        which events may come in."""
        touched = self._touched if self._touched is not None else set()
        differences, told = 0, self._told
        try:
            for step in (self._reconcile_links, self._reconcile_rest, self._reconcile_routes):
                for _ in step(snapshot, touched):
                    differences += self._told - told
                    yield
                    told = self._told
        finally:
            self._touched = None
        self.last_resync = Resync(cause, differences, snapshot.interrupted)
        for listener in self.listeners:
            listener.on_resync(self.last_resync)

    def _reconcile_links(self, snapshot: Snapshot, touched: set[Hashable]) -> Iterator[None]:
        seen = {link.ifindex for link in snapshot.links}
        for old in [link for number, link in self.links.items() if number not in seen]:
            if ("link", old.ifindex) not in touched:
                self.link(old, present=False)
        for link in snapshot.links:
            if ("link", link.ifindex) not in touched:
                self.link(link)
        yield

    def _reconcile_rest(self, snapshot: Snapshot, touched: set[Hashable]) -> Iterator[None]:
        nexthops = {nexthop.id for nexthop in snapshot.nexthops}
        neighbours = {(n.ifindex, n.address) for n in snapshot.neighbours}
        for nexthop in [n for number, n in self.nexthops.items() if number not in nexthops]:
            if ("nexthop", nexthop.id) not in touched:
                self.nexthop(nexthop, present=False)
        for nexthop in snapshot.nexthops:
            if ("nexthop", nexthop.id) not in touched:
                self.nexthop(nexthop)
        for address in self.addresses ^ set(snapshot.addresses):
            if ("address", address) not in touched:
                self.address(address, present=address not in self.addresses)
        for neighbour in [n for key, n in self.neighbours.items() if key not in neighbours]:
            if ("neighbour", (neighbour.ifindex, neighbour.address)) not in touched:
                self.neighbour(neighbour, present=False)
        for neighbour in snapshot.neighbours:
            if ("neighbour", (neighbour.ifindex, neighbour.address)) not in touched:
                self.neighbour(neighbour)
        self.rules = set(snapshot.rules)
        yield

    def _reconcile_routes(self, snapshot: Snapshot, touched: set[Hashable]) -> Iterator[None]:
        for number, key in enumerate(self._known_prefixes()):
            if key not in snapshot.routes and ("route", key) not in touched:
                self._set_routes(*key, ())
            if number % SLICE == SLICE - 1:
                yield
        for number, (key, routes) in enumerate(snapshot.routes.items()):
            if ("route", key) not in touched:
                self._set_routes(*key, tuple(self._with_hops(route) for route in routes))
            if number % SLICE == SLICE - 1:
                yield
        yield

    def _known_prefixes(self) -> Iterator[tuple[Prefix, int]]:
        for number, table in ((TABLE_LOCAL, self.foreign.local), (TABLE_MAIN, self.foreign.main)):
            for family in Family:
                for length, values in table.values(family):
                    for value in values:
                        yield Prefix(family, value, length), number

    # -- inside

    def _touch(self, kind: str, key: Hashable) -> None:
        if self._touched is not None:
            self._touched.add((kind, key))

    def _set_routes(self, prefix: Prefix, table: int, after: tuple[ForeignRoute, ...]) -> None:
        before = self.foreign.at(prefix, table)
        if before == after:
            return
        punt = self.foreign.put(prefix, table, after)
        if punt is not None:
            for listener in self.listeners:
                listener.on_punt_change(punt)
        self._file_by_nexthop(prefix, table, before, after)
        for route in before:
            if route not in after:
                self._tell_route(route, present=False)
        for route in after:
            if route not in before:
                self._tell_route(route, present=True)

    def _tell_route(self, route: ForeignRoute, *, present: bool) -> None:
        self._told += 1
        for listener in self.listeners:
            listener.on_foreign_route(route, present)

    def _file_by_nexthop(
        self, prefix: Prefix, table: int, before: Iterable[ForeignRoute], after: Iterable[ForeignRoute]
    ) -> None:
        for number in {route.nexthop_id for route in before if route.nexthop_id}:
            users = self._by_nexthop[number]
            users.discard((prefix, table))
            if not users:
                del self._by_nexthop[number]
        for number in {route.nexthop_id for route in after if route.nexthop_id}:
            self._by_nexthop.setdefault(number, set()).add((prefix, table))

    def _rewrite_routes_of(self, number: int, *, gone: bool) -> None:
        """The routes over an object, and over the groups that it is a member of, get their hops anew."""
        groups = [n.id for n in self.nexthops.values() if any(member == number for member, _ in n.group)]
        for user in (number, *groups):
            for prefix, table in list(self._by_nexthop.get(user, ())):
                routes = self.foreign.at(prefix, table)
                if gone and user == number:
                    routes = tuple(route for route in routes if route.nexthop_id != number)
                self._set_routes(prefix, table, tuple(self._with_hops(route) for route in routes))

    def _with_hops(self, route: ForeignRoute) -> ForeignRoute:
        if not route.nexthop_id or route.nexthop_id not in self.nexthops:
            return route
        nexthop = self.nexthops[route.nexthop_id]
        kind = RouteType.BLACKHOLE if nexthop.blackhole else route.type
        return replace(route, type=kind, hops=tuple(sorted(self._hops_of(nexthop, weight=1, depth=0), key=hop_order)))

    def _hops_of(self, nexthop: Nexthop, weight: int, depth: int) -> tuple[Hop, ...]:
        if nexthop.hop is not None:
            return (replace(nexthop.hop, weight=weight),)
        if depth >= MAX_GROUP_DEPTH:
            return ()
        members = ((self.nexthops.get(number), share) for number, share in nexthop.group)
        return tuple(
            hop for member, share in members if member for hop in self._hops_of(member, share * weight, depth + 1)
        )
