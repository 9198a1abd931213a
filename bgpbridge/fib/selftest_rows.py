"""The frames of the self-test: what comes in, what it must count as, and every octet of what must leave.

Frames that leave are built and summed from scratch (`frames`), never taken from the program. Both families are asked
the same; the routes are those of `rig`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bgpbridge.datapath import frames
from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, ethernet, icmp, ipv4, ipv6, stacked, tcp, udp
from bgpbridge.fib.rig import SECOND_HOP_MAC, VLAN_MAC
from bgpbridge.types import Family

__all__ = ["Case", "cases"]

V4, V6 = Family.IPV4, Family.IPV6
ETHERTYPES: Final = {V4: frames.ETH_IPV4, V6: frames.ETH_IPV6}
NAMES: Final = {V4: "IPv4", V6: "IPv6"}
HEADERS: Final = {V4: 20, V6: 40}
MTU: Final = 1500
TO: Final = {V4: "198.51.100.7", V6: "2001:db8:1::7"}
SPREAD: Final = {V4: "203.0.113.9", V6: "2001:db8:2::9"}
Tags = tuple[tuple[int, int], ...]
VLAN100: Final[Tags] = ((frames.ETH_8021Q, 100),)
VLAN10: Final[Tags] = ((frames.ETH_8021Q, 10),)
SERVICE40: Final[Tags] = ((frames.ETH_8021AD, 40),)
STACK: Final[Tags] = ((frames.ETH_8021AD, 20), (frames.ETH_8021Q, 30))
EXITS: Final[dict[Tags, dict[Family, str]]] = {
    (): TO,
    VLAN10: {V4: "198.18.8.1", V6: "2001:db8:10::1"},
    STACK: {V4: "198.18.9.1", V6: "2001:db8:11::1"},
    SERVICE40: {V4: "198.18.10.1", V6: "2001:db8:12::1"},
}
BY_DESTINATION: Final = (
    (Reason.PASS_NO_ROUTE, "100.64.0.1", "2001:db8:ff::1"),
    (Reason.PASS_NO_ROUTE, "198.18.7.1", "fd00::1"),
    (Reason.PASS_PUNT, "198.51.100.1", "2001:db8:1::1"),
    (Reason.PASS_PUNT, "192.0.2.77", "2001:db8:f::77"),
    (Reason.DROP_BLACKHOLE, "198.51.100.66", "2001:db8:1::66"),
    (Reason.PASS_ADJACENCY_DOWN, "198.18.1.1", "2001:db8:a::1"),
    (Reason.PASS_TX_PORT, "198.18.2.1", "2001:db8:b::1"),
    (Reason.PASS_NO_ADJACENCY, "198.18.3.1", "2001:db8:c::1"),
    (Reason.PASS_GROUP_INVALID, "198.18.4.1", "2001:db8:d::1"),
    (Reason.PASS_MULTICAST, "224.0.0.5", "ff02::5"),
    (Reason.PASS_LINK_LOCAL, "169.254.0.1", "fe80::1"),
    (Reason.PASS_MARTIAN, "127.0.0.1", "::1"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One frame: what it must count as, and how it must leave (`out`: as it came, or as one of these)."""

    name: str
    frame: bytes
    reason: Reason
    out: tuple[bytes, ...] = ()


def cases() -> Iterator[Case]:
    """The whole table."""
    for family in Family:
        yield from _forwarded(family)
        yield from _tagged(family)
        yield from _kept(family)
        yield from _cut(family)
    yield from _forwarded4()
    yield from _kept4()
    yield from _forwarded6()
    yield from _kept6()
    yield from _link()


def _packet(family: Family, payload: bytes, hops: int, **header: Any) -> bytes:
    """`hops`: TTL or hop limit; `protocol`: the next header."""
    header = {"dst": TO[family], **header}
    if family is V4:
        return ipv4(payload, ttl=hops, **header)
    return ipv6(payload, hop_limit=hops, next_header=header.pop("protocol", frames.UDP), **header)


