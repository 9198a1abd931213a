"""A frame as operators speak of it: `UDP 192.0.2.2:4000 > 198.51.100.7:53, TTL 64`. For `packet` and `trace`.

It reads what is there and stops, with a word, where the octets do: nothing here judges a packet, that is the program's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from bgpbridge.datapath.frames import ETH_8021AD, ETH_8021Q, ETH_ARP, ETH_IPV4, ETH_IPV6, ICMP, TCP, UDP

if TYPE_CHECKING:
    from bgpbridge.types import IPAddress

__all__ = ["PROTOCOLS", "PacketHead", "differences", "packet_head"]

# IANA's protocol numbers, as far as people know them by a name
PROTOCOLS = {
    0: "hop-by-hop",
    ICMP: "ICMP",
    2: "IGMP",
    4: "IPv4 inside",
    TCP: "TCP",
    UDP: "UDP",
    33: "DCCP",
    41: "IPv6 inside",
    43: "routing header",
    44: "fragment",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    59: "no next header",
    60: "destination options",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    132: "SCTP",
    136: "UDP-Lite",
}
WITH_PORTS = (TCP, UDP, 33, 132, 136)
OTHER_KINDS = {ETH_ARP: "ARP", 0x8847: "MPLS", 0x88CC: "LLDP", 0x8864: "PPPoE", 0x88E5: "MACsec"}
TAGS = {ETH_8021Q: "VLAN", ETH_8021AD: "service VLAN"}
MORE_FRAGMENTS, OFFSET = 0x2000, 0x1FFF


@dataclass(frozen=True, slots=True)
class PacketHead:
    """What a frame says of itself. `hops`: TTL or hop limit. Addresses are None where there are none to read."""

    text: str
    source: IPAddress | None = None
    destination: IPAddress | None = None
    hops: int | None = None
    tags: tuple[str, ...] = ()


def packet_head(frame: bytes) -> PacketHead:
    """The head of a frame, which may end anywhere."""
    if len(frame) < 14:
        return PacketHead("cut off in the Ethernet header")
    kind, at = int.from_bytes(frame[12:14], "big"), 14
    tags: list[str] = []
    while kind in TAGS and len(frame) >= at + 4:
        tci, following = struct.unpack_from("!HH", frame, at)
        tags.append(f"{TAGS[kind]} {tci & 0xFFF}")
        kind, at = following, at + 4
    head = _inside(kind, frame[at:])
    text = ", ".join([head.text, *tags])
    return PacketHead(text, head.source, head.destination, head.hops, tuple(tags))


def _inside(kind: int, packet: bytes) -> PacketHead:
    if kind == ETH_IPV4:
        return _ipv4(packet)
    if kind == ETH_IPV6:
        return _ipv6(packet)
    return PacketHead(OTHER_KINDS.get(kind, f"ethertype 0x{kind:04x}"))


def _ipv4(packet: bytes) -> PacketHead:
    if len(packet) < 20:
        return PacketHead("IPv4, cut off in its header")
    fragment, hops, protocol = struct.unpack_from("!HBB", packet, 6)
    ends = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    payload = packet[(packet[0] & 15) * 4 :]
    part = ""
    if fragment & (MORE_FRAGMENTS | OFFSET):
        payload, part = b"", f", fragment at {(fragment & OFFSET) * 8}"
    return PacketHead(_flow(protocol, ends, payload) + f"{part}, TTL {hops}", *ends, hops)


def _ipv6(packet: bytes) -> PacketHead:
    if len(packet) < 40:
        return PacketHead("IPv6, cut off in its header")
    protocol, hops = packet[6], packet[7]
    ends = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    return PacketHead(_flow(protocol, ends, packet[40:]) + f", hop limit {hops}", *ends, hops)


def _flow(protocol: int, ends: tuple[IPAddress, IPAddress], payload: bytes) -> str:
    name = PROTOCOLS.get(protocol, f"protocol {protocol}")
    if protocol not in WITH_PORTS or len(payload) < 4:
        return f"{name} {ends[0]} > {ends[1]}"
    ports = struct.unpack_from("!HH", payload)
    source, destination = (
        f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        for address, port in zip(ends, ports, strict=True)
    )
    return f"{name} {source} > {destination}"


def differences(before: bytes, after: bytes) -> tuple[str, ...]:
    """What the program changed in a frame, in words; nothing where it left it as it was."""
    if before == after:
        return ()
    first, last = packet_head(before), packet_head(after)
    rows = [
        ("destination MAC", before[:6].hex(":"), after[:6].hex(":")),
        ("source MAC", before[6:12].hex(":"), after[6:12].hex(":")),
        ("tags", " in ".join(reversed(first.tags)) or "none", " in ".join(reversed(last.tags)) or "none"),
        ("TTL" if first.source is None or first.source.version == 4 else "hop limit", first.hops, last.hops),
    ]
    return tuple(f"{what} {old} to {new}" for what, old, new in rows if old != new)
