"""rtnetlink octets to the values of `observed`, and the few requests that the watcher sends.

Our own small decoder instead of pyroute2's: it reads only the attributes that we use, 5-10 us a message where
pyroute2's takes 150, and the watcher may meet an IGP of 100,000 routes or a dump that holds a million of ours.
Constants are pyroute2's. Layouts: uapi/linux/netlink.h, rtnetlink.h, if_link.h, neighbour.h, nexthop.h, fib_rules.h.

Pure. The kernel is trusted, but a message shorter than its own lengths say is dropped (None), not an error.
"""

from __future__ import annotations

import ipaddress
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from bgpbridge.datapath.abi import TagFlag
from bgpbridge.fib.dump_requests import HEADER, RTMSG
from bgpbridge.fib.observed import Address, ForeignRoute, Link, Neighbour, NeighbourState, Nexthop, RouteType, Rule
from bgpbridge.fib.pyroute import NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, RTM_NEWNEIGH
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = [
    "HEADER",
    "RTMSG",
    "RTM_DELNEXTHOP",
    "RTM_GETNEXTHOP",
    "RTM_NEWNEXTHOP",
    "Message",
    "decode_address",
    "decode_link",
    "decode_neighbour",
    "decode_nexthop",
    "decode_route",
    "decode_rule",
    "hop_order",
    "messages",
    "neighbour_request",
]

RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106  # pyroute2 0.9 does not know them
ATTRIBUTE = struct.Struct("=HH")
IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBi")
NDMSG = struct.Struct("=BxxxiHBB")
RTNEXTHOP = struct.Struct("=HBBi")
NHMSG = struct.Struct("=BBBBI")
NEXTHOP_GROUP = struct.Struct("=IBBH")
U32 = struct.Struct("=I")

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
ROUTE_TYPES = tuple(RouteType)
FAMILIES = {AF_INET: Family.IPV4, AF_INET6: Family.IPV6}
IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x8, 0x40, 0x10000
CAN_SEND = IFF_UP | IFF_RUNNING | IFF_LOWER_UP
NTF_USE, NTF_PROXY, NTF_ROUTER = 0x01, 0x08, 0x80
RTM_F_CLONED = 0x200
IFLA_LINK_NETNSID = 37
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_VLAN_ID, IFLA_VLAN_EGRESS_QOS, IFLA_VLAN_PROTOCOL = 1, 3, 5
ETH_P_8021AD = b"\x88\xa8"


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message: its header, and its payload's place in the octets it came in."""

    type: int
    flags: int
    sequence: int
    port: int
    data: bytes
    start: int
    end: int


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset, size = 0, len(data)
    while offset + 16 <= size:
        length, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > size:
            return
        yield Message(kind, flags, sequence, port, data, offset + 16, offset + length)
        offset += (length + 3) & ~3


