"""OPEN, its capabilities, and ROUTE-REFRESH.

RFC 4271 s4.2, RFC 5492 (capabilities), RFC 9072 (extended optional parameters), RFC 2918 and RFC 7313
(route refresh). ExaBGP negotiates; this reads sessions out of MRT files and captures, and builds the
OPENs of tests and of the lab.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from bgpbridge.errors import WireError
from bgpbridge.types import Family
from bgpbridge.wire.cursor import Cursor
from bgpbridge.wire.message import MessageType, build_message, require
from bgpbridge.wire.segments import AS_TRANS

__all__ = [
    "Capability",
    "Open",
    "RefreshKind",
    "RouteRefresh",
    "build_open",
    "build_route_refresh",
    "capability_add_path",
    "capability_asn4",
    "capability_family",
    "parse_open",
    "parse_route_refresh",
]


class Capability(enum.IntEnum):
    """Capability codes that mean something to us (IANA)."""

    MULTIPROTOCOL = 1
    ROUTE_REFRESH = 2
    EXTENDED_NEXT_HOP = 5
    EXTENDED_MESSAGE = 6
    ROLE = 9
    GRACEFUL_RESTART = 64
    ASN4 = 65
    ADD_PATH = 69
    ENHANCED_REFRESH = 70


@dataclass(frozen=True, slots=True)
class Open:
    """What an OPEN says. `capabilities` keeps order and repetitions: (code, value)."""

    version: int
    my_as: int
    hold_time_s: int
    router_id: ipaddress.IPv4Address
    capabilities: tuple[tuple[int, bytes], ...] = ()

    def values(self, code: Capability) -> tuple[bytes, ...]:
        """The values of one capability, as often as it stands there."""
        return tuple(value for known, value in self.capabilities if known == code)

    @property
    def asn(self) -> int:
        """The AS number, of four octets where it is offered (RFC 6793 s4.1)."""
        for value in self.values(Capability.ASN4):
            if len(value) == 4:
                return int.from_bytes(value, "big")
        return self.my_as

    @property
    def asn4(self) -> bool:
        """True when the speaker can use four-octet AS numbers."""
        return bool(self.values(Capability.ASN4))

    @property
    def families(self) -> frozenset[Family]:
        """Unicast families on offer; IPv4 alone where none is named (RFC 4760 s8)."""
        offers = self.values(Capability.MULTIPROTOCOL)
        if not offers:
            return frozenset({Family.IPV4})
        return frozenset(_family(value[:2]) for value in offers if _unicast(value, 3))

    def add_path(self, direction: int) -> frozenset[Family]:
        """Families with ADD-PATH in a direction: 1 receive, 2 send (RFC 7911 s4; 3 is both)."""
        entries = [value[i : i + 4] for value in self.values(Capability.ADD_PATH) for i in range(0, len(value), 4)]
        return frozenset(
            _family(e[:2])
            for e in entries
            if len(e) == 4 and _unicast(b"%b\0%c" % (e[:2], e[2]), 3) and e[3] & direction
        )


def _unicast(value: bytes, last: int) -> bool:
    """True for AFI, a reserved octet, SAFI that name a unicast family of ours."""
    return len(value) == last + 1 and value[0] == 0 and value[1] in {1, 2} and value[last] == 1


def _family(afi: bytes) -> Family:
    return Family(int.from_bytes(afi, "big"))


def parse_open(message: bytes) -> Open:
    """A whole OPEN message. Raises WireError; the answer to that is NOTIFICATION 2/0 (RFC 4271 s6.2)."""
    require(message, MessageType.OPEN)
    cursor = Cursor(message, 19)
    version, my_as, hold = cursor.u8(), cursor.u16(), cursor.u16()
    router_id = ipaddress.IPv4Address(cursor.take(4))
    return Open(version, my_as, hold, router_id, tuple(_parameters(cursor)))


def _parameters(cursor: Cursor) -> list[tuple[int, bytes]]:
    """The capabilities in the optional parameters, which fill the message exactly."""
    length = cursor.u8()
    wide = length != 0 and cursor.remaining() > 0 and cursor.data[cursor.position] == 255
    if wide:  # RFC 9072 s2: 255 stands where a parameter's type would be
        cursor.u8()
        length = cursor.u16()
    body = cursor.sub(length)
    cursor.finish()
    capabilities: list[tuple[int, bytes]] = []
    while body.remaining():
        kind = body.u8()
        parameter = body.sub(body.u16() if wide else body.u8())
        if kind != 2:  # RFC 5492: everything else is deprecated or unknown
            continue
        while parameter.remaining():
            code = parameter.u8()
            capabilities.append((code, parameter.take(parameter.u8())))
    return capabilities


def capability_family(family: Family) -> tuple[int, bytes]:
    """Multiprotocol capability for a unicast family."""
    return Capability.MULTIPROTOCOL, int(family).to_bytes(2, "big") + b"\0\1"


def capability_asn4(asn: int) -> tuple[int, bytes]:
    """Four-octet AS number capability."""
    return Capability.ASN4, asn.to_bytes(4, "big")


def capability_add_path(family: Family, direction: int) -> tuple[int, bytes]:
    """ADD-PATH for one unicast family: 1 receive, 2 send, 3 both."""
    return Capability.ADD_PATH, int(family).to_bytes(2, "big") + bytes([1, direction])


def build_open(
    asn: int,
    router_id: ipaddress.IPv4Address,
    hold_time_s: int = 90,
    capabilities: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """OPEN with one optional parameter that holds all capabilities."""
    offered = b"".join(bytes([code, len(value)]) + value for code, value in capabilities)
    parameters = bytes([2, len(offered)]) + offered if offered else b""
    body = bytes([4]) + (asn if asn < 1 << 16 else AS_TRANS).to_bytes(2, "big") + hold_time_s.to_bytes(2, "big")
    return build_message(MessageType.OPEN, body + router_id.packed + bytes([len(parameters)]) + parameters)


class RefreshKind(enum.IntEnum):
    """The octet between AFI and SAFI of a ROUTE-REFRESH (RFC 7313 s3.2)."""

    REQUEST = 0
    BEGIN = 1
    END = 2


@dataclass(frozen=True, slots=True)
class RouteRefresh:
    """A request, or the demarcation of a refresh. `family` is None for one that is
    to be ignored: another AFI/SAFI, or an unknown subtype."""

    family: Family | None
    kind: RefreshKind


def build_route_refresh(family: Family, kind: RefreshKind = RefreshKind.REQUEST) -> bytes:
    """ROUTE-REFRESH for a unicast family."""
    return build_message(MessageType.ROUTE_REFRESH, int(family).to_bytes(2, "big") + bytes([kind, 1]))


def parse_route_refresh(message: bytes) -> RouteRefresh:
    """A whole ROUTE-REFRESH message. Raises WireError (NOTIFICATION 7/1, RFC 7313 s5)."""
    require(message, MessageType.ROUTE_REFRESH)
    afi, kind, safi = int.from_bytes(message[19:21], "big"), message[21], message[22]
    if kind in {1, 2} and len(message) != 23:
        raise WireError(f"a ROUTE-REFRESH demarcation of {len(message)} octets; 23 expected")
    known = afi in {1, 2} and safi == 1 and kind in {0, 1, 2}  # RFC 7313 s5: an unknown subtype is ignored
    return RouteRefresh(Family(afi), RefreshKind(kind)) if known else RouteRefresh(None, RefreshKind.REQUEST)
