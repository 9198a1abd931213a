"""What is odd about policies though nothing is wrong with them: terms that nothing reaches, sets that nobody
names, entries that others cover. `bgpbridge check` shows it; nothing is refused for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.errors import Place
from bgpbridge.policy.conditions import PrefixIn
from bgpbridge.policy.model import Action, Policy, PolicySet
from bgpbridge.policy.prefixes import PrefixRange

__all__ = ["Oddity", "covered_entries", "lint"]


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something to look at again."""

    place: Place
    text: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" + (f"\n  mend: {self.mend}" if self.mend else "")


def lint(policies: PolicySet) -> list[Oddity]:
    """All oddities, policy by policy."""
    found = [
        Oddity(place, f"the term `{name}` is included by no policy", "remove it, or `include` it")
        if kind == "terms"
        else Oddity(place, f"the {kind} set `{name}` is used by no policy", "remove it, or name it in a `match`")
        for kind, name, place in policies.unused
    ]
    for policy in policies.policies.values():
        part = policy.name in policies.included  # a part of others need not accept anything itself
        found += [*_unreached(policy), *(() if part else _nothing_accepted(policy)), *_covered(policy)]
    return found


def _unreached(policy: Policy) -> Iterator[Oddity]:
    for index, term in enumerate(policy.terms):
        decides_all = not term.matches and not term.unless and term.action is not Action.NEXT
        if decides_all and index + 1 < len(policy.terms):
            after = policy.terms[index + 1]
            text = f"term {after.name} and all behind it are never reached: {term.name} decides on every route"
            yield Oddity(after.place, text, f"move {term.name} to the end")
            return


def _nothing_accepted(policy: Policy) -> Iterator[Oddity]:
    if all(term.action is not Action.ACCEPT for term in policy.terms):
        text = f"policy {policy.name} accepts nothing: a route that no term accepts is refused"
        yield Oddity(policy.place, text, "end it with a term that says `then: accept`")


def _covered(policy: Policy) -> Iterator[Oddity]:
    for term in policy.terms:
        for match in (*term.matches, *term.unless):
            for condition in match.prefix:
                if isinstance(condition, PrefixIn) and (covered := covered_entries(condition.ranges)):
                    inner, outer = covered[0]
                    text = f"term {term.name}: {len(covered)} of {len(condition.ranges)} entries of {condition.text}"
                    yield Oddity(term.place, f"{text} add nothing, such as `{inner}` beside `{outer}`")


def covered_entries(ranges: tuple[PrefixRange, ...]) -> list[tuple[PrefixRange, PrefixRange]]:
    """(entry, another that matches all it matches), for each entry that adds nothing."""
    found: list[tuple[PrefixRange, PrefixRange]] = []
    around: list[PrefixRange] = []
    for entry in sorted(ranges, key=lambda r: (r.prefix, -r.high)):
        while around and not around[-1].prefix.covers(entry.prefix):
            around.pop()
        outer = next((other for other in around if other.low <= entry.low and entry.high <= other.high), None)
        if outer is not None:
            found.append((entry, outer))
        around.append(entry)
    return found
