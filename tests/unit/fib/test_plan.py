"""Slots and weights of a group."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bgpbridge.fib.plan import SLOTS, fill_slots, kernel_weights, merge_members


def counted(slots: np.ndarray) -> dict[int, int]:
    return dict(Counter(slots.tolist()))


def test_no_member_gives_no_adjacency() -> None:
    assert not fill_slots([]).any()
    assert not fill_slots([(7, 0), (0, 5)]).any()


def test_one_member_has_every_slot() -> None:
    assert counted(fill_slots([(7, 3)])) == {7: 64}


def test_equal_members_share_equally() -> None:
    assert counted(fill_slots([(1, 1), (2, 1)])) == {1: 32, 2: 32}


def test_weights_are_kept() -> None:
    assert counted(fill_slots([(1, 3), (2, 1)])) == {1: 48, 2: 16}


def test_three_to_share_64_differ_by_one_at_most() -> None:
    assert sorted(counted(fill_slots([(1, 1), (2, 1), (3, 1)])).values()) == [21, 21, 22]


def test_only_the_slots_of_a_lost_member_move() -> None:
    before = fill_slots([(1, 1), (2, 1), (3, 1)])
    after = fill_slots([(1, 1), (3, 1)], before)
    assert (before[before != after] == 2).all()
    assert counted(after) == {1: 32, 3: 32}


def test_a_new_member_takes_its_share_and_no_more() -> None:
    before = fill_slots([(1, 1), (2, 1)])
    after = fill_slots([(1, 1), (2, 1), (3, 2)], before)
    assert (after[before != after] == 3).all()
    assert counted(after) == {1: 16, 2: 16, 3: 32}


def test_a_member_that_comes_back_gets_its_share_again() -> None:
    both = fill_slots([(1, 1), (2, 1)])
    alone = fill_slots([(1, 1)], both)
    assert counted(fill_slots([(1, 1), (2, 1)], alone)) == {1: 32, 2: 32}


def test_a_member_named_twice_counts_once_with_both_weights() -> None:
    assert merge_members([(2, 1), (1, 1), (2, 2)]) == {1: 1, 2: 3}


def test_of_more_than_64_members_the_heaviest_stay() -> None:
    slots = fill_slots([(number, 1 + (number == 70)) for number in range(1, 71)])
    assert 70 in slots
    assert 64 not in slots
    assert len(set(slots.tolist())) <= SLOTS


def test_kernel_weights_stay_as_they_are_where_they_fit() -> None:
    assert kernel_weights([3, 1]) == (3, 1)
    assert kernel_weights([256, 1]) == (256, 1)
    assert kernel_weights([]) == ()


def test_kernel_weights_lose_what_they_have_in_common() -> None:
    assert kernel_weights([10_000, 40_000]) == (1, 4)


def test_kernel_weights_are_scaled_to_256() -> None:
    assert kernel_weights([1_000, 333]) == (256, 85)
    assert kernel_weights([100_000, 1]) == (256, 1)
