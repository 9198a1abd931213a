"""How an override stands: in force, fallen back to BGP and why, or with nothing to act on.

A pin of one prefix is looked up in the group that the prefix points at: what carries its traffic now. For everything
under a prefix the target itself is asked, and how many prefixes follow it is counted by columns (`reach`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.peers import PeerTable, Phase
from bgpbridge.policy.overrides import Members, Override, Scope
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.types import IPAddress, OverrideKind

__all__ = ["Reach", "Standing", "State", "Watch", "reach"]

SCAN = 65_536
USABLE = frozenset({Phase.ESTABLISHED, Phase.STALE})  # routes of a restarting peer are kept and used (RFC 4724)


class State(enum.StrEnum):
    """What has become of an override."""

    IN_FORCE = "in force"
    FALLEN_BACK = "fallen back"
    IDLE = "no route"
    EXPIRED = "expired"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Standing:
    """`why` is there when it is not in force."""

    state: State
    why: str = ""


@dataclass(slots=True)
class Watch:
    """Asks tables, sessions and paths."""

    rib: Rib
    peers: PeerTable
    paths: Paths
    members: Callable[[Override], Members]

    def standing(self, one: Override) -> Standing:
        """As it is now. For everything under a prefix it is not looked whether there is a route."""
        if not one.or_longer:
            return self._of_prefix(one)
        why = self.target_gone(one)
        return Standing(State.FALLEN_BACK, why) if why else Standing(State.IN_FORCE)

    def _of_prefix(self, one: Override) -> Standing:
        tables = self.rib.families[one.prefix.family]
        row = tables.prefixes.row(one.prefix)
        group = int(tables.group[row]) if row else 0
        if not group and one.kind is not OverrideKind.REJECT:
            return Standing(State.IDLE, "BGP has no usable path for it, and an override makes none")
        if one.kind is OverrideKind.PIN and group != BLACKHOLE:
            if self.paths.usable(group).pinned:
                return Standing(State.IN_FORCE)
            return Standing(State.FALLEN_BACK, self.target_gone(one) or self._no_path(one))
        why = self.target_gone(one)
        return Standing(State.FALLEN_BACK, why) if why else Standing(State.IN_FORCE)

    def _no_path(self, one: Override) -> str:
        return f"{one.target} has no usable path for {one.prefix}"

    def target_gone(self, one: Override) -> str:
        """Why nothing of the target can be used; empty when something can, or all paths are meant."""
        if one.target is None:
            return ""
        members = self.members(one)
        reasons = [self._peer_gone(name) for name in members.peers]
        if one.kind is OverrideKind.PIN:
            reasons += [self._next_hop_gone(address) for address in members.next_hops]
        elif members.next_hops:
            return ""  # which paths have that next hop is not known without a look at all
        if not reasons:
            return f"{one.target} is not there"
        return "; ".join(dict.fromkeys(reasons)) if all(reasons) else ""

    def _peer_gone(self, name: str) -> str:
        peer = self.peers.named(name)
        if peer is None:
            return f"there is no peer {name} any more"
        if self.paths.is_dead_peer(peer.index) or peer.phase not in USABLE:
            return f"the session with {name} is lost"
        return f"{name} is unhealthy" if self.paths.is_held_peer(peer.index) else ""

    def _next_hop_gone(self, address: IPAddress) -> str:
        number = self.rib.next_hops.intern(address)
        resolution = self.rib.next_hops.resolution(number)
        if not resolution.reachable:
            return f"next hop {address}: {resolution.reason}"
        if number in self.paths.dead_next_hops():
            return f"next hop {address}: no adjacency is up"
        return f"next hop {address} is unhealthy" if self.paths.is_held_next_hop(number) else ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How many prefixes with a route an override decides on, and how many of them go by its pin."""

    prefixes: int = 0
    pinned: int = 0


def reach(rib: Rib, paths: Paths) -> Iterator[dict[Scope, Reach] | None]:
    """By scope, counted in slices: None until the last value. A million prefixes take some tens of milliseconds."""
    total: dict[Scope, Reach] = {}
    for tables in rib.families.values():
        table = tables.overrides
        if table is None:
            continue
        routed, pinned = np.zeros(len(table) + 1, np.int64), np.zeros(len(table) + 1, np.int64)
        by_pin = np.zeros(rib.groups.limit + 1, np.bool_)
        by_pin[[number for number in rib.groups.ids() if paths.usable(number).pinned]] = True
        for first, last in tables.chunks(SCAN):
            groups = tables.group[first:last]
            numbers = table.numbers(*tables.prefixes.columns(np.arange(first, last)))
            routed += np.bincount(numbers.compress(groups != 0), minlength=len(routed))
            pinned += np.bincount(numbers.compress(by_pin.take(groups)), minlength=len(routed))
            yield None
        for number, entry in enumerate(table.entries, 1):
            total[entry.prefix, entry.or_longer] = Reach(int(routed[number]), int(pinned[number]))
    yield total
