"""A policy as bit masks: one bit per clause, the lowest bit that all masks share decides.

    route's mask = mask of its prefix AND of its attributes AND of its peer AND of its RPKI state

The prefix part is a table over address space (`prefix_table`), the attribute part is worked out once per
attribute id (`attribute_masks`), the peer part once per peer,
the RPKI part once per state. Masks are rows of 64-bit words, so a policy may
have any number of clauses; scalar callers use one Python integer instead.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.policy.clauses import Clause, Literal, clauses_of
from bgpbridge.policy.conditions import AttributeCondition, FamilyIn, LengthIn, PrefixCondition, PrefixIn
from bgpbridge.policy.edits import Edits
from bgpbridge.policy.model import Action, Policy
from bgpbridge.policy.prefix_table import PrefixTable, Words
from bgpbridge.rpki.vrps import Validity
from bgpbridge.types import Family

__all__ = ["NOTHING", "CompiledPolicy", "compile_policy", "join", "split"]

NOTHING = -1  # the clause of a route that none decides
WORD = 64
FULL = (1 << WORD) - 1


def join(words: Sequence[int] | Words) -> int:
    """A row of words as one integer, the first word lowest."""
    return sum(int(word) << WORD * index for index, word in enumerate(words))


def split(mask: int, words: int) -> list[int]:
    """An integer as a row of words."""
    return [mask >> WORD * index & FULL for index in range(words)]


class CompiledPolicy:
    """A policy ready for whole tables. Immutable; caches by attribute id live with whoever judges. What it has in
    common with the one `before` is taken over from there."""

    def __init__(self, policy: Policy, before: CompiledPolicy | None = None) -> None:
        self.policy = policy
        self.clauses: tuple[Clause, ...] = tuple(clauses_of(policy.terms))
        self.words = max((len(self.clauses) + WORD - 1) // WORD, 1)
        self.term_of = np.array([clause.term for clause in self.clauses], np.int64)
        deciding = [policy.terms[clause.term].action is not Action.NEXT for clause in self.clauses]
        self.decisive = sum(1 << bit for bit, decides in enumerate(deciding) if decides)
        self.setting = sum(1 << bit for bit, decides in enumerate(deciding) if not decides)
        alike = before is not None and _prefix_keys(before.clauses) == _prefix_keys(self.clauses)
        self._tables: dict[Family, _FamilyTable]
        self._tables = before._tables if before is not None and alike else self._made_tables()
        self._peers: dict[str, int] = {}
        self.asks_rpki = any(clause.rpki for clause in self.clauses)
        self.rpki_masks = [self._rpki_mask(state) for state in Validity]
        """By state: the clauses whose RPKI part holds."""

    def _made_tables(self) -> dict[Family, _FamilyTable]:
        return {family: _FamilyTable(family, self.clauses, self.words) for family in Family}

    def _rpki_mask(self, state: Validity) -> int:
        return sum(
            1 << bit
            for bit, clause in enumerate(self.clauses)
            if all(all(c.holds(state) for c in part.conditions) is not part.negated for part in clause.rpki)
        )

    def prefix_masks(self, family: Family, hi: Words, lo: Words, length: npt.NDArray[np.uint8]) -> Words:
        """Rows of words for many prefixes."""
        return self._tables[family].masks(hi, lo, length)

    def prefix_mask(self, family: Family, value: int, length: int) -> int:
        """The same for one prefix."""
        return self._tables[family].mask(value, length)

    def peer_mask(self, peer: str) -> int:
        """The clauses whose peer part holds."""
        mask = self._peers.get(peer)
        if mask is None:
            mask = sum(
                1 << bit
                for bit, clause in enumerate(self.clauses)
                if all(all(c.holds(peer) for c in part.conditions) is not part.negated for part in clause.peer)
            )
            self._peers[peer] = mask
        return mask

    def attribute_mask(
        self, truth: Callable[[AttributeCondition], Any], bits: Container[int] | None = None
    ) -> list[tuple[int, Any]]:
        """(bit, truth) of the clauses that ask for attributes: `truth` gives a condition's outcome, a bool or
        a column of them. Clauses without attribute part always hold and are left out, unless `bits` names them: then
        it is they alone."""
        return [
            (bit, _all(clause.attributes, truth))
            for bit, clause in enumerate(self.clauses)
            if (clause.attributes if bits is None else bit in bits)
        ]

    def attribute_keys(self) -> list[Hashable]:
        """For each clause what it asks of attributes: equal for equal questions, in whatever policy they stand."""
        return [tuple(map(_key, clause.attributes)) for clause in self.clauses]

    def asks_others(self, before: CompiledPolicy) -> bool:
        """Whether this policy differs from the one that it was compiled with only in what its clauses ask of
        attributes: where the same clauses hold, both come to the same."""
        rpki = self.asks_rpki or before.asks_rpki
        return self._tables is before._tables and not rpki and self._outcomes() == before._outcomes()

    def _outcomes(self) -> list[tuple[Hashable, ...]]:
        """Of each clause for which peers it is, and what comes of it."""
        terms = [self.policy.terms[clause.term] for clause in self.clauses]
        peers = [tuple(map(_key, clause.peer)) for clause in self.clauses]
        return [(peer, t.name, t.action, t.edits) for peer, t in zip(peers, terms, strict=True)]

    @property
    def attribute_free(self) -> int:
        """The clauses that hold whatever the attributes are."""
        return sum(1 << bit for bit, clause in enumerate(self.clauses) if not clause.attributes)

    def edits_of(self, clause: int, setting: int) -> tuple[Edits, ...]:
        """What is set on a route that `clause` accepts, after the `next` clauses in the mask `setting`; a term
        counts once, however many of its clauses hold."""
        bits = [bit for bit in range(clause) if setting >> bit & 1]
        terms = dict.fromkeys([self.clauses[bit].term for bit in bits] + [self.clauses[clause].term])
        return tuple(self.policy.terms[term].edits for term in terms if self.policy.terms[term].edits != Edits())


def compile_policy(policy: Policy, before: CompiledPolicy | None = None) -> CompiledPolicy:
    """The policy ready for whole tables; takes some 50 ms for a set of 10,000 prefixes, unless the one `before` asks
    the same of prefixes."""
    return CompiledPolicy(policy, before)


def _prefix_keys(clauses: Sequence[Clause]) -> list[tuple[Hashable, ...]]:
    return [tuple(map(_key, clause.prefix)) for clause in clauses]


def _key(literal: Literal[Any]) -> Hashable:
    """What a literal says, by value: conditions themselves compare by identity."""
    return literal.negated, tuple(
        (type(condition), *(getattr(condition, field.name) for field in fields(condition)))
        for condition in literal.conditions
    )


class _FamilyTable:
    """Masks by (row of the prefix table, length)."""

    def __init__(self, family: Family, clauses: Sequence[Clause], words: int) -> None:
        self.family = family
        conditions = _distinct_sets(clauses)
        self.table = PrefixTable(family, [condition.ranges for condition in conditions])
        self.lengths = family.bits + 1
        self.rows = np.zeros((len(self.table.states) * self.lengths, words), np.uint64)
        self._numbers = {id(condition): number for number, condition in enumerate(conditions)}
        self._truths: dict[int, npt.NDArray[np.bool_]] = {}
        for bit, clause in enumerate(clauses):
            holds = np.broadcast_to(_all(clause.prefix, self._truth), (len(self.table.states), self.lengths))
            self.rows[:, bit // WORD] |= holds.reshape(-1).astype(np.uint64) << np.uint64(bit % WORD)
        self._truths.clear()
        self._flat = self.rows[:, 0].copy() if words == 1 else None
        self._cells = None if self._flat is None else self._flat.data

    def _truth(self, condition: PrefixCondition) -> Any:
        """Whether a condition holds, as [row, length] or something that broadcasts to it."""
        if isinstance(condition, PrefixIn):
            found = self._truths.get(id(condition))
            if found is None:
                found = self._truths[id(condition)] = self.table.allowed(self._numbers[id(condition)])
            return found
        if isinstance(condition, LengthIn):
            lengths = np.arange(self.lengths)
            return (lengths >= condition.low) & (lengths <= condition.high)
        assert isinstance(condition, FamilyIn)
        return np.bool_(self.family in condition.families)

    def masks(self, hi: Words, lo: Words, length: npt.NDArray[np.uint8]) -> Words:
        at = self.table.find(hi, lo) * self.lengths + length
        return self._flat.take(at)[:, None] if self._flat is not None else self.rows.take(at, axis=0)

    def mask(self, value: int, length: int) -> int:
        at = self.table.find_one(value) * self.lengths + length
        return join(self.rows[at]) if self._cells is None else int(self._cells[at])


def _distinct_sets(clauses: Sequence[Clause]) -> list[PrefixIn]:
    found: dict[int, PrefixIn] = {}
    for clause in clauses:
        for part in clause.prefix:
            for condition in part.conditions:
                if isinstance(condition, PrefixIn):
                    found.setdefault(id(condition), condition)
    return list(found.values())


def _all(parts: Sequence[Literal[Any]], truth: Callable[[Any], Any]) -> Any:
    """The conjunction of literals, over bools or columns of them."""
    result: Any = np.bool_(True)
    for part in parts:
        holds: Any = np.bool_(True)
        for condition in part.conditions:
            holds = holds & truth(condition)
        result = result & (~holds if part.negated else holds)
    return result
