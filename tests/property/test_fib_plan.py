"""What holds of slots whatever the members were before and are now."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib.plan import MAX_KERNEL_WEIGHT, SLOTS, fill_slots, kernel_weights

MEMBERS = st.dictionaries(st.integers(1, 4095), st.integers(1, 1000), min_size=1, max_size=20)


def slots_of(octets: bytes) -> np.ndarray:
    return np.frombuffer(octets, np.uint16)


def shares(members: dict[int, int]) -> dict[int, tuple[int, int]]:
    total = sum(members.values())
    return {m: (w * SLOTS // total, -(-w * SLOTS // total)) for m, w in members.items()}


@settings(max_examples=150)
@given(st.lists(MEMBERS, min_size=1, max_size=5))
def test_every_member_holds_its_share_rounded_whatever_came_before(history: list[dict[int, int]]) -> None:
    slots = None
    for members in history:
        slots = fill_slots(members.items(), slots)
        counts = Counter(slots_of(slots).tolist())
        assert set(counts) <= set(members)
        for member, (least, most) in shares(members).items():
            assert least <= counts[member] <= most


@settings(max_examples=150)
@given(MEMBERS, MEMBERS)
def test_the_same_input_gives_the_same_slots(before: dict[int, int], after: dict[int, int]) -> None:
    first = fill_slots(before.items())
    again = fill_slots(reversed(list(after.items())), first)
    assert fill_slots(after.items(), first) == again
    assert fill_slots(after.items(), again) == again, "what stands right does not move"


@settings(max_examples=50)
@given(MEMBERS, st.integers(2, 40))
def test_only_the_ratio_of_weights_matters(members: dict[int, int], times: int) -> None:
    more = {member: weight * times for member, weight in members.items()}
    assert fill_slots(more.items()) == fill_slots(members.items())


@settings(max_examples=150)
@given(st.sets(st.integers(1, 4095), min_size=2, max_size=40), st.data())
def test_of_equal_members_only_a_lost_ones_slots_move(members: set[int], data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(sorted(members)))
    before = fill_slots((member, 1) for member in members)
    after = fill_slots(((member, 1) for member in members - {lost}), before)
    moved = slots_of(before) != slots_of(after)
    assert (slots_of(before)[moved] == lost).all()


@settings(max_examples=150)
@given(MEMBERS, st.integers(5000, 6000), st.integers(1, 1000))
def test_a_new_member_moves_little_more_than_its_share(members: dict[int, int], new: int, weight: int) -> None:
    before = fill_slots(members.items())
    wider = members | {new: weight}
    after = fill_slots(wider.items(), before)
    moved = int((slots_of(before) != slots_of(after)).sum())
    # each old member may have to give up a rounding of one slot beside the new one's share
    assert moved <= shares(wider)[new][1] + len(members)


@settings(max_examples=150)
@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=64))
def test_kernel_weights_fit_and_keep_the_order(weights: list[int]) -> None:
    scaled = kernel_weights(weights)
    assert all(1 <= weight <= MAX_KERNEL_WEIGHT for weight in scaled)
    order = sorted(range(len(weights)), key=weights.__getitem__)
    assert all(scaled[a] <= scaled[b] for a, b in itertools.pairwise(order))
