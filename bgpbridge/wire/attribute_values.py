"""Values of path attributes: one short function per attribute, octets in, value out.

A decoder is handed octets whose length its descriptor has already allowed, and raises Malformed with a
fixed phrase when they mean nothing. What that does to the route is the descriptor's business
(`attributes.DESCRIPTORS`), except where an RFC makes it depend on what is wrong.
"""

from __future__ import annotations

import ipaddress
import struct

from bgpbridge.errors import WireError
from bgpbridge.types import IPAddress, Verdict
from bgpbridge.wire.communities import Large
from bgpbridge.wire.cursor import Cursor
from bgpbridge.wire.path_attributes import Aggregator
from bgpbridge.wire.segments import Segment, decode_segments
from bgpbridge.wire.verdicts import SessionKind

__all__ = ["Malformed"]


class Malformed(Exception):  # noqa: N818 - it never leaves this room; it says what the octets are
    """The octets of one attribute mean nothing. `verdict` overrides the descriptor's."""

    def __init__(self, reason: str, verdict: Verdict | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.verdict = verdict


def number(value: bytes, _kind: SessionKind) -> int:
    """An unsigned integer that fills the value: MED, LOCAL_PREF, OTC."""
    return int.from_bytes(value, "big")


def raw(value: bytes, _kind: SessionKind) -> bytes:
    """An attribute whose length is checked and whose content is kept."""
    return value


def origin(value: bytes, _kind: SessionKind) -> int:
    """RFC 4271 s4.3 a, RFC 7606 s7.1."""
    if value[0] > 2:
        raise Malformed("invalid value")
    return value[0]


def as_path(value: bytes, kind: SessionKind) -> tuple[Segment, ...]:
    """RFC 7606 s7.2; AS 0: RFC 7607 s2; confederation segments from outside: RFC 5065 s4.1."""
    segments = decode_segments(value, 4 if kind.asn4 else 2)
    if segments is None:
        raise Malformed("malformed segment")
    for segment in segments:
        if 0 in segment.asns:
            raise Malformed("AS 0")
        if segment.confederation and kind.ebgp:
            raise Malformed("confederation segment from an external peer")
    return segments


def as4_path(value: bytes, kind: SessionKind) -> tuple[Segment, ...]:
    """RFC 6793 s6 (a malformed one is discarded), RFC 7607 s2. Confederation segments are left in."""
    if kind.asn4:
        raise Malformed("from a four-octet speaker")
    segments = decode_segments(value, 4)
    if segments is None:
        raise Malformed("malformed segment")
    if any(0 in segment.asns for segment in segments):
        raise Malformed("AS 0")
    return segments


def aggregator(value: bytes, kind: SessionKind) -> Aggregator:
    """RFC 7606 s7.7: 8 octets from a four-octet speaker, 6 otherwise; AS 0: RFC 7607 s2."""
    if len(value) != (8 if kind.asn4 else 6):
        raise Malformed("length")
    return _aggregator(value)


def as4_aggregator(value: bytes, kind: SessionKind) -> Aggregator:
    """RFC 6793 s6."""
    if kind.asn4:
        raise Malformed("from a four-octet speaker")
    return _aggregator(value)


def _aggregator(value: bytes) -> Aggregator:
    asn = int.from_bytes(value[:-4], "big")
    if asn == 0:
        raise Malformed("AS 0")
    return Aggregator(asn, ipaddress.IPv4Address(value[-4:]))


def flag(_value: bytes, _kind: SessionKind) -> bool:
    """ATOMIC_AGGREGATE: being there is all."""
    return True


def address4(value: bytes, _kind: SessionKind) -> ipaddress.IPv4Address:
    """NEXT_HOP, ORIGINATOR_ID."""
    return ipaddress.IPv4Address(value)


def addresses4(value: bytes, _kind: SessionKind) -> tuple[ipaddress.IPv4Address, ...]:
    """CLUSTER_LIST. Nothing of ours is looked for in it (RFC 4456 s8): only a reflector has a CLUSTER_ID, and we
    reflect nothing. Who takes the router id for one loses the routes of a cluster that has the same number. Our own
    ORIGINATOR_ID is another matter: routes with it are refused (`rib.attributes`)."""
    return tuple(ipaddress.IPv4Address(value[i : i + 4]) for i in range(0, len(value), 4))


def communities(value: bytes, _kind: SessionKind) -> tuple[int, ...]:
    """RFC 1997."""
    return struct.unpack(f"!{len(value) // 4}I", value)


def extended(value: bytes, _kind: SessionKind) -> tuple[bytes, ...]:
    """RFC 4360; an unknown type is no error (RFC 7606 s7.14)."""
    return tuple(value[i : i + 8] for i in range(0, len(value), 8))


def large(value: bytes, _kind: SessionKind) -> tuple[Large, ...]:
    """RFC 8092."""
    return tuple(struct.iter_unpack("!III", value))


def aigp(value: bytes, _kind: SessionKind) -> int | None:
    """The metric of the first AIGP TLV; None where there is none (RFC 7311 s3)."""
    metric = None
    cursor = Cursor(value)
    try:
        while cursor.remaining():
            kind, length = cursor.u8(), cursor.u16()
            body = cursor.take(length - 3)
            if kind == 1 and length != 11:
                raise Malformed("length of the metric")
            if kind == 1 and metric is None:
                metric = int.from_bytes(body, "big")
    except WireError:
        raise Malformed("malformed TLV") from None
    return metric


def mp_next_hop(value: bytes, _kind: SessionKind) -> tuple[IPAddress, ipaddress.IPv6Address | None]:
    """Next hop and link-local next hop of a canonical MP_REACH_NLRI: AFI, SAFI, length, address.

    32 octets are a global and a link-local address (RFC 2545 s3). Seen in use as well: `::` or a second
    copy of the link-local one in the first half, by speakers without a global address on the link.
    """
    octets = value[4:]
    if len(octets) != value[3] or len(octets) not in {4, 16, 32}:
        raise Malformed("next hop length")
    if len(octets) == 4:
        return ipaddress.IPv4Address(octets), None
    first = ipaddress.IPv6Address(octets[:16])
    second = ipaddress.IPv6Address(octets[16:]) if len(octets) == 32 else None
    if second is not None and _link_local(second):
        return (second if int(first) == 0 or _link_local(first) else first), second
    return first, first if _link_local(first) else None


def _link_local(address: ipaddress.IPv6Address) -> bool:
    """fe80::/10 (RFC 4291 s2.4)."""
    return int(address) >> 118 == 0x3FA


def prefix_sid(value: bytes, kind: SessionKind) -> bytes:
    """BGP Prefix-SID is not used here; its syntax decides whether the route stays.

    A malformed attribute is discarded (RFC 8669 s6), as is one from outside the SR domain (s4). One malformed SRv6
    service TLV withdraws the route (RFC 9252 s7), from outside too: of two actions the stronger (RFC 7606 s3 h).
    """
    cursor = Cursor(value)
    try:
        while cursor.remaining():
            code, length = cursor.u8(), cursor.u16()
            if length > cursor.remaining() and code in {5, 6}:
                raise Malformed("malformed SRv6 service TLV", Verdict.TREAT_AS_WITHDRAW)
            body = cursor.sub(length)
            if (code == 1 and length != 7) or (code == 3 and (length < 8 or length % 6 != 2)):
                raise Malformed("malformed TLV")
            if code in {5, 6}:
                _srv6_service(body)
    except WireError:
        raise Malformed("malformed TLV") from None
    if kind.ebgp:
        raise Malformed("from an external peer")
    return value


def _srv6_service(service: Cursor) -> None:
    """One SRv6 L2 or L3 service TLV: a reserved octet, then sub-TLVs (RFC 9252 s2, s3). Malformed is what is too short
    or overruns what it lies in, on three levels; what has an unknown type is not (s7)."""
    try:
        service.u8()
        while service.remaining():
            code = service.u8()
            sub = service.sub(service.u16())
            if code == 1:
                sub.take(21)  # reserved, SID, flags, behaviour, reserved
                while sub.remaining():
                    sub.u8()
                    sub.sub(sub.u16())
    except WireError:
        raise Malformed("malformed SRv6 service TLV", Verdict.TREAT_AS_WITHDRAW) from None
