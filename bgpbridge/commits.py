"""The commit log: every change to Loc-RIB and groups, numbered, with its cause.

A commit is one batch of route changes (or of group changes, which move every route that uses the group).
Planes below the RIB are written from commits, in order; `explain`, `history` and `events` read them. Kept
are the last `KEEP` commits, and their rows until `KEEP_ROWS` rows are held; older commits keep their
figures and lose their rows.
"""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bgpbridge.types import Family, Prefix

__all__ = ["Cause", "CauseKind", "Commit", "CommitLog", "Figures", "HistoryEntry", "RouteChanges"]

KEEP = 8192
KEEP_ROWS = 1 << 19
COMMIT_AS_ROWS = 32  # what a commit with changes weighs besides its rows
FEW = 64  # rows that are kept as they came
LOW64 = (1 << 64) - 1


class RouteChanges(Protocol):
    """The rows of a commit, as columns of equal length; group id 0 means no route."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    @property
    def family(self) -> Family:
        """Address family of all rows."""
        ...

    @property
    def hi(self) -> NDArray[np.uint64]:
        """High 64 bits of the address (IPv4: 0)."""
        ...

    @property
    def lo(self) -> NDArray[np.uint64]:
        """Low 64 bits of the address."""
        ...

    @property
    def length(self) -> NDArray[np.uint8]:
        """Prefix lengths."""
        ...

    @property
    def old(self) -> NDArray[np.uint32]:
        """Group ids before."""
        ...

    @property
    def new(self) -> NDArray[np.uint32]:
        """Group ids after."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    """The rows of a commit of many, narrow: nine octets for an IPv4 prefix in place of 33. Group ids have 15 bits."""

    family: Family
    upper: NDArray[np.uint64] | None
    lower: NDArray[np.uint32] | NDArray[np.uint64]
    length: NDArray[np.uint8]
    before: NDArray[np.uint16]
    after: NDArray[np.uint16]

    @classmethod
    def of(cls, changes: RouteChanges) -> _Kept:
        four = changes.family is Family.IPV4
        groups = (column.astype(np.uint16) for column in (changes.old, changes.new))
        lower = changes.lo.astype(np.uint32) if four else changes.lo
        return cls(changes.family, None if four else changes.hi, lower, changes.length, *groups)

    def __len__(self) -> int:
        return len(self.length)

    @property
    def hi(self) -> NDArray[np.uint64]:
        return np.zeros(len(self), np.uint64) if self.upper is None else self.upper

    @property
    def lo(self) -> NDArray[np.uint64]:
        return self.lower.astype(np.uint64, copy=False)

    @property
    def old(self) -> NDArray[np.uint32]:
        return self.before.astype(np.uint32)

    @property
    def new(self) -> NDArray[np.uint32]:
        return self.after.astype(np.uint32)


class CauseKind(enum.StrEnum):
    """What set a commit off."""

    UPDATE = "update"
    SESSION_UP = "session-up"
    SESSION_LOST = "session-lost"
    STALE_SWEPT = "stale-swept"
    POLICY = "policy"
    RPKI = "rpki"
    NEXT_HOP = "next-hop"
    LINK = "link"
    NEIGHBOUR = "neighbour"
    HEALTH = "health"
    LATENCY = "latency"
    FOREIGN_ROUTE = "foreign-route"
    OPERATOR = "operator"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why: the kind, the peer it came from (or empty), and what a person would want to read."""

    kind: CauseKind
    peer: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind.value, self.peer, self.detail) if part)


@dataclass(slots=True)
class Commit:
    """One numbered batch. `at` is Unix time; `rows` counts routes, `groups` lists group ids rewritten."""

    number: int
    at: float
    cause: Cause
    rows: int
    groups: tuple[int, ...]
    changes: RouteChanges | None


@dataclass(slots=True)
class Figures:
    """What the commits of one kind of cause have come to."""

    commits: int = 0
    routes: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of one prefix, as `history` shows it."""

    number: int
    at: float
    cause: Cause
    old_group: int
    new_group: int


@dataclass(slots=True)
class CommitLog:
    """Bounded log; `clock` gives Unix seconds."""

    clock: Callable[[], float] = time.time
    number: int = 0
    rows_total: int = 0
    figures: dict[CauseKind, Figures] = field(default_factory=lambda: {kind: Figures() for kind in CauseKind})
    _commits: deque[Commit] = field(default_factory=deque)
    _detailed: deque[Commit] = field(default_factory=deque)
    _rows_held: int = 0

    def append(self, cause: Cause, changes: RouteChanges | None = None, groups: tuple[int, ...] = ()) -> Commit:
        """Number a batch and keep it. Raises nothing; old commits make room."""
        rows = 0 if changes is None else len(changes)
        self.number += 1
        self.rows_total += rows
        figures = self.figures[cause.kind]
        figures.commits += 1
        figures.routes += rows
        figures.groups += len(groups)
        kept = changes if changes is None or rows <= FEW else _Kept.of(changes)
        commit = Commit(self.number, self.clock(), cause, rows, groups, kept)
        self._commits.append(commit)
        if len(self._commits) > KEEP:
            self._commits.popleft()
        if rows:
            self._detailed.append(commit)
            self._rows_held += rows + COMMIT_AS_ROWS
            while self._rows_held > KEEP_ROWS and len(self._detailed) > 1:
                self._forget(self._detailed.popleft())
        return commit

    def _forget(self, commit: Commit) -> None:
        self._rows_held -= commit.rows + COMMIT_AS_ROWS
        commit.changes = None

    def tail(self, limit: int) -> list[Commit]:
        """The last `limit` commits, oldest first."""
        return list(self._commits)[-limit:] if limit > 0 else []

    def history(self, prefix: Prefix, limit: int = 20) -> list[HistoryEntry]:
        """The newest changes of exactly this prefix that are still held, newest first."""
        found: list[HistoryEntry] = []
        for entry in self._matches(prefix):
            found.append(entry)
            if len(found) >= limit:
                break
        return found

    def _matches(self, prefix: Prefix) -> Iterator[HistoryEntry]:
        hi, lo = prefix.value >> 64, prefix.value & LOW64
        for commit in reversed(self._detailed):
            changes = commit.changes
            if changes is None or changes.family is not prefix.family:
                continue
            same = (changes.length == prefix.length) & (changes.lo == np.uint64(lo)) & (changes.hi == np.uint64(hi))
            for row in reversed(np.flatnonzero(same).tolist()):
                yield HistoryEntry(commit.number, commit.at, commit.cause, int(changes.old[row]), int(changes.new[row]))
