"""The values that rooms hand to one another: family, prefix, session, verdict.

Frozen and slotted: whoever receives one may keep it. Tables of a million routes are columns inside the
rooms (`rib`, `fib`); only what crosses a door takes these forms.
"""

from __future__ import annotations

import enum
import ipaddress
import socket
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

__all__ = [
    "AttributeChanges",
    "CommunityChanges",
    "Family",
    "IPAddress",
    "OverrideKind",
    "Prefix",
    "Role",
    "Session",
    "Verdict",
    "parse_address",
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Community = TypeVar("Community")


class Family(enum.IntEnum):
    """Address family, numbered as AFI (IANA, RFC 4760). Everything here is SAFI 1, unicast."""

    IPV4 = 1
    IPV6 = 2

    @property
    def bits(self) -> int:
        """Width of an address in bits."""
        return 32 if self is Family.IPV4 else 128

    @property
    def octets(self) -> int:
        """Width of an address in octets."""
        return self.bits // 8

    @property
    def af(self) -> socket.AddressFamily:
        """The same family as the socket layer numbers it."""
        return socket.AF_INET if self is Family.IPV4 else socket.AF_INET6

    @property
    def label(self) -> str:
        """The word in configuration, JSON and metrics: `ipv4` or `ipv6`."""
        return self.name.lower()

    @classmethod
    def of(cls, address: IPAddress) -> Family:
        """The family of an address."""
        return cls.IPV4 if address.version == 4 else cls.IPV6


def parse_address(text: str) -> IPAddress:
    """An IPv4 or IPv6 address without zone. Raises ValueError with the text in it."""
    return ipaddress.ip_address(text)


@dataclass(frozen=True, slots=True, order=True)
class Prefix:
    """An NLRI prefix. `value` is the network address as an integer of `family.bits`, host bits zero."""

    family: Family
    value: int
    length: int

    @classmethod
    def make(cls, family: Family, value: int, length: int) -> Self:
        """A prefix from an address with any host bits, which are cleared (RFC 4271 s4.3: trailing bits
        are irrelevant). Raises ValueError when `length` does not fit the family."""
        if not 0 <= length <= family.bits:
            raise ValueError(f"prefix length {length} is outside 0..{family.bits}")
        shift = family.bits - length
        return cls(family, value >> shift << shift, length)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `192.0.2.0/24` or `2001:db8::/32`; an address alone is a host prefix. Host bits must be
        zero: a typing error should not silently become another prefix. Raises ValueError."""
        network = ipaddress.ip_network(text, strict=True)
        family = Family.IPV4 if network.version == 4 else Family.IPV6
        return cls(family, int(network.network_address), network.prefixlen)

    @property
    def address(self) -> IPAddress:
        """The network address."""
        if self.family is Family.IPV4:
            return ipaddress.IPv4Address(self.value)
        return ipaddress.IPv6Address(self.value)

    @property
    def octets(self) -> bytes:
        """The network address in network order, 4 or 16 octets."""
        return self.value.to_bytes(self.family.octets, "big")

    def covers(self, other: Prefix | IPAddress) -> bool:
        """True when `other` lies inside (or is) this prefix."""
        if isinstance(other, Prefix):
            family, value, length = other.family, other.value, other.length
        else:
            family, value, length = Family.of(other), int(other), Family.of(other).bits
        shift = self.family.bits - self.length
        return family is self.family and length >= self.length and value >> shift == self.value >> shift

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


class Role(enum.StrEnum):
    """What one side of an external session is to the other (RFC 9234 s3)."""

    PROVIDER = "provider"
    RS_SERVER = "rs-server"
    RS_CLIENT = "rs-client"
    CUSTOMER = "customer"
    PEER = "peer"

    @property
    def code(self) -> int:
        """The value in the BGP Role Capability (RFC 9234 s4.1)."""
        return list(Role).index(self)

    @property
    def opposite(self) -> Role:
        """What the other side must be (RFC 9234 s4.2)."""
        pairs = {Role.PROVIDER: Role.CUSTOMER, Role.RS_SERVER: Role.RS_CLIENT, Role.PEER: Role.PEER}
        return pairs.get(self) or next(one for one, other in pairs.items() if other is self)


class OverrideKind(enum.StrEnum):
    """What an operator's override does to the paths of a prefix."""

    PIN = "pin"
    PREFER = "prefer"
    WEIGHT = "weight"
    REJECT = "reject"
    BLACKHOLE = "blackhole"


class Verdict(enum.IntEnum):
    """What RFC 7606 s2 does about a malformed UPDATE, by growing strength. The strongest one wins."""

    ACCEPT = 0
    ATTRIBUTE_DISCARD = 1
    TREAT_AS_WITHDRAW = 2
    AFI_SAFI_DISABLE = 3
    SESSION_RESET = 4


@dataclass(frozen=True, slots=True)
class Session:
    """What two speakers agreed in OPEN: all that is needed to read the octets of one session.

    `peer` is the bridge's own peer index, stable across reloads. `add_path` holds the families in which
    the peer sends path identifiers (RFC 7911). `router_id` is the peer's BGP Identifier. `role` is ours, `peer_role`
    what the peer says of itself (RFC 9234).
    """

    peer: int
    local_as: int
    peer_as: int
    local_address: IPAddress
    peer_address: IPAddress
    router_id: ipaddress.IPv4Address
    hold_time_s: int = 90
    asn4: bool = True
    families: frozenset[Family] = frozenset({Family.IPV4})
    add_path: frozenset[Family] = frozenset()
    extended_message: bool = False
    extended_next_hop: bool = False
    route_refresh: bool = False
    enhanced_refresh: bool = False
    graceful_restart_s: int | None = None
    graceful_families: frozenset[Family] = frozenset()
    enforce_first_as: bool = True
    role: Role | None = None
    peer_role: Role | None = None

    @property
    def ebgp(self) -> bool:
        """True for an external peer (RFC 4271 s1.1)."""
        return self.local_as != self.peer_as


@dataclass(frozen=True, slots=True)
class CommunityChanges(Generic[Community]):
    """What is done to the communities of one kind: first `replace` (None = keep what is there), then
    `remove`, then `add`. Standard ones are u32, extended ones 8 octets, large ones three u32."""

    replace: tuple[Community, ...] | None = None
    remove: tuple[Community, ...] = ()
    add: tuple[Community, ...] = ()

    def apply(self, present: tuple[Community, ...]) -> tuple[Community, ...]:
        """The communities afterwards: order kept, nothing twice."""
        base = present if self.replace is None else self.replace
        kept = [community for community in base if community not in self.remove]
        return tuple(dict.fromkeys([*kept, *self.add]))


@dataclass(frozen=True, slots=True)
class AttributeChanges:
    """What a policy does to the attributes of a route that it accepts; None and empty mean: as received.

    Hashable: the attribute table interns modified attributes by (id, changes). `weight` is local to this
    router (0..65535), `prepend` is (AS number, times).
    """

    local_pref: int | None = None
    med: int | None = None
    weight: int | None = None
    next_hop: IPAddress | None = None
    prepend: tuple[int, int] | None = None
    communities: CommunityChanges[int] = CommunityChanges()
    extended: CommunityChanges[bytes] = CommunityChanges()
    large: CommunityChanges[tuple[int, int, int]] = CommunityChanges()

    @property
    def empty(self) -> bool:
        """True when nothing is changed."""
        return self == AttributeChanges()
