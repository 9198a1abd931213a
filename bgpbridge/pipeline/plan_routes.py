"""A plan's counts of routes: whose verdicts would be others, by which term, and what would differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bgpbridge.pipeline.plan_report import EXAMPLES, RouteExample, RoutesPlan, TermPlan
from bgpbridge.policy.evaluate import built_in, deny_by_default
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.policy.model import Action, PeerContext, PolicyVerdict
from bgpbridge.rib.family import FamilyRib, Verdicts
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.tables import Ids
from bgpbridge.types import AttributeChanges, Family

__all__ = ["RouteTally"]

KINDS = ("accepted", "rejected", "changed")
NOTHING = AttributeChanges()
SCALARS = ("local_pref", "med", "weight", "next_hop")
LISTS = {"as_path": "prepend", "communities": "communities", "extended": "extended", "large": "large"}


@dataclass(slots=True)
class _Count:
    """One peer and family."""

    terms: dict[str, Counter[int]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    attributes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[RouteExample]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def total(self, kind: str) -> int:
        """All of a kind."""
        return self.terms[kind].total()


class RouteTally:
    """`take` every slice's verdicts, then `report`. `judge` is the one of the trial, `contexts` its peers by index."""

    def __init__(self, rib: Rib, judge: PolicyJudge, contexts: dict[int, PeerContext]) -> None:
        self.rib, self.judge, self.contexts = rib, judge, contexts
        self._counts: dict[tuple[int, Family], _Count] = {}

    def take(self, family: Family, found: Verdicts) -> None:
        """Verdicts that differ."""
        tables = self.rib.families[family]
        count = self._counts.setdefault((found.peer, family), _Count())
        hi, lo, length = tables.prefixes.columns(found.rows)
        term = self.judge.deciding(found.peer, family, found.received, hi, lo, length)
        accepted, rejected = found.before == 0, found.after == 0
        self._add(tables, count, "accepted", found, term, np.flatnonzero(accepted))
        self._add(tables, count, "rejected", found, term, np.flatnonzero(rejected))
        differs = self._attributes(found, ~accepted & ~rejected, count)
        self._add(tables, count, "changed", found, term, differs)

    def _add(self, tables: FamilyRib, count: _Count, kind: str, found: Verdicts, term: Ids, at: Ids) -> None:
        numbers, times = np.unique(term.take(at), return_counts=True)
        count.terms[kind].update(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        for position in at[: EXAMPLES - len(count.examples[kind])].tolist():
            verdict = self._verdict(found.peer, int(term[position]))
            text = verdict.reason or f"{verdict.policy} term {verdict.term}"
            if kind == "changed":
                differing = self._words(int(found.before[position]), int(found.after[position]))
                text = f"{differing} ({text})" if differing else text
            prefix = tables.prefixes.prefix(int(found.rows[position]))
            count.examples[kind].append(RouteExample(str(prefix), text))

    def _verdict(self, peer: int, term: int) -> PolicyVerdict:
        """Who decides: a term by its number, or what speaks where none does."""
        context = self.contexts[peer]
        verdict = built_in(context, self.judge.policies)
        if verdict is not None:
            return verdict
        policy = self.judge.policies.policies[str(context.policy)]
        if term < 0:
            return deny_by_default(policy)
        found = policy.terms[term]
        accept = found.action is Action.ACCEPT
        return PolicyVerdict(accept, NOTHING, found.place, policy.name, found.name, "" if accept else found.reason)

    # -- attributes -----------------------------------------------------------------------------------------

    def _attributes(self, found: Verdicts, both: Any, count: _Count) -> Ids:
        """Which of the routes accepted before and after have other attributes, counted by attribute."""
        at = np.flatnonzero(both)
        before, after = found.before.take(at), found.after.take(at)
        differs = np.zeros(len(at), np.bool_)
        for name in SCALARS:
            column = getattr(self.rib.attributes, name)
            other = column.take(before) != column.take(after)
            self._note(count, name, other, differs)
        pairs, which = np.unique(before << 32 | after, return_inverse=True)
        words = [self._edited(pair >> 32, pair & 0xFFFFFFFF) for pair in pairs.tolist()]
        for name in LISTS:
            other = np.array([name in some for some in words], np.bool_).take(which.reshape(-1))
            self._note(count, name, other, differs)
        return at.compress(differs)

    def _note(self, count: _Count, name: str, other: Any, differs: Any) -> None:
        if other.any():
            count.attributes[name] += int(np.count_nonzero(other))
            differs |= other

    def _edited(self, before: int, after: int) -> frozenset[str]:
        """Paths and lists that policy edits otherwise: decoding each would take too long."""
        table = self.rib.attributes
        old, new = table.changes(before) or NOTHING, table.changes(after) or NOTHING
        return frozenset(name for name, key in LISTS.items() if getattr(old, key) != getattr(new, key))

    def _words(self, before: int, after: int) -> str:
        table, words = self.rib.attributes, []
        for name in ("local_pref", "med", "weight"):
            old, new = int(getattr(table, name)[before]), int(getattr(table, name)[after])
            if old != new:
                words.append(f"{name} {old} -> {new}")
        old, new = int(table.next_hop[before]), int(table.next_hop[after])
        if old != new:
            hops = [str(self.rib.next_hops[hop].address) if hop else "none" for hop in (old, new)]
            words.append(f"next_hop {hops[0]} -> {hops[1]}")
        return ", ".join([*words, *sorted(self._edited(before, after))])

    # -- the report -----------------------------------------------------------------------------------------

    def report(self) -> tuple[RoutesPlan, ...]:
        """By peer and family, those that differ."""
        return tuple(self._routes(peer, family, count) for (peer, family), count in sorted(self._counts.items()))

    def _routes(self, peer: int, family: Family, count: _Count) -> RoutesPlan:
        adj = self.rib.families[family].adj.get(peer)
        return RoutesPlan(
            peer=self.contexts[peer].name,
            family=family,
            routes=adj.received if adj is not None else 0,
            accepted=count.total("accepted"),
            rejected=count.total("rejected"),
            changed=count.total("changed"),
            accepted_by=self._by_term(peer, count.terms["accepted"]),
            rejected_by=self._by_term(peer, count.terms["rejected"]),
            attributes=dict(count.attributes),
            accepted_examples=tuple(count.examples["accepted"]),
            rejected_examples=tuple(count.examples["rejected"]),
            changed_examples=tuple(count.examples["changed"]),
        )

    def _by_term(self, peer: int, terms: Counter[int]) -> tuple[TermPlan, ...]:
        found = []
        for term, count in terms.most_common():
            verdict = self._verdict(peer, term)
            found.append(TermPlan(verdict.policy, verdict.term, str(verdict.place), verdict.reason, count))
        return tuple(found)

    def accepted_then(self, peer: int, family: Family) -> int:
        """How many routes of a peer policy would let in."""
        adj = self.rib.families[family].adj.get(peer)
        count = self._counts.get((peer, family), _Count())
        return (adj.accepted if adj is not None else 0) + count.total("accepted") - count.total("rejected")
