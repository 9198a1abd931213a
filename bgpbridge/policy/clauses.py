"""Terms as rows of plain conjunctions, one bit of the masks each.

A term's `match` alternatives are an OR, its `unless` a NOT of an OR of ANDs over prefix, attributes, peer
and RPKI together. A bit of a mask can only say "prefix part and attribute part and peer part and RPKI part", so a term
is written out as clauses, each the conjunction of four parts; a part is a list of literals, a literal a group of
conditions that must all hold, or (negated) must not. The order of clauses is the order of their terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Generic, TypeVar

from bgpbridge.policy.conditions import AttributeCondition, Match, PeerIn, PrefixCondition, RpkiIn
from bgpbridge.policy.model import Term

__all__ = ["MOST_CLAUSES", "Clause", "Literal", "clauses_of", "count_clauses"]

MOST_CLAUSES = 1024  # of one term: sixteen words of a mask

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Literal(Generic[C]):
    """All of the conditions hold, or with `negated` not all of them do."""

    conditions: tuple[C, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Clause:
    """One bit: it holds when every literal of the four parts does. `term` is the index in its policy."""

    term: int
    prefix: tuple[Literal[PrefixCondition], ...]
    attributes: tuple[Literal[AttributeCondition], ...]
    peer: tuple[Literal[PeerIn], ...]
    rpki: tuple[Literal[RpkiIn], ...]


Part = tuple[str, Literal[PrefixCondition] | Literal[AttributeCondition] | Literal[PeerIn] | Literal[RpkiIn]]


def clauses_of(terms: Sequence[Term]) -> list[Clause]:
    """The clauses of all terms, in their order."""
    return [clause for index, term in enumerate(terms) for clause in _of_term(index, term)]


def count_clauses(matches: Sequence[Match], unless: Sequence[Match]) -> int:
    """How many clauses a term needs."""
    count = max(len(matches), 1)
    for match in unless:
        count *= max(len(_parts(match, negated=True)), 1)
    return count


def _of_term(index: int, term: Term) -> list[Clause]:
    refusals = [_parts(match, negated=True) for match in term.unless]
    clauses = []
    for match in term.matches or (Match(),):
        for choice in product(*refusals):
            parts = [*_parts(match, negated=False), *choice]
            clauses.append(
                Clause(
                    index,
                    tuple(literal for kind, literal in parts if kind == "prefix"),  # type: ignore[misc]  # by kind
                    tuple(literal for kind, literal in parts if kind == "attributes"),  # type: ignore[misc]
                    tuple(literal for kind, literal in parts if kind == "peer"),  # type: ignore[misc]
                    tuple(literal for kind, literal in parts if kind == "rpki"),  # type: ignore[misc]
                )
            )
    return clauses


def _parts(match: Match, *, negated: bool) -> list[Part]:
    """The match's four groups as literals, those that ask for nothing left out."""
    parts: list[Part] = []
    if match.prefix:
        parts.append(("prefix", Literal(match.prefix, negated)))
    if match.attributes:
        parts.append(("attributes", Literal(match.attributes, negated)))
    if match.peer:
        parts.append(("peer", Literal(match.peer, negated)))
    if match.rpki:
        parts.append(("rpki", Literal(match.rpki, negated)))
    return parts
