"""What the RIB knows of a peer, and the door through which import policy is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bgpbridge.rib.adj_rib_in import Ceiling, Mask
from bgpbridge.rib.tables import Ids, Lengths, Words
from bgpbridge.types import Family, IPAddress, Session
from bgpbridge.wire.raw_update import maximum_message
from bgpbridge.wire.verdicts import Finding, SessionKind

__all__ = ["AcceptAll", "Differing", "Judge", "PeerCounts", "PeerInfo", "PeerState", "RefuseAll"]

MOST_FINDINGS = 256
MOST_KNOWN = 1024


class Judge(Protocol):
    """Import policy. Verdicts are attribute ids: the one given, one derived from it, or 0 = refused."""

    def judge(self, peer: int, family: Family, attribute_ids: Ids, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Verdicts on many routes of one peer."""
        ...

    def judge_one(self, peer: int, family: Family, attribute_id: int, hi: int, lo: int, length: int) -> int:
        """The verdict on one route."""
        ...


Differing = Callable[[int, Ids], Mask | None]
"""Of a peer's attribute ids those on which policy may have come to another verdict; None: any."""


class AcceptAll:
    """Every route as it came."""

    def judge(self, peer: int, family: Family, attribute_ids: Ids, hi: Words, lo: Words, length: Lengths) -> Ids:
        """The ids given."""
        del peer, family, hi, lo, length
        return attribute_ids

    def judge_one(self, peer: int, family: Family, attribute_id: int, hi: int, lo: int, length: int) -> int:
        """The id given."""
        del peer, family, hi, lo, length
        return attribute_id


class RefuseAll:
    """No route (RFC 8212: what an external peer without import policy gets)."""

    def judge(self, peer: int, family: Family, attribute_ids: Ids, hi: Words, lo: Words, length: Lengths) -> Ids:
        """Zeros."""
        del peer, family, hi, lo, length
        return attribute_ids * 0

    def judge_one(self, peer: int, family: Family, attribute_id: int, hi: int, lo: int, length: int) -> int:
        """Zero."""
        del peer, family, attribute_id, hi, lo, length
        return 0


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer as configured. `index` is the bridge's own number for it, stable over reloads; `weight` is
    what its routes have where policy sets none; `add_path_limit` the most paths per prefix;
    `ceilings` the most routes."""

    index: int
    name: str
    address: IPAddress
    asn: int
    ebgp: bool
    weight: int = 0
    add_path_limit: int = 16
    ceilings: Mapping[Family, Ceiling] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 <= self.index <= 0xFFFF and 0 <= self.weight <= 0xFFFF and 1 <= self.add_path_limit <= 255):
            raise ValueError(f"peer {self.name}: index and weight are 0..65535, add_path_limit 1..255")


class PeerCounts(NamedTuple):
    """Routes of a peer in one family. `refused_paths` counts those beyond the ADD-PATH limit, ever."""

    received: int
    accepted: int
    rejected: int
    best: int
    stale: int
    refused_paths: int


@dataclass(slots=True)
class PeerState:
    """A peer and its session. `order` is the place of its address among all peers (decision step 11)."""

    info: PeerInfo
    order: int = 0
    session: Session | None = None
    kind: SessionKind | None = None
    router_id: int = 0
    plain_octets: int = (
        0  # most octets of a message that `plain_update` may read; 0 = none, it needs IPv4 without path ids
    )
    findings: Counter[Finding] = field(default_factory=Counter)
    known: dict[bytes, int] = field(default_factory=dict)  # attribute ids of blocks in its plain UPDATEs of late

    def begin(self, session: Session) -> None:
        """A session is established, or goes on with fewer families."""
        self.session, self.kind = session, SessionKind.of(session)
        self.known.clear()
        self.router_id = int(session.router_id)
        plain = Family.IPV4 in session.families and Family.IPV4 not in session.add_path
        self.plain_octets = maximum_message(session) if plain else 0

    def remember(self, block: bytes, number: int) -> None:
        """A block of a plain UPDATE with nothing wrong about it. Routes that come and go do so with the same few."""
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known[block] = number

    def count(self, finding: Finding, times: int = 1) -> None:
        """Remember a finding. Reasons are fixed phrases, so there can't be many; still bounded."""
        if finding in self.findings or len(self.findings) < MOST_FINDINGS:
            self.findings[finding] += times