def attributes(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """Attributes by type, without the nested and byte-order bits. The last of a type wins."""
    found: dict[int, bytes] = {}
    while start + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if length < 4 or start + length > end:
            break
        found[kind & 0x3FFF] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


def decode_link(message: Message) -> Link | None:
    """RTM_NEWLINK, RTM_DELLINK. None for what is no state of a link: bridge ports, wireless events."""
    if message.end - message.start < 16:
        return None
    family, _, ifindex, flags, _ = IFINFO.unpack_from(message.data, message.start)
    found = attributes(message.data, message.start + 16, message.end)
    if family != AF_UNSPEC or 3 not in found or 4 not in found:
        return None
    info = attributes(found.get(18, b""), 0, len(found.get(18, b"")))
    return Link(
        ifindex=ifindex,
        name=_text(found[3]),
        mac=found.get(1, b""),
        mtu=_u32(found.get(4)),
        up=flags & CAN_SEND == CAN_SEND,
        kind=_text(info.get(1, b"")),
        master=_u32(found.get(10)),
        peer=_u32(found.get(5)),
        admin_up=bool(flags & IFF_UP),
        loopback=bool(flags & IFF_LOOPBACK),
        vlan=_vlan(info) if IFLA_LINK_NETNSID not in found else 0,
    )


def _vlan(info: dict[int, bytes]) -> int:
    """The tag of a VLAN interface as abi.Place has it, from IFLA_LINKINFO. None where priorities are mapped: they
    depend on more of a packet than XDP looks at."""
    if info.get(IFLA_INFO_KIND) != b"vlan\0":
        return 0
    data = attributes(info.get(IFLA_INFO_DATA, b""), 0, len(info.get(IFLA_INFO_DATA, b"")))
    number = int.from_bytes(data.get(IFLA_VLAN_ID, b""), sys.byteorder)
    if not number or IFLA_VLAN_EGRESS_QOS in data:
        return 0
    service = data.get(IFLA_VLAN_PROTOCOL) == ETH_P_8021AD
    return number | TagFlag.PRESENT | (TagFlag.SERVICE if service else 0)


def decode_address(message: Message) -> Address | None:
    """RTM_NEWADDR, RTM_DELADDR. IFA_LOCAL is ours and IFA_ADDRESS the other end's where the two differ."""
    if message.end - message.start < 8:
        return None
    family, length, _, _, ifindex = IFADDR.unpack_from(message.data, message.start)
    found = attributes(message.data, message.start + 8, message.end)
    if family not in FAMILIES or not (1 in found or 2 in found):
        return None
    ours, other = found.get(2, found.get(1, b"")), found.get(1)
    peer = _ip(other) if other is not None and other != ours else None
    return Address(ifindex, _ip(ours), length, peer)


def decode_neighbour(message: Message) -> Neighbour | None:
    """RTM_NEWNEIGH, RTM_DELNEIGH. None for bridge forwarding entries, proxies and multicast addresses, whose
    entries come without events."""
    if message.end - message.start < 12:
        return None
    family, ifindex, state, flags, _ = NDMSG.unpack_from(message.data, message.start)
    found = attributes(message.data, message.start + 12, message.end)
    if family not in FAMILIES or flags & NTF_PROXY or 1 not in found:
        return None
    address = _ip(found[1])
    if address.is_multicast:
        return None
    return Neighbour(ifindex, address, found.get(2, b""), NeighbourState(state), bool(flags & NTF_ROUTER))


def decode_route(message: Message) -> ForeignRoute | None:
    """RTM_NEWROUTE, RTM_DELROUTE, whoever's it is. None for cached routes and other families."""
    if message.end - message.start < 12:
        return None
    af, length, source_length, tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(message.data, message.start)
    if af not in FAMILIES or flags & RTM_F_CLONED or not 1 <= kind <= 9:
        return None
    family = FAMILIES[af]
    found = attributes(message.data, message.start + 12, message.end)
    value = int.from_bytes(found[1], "big") if 1 in found else 0
    return ForeignRoute(
        prefix=Prefix(family, value, length),
        table=_u32(found[15]) if 15 in found else table,
        protocol=protocol,
        metric=_u32(found.get(6)),
        type=ROUTE_TYPES[kind - 1],
        hops=_multipath(found[9]) if 9 in found else _single(found),
        scope=scope,
        tos=tos,
        source_length=source_length,
        nexthop_id=_u32(found.get(30)),
    )


def decode_nexthop(message: Message) -> Nexthop | None:
    """RTM_NEWNEXTHOP, RTM_DELNEXTHOP."""
    if message.end - message.start < 8:
        return None
    _, _, protocol, _, _ = NHMSG.unpack_from(message.data, message.start)
    found = attributes(message.data, message.start + 8, message.end)
    if 1 not in found:
        return None
    group: list[tuple[int, int]] = []
    if 2 in found:
        for number, low, high, _ in NEXTHOP_GROUP.iter_unpack(found[2][: len(found[2]) & ~7]):
            group.append((number, (high << 8 | low) + 1))
    hop = Hop(_ip(found[6]) if 6 in found else None, _u32(found[5])) if 5 in found else None
    return Nexthop(_u32(found[1]), protocol, hop, tuple(group), blackhole=4 in found)


def decode_rule(message: Message) -> Rule | None:
    """RTM_NEWRULE, RTM_DELRULE."""
    if message.end - message.start < 12:
        return None
    family, _, _, _, table, _, _, action, _ = RTMSG.unpack_from(message.data, message.start)
    found = attributes(message.data, message.start + 12, message.end)
    if family not in FAMILIES:
        return None
    return Rule(family, _u32(found.get(6)), _u32(found[15]) if 15 in found else table, action)


def neighbour_request(address: IPAddress, ifindex: int, *, probe: bool, sequence: int) -> bytes:
    """Ask the kernel about a neighbour. With `probe` a known one is asked by unicast now (NUD_PROBE keeps the MAC
    in use meanwhile); without, an unknown one is resolved as if a packet had gone there (NTF_USE)."""
    af = AF_INET if address.version == 4 else AF_INET6
    state, flags = (NeighbourState.PROBE, 0) if probe else (NeighbourState.NONE, NTF_USE)
    body = NDMSG.pack(af, ifindex, state, flags, 0) + ATTRIBUTE.pack(4 + len(address.packed), 1) + address.packed
    mode = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
    return HEADER.pack(16 + len(body), RTM_NEWNEIGH, mode, sequence, 0) + body


def _single(found: dict[int, bytes]) -> tuple[Hop, ...]:
    return _hop(found.get(4), found.get(5), found.get(18))


@lru_cache(maxsize=4096)
def _hop(link: bytes | None, gateway: bytes | None, via: bytes | None) -> tuple[Hop, ...]:
    """Cached: an IGP's 100,000 routes have a few dozen different hops."""
    ifindex, address = _u32(link), _gateway(gateway, via)
    return (Hop(address, ifindex),) if ifindex or address is not None else ()


def _multipath(data: bytes) -> tuple[Hop, ...]:
    hops, start = [], 0
    while start + 8 <= len(data):
        length, _, share, ifindex = RTNEXTHOP.unpack_from(data, start)
        if length < 8 or start + length > len(data):
            break
        found = attributes(data, start + 8, start + length)
        hops.append(Hop(_gateway(found.get(5), found.get(18)), ifindex, share + 1))
        start += (length + 3) & ~3
    return tuple(sorted(hops, key=hop_order))


def hop_order(hop: Hop) -> tuple[int, bytes]:
    """IPv6 events and dumps name the same hops in different order: one order, so that equal routes are equal."""
    return hop.ifindex, hop.gateway.packed if hop.gateway is not None else b""


def _gateway(gateway: bytes | None, via: bytes | None) -> IPAddress | None:
    if gateway is not None:
        return _ip(gateway)
    if via is not None:  # RTA_VIA: a gateway of the other family, behind its family number (RFC 8950)
        return _ip(via[2:])
    return None


def _ip(packed: bytes) -> IPAddress:
    return ipaddress.IPv4Address(packed) if len(packed) == 4 else ipaddress.IPv6Address(packed)


def _u32(value: bytes | None) -> int:
    return int(U32.unpack_from(value)[0]) if value is not None and len(value) >= 4 else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
