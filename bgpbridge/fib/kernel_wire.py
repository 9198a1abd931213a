"""Our side of rtnetlink as octets: routes in bulk from columns, nexthop objects one by one, and what comes back.

A route message of a family has a fixed length, so ten thousand of them are one numpy array: 60 octets each
for IPv4, 72 for IPv6. Routes name a nexthop group (RTA_NH_ID) and nothing else. A dump comes back in as few
forms; each is read as columns, whatever does not fit the first message's form one by one.

Layouts: uapi/linux/netlink.h, rtnetlink.h, nexthop.h. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.keys import U8, U32, Keys
from bgpbridge.fib.pyroute import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    RTM_DELROUTE,
    RTM_NEWROUTE,
)
from bgpbridge.fib.rtnetlink import ATTRIBUTE, NEXTHOP_GROUP, NHMSG, RTMSG, Message, attributes, messages
from bgpbridge.types import Family, IPAddress

__all__ = [
    "DELETE",
    "INSERT",
    "REPLACE",
    "Owner",
    "Reply",
    "RouteDump",
    "blackhole_body",
    "group_body",
    "id_body",
    "nexthop_body",
    "pack_routes",
    "parse_replies",
    "parse_routes",
    "read_routes",
    "route_filter",
    "uniform",
]

INSERT, REPLACE, DELETE = 0, 1, 2
"""What to do with a route: add it where nothing stands under its prefix and metric; put it in place of what
does (or add it); take ours out. INSERT cannot touch a foreign route, nor can DELETE: it matches our protocol."""

_TYPE = np.array([RTM_NEWROUTE, RTM_NEWROUTE, RTM_DELROUTE], np.uint16)
_FLAGS = np.array([NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE | NLM_F_REPLACE, 0], np.uint16) | np.uint16(NLM_F_REQUEST)
RTA_DST, RTA_PRIORITY, RTA_TABLE, RTA_NH_ID = 1, 6, 15, 30
NHA_ID, NHA_GROUP, NHA_BLACKHOLE, NHA_OIF, NHA_GATEWAY = 1, 2, 4, 5, 6
RTNH_F_ONLINK = 4
RTN_UNICAST, RT_SCOPE_NOWHERE = 1, 255
NLM_F_ACK_TLVS = 0x200
NLMSGERR_ATTR_MSG = 1
ROUTE_HEAD = 28  # nlmsghdr and rtmsg
DST_LEN_AT, PROTOCOL_AT = 17, 21  # octets of them
IPV6_ANY = 10


def _layout(octets: int) -> np.dtype[Any]:
    fields: list[Any] = [("len", "u4"), ("type", "u2"), ("flags", "u2"), ("seq", "u4"), ("port", "u4")]
    fields += [(name, "u1") for name in ("family", "plen", "src_len", "tos", "table", "protocol", "scope", "kind")]
    fields += [("rtm_flags", "u4")]
    for name, form in (("dst", ("u1", octets)), ("metric", ("u4",)), ("nh", ("u4",)), ("full_table", ("u4",))):
        fields += [(f"{name}_size", "u2"), (f"{name}_type", "u2"), (name, *form)]
    return np.dtype(fields)


MESSAGE = {family: _layout(family.octets) for family in Family}


@dataclass(frozen=True, slots=True)
class Owner:
    """What makes a route ours: routing table, protocol number, metric."""

    table: int
    protocol: int
    metric: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The kernel's answer to one message: errno (0 = done) and its own words, if it has any."""

    sequence: int
    errno: int
    said: str = ""


@dataclass(frozen=True, slots=True)
class RouteDump:
    """Routes as columns. `nexthop` is RTA_NH_ID, 0 for a route without one."""

    keys: Keys
    nexthop: U32
    metric: U32

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def joined(cls, family: Family, parts: Sequence[RouteDump]) -> RouteDump:
        """Several one after the other."""
        nothing = np.empty(0, np.uint32)
        nexthop = np.concatenate([nothing, *(part.nexthop for part in parts)])
        metric = np.concatenate([nothing, *(part.metric for part in parts)])
        return cls(Keys.joined(family, [part.keys for part in parts]), nexthop, metric)


