"""Adj-RIB-In: attributes as received and after policy are one column for as long as they are the same."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.rib.adj_rib_in import AdjRibIn

ROWS = np.array([3, 5, 9])
NONE = np.zeros(3, np.int64)


@pytest.fixture
def adj() -> AdjRibIn:
    adj = AdjRibIn(100, limit=1)
    adj.grow(1)
    ids = np.array([7, 8, 9])
    assert adj.store(0, ROWS, ids, ids, NONE, now=1).all()
    adj.store_one(0, 11, 6, 6, 0, now=1)
    return adj


def cells(adj: AdjRibIn) -> list[tuple[int, int]]:
    plane = adj.planes[0]
    views = [(plane.raw_view[row], plane.effective_view[row]) for row in (*ROWS.tolist(), 11)]
    assert views == [(int(plane.raw[row]), int(plane.effective[row])) for row in (*ROWS.tolist(), 11)]
    return views


def test_what_policy_leaves_alone_is_kept_once(adj: AdjRibIn) -> None:
    assert not adj.planes[0].parted
    assert cells(adj) == [(7, 7), (8, 8), (9, 9), (6, 6)]
    assert not adj.judged(0, ROWS, np.array([7, 8, 9])).any()
    assert not adj.planes[0].parted
    assert (adj.received, adj.accepted) == (4, 4)


def test_a_change_by_policy_leaves_what_came_in_alone(adj: AdjRibIn) -> None:
    assert adj.judged(0, ROWS, np.array([7, 80, 0])).tolist() == [False, True, True]
    assert cells(adj) == [(7, 7), (8, 80), (9, 0), (6, 6)]
    assert (adj.received, adj.accepted) == (4, 3)
    assert adj.judged(0, ROWS, np.array([7, 8, 9])).tolist() == [False, True, True]
    assert cells(adj) == [(7, 7), (8, 8), (9, 9), (6, 6)]


def test_a_run_of_which_policy_refuses_one(adj: AdjRibIn) -> None:
    changed = adj.store(0, ROWS, np.array([7, 18, 19]), np.array([7, 0, 19]), NONE, now=2)
    assert changed.tolist() == [False, True, True]
    assert cells(adj) == [(7, 7), (18, 0), (19, 19), (6, 6)]
    assert (adj.received, adj.accepted) == (4, 3)


def test_one_route_that_policy_changes(adj: AdjRibIn) -> None:
    assert adj.store_one(0, 11, 6, 60, 0, now=2)
    assert cells(adj) == [(7, 7), (8, 8), (9, 9), (6, 60)]
    assert adj.store_one(0, 5, 0, 0, 0, now=3)
    assert cells(adj) == [(7, 7), (0, 0), (9, 9), (6, 60)]
    assert (adj.received, adj.accepted) == (3, 3)
