"""From BGP next hops to what a group stores: the room where a lost link becomes a change of groups.

Three steps, each with its own trigger, none of which touches a prefix:

    next hop ──resolve──▶ hops (gateway, link) ──claim──▶ adjacencies ──fill──▶ slots of XDP, kernel group
    kernel route changes    link, neighbour changes      session lost, path dead

A path (member of a group) is dead when its session is lost, its next hop is unreachable, or every adjacency that
leads to it is known to be down. An adjacency that is merely not resolved yet is not dead: its packets are passed
to the kernel, which resolves it. Dead paths leave the slots at once, backups of the decision take over (PIC edge);
the decision itself follows in its own time and gives prefixes other groups.

Two more things have a say in what a group stores, and neither can add a path. Health holds paths down (`hold_down`):
they are left out as dead ones are, for as long as another path lives; where none does, traffic stays on what BGP has.
Latency arranges those that are left (`arrange`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from typing import Protocol

import numpy as np

from bgpbridge.errors import CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency import AdjacencyTable
from bgpbridge.fib.resolve import Resolver
from bgpbridge.rib.changes import FewChanges
from bgpbridge.rib.groups import Group, GroupTable, Member
from bgpbridge.rib.next_hops import Hop, NextHop, NextHopTable, Resolution
from bgpbridge.types import IPAddress

__all__ = ["Arrange", "GroupPlanes", "Paths", "Spread", "shares"]

Spread = tuple[list[tuple[int, int]], list[Hop]]
"""[(adjacency id, weight)], the same as hops with weights. Empty: nothing can be used."""


class GroupPlanes(Protocol):
    """Where groups are stored: XDP first, then the kernel."""

    def set_groups(self, groups: Iterable[tuple[int, Spread]]) -> None:
        """What groups store, each as soon as it comes."""

    def free_group(self, group: int) -> None:
        """Nothing points at the group any more."""


Arrange = Callable[[int, Group], tuple[Member, ...]]
"""A group's number and its usable members in BGP's order; the answer are those that carry traffic, with weights."""


@dataclass(slots=True)
class _Reach:
    """How one next hop is reached now: its hops, and the adjacency of each."""

    hops: tuple[Hop, ...] = ()
    adjacencies: tuple[int, ...] = ()


@dataclass(slots=True)
class _State:
    dead_peers: set[int] = field(default_factory=set)
    dead_next_hops: set[int] = field(default_factory=set)
    held_peers: frozenset[int] = frozenset()
    held_next_hops: frozenset[int] = frozenset()
    reach: dict[int, _Reach] = field(default_factory=dict)
    by_adjacency: dict[int, set[int]] = field(default_factory=dict)


class Paths:
    """Keeps every group's members in line with sessions, next hops and adjacencies.

    `peer_link` gives the interface that a peer's session runs over (for its link-local next hops).
    """

    def __init__(
        self,
        next_hops: NextHopTable,
        groups: GroupTable,
        resolver: Resolver,
        planes: GroupPlanes,
        events: EventLog,
        peer_link: Callable[[int], int | None],
    ) -> None:
        self.next_hops, self.groups, self.resolver = next_hops, groups, resolver
        self.planes, self.events, self.peer_link = planes, events, peer_link
        self.adjacencies: AdjacencyTable | None = None  # set once, by the bridge: the table calls us back
        self.arrange: Arrange | None = None
        self.written = np.zeros(groups.limit + 1, np.bool_)
        self._written_view = self.written.data
        self._state = _State()

    # -- next hops ------------------------------------------------------------------------------------

    def target(self, next_hop: NextHop) -> tuple[IPAddress, int | None]:
        """What is to be resolved for a next hop: its link-local address on the peer's own link where the peer
        gave one (RFC 2545 s3), else the global one."""
        link = self.peer_link(next_hop.peer) if next_hop.peer >= 0 else None
        if next_hop.link_local is not None and link is not None:
            return next_hop.link_local, link
        return next_hop.address, link

    def resolve(self, next_hop: NextHop) -> Resolution:
        """For the RIB, at the moment it meets a next hop for the first time."""
        address, link = self.target(next_hop)
        return self.resolver.resolve(address, link)

    def watch_fresh(self) -> list[int]:
        """Next hops that the RIB met since the last call: watch them and claim their adjacencies. Returns those
        that are others by now than when the RIB met them: the decision must run for them."""
        decide = []
        for number in self.next_hops.take_fresh():
            address, link = self.target(self.next_hops[number])
            resolution = self.resolver.watch(number, address, link)
            if self.next_hops.set(number, resolution):
                decide.append(number)
            self._claim(number, resolution)
        return decide

    def refresh(self, keys: Collection[int]) -> tuple[list[int], set[int]]:
        """Resolve these next hops again: (those for which the decision must run, groups to be filled)."""
        decide = self.watch_fresh()
        return self._resolved(self.resolver.refresh(keys), decide)

    def rebind_peer(self, peer: int) -> tuple[list[int], set[int]]:
        """A session came up, perhaps over another link: its link-local next hops are resolved again."""
        decide = self.watch_fresh()
        mine = [number for number in self.next_hops.ids() if self.next_hops[number].peer == peer]
        found = [(number, self.resolver.watch(number, *self.target(self.next_hops[number]))) for number in mine]
        return self._resolved([pair for pair in found if pair[1] != self.next_hops.resolution(pair[0])], decide)

    def _resolved(self, found: Iterable[tuple[int, Resolution]], decide: list[int]) -> tuple[list[int], set[int]]:
        """Next hops with another answer than before; adds to `decide`."""
        groups: set[int] = set()
        for number, resolution in found:
            if self.next_hops.set(number, resolution):
                decide.append(number)
            self._claim(number, resolution)
            groups |= self.groups.using_next_hop(number)
        return decide, groups

    def forget_unknown(self) -> None:
        """Next hops that the RIB has collected: give their adjacencies back."""
        known = set(self.next_hops.ids())
        for number in [number for number in self._state.reach if number not in known]:
            self.resolver.unwatch(number)
            self._claim(number, Resolution(reachable=False))
            self._state.dead_next_hops.discard(number)
            self._state.reach.pop(number, None)

    def _claim(self, number: int, resolution: Resolution) -> None:
        """Hold the adjacencies of a resolution, let go of those before: claim first, so shared ones stay."""
        assert self.adjacencies is not None
        before = self._state.reach.get(number, _Reach())
        hops, ids = [], []
        for hop in resolution.hops if resolution.reachable else ():
            assert hop.gateway is not None, "the resolver names every gateway"
            try:
                ids.append(self.adjacencies.claim(hop.gateway, hop.ifindex))
            except CapacityError as error:
                self.events.add("adjacency-refused", str(hop.gateway), error.what, Severity.ERROR)
                continue
            hops.append(hop)
        self._state.reach[number] = _Reach(tuple(hops), tuple(ids))
        for adjacency in set(before.adjacencies) - set(ids):
            self._state.by_adjacency.get(adjacency, set()).discard(number)
        for adjacency in ids:
            self._state.by_adjacency.setdefault(adjacency, set()).add(number)
        for adjacency in before.adjacencies:
            self.adjacencies.release(adjacency)
        self._judge(number)

    def _judge(self, number: int) -> bool:
        """Note whether a next hop is dead; True when that changed."""
        dead = not any(self._usable(adjacency) for adjacency in self._state.reach[number].adjacencies)
        known = number in self._state.dead_next_hops
        (self._state.dead_next_hops.add if dead else self._state.dead_next_hops.discard)(number)
        return dead != known

    def _usable(self, adjacency: int) -> bool:
        assert self.adjacencies is not None
        seen = self.adjacencies.get(adjacency)
        return seen is not None and (seen.up or seen.pending)

    # -- what happens to paths ------------------------------------------------------------------------

    def adjacencies_changed(self, adjacencies: Iterable[int]) -> set[int]:
        """Adjacencies went up or down: the groups to be filled again."""
        touched = {number for adjacency in adjacencies for number in self._state.by_adjacency.get(adjacency, ())}
        groups: set[int] = set()
        for number in touched:
            self._judge(number)
            groups |= self.groups.using_next_hop(number)
        return groups

    def peer_lost(self, peer: int) -> set[int]:
        """A session is over and its routes are not kept: the groups to be filled again."""
        self._state.dead_peers.add(peer)
        return set(self.groups.using_peer(peer))

    def peer_back(self, peer: int) -> set[int]:
        """The session is up again: the groups to be filled again (those that its old routes still have)."""
        if peer not in self._state.dead_peers:
            return set()
        self._state.dead_peers.discard(peer)
        return set(self.groups.using_peer(peer))

    def hold_down(self, peers: Collection[int], next_hops: Collection[int]) -> set[int]:
        """These peers and next hops (ids), and no others, are unhealthy: the groups to be filled again."""
        state = self._state
        changed_peers = state.held_peers.symmetric_difference(peers)
        changed_next_hops = state.held_next_hops.symmetric_difference(next_hops)
        state.held_peers, state.held_next_hops = frozenset(peers), frozenset(next_hops)
        touched = [self.groups.using_peer(peer) for peer in changed_peers]
        touched += [self.groups.using_next_hop(number) for number in changed_next_hops]
        return set().union(*touched)

    # -- groups ---------------------------------------------------------------------------------------

    def live(self, group: int) -> tuple[Member, ...]:
        """The members that carry traffic now."""
        usable = self.usable(group)
        if self.arrange is None or not usable.active or usable.pinned:
            return usable.active  # an operator's pin is not for latency to move; once fallen back, the rest is
        return self.arrange(group, usable)

    def usable(self, group: int) -> Group:
        """A group without the members that cannot be used now; the unhealthy stay in where nobody else lives."""
        state = self._state
        alive = self.groups[group].without(state.dead_peers, state.dead_next_hops)
        if not (state.held_peers or state.held_next_hops):
            return alive
        healthy = alive.without(state.held_peers, state.held_next_hops)
        return healthy if healthy.active else alive

    def is_unhealthy(self, member: Member) -> bool:
        """True while health holds a member's peer or next hop down."""
        return member.peer in self._state.held_peers or member.next_hop in self._state.held_next_hops

    def is_held_peer(self, peer: int) -> bool:
        """True while health holds all paths of a peer down."""
        return peer in self._state.held_peers

    def is_held_next_hop(self, number: int) -> bool:
        """True while health holds all paths by a next hop down."""
        return number in self._state.held_next_hops

    def is_dead_peer(self, peer: int) -> bool:
        """True while a peer's session is lost and its routes are on their way out."""
        return peer in self._state.dead_peers

    def dead_next_hops(self) -> frozenset[int]:
        """Next hops that cannot be used now."""
        return frozenset(self._state.dead_next_hops)

    def spread(self, group: int) -> Spread:
        """What a group stores: adjacencies with weights, and the same as hops for the kernel.

        Adjacencies that are down are left out while another is usable. Where no member lives, the first active
        member's hops stand: their packets are passed to the kernel and forwarded as soon as one comes up."""
        return self._spread(self.live(group) or self.groups[group].active[:1])

    def _spread(self, members: tuple[Member, ...]) -> Spread:
        pairs: list[tuple[Hop, int, Fraction]] = []
        for member in members:
            reach = self._state.reach.get(member.next_hop, _Reach())
            ways = list(zip(reach.hops, reach.adjacencies, strict=True))
            usable = [way for way in ways if self._usable(way[1])] or ways
            if len(members) == len(usable) == 1:  # as mostly: nothing to share
                hop, number = usable[0]
                return [(number, 1)], [Hop(hop.gateway, hop.ifindex, 1)]
            total = sum(hop.weight for hop, _ in usable)
            pairs += [(hop, number, Fraction(member.weight * hop.weight, total)) for hop, number in usable]
        weights = shares([share for _, _, share in pairs])
        slots = [(number, weight) for (_, number, _), weight in zip(pairs, weights, strict=True)]
        return slots, _merge(Hop(h.gateway, h.ifindex, w) for (h, _, _), w in zip(pairs, weights, strict=True))

    def exits(self, next_hop: int) -> tuple[int, ...]:
        """The adjacencies by which a next hop is reached now."""
        reach = self._state.reach.get(next_hop)
        return tuple(filter(self._usable, reach.adjacencies)) if reach is not None else ()

    def ways_out(self) -> dict[int, set[int]]:
        """All adjacencies that next hops lead to, each with those next hops."""
        return self._state.by_adjacency

    def fill(self, groups: Iterable[int]) -> tuple[int, ...]:
        """Store these groups as they should be now; returns those that exist, ascending."""
        known = sorted(group for group in groups if group in self.groups)
        if known:
            self.planes.set_groups(self._spreads(known))
            self.written[known] = True
        return tuple(known)

    def _spreads(self, groups: Iterable[int]) -> Iterator[tuple[int, Spread]]:
        """Many groups are left with the same members."""
        known: dict[tuple[Member, ...], Spread] = {}
        for group in groups:
            members = self.live(group) or self.groups[group].active[:1]
            if members not in known:
                known[members] = self._spread(members)
            yield group, known[members]

    def prepare(self, new: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> None:
        """Before prefixes point at them: store groups that were never stored."""
        self.watch_fresh()
        missing = new.compress(~self.written.take(new))
        if len(missing):
            self.fill(np.unique(missing).tolist())

    def prepare_few(self, few: FewChanges) -> None:
        """The same for the prefixes of a single UPDATE."""
        for move in few.moves:
            if move[5] and not self._written_view[move[5]]:
                self.fill([move[5]])

    def freed(self, groups: Iterable[int]) -> None:
        """Group ids went back to the table: clear them below."""
        for group in groups:
            self.planes.free_group(group)
            self.written[group] = False


def shares(parts: list[Fraction]) -> list[int]:
    """Fractions as the smallest integers of the same ratio."""
    if not parts:
        return []
    scale = lcm(*(part.denominator for part in parts))
    whole = [int(part * scale) for part in parts]
    common = gcd(*whole)
    return [number // common for number in whole]


def _merge(hops: Iterable[Hop]) -> list[Hop]:
    """Hops with equal gateway and link as one, weights added."""
    total: dict[tuple[IPAddress | None, int], int] = {}
    for hop in hops:
        total[hop.gateway, hop.ifindex] = total.get((hop.gateway, hop.ifindex), 0) + hop.weight
    return [Hop(gateway, ifindex, weight) for (gateway, ifindex), weight in total.items()]
