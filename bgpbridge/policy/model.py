"""Route policies as values: sets resolved, names looked up, every term with its place.

`parse` makes them from files, `evaluate` applies one to one route (the oracle, and what `explain` shows),
`compile` turns one into masks for a whole table.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.errors import Place
from bgpbridge.policy.conditions import Match
from bgpbridge.policy.edits import Edits
from bgpbridge.policy.overrides import Members, Override
from bgpbridge.types import AttributeChanges, Role

__all__ = ["ACCEPT", "Action", "PeerContext", "Policy", "PolicySet", "PolicyVerdict", "Term"]

ACCEPT = "accept"  # the built-in import policy: everything that the peer sends


class Action(enum.StrEnum):
    """What a term does with the routes that it matches."""

    ACCEPT = "accept"
    REJECT = "reject"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Term:
    """One term. It matches when one of `matches` holds (none given: always) and none of `unless` does."""

    name: str
    place: Place
    matches: tuple[Match, ...]
    unless: tuple[Match, ...]
    action: Action
    reason: str
    edits: Edits


@dataclass(frozen=True, slots=True)
class Policy:
    """Terms in order; the first that accepts or rejects decides, and a route that none decides is refused."""

    name: str
    place: Place
    terms: tuple[Term, ...]
    digest: str = ""
    """Changes when the meaning does: moved lines and comments leave it alone."""

    @property
    def asks_rpki(self) -> bool:
        """True when some verdict depends on what RPKI says."""
        return any(match.rpki for term in self.terms for match in (*term.matches, *term.unless))


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of all files."""

    policies: Mapping[str, Policy] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    unused: tuple[tuple[str, str, Place], ...] = ()
    """(kind, name, place) of sets that no policy names, and of terms that none includes."""
    included: frozenset[str] = frozenset()
    """Names of policies and terms that others include."""
    overrides: tuple[Override, ...] = ()
    groups: Mapping[str, tuple[Members, Place]] = field(default_factory=dict)
    """Groups of next hops for overrides, with the places where they stand."""

    @property
    def digest(self) -> str:
        """Changes when any policy's meaning does."""
        return hashlib.sha256("".join(f"{n}={p.digest};" for n, p in self.policies.items()).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PeerContext:
    """What policy knows of a peer: our name for it, whether it is external, its import policy, and our AS towards it
    (0: unknown), which is the origin of routes with an empty path; our role towards it (RFC 9234) and its AS."""

    name: str
    ebgp: bool
    policy: str | None
    local_asn: int = 0
    role: Role | None = None
    asn: int = 0


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """The fate of one route, and the line that decided it."""

    accept: bool
    changes: AttributeChanges
    place: Place
    policy: str
    term: str
    reason: str

    @property
    def file(self) -> str:
        """The file that holds the deciding term."""
        return self.place.file

    @property
    def line(self) -> int:
        """The deciding term's line, from 1."""
        return self.place.line
