"""The octets of a probe, and what an answer quotes of it: IPv4 and IPv6 headers, the Internet checksum (RFC 1071),
ICMP errors. Only what probes need; no sockets.

Every probe is made whole here, IP header included, so that the same packet goes out however an exit is bound.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bgpbridge.types import IPAddress

__all__ = ["ICMP", "ICMPV6", "TCP", "UDP", "Quote", "checksum", "header", "quote", "transport_of", "with_checksum"]

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
HOP_LIMIT = 64
UNREACHABLE, UNREACHABLE_V6 = 3, 1  # ICMP types, RFC 792 and RFC 4443 s3.1
TIME_EXCEEDED, TIME_EXCEEDED_V6 = 11, 3
PORT_UNREACHABLE, PORT_UNREACHABLE_V6 = 3, 4  # codes


def checksum(octets: bytes) -> int:
    """The ones' complement of the ones' complement sum (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def with_checksum(source: IPAddress, target: IPAddress, protocol: int, octets: bytes, at: int) -> bytes:
    """A segment with its checksum at octet `at`, over the pseudo-header (RFC 9293 s3.1, RFC 768, RFC 8200 s8.1);
    ICMP of IPv4 has none. `octets` hold zeros there."""
    if protocol == ICMP:
        pseudo = b""
    elif source.version == 4:
        pseudo = source.packed + target.packed + struct.pack("!HH", protocol, len(octets))
    else:
        pseudo = source.packed + target.packed + struct.pack("!II", len(octets), protocol)
    value = checksum(pseudo + octets)
    if protocol == UDP and not value:
        value = 0xFFFF  # 0 would mean that there is none
    return octets[:at] + value.to_bytes(2, "big") + octets[at + 2 :]


def header(source: IPAddress, target: IPAddress, protocol: int, length: int, ident: int) -> bytes:
    """The IP header before `length` octets. `ident` is IPv4's identification; IPv6 has none."""
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, protocol, HOP_LIMIT) + source.packed + target.packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, ident, 0x4000, HOP_LIMIT, protocol, 0)
    head += source.packed + target.packed
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:]


def transport_of(packet: bytes) -> bytes:
    """What stands behind the IPv4 header, as raw sockets give it; empty for octets that are no such packet."""
    length = (packet[0] & 0xF) * 4 if packet else 0
    return packet[length:] if 20 <= length <= len(packet) else b""


@dataclass(frozen=True, slots=True)
class Quote:
    """What an ICMP error says, and quotes, of a packet of ours. `port` is true for port unreachable."""

    port: bool
    words: str
    target: IPAddress
    ident: int
    transport: bytes


def quote(message: bytes, version: int) -> Quote | None:
    """An ICMP error with the packet that it quotes (RFC 792, RFC 4443 s3); None for everything else."""
    if len(message) < 8:
        return None
    kind, code, inner = message[0], message[1], message[8:]
    unreachable, exceeded, port = (
        (UNREACHABLE, TIME_EXCEEDED, PORT_UNREACHABLE)
        if version == 4
        else (UNREACHABLE_V6, TIME_EXCEEDED_V6, PORT_UNREACHABLE_V6)
    )
    if kind not in {unreachable, exceeded} or len(inner) < (28 if version == 4 else 48):
        return None
    words = "time exceeded" if kind == exceeded else "port unreachable" if code == port else f"unreachable, code {code}"
    target: IPAddress
    if version == 4:
        target, ident, transport = IPv4Address(inner[16:20]), int.from_bytes(inner[4:6], "big"), transport_of(inner)
    else:
        target, ident, transport = IPv6Address(inner[24:40]), 0, inner[40:]
    if inner[0] >> 4 != version or len(transport) < 8:
        return None
    return Quote(kind == unreachable and code == port, words, target, ident, transport)