# -- requests ---------------------------------------------------------------------------------------


def pack_routes(keys: Keys, nexthop: U32, what: U8, owner: Owner, sequence: int = 1) -> npt.NDArray[np.void]:
    """One message per prefix, sequence numbers counting up. `what` is INSERT, REPLACE or DELETE for each.

    A deletion must leave the nexthop out (the kernel would compare it): the metric stands there twice. It names neither
    type nor scope, so that it takes out as well what somebody else made with our protocol and metric.
    """
    out = np.zeros(len(keys), MESSAGE[keys.family])
    out["len"], out["type"], out["flags"] = out.itemsize, _TYPE[what], _FLAGS[what]
    out["seq"] = np.arange(sequence, sequence + len(keys), dtype=np.uint32)
    out["family"], out["plen"], out["table"] = keys.family.af, keys.length, _short(owner.table)
    out["protocol"] = owner.protocol
    out["dst_size"], out["dst_type"], out["dst"] = 4 + keys.family.octets, RTA_DST, keys.octets()
    out["metric_size"], out["metric_type"], out["metric"] = 8, RTA_PRIORITY, owner.metric
    gone = what == DELETE
    out["kind"], out["scope"] = np.where(gone, 0, RTN_UNICAST), np.where(gone, RT_SCOPE_NOWHERE, 0)
    out["nh_size"] = 8
    out["nh_type"] = np.where(gone, RTA_PRIORITY, RTA_NH_ID)
    out["nh"] = np.where(gone, np.uint32(owner.metric), nexthop)
    out["full_table_size"], out["full_table_type"], out["full_table"] = 8, RTA_TABLE, owner.table
    return out


