"""Policy files to a PolicySet: texts read, names looked up across all files, complaints with their places.

All files are read first and their sets put together, so the order of files does not matter. Everything that
is wrong in any of them is raised together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bgpbridge.documents import Document, Problem, blank_values, errors_of, parse, raise_errors, read_text, validate
from bgpbridge.errors import DocumentError
from bgpbridge.policy import conditions as c
from bgpbridge.policy.as_paths import AsnSet
from bgpbridge.policy.clauses import MOST_CLAUSES, count_clauses
from bgpbridge.policy.communities import parse_value
from bgpbridge.policy.edits import CommunityEdits, Edits
from bgpbridge.policy.library import Entry, Library
from bgpbridge.policy.model import Action, PolicySet, Term
from bgpbridge.policy.overrides import members_of, of_files
from bgpbridge.policy.schema import BoundsText, MatchText, PolicyFile, SetText, TermText
from bgpbridge.policy.sets import Sets, Steps, collect
from bgpbridge.rpki.vrps import Validity
from bgpbridge.types import Family
from bgpbridge.wire.path_attributes import ORIGIN_NAMES

__all__ = ["load_policies", "loads_policies"]

HIGHEST = 0xFFFFFFFF
EXPECTED_OTC = "absent, present, neighbor, an AS number, a range or the name of a set under `sets.asns`"
VALIDITY = {state.label: state for state in Validity}
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
    library, readers = Library(), []
    for document, model in parsed:
        reader = _Reader(document, sets, [])
        reader.offer(model, library)
        readers.append(reader)
    library.read_all()
    for reader in readers:
        errors += errors_of(reader.document, reader.problems)
    overrides, wrong = of_files(parsed, sets)
    raise_errors([*errors, *wrong])
    groups = {n: (members_of(t), sets.places["next_hop_groups", n]) for n, t in sets.next_hop_groups.items()}
    of_sets = repr(sorted(sets.digests.items()))  # of all: one that it does not use costs a needless judgement at most
    policies = {name: library.policy(name, of_sets) for name, e in library.entries.items() if e.kind == "policy"}
    unused = (*sets.unused(), *library.unused())
    names = tuple(Path(file) for _, file in texts)
    return PolicySet(policies, names, unused, frozenset(library.included), overrides, groups)


class _Reader:
    """One document's terms. Problems are collected, so that all of them are reported."""

    def __init__(self, document: Document, sets: Sets, problems: list[Problem]) -> None:
        self.document = document
        self.sets = sets
        self.problems = problems
        self.shared: dict[tuple[str, ...], c.PrefixIn] = {}

    def offer(self, model: PolicyFile, library: Library) -> None:
        """The document's policies and named terms."""
        for name, text in model.policies.items():
            at: Steps = ("policies", name)
            place, steps = self.document.place(at, key=True), range(len(text.terms))
            where = (*at, "terms")
            entry = Entry("policy", name, place, self.document, where, text.terms, steps, self._term, self.problems)
            library.add(entry, at)
        for index, term in enumerate(model.terms):
            at = ("terms", index, "term")
            place = self.document.place(at)
            entry = Entry(
                "term", term.term, place, self.document, ("terms",), (term,), (index,), self._term, self.problems
            )
            library.add(entry, at)

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
            peer=(c.PeerIn(self.sets.peer_names(text.peer)),) if text.peer else (),
            rpki=(c.RpkiIn(frozenset(VALIDITY[word] for word in text.rpki)),) if text.rpki else (),
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
            found.append(c.PathMatches(self.sets.paths(text.as_path, (*path, "as_path"), self.problems)))
        if text.community is not None:
            where = (*path, "community")
            found.append(c.HasCommunity(self.sets.patterns(text.community, where, self.problems)))
        for index, one in enumerate(text.every_community or ()):
            problems: list[Problem] = []
            found.append(c.HasCommunity(self.sets.patterns((one,), (), problems)))
            where = (*path, "every_community", index)
            self.problems += [Problem(where, p.problem, p.expected, p.mend) for p in problems]
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
