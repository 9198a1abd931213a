"""Slots and weights of a group."""

from __future__ import annotations

from collections import Counter

import numpy as np

from bgpbridge.fib import plan
from bgpbridge.fib.plan import SLOTS, alone, fill_slots, kernel_weights, lose_each, merge_members


def slots_of(octets: bytes) -> np.ndarray:
    return np.frombuffer(octets, np.uint16)


def counted(octets: bytes) -> dict[int, int]:
    return dict(Counter(slots_of(octets).tolist()))


def test_no_member_gives_no_adjacency() -> None:
    assert counted(fill_slots([])) == {0: 64}
    assert counted(fill_slots([(7, 0), (0, 5)])) == {0: 64}


def test_one_member_has_every_slot() -> None:
    assert counted(fill_slots([(7, 3)])) == {7: 64}
    assert alone(0x1234) == fill_slots([(0x1234, 9)], fill_slots([(1, 1), (2, 1)]))


def test_equal_members_share_equally() -> None:
    assert counted(fill_slots([(1, 1), (2, 1)])) == {1: 32, 2: 32}


def test_weights_are_kept() -> None:
    assert counted(fill_slots([(1, 3), (2, 1)])) == {1: 48, 2: 16}


def test_three_to_share_64_differ_by_one_at_most() -> None:
    assert sorted(counted(fill_slots([(1, 1), (2, 1), (3, 1)])).values()) == [21, 21, 22]


def test_only_the_slots_of_a_lost_member_move() -> None:
    before = fill_slots([(1, 1), (2, 1), (3, 1)])
    after = fill_slots([(1, 1), (3, 1)], before)
    moved = slots_of(before) != slots_of(after)
    assert (slots_of(before)[moved] == 2).all()
    assert counted(after) == {1: 32, 3: 32}


def test_a_new_member_takes_its_share_and_no_more() -> None:
    before = fill_slots([(1, 1), (2, 1)])
    after = fill_slots([(1, 1), (2, 1), (3, 2)], before)
    moved = slots_of(before) != slots_of(after)
    assert (slots_of(after)[moved] == 3).all()
    assert counted(after) == {1: 16, 2: 16, 3: 32}


def test_a_member_that_comes_back_gets_its_share_again() -> None:
    both = fill_slots([(1, 1), (2, 1)])
    alone = fill_slots([(1, 1)], both)
    assert counted(fill_slots([(1, 1), (2, 1)], alone)) == {1: 32, 2: 32}


def test_a_member_named_twice_counts_once_with_both_weights() -> None:
    assert merge_members([(2, 1), (1, 1), (2, 2)]) == {1: 1, 2: 3}


def test_of_more_than_64_members_the_heaviest_stay() -> None:
    slots = fill_slots([(number, 1 + (number == 70)) for number in range(1, 71)])
    assert 70 in counted(slots)
    assert 64 not in counted(slots)
    assert len(counted(slots)) <= SLOTS


def test_a_loss_that_was_worked_out_before_is_not_worked_out_again() -> None:
    members = [(101, 1), (102, 2), (103, 1)]
    slots = fill_slots(members)
    assert lose_each(members, slots) == 3
    known = plan._shared.cache_info().misses
    assert counted(fill_slots([(101, 1), (102, 2)], slots)).keys() == {101, 102}
    assert counted(fill_slots([(101, 5), (103, 5)], slots)) == {101: 32, 103: 32}
    assert plan._shared.cache_info().misses == known


def test_of_two_members_no_loss_has_to_be_worked_out() -> None:
    members = [(1, 1), (2, 1)]
    assert lose_each(members, fill_slots(members)) == 0


def test_kernel_weights_stay_as_they_are_where_they_fit() -> None:
    assert kernel_weights([3, 1]) == (3, 1)
    assert kernel_weights([256, 1]) == (256, 1)
    assert kernel_weights([]) == ()


def test_kernel_weights_lose_what_they_have_in_common() -> None:
    assert kernel_weights([10_000, 40_000]) == (1, 4)


def test_kernel_weights_are_scaled_to_256() -> None:
    assert kernel_weights([1_000, 333]) == (256, 85)
    assert kernel_weights([100_000, 1]) == (256, 1)
