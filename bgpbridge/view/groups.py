"""`groups` and `adjacencies`: what prefixes point at, and where packets really go now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bgpbridge.datapath.counters import Count, read_adjacencies, read_group
from bgpbridge.errors import AbsentError
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib.groups import BLACKHOLE, LOCAL, PINNED, Member
from bgpbridge.view.paths import group_words

__all__ = ["UNHEALTHY", "AdjacencyView", "GroupView", "MemberView", "adjacencies", "group", "groups"]

UNHEALTHY = "unhealthy: "  # so begins `why` of a member that health holds down
SLICE = 50  # groups between two waits
RESERVED = {LOCAL: "punt: left to the kernel", BLACKHOLE: "blackhole: dropped"}


@dataclass(frozen=True, slots=True)
class MemberView:
    """One path of a group. `live`: it may carry traffic now; `carries`: it does. `why` when it does not live."""

    peer: str
    next_hop: str
    weight: int
    backup: bool
    live: bool
    carries: bool
    why: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """A next-hop group. `slots` counts its slots by adjacency id, as they stand in the map. `latency` says what that
    does, or would do, where it is not what BGP has. `packets` and `octets` count what XDP forwarded by it."""

    id: int
    prefixes: int
    members: tuple[MemberView, ...]
    slots: dict[int, int]
    flags: str
    latency: str = ""
    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class AdjacencyView:
    """A neighbour that packets can be sent to. `packets` and `octets` count what XDP sent there."""

    id: int
    gateway: str
    link: str
    ifindex: int
    mac: str
    mtu: int
    up: bool
    reason: str
    references: int
    packets: int
    octets: int


def groups(bridge: Bridge, limit: int = 0) -> Iterator[list[GroupView]]:
    """Groups, the most used first, in slices of a few milliseconds; one that goes meanwhile is left out. `limit` 0
    means all."""
    table = bridge.rib.groups
    known = np.array(table.ids(), np.int64)
    used = known[np.argsort(-table.refs[known], kind="stable")][: limit or None].tolist()
    for first in range(0, len(used), SLICE):
        yield [group(bridge, number) for number in used[first : first + SLICE] if number in table]


def group(bridge: Bridge, number: int) -> GroupView:
    """One group. Raises UsageError when there is none of that id."""
    table = bridge.rib.groups
    if number in RESERVED:
        return GroupView(number, 0, (), {}, RESERVED[number])
    if number not in table:
        raise AbsentError(f"there is no group {number}", mend="`bgpbridge groups` lists those that there are")
    carries = {(member.peer, member.next_hop) for member in bridge.paths.live(number)}
    found = table[number]
    members = [_member(bridge, member, carries, backup=False) for member in found.active]
    members += [_member(bridge, member, carries, backup=True) for member in found.backup]
    xdp = bridge.planes.xdp
    slots = dict(sorted(Counter(xdp.slots(number).tolist()).items())) if xdp is not None else {}
    flags = ", ".join(flag.name.lower() for flag in xdp.flags(number) if flag.name) if xdp is not None else ""
    sent = read_group(bridge.datapath.maps, number) if bridge.datapath is not None else Count(0, 0)
    return GroupView(
        number,
        int(table.refs[number]),
        tuple(members),
        slots,
        flags or "invalid",
        group_words(bridge, number),
        sent.packets,
        sent.octets,
    )


def _member(bridge: Bridge, member: Member, carries: set[tuple[int, int]], *, backup: bool) -> MemberView:
    hop = bridge.rib.next_hops[member.next_hop]
    why = _why_dead(bridge, member)
    address = str(hop.address) + (f" ({hop.link_local})" if hop.link_local is not None else "")
    name = bridge.peers.name(member.peer)
    weight = member.weight >> PINNED or member.weight
    return MemberView(name, address, weight, backup, not why, member[:2] in carries, why)


def _why_dead(bridge: Bridge, member: Member) -> str:
    """Why a member cannot carry traffic; empty when it can."""
    if bridge.paths.is_dead_peer(member.peer):
        return "session lost"
    resolution = bridge.rib.next_hops.resolution(member.next_hop)
    if not resolution.reachable:
        return resolution.reason
    if member.next_hop in bridge.paths.dead_next_hops():
        return "no adjacency is up"
    if not bridge.paths.is_unhealthy(member):
        return ""
    return f"{UNHEALTHY}{bridge.health.why(member.peer, member.next_hop)}"


def adjacencies(bridge: Bridge) -> list[AdjacencyView]:
    """All adjacencies by id."""
    counts = read_adjacencies(bridge.datapath.maps) if bridge.datapath is not None else {}
    views = []
    for seen in bridge.adjacencies.view():
        count = counts.get(seen.id)
        packets, octets = (count.packets, count.octets) if count is not None else (0, 0)
        gateway = str(seen.gateway) if seen.gateway is not None else "unclaimed"
        views.append(
            AdjacencyView(
                seen.id,
                gateway,
                seen.link,
                seen.ifindex,
                seen.mac.hex(":"),
                seen.mtu,
                seen.up,
                seen.reason,
                seen.references,
                packets,
                octets,
            )
        )
    return views
