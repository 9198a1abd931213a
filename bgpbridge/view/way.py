"""The way of one packet in words, for `packet` and `trace` alike: what the program noted, with the names that we have
for its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.datapath.packets import PacketHead
from bgpbridge.datapath.trace import Noted
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib import lookups
from bgpbridge.rib.groups import Member
from bgpbridge.types import IPAddress, Prefix

__all__ = ["WayView", "interface_name", "member_of", "prefix_of", "way"]


@dataclass(frozen=True, slots=True)
class WayView:
    """One packet: `octets` of its frame, `interface` that it came in by, the program's `verdict` and `reason`. `prefix`
    is the Loc-RIB's for its destination; `group`, `slot` (of `slots`) and `adjacency` are those that the program
    took, 0 or None where it came to none; `gateway` and `link` are the adjacency's; `peer` and `next_hop` those of the
    path that it belongs to."""

    packet: str
    octets: int
    interface: str
    verdict: str
    reason: str
    prefix: str
    group: int
    slot: int | None
    slots: int
    adjacency: int
    gateway: str
    link: str
    peer: str
    next_hop: str


def way(bridge: Bridge, noted: Noted, head: PacketHead) -> WayView:
    """What became of a packet. Names are those of now, numbers those of when it passed."""
    prefix = prefix_of(bridge, head.destination)
    seen = bridge.adjacencies.get(noted.adjacency) if noted.adjacency else None
    xdp = bridge.planes.xdp
    member = member_of(bridge, noted.group, noted.adjacency)
    return WayView(
        packet=head.text,
        octets=noted.octets,
        interface=interface_name(bridge, noted.ifindex),
        verdict=noted.reason.verdict.name.lower(),
        reason=noted.reason.label,
        prefix=str(prefix) if prefix is not None else "",
        group=noted.group,
        slot=noted.slot,
        slots=len(xdp.slots(noted.group)) if xdp is not None and noted.slot is not None else 0,
        adjacency=noted.adjacency,
        gateway=str(seen.gateway) if seen is not None and seen.gateway is not None else "",
        link=seen.link if seen is not None else "",
        peer=bridge.peers.name(member.peer) if member is not None else "",
        next_hop=str(bridge.rib.next_hops[member.next_hop].address) if member is not None else "",
    )


def prefix_of(bridge: Bridge, destination: IPAddress | None) -> Prefix | None:
    """The longest prefix with a route of ours that holds an address."""
    return lookups.longest(bridge.rib, destination) if destination is not None else None


def member_of(bridge: Bridge, group: int, adjacency: int) -> Member | None:
    """The path of a group that an adjacency belongs to; one that carries traffic before one that does not."""
    if not adjacency or group not in bridge.rib.groups:
        return None
    leads = bridge.paths.ways_out().get(adjacency, set())
    found = bridge.rib.groups[group]
    members = (*bridge.paths.live(group), *found.active, *found.backup)
    return next((member for member in members if member.next_hop in leads), None)


def interface_name(bridge: Bridge, ifindex: int) -> str:
    """As `ip link` has it; by its number where it has gone."""
    link = bridge.watcher.state.links.get(ifindex)
    return link.name if link is not None else f"interface {ifindex}"
