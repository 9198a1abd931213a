"""Ethernet frames built from parts: for test runs of the datapath, by the tests and by `bgpbridge packet`.

Plain octets, no parsing. Checksums are computed here from scratch, so a frame that the program edited
incrementally is compared with one that was summed anew. MACs are those of RFC 7042 s2.1.2 (documentation).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

__all__ = [
    "ETH_8021AD",
    "ETH_8021Q",
    "ETH_IPV4",
    "ETH_IPV6",
    "NEXT_HOP_MAC",
    "ROUTER_MAC",
    "SENDER_MAC",
    "checksum",
    "ethernet",
    "icmp",
    "ipv4",
    "ipv6",
    "mac",
    "stacked",
    "tagged",
    "tcp",
    "udp",
]

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_8021Q, ETH_8021AD = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88A8
ICMP, TCP, UDP = 1, 6, 17


def mac(text: str) -> bytes:
    """The 6 octets of `00:00:5e:00:53:01`."""
    return bytes.fromhex(text.replace(":", ""))


SENDER_MAC, ROUTER_MAC, NEXT_HOP_MAC = mac("00:00:5e:00:53:01"), mac("00:00:5e:00:53:02"), mac("00:00:5e:00:53:03")


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071) of octets whose checksum field is zero."""
    padded = octets + b"\0" * (len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(
    payload: bytes, kind: int = ETH_IPV4, *, dst: bytes = ROUTER_MAC, src: bytes = SENDER_MAC, pad: int = 0
) -> bytes:
    """A frame without FCS; `pad` zero octets follow the payload, as on short frames."""
    return dst + src + struct.pack("!H", kind) + payload + bytes(pad)


def tagged(
    payload: bytes,
    vlan: int,
    kind: int = ETH_IPV4,
    *,
    tpid: int = ETH_8021Q,
    dst: bytes = ROUTER_MAC,
    src: bytes = SENDER_MAC,
) -> bytes:
    """A frame with one 802.1Q (or 802.1ad) tag."""
    return ethernet(struct.pack("!HH", vlan, kind) + payload, tpid, dst=dst, src=src)


def stacked(
    payload: bytes,
    tags: Iterable[tuple[int, int]],
    kind: int = ETH_IPV4,
    *,
    dst: bytes = ROUTER_MAC,
    src: bytes = SENDER_MAC,
) -> bytes:
    """A frame with any number of tags, each (ethertype, TCI), the outer one first."""
    head = b"".join(struct.pack("!HH", *tag) for tag in tags)
    return dst + src + head + struct.pack("!H", kind) + payload


def ipv4(
    payload: bytes = b"",
    *,
    dst: str,
    src: str = "192.0.2.2",
    protocol: int = UDP,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0x1234,
    fragment: int = 0,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    total: int | None = None,
    check: int | None = None,
) -> bytes:
    """An IPv4 packet. `fragment` is the whole field (flags and offset); `options` a multiple of 4 octets.
    `ihl`, `total` and `check` are what is right unless one is given, right or wrong."""
    ihl = 5 + len(options) // 4 if ihl is None else ihl
    total = 20 + len(options) + len(payload) if total is None else total
    addresses = ipaddress.IPv4Address(src).packed + ipaddress.IPv4Address(dst).packed + options
    head = struct.pack("!BBHHHBB", version << 4 | ihl, tos, total, ident, fragment, ttl, protocol)
    check = checksum(head + b"\0\0" + addresses) if check is None else check
    return head + struct.pack("!H", check) + addresses + payload


def ipv6(
    payload: bytes = b"",
    *,
    dst: str,
    src: str = "2001:db8:f::2",
    next_header: int = UDP,
    hop_limit: int = 64,
    flow: int = 0,
    version: int = 6,
    length: int | None = None,
) -> bytes:
    """An IPv6 packet; `flow` is traffic class and flow label (28 bits)."""
    length = len(payload) if length is None else length
    head = struct.pack("!IHBB", version << 28 | flow, length, next_header, hop_limit)
    return head + ipaddress.IPv6Address(src).packed + ipaddress.IPv6Address(dst).packed + payload


def udp(sport: int = 4000, dport: int = 53, data: bytes = b"bgpbridge") -> bytes:
    """A UDP datagram with its checksum left out (0), as IPv4 allows."""
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


def tcp(
    sport: int = 4000, dport: int = 179, flags: int = 0x02, data: bytes = b"", *, sequence: int = 1, acked: int = 0
) -> bytes:
    """A TCP segment (SYN unless told otherwise) with a checksum of zero: a router does not look."""
    return struct.pack("!HHIIBBHHH", sport, dport, sequence, acked, 5 << 4, flags, 1024, 0, 0) + data


def icmp(kind: int = 8, code: int = 0, data: bytes = bytes(8)) -> bytes:
    """An ICMP or ICMPv6 message, echo request unless told otherwise, checksum of ICMP for IPv4."""
    head = struct.pack("!BBH", kind, code, 0)
    return head[:2] + struct.pack("!H", checksum(head + data)) + data
