"""What the kernel itself would do with an address: the entry that matches, and the way that it takes now.

Two requests (RTM_GETROUTE): with RTM_F_FIB_MATCH the kernel names the entry (net/ipv4/route.c,
net/ipv6/route.c), without it the hop that this destination gets out of the entry's group. Some 50 us on a socket
of its own, so a view may ask from the event loop.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from bgpbridge.fib.kernel_socket import RouteSocket
from bgpbridge.fib.observed import ForeignRoute
from bgpbridge.fib.pyroute import NLM_F_REQUEST, NLMSG_ERROR, RTM_GETROUTE
from bgpbridge.fib.rtnetlink import (
    ATTRIBUTE,
    HEADER,
    NHMSG,
    RTM_GETNEXTHOP,
    RTMSG,
    Message,
    attributes,
    decode_nexthop,
    decode_route,
    messages,
)
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, IPAddress, parse_address

__all__ = ["KernelAnswer", "kernel_lookup", "nexthops_of"]

RTM_F_FIB_MATCH = 0x2000
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_VIA = 1, 4, 5, 18
WAIT_S = 1.0
ERRNO = struct.Struct("=i")
DROPS = {errno.EINVAL: "blackhole", errno.EACCES: "prohibit"}  # fib_props of net/ipv4/fib_semantics.c


@dataclass(frozen=True, slots=True)
class KernelAnswer:
    """The entry that matches, whoever's it is, and the hop that a packet to the address takes (None where it
    takes none: unreachable). The kernel does not name an entry that drops packets: there `drops` says how."""

    entry: ForeignRoute | None
    hop: Hop | None
    drops: str = ""


def kernel_lookup(address: IPAddress) -> KernelAnswer | None:
    """Ask the kernel of this network namespace; None when no entry matches."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asker:
        asker.settimeout(WAIT_S)
        matched = _ask(asker, address, RTM_F_FIB_MATCH)
        if isinstance(matched, int):
            return KernelAnswer(None, None, DROPS[matched]) if matched in DROPS else None
        entry = decode_route(matched)
        if entry is None:
            return None
        taken = _ask(asker, address, 0)
    return KernelAnswer(entry, _hop(taken) if not isinstance(taken, int) else None)


def nexthops_of(protocol: int) -> int:
    """How many nexthop objects and groups carry this protocol number."""
    with RouteSocket() as asker:
        found = asker.dump(RTM_GETNEXTHOP, NHMSG.pack(0, 0, 0, 0, 0))
    listed = (decode_nexthop(message) for data in found for message in messages(data))
    return sum(nexthop is not None and nexthop.protocol == protocol for nexthop in listed)


def request(address: IPAddress, flags: int) -> bytes:
    """One RTM_GETROUTE message. Pure."""
    family = Family.of(address)
    body = RTMSG.pack(family.af, family.bits, 0, 0, 0, 0, 0, 0, flags)
    body += ATTRIBUTE.pack(4 + family.octets, RTA_DST) + address.packed
    return HEADER.pack(16 + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0) + body


def _ask(asker: socket.socket, address: IPAddress, flags: int) -> Message | int:
    """The kernel's answer, or its errno: no route, unreachable, prohibited."""
    asker.send(request(address, flags))
    answer = next(messages(asker.recv(1 << 16)), None)
    if answer is None:
        return errno.ENODATA
    return -ERRNO.unpack_from(answer.data, answer.start)[0] if answer.type == NLMSG_ERROR else answer


def _hop(message: Message) -> Hop | None:
    found = attributes(message.data, message.start + RTMSG.size, message.end)
    if RTA_OIF not in found:
        return None
    gateway = found.get(RTA_GATEWAY) or (found[RTA_VIA][2:] if RTA_VIA in found else None)
    where = None if gateway is None else parse_address(socket.inet_ntop(_af(gateway), gateway))
    return Hop(where, int.from_bytes(found[RTA_OIF], "little"), 1)


def _af(packed: bytes) -> int:
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6
