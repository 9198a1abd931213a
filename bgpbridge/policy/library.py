"""Policies and named terms of all files by name, with `include` followed: whose terms stand where.

An include puts the terms of another policy, or one named term, in its place, as if they were written there; each
keeps the line that it was written in. What includes itself, by whatever way round, is an error with the lines of all
includes on that way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bgpbridge.documents import Document, Problem, did_you_mean
from bgpbridge.errors import Place
from bgpbridge.policy.model import ACCEPT, Policy, Term
from bgpbridge.policy.schema import IncludeText, TermText
from bgpbridge.policy.sets import Steps

__all__ = ["Entry", "Library"]


@dataclass(slots=True)
class Entry:
    """A policy (`path` is its list of terms), or a term under `terms` (`path` is the list that holds it). `steps` are
    the indexes of `items` in the list."""

    kind: str
    name: str
    place: Place
    document: Document
    path: Steps
    items: Sequence[TermText | IncludeText]
    steps: Sequence[int]
    read: Callable[[TermText, Steps], Term]
    problems: list[Problem]


@dataclass(slots=True)
class Library:
    """Add all entries first, then ask."""

    entries: dict[str, Entry] = field(default_factory=dict)
    included: set[str] = field(default_factory=set)
    _terms: dict[str, tuple[Term, ...]] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _open: list[tuple[str, Place]] = field(default_factory=list)  # being read, and the include that asked for each

    def add(self, entry: Entry, at: Steps) -> None:
        """An entry, unless its name is taken; `at` is where its name stands."""
        first = self.entries.setdefault(entry.name, entry)
        if entry.name == ACCEPT:
            problem, mend = f"`{ACCEPT}` is the built-in policy", "choose another name"
        elif first is not entry:
            problem, mend = f"the {first.kind} `{entry.name}` is already defined at {first.place}", "rename one"
        else:
            return
        entry.problems.append(Problem(at, problem, mend=mend, at_key=entry.kind == "policy"))

    def policy(self, name: str, sets_digest: str) -> Policy:
        """A policy with all its terms, included ones among them."""
        terms = self._terms_of(name, self.entries[name].place)
        digest = hashlib.sha256((self._digest(name) + sets_digest).encode()).hexdigest()
        return Policy(name, self.entries[name].place, terms, digest)

    def unused(self) -> tuple[tuple[str, str, Place], ...]:
        """(kind, name, place) of named terms that nothing includes."""
        left = (e for name, e in self.entries.items() if e.kind == "term" and name not in self.included)
        return tuple(("terms", entry.name, entry.place) for entry in left)

    def read_all(self) -> None:
        """Look at what no policy asks for as well: it may be wrong."""
        for name, entry in self.entries.items():
            self._terms_of(name, entry.place)

    def _terms_of(self, name: str, asked: Place) -> tuple[Term, ...]:
        found = self._terms.get(name)
        if found is None:
            self._open.append((name, asked))
            found = self._terms[name] = self._read(self.entries[name])
            self._open.pop()
        return found

    def _read(self, entry: Entry) -> tuple[Term, ...]:
        terms: dict[str, Term] = {}
        for step, item in zip(entry.steps, entry.items, strict=True):
            where = (*entry.path, step)
            new = self._included(entry, item, where) if isinstance(item, IncludeText) else (entry.read(item, where),)
            for term in new:
                if term.name in terms:
                    text = f"a second term `{term.name}` in policy `{entry.name}`"
                    if isinstance(item, IncludeText):
                        text += f": that of {term.place}, beside that of {terms[term.name].place}"
                    at = (*where, "include" if isinstance(item, IncludeText) else "term")
                    entry.problems.append(Problem(at, text, mend="rename one"))
                terms.setdefault(term.name, term)
        return tuple(terms.values())

    def _included(self, entry: Entry, item: IncludeText, where: Steps) -> tuple[Term, ...]:
        name, at = item.include, (*where, "include")
        self.included.add(name)
        if name not in self.entries:
            meant = did_you_mean(name, self.entries)
            mend = f"did you mean `{meant}`?" if meant else "define it under `policies` or `terms`"
            entry.problems.append(Problem(at, f"there is no policy or term `{name}` to include", mend=mend))
            return ()
        names = [open_ for open_, _ in self._open]
        if name in names:
            way = self._open[names.index(name) + 1 :]
            through = "".join(f" through `{of}`, included at {place}," for of, place in way).rstrip(",")
            problem = f"`{name}` includes itself{',' if way else ''}{through}"
            entry.problems.append(Problem(at, problem, mend="remove one of these includes"))
            return ()
        return self._terms_of(name, entry.document.place(at))

    def _digest(self, name: str) -> str:
        """Of its own text without places, and of what it includes."""
        known = self._digests.get(name)
        if known is None:
            self._digests[name] = ""  # for what includes itself, which is refused anyway
            entry = self.entries[name]
            listed = entry.document.data
            for step in entry.path:
                listed = listed[step]
            parts = [
                self._digest(item.include)
                if isinstance(item, IncludeText) and item.include in self.entries
                else repr(listed[step])
                for step, item in zip(entry.steps, entry.items, strict=True)
            ]
            known = self._digests[name] = hashlib.sha256(repr(parts).encode()).hexdigest()
        return known