def _sent(
    family: Family,
    name: str,
    payload: bytes | None = None,
    *,
    hops: int = 64,
    by: tuple[bytes, ...] = (NEXT_HOP_MAC,),
    came: Tags = (),
    leaves: Tags = (),
    **header: Any,
) -> Case:
    """One TTL less, MACs of the next hop (one `by`), the tags of the way out, all else as it came."""
    payload, kind = udp() if payload is None else payload, ETHERTYPES[family]
    mine = VLAN_MAC if came == SERVICE40 else ROUTER_MAC
    after = _packet(family, payload, hops - 1, **header)
    return Case(
        f"{NAMES[family]} {name}",
        stacked(_packet(family, payload, hops, **header), came, kind, dst=mine),
        Reason.FORWARDED,
        tuple(stacked(after, leaves, kind, dst=hop, src=ROUTER_MAC) for hop in by),
    )


def _left(
    family: Family,
    name: str,
    reason: Reason,
    payload: bytes | None = None,
    *,
    hops: int = 64,
    came: Tags = (),
    cut: int | None = None,
    **header: Any,
) -> Case:
    """To the kernel as it came, or dropped; after `cut` octets the frame ends."""
    packet = _packet(family, udp() if payload is None else payload, hops, **header)
    return Case(f"{NAMES[family]} {name}", stacked(packet, came, ETHERTYPES[family])[:cut], reason)


def _forwarded(family: Family) -> Iterator[Case]:
    yield _sent(family, "UDP")
    yield _sent(family, "TCP", tcp(data=bytes(100)), protocol=6)
    yield _sent(family, "ICMP", icmp(8 if family is V4 else 128), protocol=1 if family is V4 else 58)
    yield _sent(family, "ESP", bytes(24), protocol=50)
    yield _sent(family, "no payload", b"", protocol=59)
    yield _sent(family, "last hop but one", hops=2)
    yield _sent(family, "most hops", hops=255)
    yield _sent(family, "as large as the egress MTU", udp(data=bytes(MTU - HEADERS[family] - 8)))
    yield _sent(family, "one of two neighbours", dst=SPREAD[family], by=(NEXT_HOP_MAC, SECOND_HOP_MAC))


def _tagged(family: Family) -> Iterator[Case]:
    """Tags off, on, one for another, two; a VLAN that is nobody's."""
    for came in ((), VLAN100, SERVICE40, STACK):
        for leaves, to in EXITS.items():
            if came or leaves:
                name = f"{_words(came)} to {_words(leaves)}"
                yield _sent(family, name, tcp(), protocol=6, came=came, leaves=leaves, dst=to[family])
    yield _left(family, "in a VLAN that is nobody's", Reason.PASS_VLAN, came=((frames.ETH_8021Q, 101),))
    yield _left(family, "in an inner VLAN that is nobody's", Reason.PASS_VLAN, came=(*VLAN100, (frames.ETH_8021Q, 8)))
    yield _left(family, "to a VLAN's port, not its own MAC", Reason.PASS_NOT_FOR_US, came=SERVICE40)
    yield _left(family, "last hop in a VLAN", Reason.PASS_TTL, hops=1, came=STACK)


def _words(tags: Tags) -> str:
    return " in ".join(f"VLAN {tag}" for _, tag in reversed(tags)) or "untagged"


def _kept(family: Family) -> Iterator[Case]:
    for reason, *to in BY_DESTINATION:
        dst = to[family is V6]
        yield _left(family, f"to {dst}", reason, dst=dst)
    yield _left(family, "last hop", Reason.PASS_TTL, hops=1)
    yield _left(family, "no hops", Reason.PASS_TTL, hops=0)
    yield _left(family, "too large", Reason.PASS_MTU, udp(data=bytes(MTU - HEADERS[family] - 7)))
    yield _left(family, "of another version", Reason.PASS_BAD_HEADER, version=5)
    yield _left(family, "from loopback", Reason.PASS_MARTIAN, src="127.0.0.1" if family is V4 else "::1")