def _short(table: int) -> int:
    """`rtm_table` has one octet; RTA_TABLE says the rest."""
    return table if table < 256 else 0


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _word(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def nexthop_body(number: int, gateway: IPAddress | None, ifindex: int, protocol: int) -> bytes:
    """A nexthop object with one way out. ONLINK: the resolver has found that the gateway is on that link; the
    kernel need not look it up again. Without a gateway it is an IPv6 object: those serve both families."""
    family = IPV6_ANY if gateway is None else (2 if gateway.version == 4 else IPV6_ANY)
    flags = 0 if gateway is None else RTNH_F_ONLINK
    body = NHMSG.pack(family, 0, protocol, 0, flags) + _word(NHA_ID, number) + _word(NHA_OIF, ifindex)
    return body if gateway is None else body + _attribute(NHA_GATEWAY, gateway.packed)


def blackhole_body(number: int, protocol: int) -> bytes:
    """A nexthop object that drops. IPv6, because routes of both families may use that."""
    body = NHMSG.pack(IPV6_ANY, 0, protocol, 0, 0) + _word(NHA_ID, number)
    return body + _attribute(NHA_BLACKHOLE, b"")


def group_body(number: int, members: Sequence[tuple[int, int]], protocol: int) -> bytes:
    """A group of (nexthop id, weight 1..256)."""
    packed = b"".join(NEXTHOP_GROUP.pack(member, weight - 1, 0, 0) for member, weight in members)
    return NHMSG.pack(0, 0, protocol, 0, 0) + _word(NHA_ID, number) + _attribute(NHA_GROUP, packed)


def id_body(number: int) -> bytes:
    """Names an object for RTM_DELNEXTHOP."""
    return NHMSG.pack(0, 0, 0, 0, 0) + _word(NHA_ID, number)


def route_filter(family: Family, owner: Owner) -> bytes:
    """The body of a strict dump request: routes of our table and protocol only, of whatever type."""
    head = RTMSG.pack(family.af, 0, 0, 0, _short(owner.table), owner.protocol, 0, 0, 0)
    return head + _word(RTA_TABLE, owner.table)


# -- answers ----------------------------------------------------------------------------------------


def parse_replies(data: bytes) -> Iterator[Reply]:
    """The NLMSG_ERROR messages of a datagram (CAP_ACK set: the request is not echoed)."""
    for message in messages(data):
        if message.type != NLMSG_ERROR:
            continue
        (code,) = struct.unpack_from("=i", data, message.start)
        said = b""
        if message.flags & NLM_F_ACK_TLVS:
            said = attributes(data, message.start + 20, message.end).get(NLMSGERR_ATTR_MSG, b"")
        yield Reply(message.sequence, -code, said.rstrip(b"\0").decode(errors="replace"))


def parse_routes(family: Family, parts: Iterable[bytes]) -> RouteDump:
    """RTM_NEWROUTE messages as columns."""
    return RouteDump.joined(family, [read_routes(family, part) for part in parts])


def read_routes(family: Family, data: bytes | memoryview) -> RouteDump:
    """The same of messages one after the other. Where all have one length they are read at once."""
    if length := uniform(data):
        return _columns(family, np.frombuffer(data, np.uint8).reshape(-1, length))
    routes = [_scalar(family, message) for message in messages(bytes(data)) if message.type == RTM_NEWROUTE]
    row = np.dtype([("dst", "u1", family.octets), ("plen", "u1"), ("metric", "u4"), ("nh", "u4")])
    rows = np.array(routes, row)
    keys = Keys.from_octets(family, np.ascontiguousarray(rows["dst"]), rows["plen"].copy())
    return RouteDump(keys, rows["nh"].copy(), rows["metric"].copy())


def uniform(data: bytes | memoryview) -> int:
    """The length of the messages when there is nothing but RTM_NEWROUTE of one length, else 0."""
    length = int.from_bytes(data[:4], "little")
    if length < ROUTE_HEAD or length % 4 or len(data) % length:
        return 0
    words = np.frombuffer(data, "<u4").reshape(-1, length // 4)
    return length if (words[:, 0] == length).all() and (words[:, 1] & 0xFFFF == RTM_NEWROUTE).all() else 0


def _columns(family: Family, raw: U8) -> RouteDump:
    """Messages of one length, n x length octets. All that have their attributes where the first one has are
    read as columns, the others (same length, another form) one by one."""
    words: U32 = raw.view("<u4")
    octets = np.zeros((len(raw), family.octets), np.uint8)
    length, metric, nexthop = raw[:, DST_LEN_AT].copy(), np.zeros(len(raw), np.uint32), np.zeros(len(raw), np.uint32)
    regular = np.ones(len(raw), np.bool_)
    at, end = ROUTE_HEAD, raw.shape[1]
    while at + 4 <= end:
        size, kind = ATTRIBUTE.unpack_from(raw[0], at)
        regular &= words[:, at // 4] == words[0, at // 4]
        if kind == RTA_DST:
            octets[:] = raw[:, at + 4 : at + size]
        elif kind in (RTA_PRIORITY, RTA_NH_ID):
            (metric if kind == RTA_PRIORITY else nexthop)[:] = words[:, at // 4 + 1]
        at += (max(size, 4) + 3) & ~3
    for index in np.flatnonzero(~regular).tolist():
        message = next(messages(raw[index].tobytes()))
        octets[index], length[index], metric[index], nexthop[index] = _scalar(family, message)
    return RouteDump(Keys.from_octets(family, octets, length), nexthop, metric)


def _scalar(family: Family, message: Message) -> tuple[bytes | list[int], int, int, int]:
    found = attributes(message.data, message.start + 12, message.end)
    address = list(found.get(RTA_DST, bytes(family.octets)))
    words = [int.from_bytes(found.get(kind, b""), "little") for kind in (RTA_PRIORITY, RTA_NH_ID)]
    return address, message.data[message.start + 1], words[0], words[1]
