"""What a router refuses in attributes that are well-formed: such a route is treated as withdrawn.

These are not errors of RFC 7606: they never close a session, not even where an attribute error would.
Whether a next hop is our own address is judged where next hops are resolved.
"""

from __future__ import annotations

from collections.abc import Iterable

from bgpbridge.types import IPAddress, Verdict
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.verdicts import Finding, SessionKind

__all__ = ["REFUSALS", "refusals", "usable_next_hop"]

OWN_AS = "as_path: own AS"
FIRST_AS = "as_path: first AS is not the peer's"
NEXT_HOP = "next_hop: not a unicast address"

REFUSALS = frozenset({OWN_AS, FIRST_AS, NEXT_HOP})


def usable_next_hop(address: IPAddress) -> bool:
    """False for unspecified, multicast and (IPv4) class E addresses: no host has one (RFC 4271 s6.3)."""
    value = int(address)
    if address.version == 4:
        return 0 < value < 0xE0000000
    return value != 0 and value >> 120 != 0xFF


def refusals(attributes: PathAttributes, kind: SessionKind) -> Iterable[Finding]:
    """The reasons to refuse a route with these attributes."""
    if any(kind.local_as in segment.asns for segment in attributes.as_path):  # RFC 4271 s9.1.2
        yield Finding(Verdict.TREAT_AS_WITHDRAW, 2, OWN_AS)
    if kind.first_as and attributes.neighbor_as != kind.first_as:  # RFC 4271 s6.3
        yield Finding(Verdict.TREAT_AS_WITHDRAW, 2, FIRST_AS)
    if attributes.next_hop is None or not usable_next_hop(attributes.next_hop):
        yield Finding(
            Verdict.TREAT_AS_WITHDRAW, 14 if attributes.next_hop and attributes.next_hop.version == 6 else 3, NEXT_HOP
        )
