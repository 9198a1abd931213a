"""The commit log numbers everything, keeps what it can, and answers for one prefix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from bgpbridge import commits
from bgpbridge.commits import Cause, CauseKind, CommitLog
from bgpbridge.types import Family, Prefix


@dataclass(frozen=True)
class Columns:
    family: Family
    hi: np.ndarray
    lo: np.ndarray
    length: np.ndarray
    old: np.ndarray
    new: np.ndarray

    def __len__(self) -> int:
        return len(self.length)


def columns(*rows: tuple[str, int, int]) -> Columns:
    prefixes = [Prefix.parse(text) for text, _, _ in rows]
    return Columns(
        prefixes[0].family,
        np.array([p.value >> 64 for p in prefixes], np.uint64),
        np.array([p.value & (1 << 64) - 1 for p in prefixes], np.uint64),
        np.array([p.length for p in prefixes], np.uint8),
        np.array([old for _, old, _ in rows], np.uint32),
        np.array([new for _, _, new in rows], np.uint32),
    )


def log() -> CommitLog:
    ticks = iter(range(1, 100_000))
    return CommitLog(clock=lambda: float(next(ticks)))


def test_history_names_every_change_of_a_prefix_newest_first() -> None:
    held = log()
    held.append(Cause(CauseKind.UPDATE, "a"), columns(("192.0.2.0/24", 0, 16), ("198.51.100.0/24", 0, 16)))
    held.append(Cause(CauseKind.SESSION_LOST, "a"), columns(("192.0.2.0/24", 16, 17)))
    held.append(Cause(CauseKind.UPDATE, "b"), columns(("2001:db8::/32", 0, 16)))
    entries = held.history(Prefix.parse("192.0.2.0/24"))
    assert [(e.number, e.cause.kind.value, e.old_group, e.new_group) for e in entries] == [
        (2, "session-lost", 16, 17),
        (1, "update", 0, 16),
    ]
    assert [e.new_group for e in held.history(Prefix.parse("2001:db8::/32"))] == [16]
    assert held.history(Prefix.parse("192.0.2.0/25")) == []


def test_old_rows_make_room_and_their_figures_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "KEEP_ROWS", 3)
    monkeypatch.setattr(commits, "COMMIT_AS_ROWS", 0)
    held = log()
    for number in range(4):
        held.append(Cause(CauseKind.UPDATE), columns(("192.0.2.0/24", number, number + 1), ("192.0.2.0/25", 0, 1)))
    assert held.rows_total == 8
    assert [c.changes is None for c in held.tail(10)] == [True, True, True, False]
    assert [c.rows for c in held.tail(10)] == [2, 2, 2, 2]


def test_commits_of_single_routes_are_bounded_as_well() -> None:
    held, one = log(), columns(("192.0.2.0/24", 0, 16))
    for _ in range(commits.KEEP_ROWS // commits.COMMIT_AS_ROWS + 100):
        held.append(Cause(CauseKind.UPDATE), one)
    assert len(held._detailed) <= commits.KEEP_ROWS // commits.COMMIT_AS_ROWS


def test_a_group_commit_has_no_rows_but_its_groups() -> None:
    commit = log().append(Cause(CauseKind.LINK, detail="eth1 down"), groups=(16, 17))
    assert (commit.rows, commit.groups, str(commit.cause)) == (0, (16, 17), "link eth1 down")
