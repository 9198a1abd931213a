"""The named sets of all policy files, and the reading of texts that may name one of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bgpbridge.documents import Document, Problem, did_you_mean, errors_of
from bgpbridge.errors import DocumentError, Place
from bgpbridge.policy.as_paths import EXPECTED_ASNS, EXPECTED_PATTERN, AsnSet, PathPattern, parse_asns
from bgpbridge.policy.communities import EXPECTED as EXPECTED_COMMUNITY
from bgpbridge.policy.communities import CommunityPattern, parse_pattern
from bgpbridge.policy.prefixes import EXPECTED as EXPECTED_PREFIX
from bgpbridge.policy.prefixes import PrefixRange, parse_prefixes, read_prefix_file
from bgpbridge.policy.schema import FileText, PolicyFile

__all__ = ["Sets", "Steps", "collect"]

T = TypeVar("T")
Steps = tuple[str | int, ...]


@dataclass(slots=True)
class Sets:
    """Sets by name, one dictionary per kind, and the digest of each for noticing changes."""

    prefixes: dict[str, tuple[PrefixRange, ...]] = field(default_factory=dict)
    asns: dict[str, AsnSet] = field(default_factory=dict)
    as_paths: dict[str, tuple[PathPattern, ...]] = field(default_factory=dict)
    communities: dict[str, tuple[CommunityPattern, ...]] = field(default_factory=dict)
    peers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    next_hop_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)

    def unused(self) -> tuple[tuple[str, str, Place], ...]:
        """(kind, name, place) of the sets that nobody asked for."""
        return tuple((*key, place) for key, place in self.places.items() if key not in self.used)

    def prefix_ranges(self, texts: Sequence[str], path: Steps, problems: list[Problem]) -> tuple[PrefixRange, ...]:
        """Names of prefix sets and prefix patterns as ranges."""
        self.used |= {("prefixes", text) for text in texts}
        return _read(texts, self.prefixes, parse_prefixes, ("prefix set", EXPECTED_PREFIX), path, problems)

    def asn_set(self, texts: Sequence[str], path: Steps, problems: list[Problem]) -> AsnSet:
        """AS numbers, ranges and names of AS sets as one set."""
        self.used |= {("asns", text) for text in texts}
        known = {name: asns.ranges for name, asns in self.asns.items()}
        return AsnSet.of(_read(texts, known, lambda t: (parse_asns(t),), ("AS set", EXPECTED_ASNS), path, problems))

    def patterns(self, texts: Sequence[str], path: Steps, problems: list[Problem]) -> tuple[CommunityPattern, ...]:
        """Communities, wildcards and names of community sets as patterns."""
        self.used |= {("communities", text) for text in texts}
        expected = ("community set", EXPECTED_COMMUNITY)
        return _read(texts, self.communities, parse_pattern, expected, path, problems)

    def paths(self, texts: Sequence[str], path: Steps, problems: list[Problem]) -> tuple[PathPattern, ...]:
        """Names of AS path sets, and patterns, in which `@name` stands for a set of AS numbers."""
        self.used |= {("as_paths", text) for text in texts}
        words = ("AS path set", EXPECTED_PATTERN)
        found = _read(texts, self.as_paths, lambda t: (PathPattern.parse(t, self.asns),), words, path, problems)
        self.used |= {("asns", name) for p in found for name in re.findall(r"@([A-Za-z][A-Za-z0-9_.-]*)", p.text)}
        return found

    def peer_names(self, texts: Sequence[str]) -> frozenset[str]:
        """Names of peers, and the members of the groups among them; a group goes before a peer of its name."""
        self.used |= {("peers", text) for text in texts}
        return frozenset(name for text in texts for name in self.peers.get(text, (text,)))


def _read(
    texts: Sequence[str],
    known: dict[str, Any],
    literal: Callable[[str], tuple[T, ...]],
    words: tuple[str, str],
    path: Steps,
    problems: list[Problem],
) -> tuple[T, ...]:
    """Each text as the set of that name or as a literal; what is neither becomes a Problem."""
    found: list[T] = []
    for index, text in enumerate(texts):
        if text in known:
            found += known[text]
            continue
        try:
            found += literal(text)
        except ValueError as error:
            where = (*path, index)
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", text):
                meant = did_you_mean(text, known)
                mend = f"did you mean `{meant}`?" if meant else f"define it under `sets`, or write {words[1]}"
                problems.append(Problem(where, f"there is no {words[0]} `{text}`", mend=mend))
            else:
                problems.append(Problem(where, str(error), words[1]))
    return tuple(found)


def collect(files: Sequence[tuple[Document, PolicyFile]]) -> tuple[Sets, list[DocumentError]]:
    """The sets of all files, and everything that is wrong with them. A set that cannot be read is there but
    empty, so that terms which name it do not complain a second time."""
    sets, errors = Sets(), []
    for document, model in files:
        problems: list[Problem] = []
        for name, items in model.sets.prefixes.items():
            if _claim(sets, document, "prefixes", name, problems):
                ranges, wrong = _prefix_set(items, ("sets", "prefixes", name), Path(document.file).parent, problems)
                sets.prefixes[name] = ranges
                errors += wrong
                sets.digests[f"prefixes {name}"] = _digest(_in_order(ranges))
        empty = Sets()
        for name, texts in model.sets.asns.items():
            if _claim(sets, document, "asns", name, problems):
                sets.asns[name] = empty.asn_set(texts, ("sets", "asns", name), problems)
                sets.digests[f"asns {name}"] = _digest(sets.asns[name].ranges)
        for name, texts in model.sets.communities.items():
            if _claim(sets, document, "communities", name, problems):
                sets.communities[name] = empty.patterns(texts, ("sets", "communities", name), problems)
                sets.digests[f"communities {name}"] = _digest(sets.communities[name])
        for name, texts in model.sets.peers.items():
            if _claim(sets, document, "peers", name, problems):
                sets.peers[name] = tuple(texts)
                sets.digests[f"peers {name}"] = _digest(sorted(texts))
        for name, texts in model.sets.next_hop_groups.items():
            if _claim(sets, document, "next_hop_groups", name, problems):
                sets.next_hop_groups[name] = texts
        errors += errors_of(document, problems)
    for document, model in files:  # they may name sets of AS numbers of any file
        problems = []
        _collect_paths(sets, document, model.sets.as_paths, problems)
        errors += errors_of(document, problems)
    return sets, errors


def _collect_paths(
    sets: Sets, document: Document, listed: Mapping[str, Sequence[str]], problems: list[Problem]
) -> None:
    empty = Sets(asns=sets.asns)
    for name, texts in listed.items():
        if _claim(sets, document, "as_paths", name, problems):
            sets.as_paths[name] = empty.paths(texts, ("sets", "as_paths", name), problems)
            sets.digests[f"as_paths {name}"] = _digest(pattern.text for pattern in sets.as_paths[name])
    sets.used |= empty.used & set(sets.places)


def _claim(sets: Sets, document: Document, kind: str, name: str, problems: list[Problem]) -> bool:
    """True when no file before has a set of this kind and name."""
    path = ("sets", kind, name)
    first = sets.places.setdefault((kind, name), document.place(path, key=True))
    if first == document.place(path, key=True):
        return True
    problems.append(Problem(path, f"the set `{name}` is already defined at {first}", mend="rename one", at_key=True))
    return False


def _prefix_set(
    items: Sequence[str | FileText], path: Steps, folder: Path, problems: list[Problem]
) -> tuple[tuple[PrefixRange, ...], list[DocumentError]]:
    """A set's ranges out of its lines and files."""
    ranges: list[PrefixRange] = []
    errors: list[DocumentError] = []
    for index, item in enumerate(items):
        try:
            if isinstance(item, FileText):
                ranges += read_prefix_file(folder / item.file, item.match)
            else:
                ranges += parse_prefixes(item)
        except DocumentError as error:
            if error.place.line:
                errors.append(error)
            else:
                problems.append(Problem((*path, index), str(error.what), mend=error.mend))
        except ValueError as error:
            problems.append(Problem((*path, index), str(error), EXPECTED_PREFIX))
    return tuple(ranges), errors


def _in_order(ranges: Sequence[PrefixRange]) -> list[int]:
    """Ranges as numbers, in an order of their own: sorted at a hundred times the speed of what they stand for."""
    return sorted(
        one.prefix.family << 152 | one.prefix.value << 24 | one.prefix.length << 16 | one.low << 8 | one.high
        for one in ranges
    )


def _digest(content: Any) -> str:
    text = "\n".join(map(str, content))
    return hashlib.sha256(text.encode()).hexdigest()