def _cut(family: Family) -> Iterator[Case]:
    """Ends at the edges of the headers: behind Ethernet's, in and behind IP's, in the ports; and with one tag more."""
    ip = HEADERS[family]
    for octets in (0, 1, ip - 1, ip, ip + 3):
        yield _left(family, f"cut after {octets} octets", Reason.PASS_SHORT, cut=14 + octets)
        yield _left(family, f"cut after {octets} octets in a VLAN", Reason.PASS_SHORT, cut=18 + octets, came=VLAN100)
    yield _left(family, "with ports of 3 octets", Reason.PASS_SHORT, bytes(3))


def _forwarded4() -> Iterator[Case]:
    yield _sent(V4, "with a type of service", tos=0xBB)
    yield _sent(V4, "Don't Fragment", fragment=0x4000)
    yield _sent(V4, "first fragment", udp(data=bytes(64)), fragment=0x2000)
    yield _sent(V4, "fragment in the middle", bytes(64), fragment=0x2000 | 9)
    yield _sent(V4, "last fragment, shorter than ports", bytes(2), fragment=185)
    yield _sent(V4, "whose checksum wraps", ident=_wrapping())


def _wrapping() -> int:
    """An identification with which one hop less carries the checksum over the end (RFC 1624)."""
    without = int.from_bytes(ipv4(udp(), dst=TO[V4], ident=0)[10:12], "big")
    return (without - 0xFEFF) % 0xFFFF


def _kept4() -> Iterator[Case]:
    yield _left(V4, "router alert", Reason.PASS_OPTIONS, options=b"\x94\x04\0\0")
    yield _left(V4, "options to the full", Reason.PASS_OPTIONS, options=b"\x01" * 40)
    yield _left(V4, "bad checksum", Reason.PASS_BAD_CHECKSUM, check=0x1234)
    yield _left(V4, "header of 4 words", Reason.PASS_BAD_HEADER, ihl=4)
    yield _left(V4, "longer than its frame", Reason.PASS_SHORT, total=1400)
    yield _left(V4, "over a small MTU", Reason.PASS_MTU, udp(data=bytes(549)), dst="198.18.5.1")
    yield _left(V4, "to a group that cannot be", Reason.PASS_GROUP_INVALID, dst="198.18.6.1")


def _forwarded6() -> Iterator[Case]:
    yield _sent(V6, "with traffic class and flow label", flow=0xFABCDEF)
    yield _sent(V6, "first fragment", _fragment(0, more=True) + udp(data=bytes(64)), protocol=44)
    yield _sent(V6, "last fragment", _fragment(9, more=False) + bytes(16), protocol=44)
    yield _sent(V6, "destination options", b"\x11\0\x01\x04\0\0\0\0" + udp(), protocol=60)


def _fragment(offset: int, *, more: bool) -> bytes:
    return struct.pack("!BBHI", frames.UDP, 0, offset << 3 | more, 0xCAFE)


def _kept6() -> Iterator[Case]:
    hop_by_hop = b"\x11\0\x01\x04\0\0\0\0" + udp()
    yield _left(V6, "hop-by-hop options", Reason.PASS_EXTENSION_HEADER, hop_by_hop, protocol=0)
    yield _left(V6, "longer than its frame", Reason.PASS_SHORT, length=1400)
    yield _left(V6, "over a small MTU", Reason.PASS_MTU, udp(data=bytes(529)), dst="2001:db8:e::1")
    yield _left(V6, "from an IPv4-mapped address", Reason.PASS_MARTIAN, src="::ffff:192.0.2.1")


def _link() -> Iterator[Case]:
    good = ipv4(udp(), dst=TO[V4])
    yield Case("to the broadcast MAC", ethernet(good, dst=b"\xff" * 6), Reason.PASS_L2_GROUP)
    yield Case("to another station", ethernet(good, dst=NEXT_HOP_MAC), Reason.PASS_NOT_FOR_US)
    yield Case("ARP to our MAC", ethernet(bytes(28), frames.ETH_ARP), Reason.PASS_NOT_IP)
    yield Case("with three tags", stacked(good, (*STACK, *VLAN10)), Reason.PASS_VLAN)
