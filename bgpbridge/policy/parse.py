"""Policy files to a PolicySet: texts read, names looked up across all files, complaints with their places.

All files are read first and their sets put together, so the order of files does not matter. Everything that
is wrong in any of them is raised together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bgpbridge.documents import Document, Problem, blank_values, errors_of, parse, raise_errors, read_text, validate
from bgpbridge.errors import DocumentError
from bgpbridge.policy import conditions as c
from bgpbridge.policy.as_paths import EXPECTED_PATTERN, AsnSet, PathPattern
from bgpbridge.policy.clauses import MOST_CLAUSES, count_clauses
from bgpbridge.policy.communities import parse_value
from bgpbridge.policy.edits import CommunityEdits, Edits
from bgpbridge.policy.model import ACCEPT, Action, Policy, PolicySet, Term
from bgpbridge.policy.schema import BoundsText, MatchText, PolicyFile, PolicyText, SetText, TermText
from bgpbridge.policy.sets import Sets, Steps, collect
from bgpbridge.types import Family
from bgpbridge.wire.path_attributes import ORIGIN_NAMES

__all__ = ["load_policies", "loads_policies"]

HIGHEST = 0xFFFFFFFF
EXPECTED_OTC = "absent, present, neighbor, an AS number, a range or the name of a set under `sets.asns`"
ORIGINS = {name.lower(): number for number, name in enumerate(ORIGIN_NAMES)}


def load_policies(files: Sequence[Path]) -> PolicySet:
    """All policies of these files. Raises DocumentError with everything that is wrong in any of them."""
    texts: list[tuple[str, str]] = []
    errors: list[DocumentError] = []
    for file in files:
        try:
            texts.append((read_text(file), str(file)))
        except DocumentError as error:
            errors.append(error)
    raise_errors(errors)
    return loads_policies(texts)


def loads_policies(texts: Sequence[tuple[str, str]]) -> PolicySet:
    """The same from (text, file name); set files are looked for in the folder of that name."""
    parsed: list[tuple[Document, PolicyFile]] = []
    errors: list[DocumentError] = []
    for text, file in texts:
        try:
            document = parse(text, file)
        except DocumentError as error:
            errors.append(error)
            continue
        model, problems = validate(document.data, PolicyFile)
        errors += errors_of(document, blank_values(document) or problems)
        if model:
            parsed.append((document, model))
    sets, wrong = collect(parsed)
    errors += wrong
    policies: dict[str, Policy] = {}
    for document, model in parsed:
        problems = []
        for name, text_ in model.policies.items():
            path = ("policies", name)
            problems += _claimed(name, path, policies)
            policies.setdefault(name, _Reader(document, sets, problems).policy(name, text_, path))
        errors += errors_of(document, problems)
    raise_errors(errors)
    return PolicySet(policies, tuple(Path(file) for _, file in texts), sets.unused())


def _claimed(name: str, path: Steps, policies: dict[str, Policy]) -> list[Problem]:
    if name == ACCEPT:
        return [Problem(path, f"`{ACCEPT}` is the built-in policy", mend="choose another name", at_key=True)]
    if name in policies:
        first = policies[name].place
        return [Problem(path, f"the policy `{name}` is already defined at {first}", mend="rename one", at_key=True)]
    return []


class _Reader:
    """One document's policies. Problems are collected, so that all of them are reported."""

    def __init__(self, document: Document, sets: Sets, problems: list[Problem]) -> None:
        self.document = document
        self.sets = sets
        self.problems = problems
        self.shared: dict[tuple[str, ...], c.PrefixIn] = {}

    def policy(self, name: str, text: PolicyText, path: Steps) -> Policy:
        """A policy with all its terms."""
        terms: list[Term] = []
        for index, term in enumerate(text.terms):
            where = (*path, "terms", index)
            if term.term in (known.name for known in terms):
                self.problems.append(
                    Problem((*where, "term"), f"a second term `{term.term}` in policy `{name}`", mend="rename one")
                )
            terms.append(self._term(term, where))
        place = self.document.place(path, key=True)
        return Policy(name, place, tuple(terms), self._digest(path))

    def _digest(self, path: Steps) -> str:
        """Of the policy's own text without places, and of every set there is: a set that it does not use
        costs a needless second judgement at most."""
        data = self.document.data
        for step in path:
            data = data[step]
        return hashlib.sha256(repr((data, sorted(self.sets.digests.items()))).encode()).hexdigest()

    def _term(self, text: TermText, path: Steps) -> Term:
        place = self.document.place((*path, "term"))
        matches = [self._match(match, (*path, "match", i)) for i, match in enumerate(text.match or ())]
        unless = [self._match(match, (*path, "unless", i)) for i, match in enumerate(text.unless or ())]
        if count_clauses(matches, unless) > MOST_CLAUSES:
            problem = f"term {text.term}: the `unless` mappings that mix prefix, attributes and peer are too many"
            mend = "give each of them a term of its own before this one"
            self.problems.append(Problem((*path, "unless"), problem, mend=mend, at_key=True))
        edits = self._edits(text.set, (*path, "set")) if text.set else Edits()
        reason = text.reason or f"rejected by term {text.term}"
        return Term(text.term, place, tuple(matches), tuple(unless), Action(text.then), reason, edits)

    def _match(self, text: MatchText, path: Steps) -> c.Match:
        return c.Match(
            prefix=tuple(self._prefix_conditions(text, path)),
            attributes=tuple(self._attribute_conditions(text, path)),
            peer=(c.PeerIn(frozenset(text.peer)),) if text.peer else (),
        )

    def _prefix_conditions(self, text: MatchText, path: Steps) -> list[c.PrefixCondition]:
        found: list[c.PrefixCondition] = []
        if text.prefix is not None:
            if text.prefix not in self.shared:
                ranges = self.sets.prefix_ranges(text.prefix, (*path, "prefix"), self.problems)
                self.shared[text.prefix] = c.PrefixIn(ranges, ", ".join(text.prefix))
            found.append(self.shared[text.prefix])
        if text.prefix_length is not None:
            found.append(c.LengthIn(*_bounds(text.prefix_length)))
        if text.family is not None:
            found.append(c.FamilyIn(frozenset(Family[name.upper()] for name in text.family)))
        return found

    def _attribute_conditions(self, text: MatchText, path: Steps) -> list[c.AttributeCondition]:
        found: list[c.AttributeCondition] = []
        bounded: dict[str, Callable[[int, int], c.AttributeCondition]] = {
            "path_length": c.PathLengthIn,
            "med": c.MedIn,
            "local_pref": c.LocalPrefIn,
        }
        for key, make in bounded.items():
            if (bounds := getattr(text, key)) is not None:
                found.append(make(*_bounds(bounds)))
        of_asns: dict[str, Callable[[Any], c.AttributeCondition]] = {
            "path_contains": c.PathContains,
            "neighbor_as": c.NeighborAsIn,
            "origin_as": c.OriginAsIn,
        }
        for key, make_ in of_asns.items():
            if (texts := getattr(text, key)) is not None:
                found.append(make_(self.sets.asn_set(texts, (*path, key), self.problems)))
        if text.origin is not None:
            found.append(c.OriginIn(frozenset(ORIGINS[name] for name in text.origin)))
        if text.next_hop is not None:
            found.append(c.NextHopIn(self.sets.prefix_ranges(text.next_hop, (*path, "next_hop"), self.problems)))
        if text.otc is not None:
            found.append(self._otc(text.otc, (*path, "otc")))
        return found + self._list_conditions(text, path)

    def _otc(self, texts: Sequence[str], path: Steps) -> c.OtcIs:
        """The words stand for themselves, whatever sets are called."""
        words = {"absent", "present", "neighbor"}
        problems: list[Problem] = []
        asns = self.sets.asn_set([text for text in texts if text not in words], path, problems)
        self.problems += [Problem(path, p.problem, EXPECTED_OTC, p.mend) for p in problems]
        if "present" in texts:
            asns = AsnSet.of([(0, HIGHEST)])
        return c.OtcIs("absent" in texts, "neighbor" in texts, asns)

    def _list_conditions(self, text: MatchText, path: Steps) -> list[c.AttributeCondition]:
        """Conditions on the whole AS path and on communities."""
        found: list[c.AttributeCondition] = []
        if text.as_path is not None:
            found.append(c.PathMatches(tuple(self._patterns(text.as_path, (*path, "as_path")))))
        if text.community is not None:
            where = (*path, "community")
            found.append(c.HasCommunity(self.sets.patterns(text.community, where, self.problems)))
        for index, one in enumerate(text.every_community or ()):
            problems: list[Problem] = []
            found.append(c.HasCommunity(self.sets.patterns((one,), (), problems)))
            where = (*path, "every_community", index)
            self.problems += [Problem(where, p.problem, p.expected, p.mend) for p in problems]
        return found

    def _patterns(self, texts: Sequence[str], path: Steps) -> list[PathPattern]:
        found = []
        for index, text in enumerate(texts):
            try:
                found.append(PathPattern.parse(text, self.sets.asns))
                self.sets.used |= {("asns", name) for name in re.findall(r"@([A-Za-z][A-Za-z0-9_.-]*)", text)}
            except ValueError as error:
                self.problems.append(Problem((*path, index), str(error), EXPECTED_PATTERN))
        return found

    def _edits(self, text: SetText, path: Steps) -> Edits:
        prepend = (text.prepend.asn, text.prepend.times) if text.prepend else None
        communities = CommunityEdits()
        if text.communities:
            where, edits = (*path, "communities"), text.communities
            assign = None if edits.assign is None else self._values(edits.assign, (*where, "set"))
            remove = self.sets.patterns(edits.remove, (*where, "remove"), self.problems)
            communities = CommunityEdits(assign, remove, self._values(edits.add, (*where, "add")))
        return Edits(text.local_pref, text.med, text.weight, text.next_hop, prepend, communities)

    def _values(self, texts: Sequence[str], path: Steps) -> tuple[Any, ...]:
        found = []
        for index, text in enumerate(texts):
            try:
                found.append(parse_value(text))
            except ValueError as error:
                mend = "wildcards may be removed, but not set" if "*" in text else ""
                self.problems.append(Problem((*path, index), str(error), "one community, such as 65000:100", mend))
        return tuple(found)


def _bounds(text: BoundsText) -> tuple[int, int]:
    return (0 if text.ge is None else text.ge, HIGHEST if text.le is None else text.le)
