"""The decoded path attributes of a route, and what is derived from them.

A frozen value: it crosses into `rib`, `policy` and `view`. How octets become one is in `attributes`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from bgpbridge.types import IPAddress, Verdict
from bgpbridge.wire.communities import Large, link_bandwidth
from bgpbridge.wire.segments import Segment, first_as, origin_as, path_length
from bgpbridge.wire.verdicts import Finding

__all__ = ["ORIGIN_NAMES", "Aggregator", "Decoded", "PathAttributes", "RawAttribute"]

ORIGIN_NAMES = ("IGP", "EGP", "Incomplete")


@dataclass(frozen=True, slots=True)
class Aggregator:
    """Who aggregated the route (RFC 4271 s5.1.7)."""

    asn: int
    address: ipaddress.IPv4Address


@dataclass(frozen=True, slots=True)
class RawAttribute:
    """An attribute that is kept as octets because nothing here reads it."""

    flags: int
    code: int
    value: bytes


@dataclass(frozen=True, slots=True)
class PathAttributes:
    """One UPDATE's path attributes.

    `next_hop` is the one that counts for the NLRI in question: NEXT_HOP for the classic field, the one
    of MP_REACH_NLRI otherwise. It is link-local itself where the peer sent no global one; `link_local`
    then holds it too. `extended` holds 8 octets each, `aigp` a metric (RFC 7311), `otc` an AS number
    (RFC 9234). None means that the attribute was absent, or discarded.
    """

    origin: int = 0
    as_path: tuple[Segment, ...] = ()
    next_hop: IPAddress | None = None
    link_local: ipaddress.IPv6Address | None = None
    med: int | None = None
    local_pref: int | None = None
    atomic_aggregate: bool = False
    aggregator: Aggregator | None = None
    communities: tuple[int, ...] = ()
    extended: tuple[bytes, ...] = ()
    large: tuple[Large, ...] = ()
    originator_id: ipaddress.IPv4Address | None = None
    cluster_list: tuple[ipaddress.IPv4Address, ...] = ()
    aigp: int | None = None
    otc: int | None = None
    unknown: tuple[RawAttribute, ...] = ()

    @property
    def path_length(self) -> int:
        """AS_PATH length for the decision process: RFC 4271 s9.1.2.2 a, RFC 5065 s5.3."""
        return path_length(self.as_path)

    @property
    def neighbor_as(self) -> int:
        """The neighbouring AS for MED, 0 where the path names none."""
        return first_as(self.as_path)

    @property
    def origin_as(self) -> int:
        """The originating AS, 0 where the path names none."""
        return origin_as(self.as_path)

    @property
    def link_bandwidth(self) -> float | None:
        """Octets per second, where a link-bandwidth community says so."""
        return link_bandwidth(self.extended)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A block, read. `attributes` is None where the octets cannot be read as attributes at all; a route
    that is merely refused (own AS in the path) keeps them, so that `explain` can show them. Whether the
    route may be used is said by `verdict` alone: below TREAT_AS_WITHDRAW it may."""

    attributes: PathAttributes | None
    verdict: Verdict
    findings: tuple[Finding, ...]
