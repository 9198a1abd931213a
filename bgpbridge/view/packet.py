"""`packet`: what would happen to this packet? The real program on the live maps, and why BGP has it so."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

from bgpbridge.datapath import frames
from bgpbridge.datapath.abi import Place, TagFlag
from bgpbridge.datapath.packets import differences, packet_head
from bgpbridge.datapath.twin import LARGEST, Answer
from bgpbridge.errors import AbsentError, UsageError
from bgpbridge.fib.observed import Link
from bgpbridge.fib.places import place_of
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.tracing import NO_XDP
from bgpbridge.rib import lookups
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.view.explain import LossView, PolicyView, losses, policy_of
from bgpbridge.view.fib import KernelRouteView, kernel_route
from bgpbridge.view.routes import RouteView, route_view
from bgpbridge.view.way import WayView, member_of, prefix_of, way

__all__ = ["Asked", "Ingress", "PacketView", "frame_of", "packet", "packet_view", "packets"]

ICMP, ICMP6 = 1, 58
MACS, ETHERNET, TAG = 12, 14, 4
HEADERS = {Family.IPV4: 20, Family.IPV6: 40}
TRANSPORT = {ICMP: 16, ICMP6: 16, 6: 20, 17: 8}


@dataclass(frozen=True, slots=True)
class Asked:
    """A packet as somebody describes it. `source` None is a neighbour on that link, or an address for documentation;
    `octets` are those of the IP packet, None for as few as may be; `vlan` None is untagged, on a VLAN
    interface: but for its own tag."""

    interface: str
    to: IPAddress
    source: IPAddress | None = None
    protocol: int = 17
    sport: int = 40_000
    dport: int = 33_434
    octets: int | None = None
    ttl: int = 64
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class PacketView:
    """A packet and its way. `changes` are what the program edits in it. Where a path of BGP is behind it: `route` is
    that path, `decided` the step at which the last of the others lost, `policy` the line that let it in. `kernel` is
    what the kernel has for the destination, and so what becomes of a packet that is passed."""

    number: int
    way: WayView
    changes: tuple[str, ...]
    route: RouteView | None
    decided: LossView | None
    policy: PolicyView | None
    kernel: KernelRouteView | None
    note: str = ""


async def packet(bridge: Bridge, asked: Asked) -> PacketView:
    """What would happen to one packet. Raises UsageError for one that there cannot be."""
    datapath, ingress = _ingress(bridge, asked.interface)
    frame = frame_of(bridge, ingress, asked)
    twin = await datapath.twin()
    return packet_view(bridge, 1, frame, twin.run(frame, ingress.port))


async def packets(bridge: Bridge, interface: str, captured: list[bytes]) -> list[PacketView]:
    """What would happen to these frames, if they came in there; on a VLAN interface a capture shows them without the
    tags that they bear on the port. Raises UsageError."""
    datapath, ingress = _ingress(bridge, interface)
    views = []
    for number, seen in enumerate(captured, 1):
        frame = seen[:MACS] + ingress.head + seen[MACS:]
        twin = await datapath.twin()  # an upgrade may come between two frames
        views.append(packet_view(bridge, number, frame, twin.run(frame, ingress.port)))
        await asyncio.sleep(0)
    return views


@dataclass(frozen=True, slots=True)
class Ingress:
    """An interface that packets come in by, the port on which they meet the program, and the tags that they bear there,
    the outer one first: each its ethertype and id."""

    link: Link
    port: int
    tags: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, link: Link, place: Place) -> Ingress:
        """At its place."""
        flags = [tag for tag in (place.outer, place.inner) if tag]
        service = [bool(tag & TagFlag.SERVICE) for tag in flags]
        kinds = [frames.ETH_8021AD if one else frames.ETH_8021Q for one in service]
        return cls(link, place.ifindex, tuple((kind, tag & 0xFFF) for kind, tag in zip(kinds, flags, strict=True)))

    @property
    def head(self) -> bytes:
        """The tags as octets."""
        return b"".join(struct.pack("!HH", *tag) for tag in self.tags)


def _ingress(bridge: Bridge, name: str) -> tuple[Datapath, Ingress]:
    """An interface that packets meet the program on, or below which they do."""
    datapath = bridge.datapath
    if datapath is None:
        raise UsageError("there is no XDP here that could be asked", mend=NO_XDP)
    links = bridge.watcher.state.links
    ours = ", ".join(sorted(links[ifindex].name for ifindex in datapath.attached if ifindex in links)) or "none now"
    link = next((link for link in links.values() if link.name == name), None)
    if link is None:
        raise AbsentError(f"there is no interface {name}", mend=f"those with XDP are: {ours}")
    place = place_of(links, link.ifindex)
    if place.tags and place.ifindex in datapath.attached:
        return datapath, Ingress.of(link, place)
    if link.ifindex not in datapath.attached:
        raise UsageError(f"XDP is not on {name}: what comes in there is the kernel's", mend=f"it is on: {ours}")
    return datapath, Ingress(link, link.ifindex)


# -- the frame --------------------------------------------------------------------------------------------


def frame_of(bridge: Bridge, ingress: Ingress, asked: Asked) -> bytes:
    """The frame that was described, as a neighbour on that link would send it. Raises UsageError."""
    family, link = Family.of(asked.to), ingress.link
    source = asked.source or _neighbour(bridge, link, family)
    tags = ingress.tags if asked.vlan is None else (*ingress.tags, (frames.ETH_8021Q, asked.vlan))
    if Family.of(source) is not family:
        what = f"a packet from {source} to {asked.to} would be of two families"
        raise UsageError(what, mend=f"{Family.of(asked.to).label} addresses for both")
    protocol = ICMP6 if asked.protocol == ICMP and family is Family.IPV6 else asked.protocol
    payload = _payload(asked, protocol, HEADERS[family], LARGEST - ETHERNET - TAG * len(tags))
    if family is Family.IPV4:
        body = frames.ipv4(payload, dst=str(asked.to), src=str(source), protocol=protocol, ttl=asked.ttl)
        kind = frames.ETH_IPV4
    else:
        body = frames.ipv6(payload, dst=str(asked.to), src=str(source), next_header=protocol, hop_limit=asked.ttl)
        kind = frames.ETH_IPV6
    return frames.stacked(body, tags, kind, dst=link.mac)


def _neighbour(bridge: Bridge, link: Link, family: Family) -> IPAddress:
    known = (
        address
        for ifindex, address in bridge.watcher.state.neighbours
        if ifindex == link.ifindex and Family.of(address) is family and not address.is_link_local
    )
    documentation = Prefix.parse("192.0.2.2" if family is Family.IPV4 else "2001:db8:f::2").address
    return min(known, key=int, default=documentation)


def _payload(asked: Asked, protocol: int, header: int, most: int) -> bytes:
    """What is behind the IP header, as long as it has to be in a packet of `most` octets."""
    least = header + TRANSPORT.get(protocol, 0)
    octets = least if asked.octets is None else asked.octets
    if not least <= octets <= most:
        what = f"a packet of {octets} octets with these headers cannot be tried"
        raise UsageError(what, mend=f"{least} to {most} octets, IP header included")
    rest = bytes(octets - least)
    if protocol == 17:
        return frames.udp(asked.sport, asked.dport, rest)
    if protocol == 6:
        return frames.tcp(asked.sport, asked.dport, data=rest)
    if protocol == ICMP:
        return frames.icmp(data=bytes(12) + rest)
    if protocol == ICMP6:
        return frames.icmp(kind=128, data=bytes(12) + rest)
    return rest


# -- the answer -------------------------------------------------------------------------------------------


def packet_view(bridge: Bridge, number: int, frame: bytes, answer: Answer) -> PacketView:
    """The way that the program says, and what of BGP is behind it."""
    head, noted = packet_head(frame), answer.noted
    prefix = prefix_of(bridge, head.destination)
    path = _path(bridge, prefix, noted.group, noted.adjacency)
    decision = lookups.explain(bridge.rib, prefix) if prefix is not None and path is not None else None
    lost = losses(bridge, decision) if decision is not None else []
    return PacketView(
        number=number,
        way=way(bridge, noted, head),
        changes=differences(frame, answer.run.frame),
        route=route_view(bridge, path) if path is not None else None,
        decided=max(lost, key=lambda loss: loss.step, default=None),
        policy=policy_of(bridge, path) if path is not None else None,
        kernel=kernel_route(bridge, head.destination) if head.destination is not None else None,
        note=_note(bridge, prefix, noted.group),
    )


def _path(bridge: Bridge, prefix: Prefix | None, group: int, adjacency: int) -> lookups.Path | None:
    """The path that the packet's slot belongs to; where it has none, the best one of its prefix."""
    if prefix is None or group == 0:
        return None
    paths = lookups.paths(bridge.rib, prefix)
    member = member_of(bridge, group, adjacency)
    if member is not None:
        return next((one for one in paths if (one.peer, one.next_hop) == member[:2]), None)
    return next((one for one in paths if one.status is lookups.Status.BEST), None)


def _note(bridge: Bridge, prefix: Prefix | None, group: int) -> str:
    """Where the program's group is not the Loc-RIB's."""
    wanted = lookups.group_of(bridge.rib, prefix) if prefix is not None else 0
    if group in (0, 1) or wanted == group:
        return ""
    return f"the Loc-RIB wants group {wanted or 'none'} for it: `bgpbridge audit` looks into that"
