"""Prefix overrides as values, whoever gave them: a policy file, a command, an HTTP request.

Here they are read, and held against one another: one scope (a prefix alone, or with everything under it) is no place
for two of them. Overlapping ones of different length are no conflict: the longest decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bgpbridge.documents import Document, Problem, did_you_mean, errors_of
from bgpbridge.errors import DocumentError, Place
from bgpbridge.policy.override_schema import OverrideText, PreferText, TargetText, WeightText
from bgpbridge.policy.schema import PolicyFile
from bgpbridge.policy.sets import Sets
from bgpbridge.types import IPAddress, OverrideKind, Prefix, parse_address

__all__ = ["Members", "Override", "Scope", "Target", "members_of", "of_files", "of_text", "unknown_names"]

Scope = tuple[Prefix, bool]
"""A prefix, and whether everything under it is meant as well."""


@dataclass(frozen=True, slots=True)
class Members:
    """Peers by name, and next hops."""

    peers: tuple[str, ...] = ()
    next_hops: tuple[IPAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Whose paths are meant: one of the three."""

    peer: str = ""
    next_hop: IPAddress | None = None
    group: str = ""

    def __str__(self) -> str:
        if self.group:
            return f"group {self.group}"
        return f"next hop {self.next_hop}" if self.next_hop is not None else f"peer {self.peer}"

    def members(self, groups: Mapping[str, Members]) -> Members:
        """Peers and next hops; those of a group that is gone are none."""
        if self.group:
            return groups.get(self.group, Members())
        return Members(next_hops=(self.next_hop,)) if self.next_hop is not None else Members(peers=(self.peer,))


@dataclass(frozen=True, slots=True)
class Override:
    """One override. `target` None: all paths. `value` is the local preference or weight. `expires` is Unix time.
    `source` says who gave it: `file`, `command by NAME`, `http`; `name` is FILE:LINE, or the id of one given at run
    time."""

    name: str
    prefix: Prefix
    or_longer: bool
    kind: OverrideKind
    target: Target | None
    value: int | None
    owner: str
    reason: str
    expires: float | None
    source: str
    place: Place | None = None

    @property
    def scope(self) -> Scope:
        """What no second override may have."""
        return self.prefix, self.or_longer

    @property
    def scope_text(self) -> str:
        """As it is written."""
        return f"{self.prefix} or-longer" if self.or_longer else str(self.prefix)

    @property
    def what(self) -> str:
        """What it does, in words."""
        target = f" {self.target}" if self.target is not None else ""
        if self.kind is OverrideKind.PREFER:
            return f"prefer{target}, local preference {self.value}"
        if self.kind is OverrideKind.WEIGHT:
            return f"weight {self.value} for{target}"
        return f"{self.kind}{' to' if self.kind is OverrideKind.PIN else ''}{target}"

    def ended(self, now: float) -> bool:
        """True once its time is over."""
        return self.expires is not None and self.expires <= now


def _made(text: OverrideText, name: str, source: str, place: Place | None) -> Override:
    prefix, or_longer = text.prefix
    given = getattr(text, text.kind.value)
    target = Target(given.peer or "", given.next_hop, given.group or "") if isinstance(given, TargetText) else None
    value = given.local_pref if isinstance(given, PreferText) else None
    value = given.weight if isinstance(given, WeightText) else value
    expires = text.expires.timestamp() if text.expires is not None else None
    return Override(name, prefix, or_longer, text.kind, target, value, text.owner, text.reason, expires, source, place)


def of_files(
    files: Sequence[tuple[Document, PolicyFile]], sets: Sets
) -> tuple[tuple[Override, ...], list[DocumentError]]:
    """The overrides of all files, and what is wrong with them: unknown groups, a scope that stands twice."""
    found: dict[Scope, Override] = {}
    errors: list[DocumentError] = []
    for document, model in files:
        problems: list[Problem] = []
        for index, text in enumerate(model.overrides):
            path = ("overrides", index)
            place = document.place((*path, "prefix"))
            item = _made(text, f"{place.file}:{place.line}", "file", place)
            if item.target is not None and item.target.group:
                sets.used.add(("next_hop_groups", item.target.group))
                problems += _group_missing(item, sets.next_hop_groups, (*path, item.kind.value, "group"))
            first = found.setdefault(item.scope, item)
            if first is not item:
                problem = f"a second override of {item.scope_text}: the first is in {first.name} ({first.what})"
                problems.append(Problem((*path, "prefix"), problem, mend="keep one of the two"))
        errors += errors_of(document, problems)
    return tuple(found.values()), errors


def _group_missing(item: Override, groups: Iterable[str], path: tuple[str | int, ...]) -> list[Problem]:
    assert item.target is not None
    known = list(groups)
    if item.target.group in known:
        return []
    meant = did_you_mean(item.target.group, known)
    mend = f"did you mean `{meant}`?" if meant else "define it under `sets.next_hop_groups`"
    return [Problem(path, f"there is no group `{item.target.group}`", mend=mend)]


def of_text(text: OverrideText, name: str, source: str) -> Override:
    """One given at run time: the same mapping as in a file."""
    return _made(text, name, source, None)


def members_of(texts: Iterable[str]) -> Members:
    """A group's members: an address is a next hop, all else the name of a peer."""
    peers, next_hops = [], []
    for text in texts:
        try:
            next_hops.append(parse_address(text))
        except ValueError:
            peers.append(text)
    return Members(tuple(peers), tuple(next_hops))


def unknown_names(
    overrides: Iterable[Override], groups: Mapping[str, tuple[Members, Place]], peers: Sequence[str]
) -> list[DocumentError]:
    """Errors for peers of file overrides and groups that the configuration does not have."""
    named = [(item.place, item.target.peer) for item in overrides if item.place and item.target and item.target.peer]
    named += [(place, peer) for members, place in groups.values() for peer in members.peers]
    errors = []
    for place, name in named:
        if name not in peers:
            meant = did_you_mean(name, peers)
            mend = f"did you mean `{meant}`?" if meant else f"peers are: {', '.join(peers) or 'none'}"
            errors.append(DocumentError(place, f"there is no peer `{name}`", mend=mend))
    return errors
