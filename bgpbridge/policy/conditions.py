# ruff: noqa: D102 - each `holds` does what its class says
"""What a term asks of a route: small frozen values with `holds`, in four groups by what they look at.

The groups matter to `compile`: conditions on the prefix become a table over address space, conditions on the
attributes are worked out once per distinct attribute block, conditions on the peer once per peer; what RPKI says
is worked out for each route, where a policy asks for it.
Conditions compare by identity; the parser makes one object per distinct condition of a file.
"""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.policy.as_paths import AsnSet, PathPattern, elements_of
from bgpbridge.policy.communities import AnyCommunity, CommunityKind, CommunityPattern
from bgpbridge.policy.prefixes import PrefixRange
from bgpbridge.rpki.vrps import Validity
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.path_attributes import PathAttributes

__all__ = [
    "AttributeCondition",
    "FamilyIn",
    "HasCommunity",
    "LengthIn",
    "LocalPrefIn",
    "Match",
    "MedIn",
    "NeighborAsIn",
    "NextHopIn",
    "OriginAsIn",
    "OriginIn",
    "OtcIs",
    "PathContains",
    "PathLengthIn",
    "PathMatches",
    "PeerIn",
    "PrefixCondition",
    "PrefixIn",
    "RpkiIn",
    "communities_of",
]

DEFAULT_LOCAL_PREF = 100  # what the decision takes for a route without LOCAL_PREF


@dataclass(frozen=True, slots=True, eq=False)
class PrefixIn:
    """The prefix is in one of these ranges. `text` names the sets that they came from."""

    ranges: tuple[PrefixRange, ...]
    text: str

    def holds(self, prefix: Prefix) -> bool:
        """Slow and obvious; the compiled form is `prefix_table`."""
        return any(entry.matches(prefix) for entry in self.ranges)


@dataclass(frozen=True, slots=True, eq=False)
class LengthIn:
    """The prefix length lies between two bounds."""

    low: int
    high: int

    def holds(self, prefix: Prefix) -> bool:
        return self.low <= prefix.length <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class FamilyIn:
    """The prefix is of one of these families."""

    families: frozenset[Family]

    def holds(self, prefix: Prefix) -> bool:
        return prefix.family in self.families


@dataclass(frozen=True, slots=True, eq=False)
class OriginIn:
    """ORIGIN (RFC 4271 s5.1.1) is one of these."""

    values: frozenset[int]

    def holds(self, attributes: PathAttributes) -> bool:
        return attributes.origin in self.values


@dataclass(frozen=True, slots=True, eq=False)
class MedIn:
    """MULTI_EXIT_DISC lies between two bounds; a route without one counts as 0."""

    low: int
    high: int

    def holds(self, attributes: PathAttributes) -> bool:
        return self.low <= (attributes.med or 0) <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class LocalPrefIn:
    """LOCAL_PREF lies between two bounds; a route without one counts as 100."""

    low: int
    high: int

    def holds(self, attributes: PathAttributes) -> bool:
        value = DEFAULT_LOCAL_PREF if attributes.local_pref is None else attributes.local_pref
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class PathLengthIn:
    """The AS path's length, as the decision counts it, lies between two bounds."""

    low: int
    high: int

    def holds(self, attributes: PathAttributes) -> bool:
        return self.low <= attributes.path_length <= self.high


@dataclass(frozen=True, slots=True, eq=False)
class OriginAsIn:
    """The AS that originated the route is one of these; 0 stands for none (empty path, AS_SET)."""

    asns: AsnSet

    def holds(self, attributes: PathAttributes) -> bool:
        return attributes.origin_as in self.asns


@dataclass(frozen=True, slots=True, eq=False)
class NeighborAsIn:
    """The first AS of the path is one of these; 0 stands for none."""

    asns: AsnSet

    def holds(self, attributes: PathAttributes) -> bool:
        return attributes.neighbor_as in self.asns


@dataclass(frozen=True, slots=True, eq=False)
class PathContains:
    """Some AS of the path, in whatever kind of segment, is one of these."""

    asns: AsnSet

    def holds(self, attributes: PathAttributes) -> bool:
        return any(asn in self.asns for segment in attributes.as_path for asn in segment.asns)


@dataclass(frozen=True, slots=True, eq=False)
class PathMatches:
    """The whole path fits one of the patterns."""

    patterns: tuple[PathPattern, ...]

    def holds(self, attributes: PathAttributes) -> bool:
        elements = elements_of(attributes.as_path)
        return any(pattern.matches(elements) for pattern in self.patterns)


@dataclass(frozen=True, slots=True, eq=False)
class HasCommunity:
    """At least one community of the route fits one of the patterns."""

    patterns: tuple[CommunityPattern, ...]

    def holds(self, attributes: PathAttributes) -> bool:
        return any(p.matches(value) for p in self.patterns for value in communities_of(attributes, p.kind))


@dataclass(frozen=True, slots=True, eq=False)
class OtcIs:
    """ONLY_TO_CUSTOMER (RFC 9234 s5) is absent, names one of these, or names the first AS of the path."""

    absent: bool
    neighbor: bool
    asns: AsnSet

    def holds(self, attributes: PathAttributes) -> bool:
        otc = attributes.otc
        if otc is None:
            return self.absent
        return otc in self.asns or (self.neighbor and otc == attributes.neighbor_as)


@dataclass(frozen=True, slots=True, eq=False)
class NextHopIn:
    """The next hop lies inside one of these ranges, whose lengths do not matter."""

    ranges: tuple[PrefixRange, ...]

    def holds(self, attributes: PathAttributes) -> bool:
        address = attributes.next_hop
        return address is not None and any(entry.prefix.covers(address) for entry in self.ranges)


@dataclass(frozen=True, slots=True, eq=False)
class PeerIn:
    """The route came from one of these peers, by our own names for them."""

    names: frozenset[str]

    def holds(self, peer: str) -> bool:
        return peer in self.names


@dataclass(frozen=True, slots=True, eq=False)
class RpkiIn:
    """Prefix and origin AS have one of these states (RFC 6811)."""

    states: frozenset[Validity]

    def holds(self, state: Validity) -> bool:
        return state in self.states


PrefixCondition = PrefixIn | LengthIn | FamilyIn
AttributeCondition = (
    OriginIn
    | MedIn
    | LocalPrefIn
    | PathLengthIn
    | OriginAsIn
    | NeighborAsIn
    | PathContains
    | PathMatches
    | HasCommunity
    | NextHopIn
    | OtcIs
)


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions that must all hold, in their four groups."""

    prefix: tuple[PrefixCondition, ...] = ()
    attributes: tuple[AttributeCondition, ...] = ()
    peer: tuple[PeerIn, ...] = ()
    rpki: tuple[RpkiIn, ...] = ()

    def holds(self, prefix: Prefix, attributes: PathAttributes, peer: str, rpki: Validity) -> bool:
        return (
            all(condition.holds(prefix) for condition in self.prefix)
            and all(condition.holds(rpki) for condition in self.rpki)
            and all(condition.holds(peer) for condition in self.peer)
            and all(condition.holds(attributes) for condition in self.attributes)
        )


def communities_of(attributes: PathAttributes, kind: CommunityKind) -> tuple[AnyCommunity, ...]:
    """The route's communities of one kind."""
    if kind is CommunityKind.STANDARD:
        return attributes.communities
    return attributes.extended if kind is CommunityKind.EXTENDED else attributes.large
