"""Blocks of lines: which are free, and that none is given out again before readers are through."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.errors import CapacityError, DatapathError
from bgpbridge.fib.index6_lines import ENOUGH, Lines, lines_of

NONE = np.empty(0, np.int64)


class ByHand:
    """Grace periods that end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Future[None]] = []
        self.at_once = False
        self.refusal: DatapathError | None = None

    def begin(self) -> Future[None]:
        period: Future[None] = Future()
        self.begun.append(period)
        if self.refusal is not None:
            period.set_exception(self.refusal)
        elif self.at_once:
            period.set_result(None)
        return period

    def wait(self) -> None:
        self.begin()


def retire(lines: Lines, blocks: list[int]) -> None:
    for line in blocks:
        lines.retire_one(line, 6)


def test_a_block_in_limbo_is_not_given_out_before_its_grace_period_has_ended() -> None:
    grace = ByHand()
    lines = Lines(100_000, grace)
    old = [lines.take_one(6) for _ in range(ENOUGH)]
    retire(lines, old)
    lines.settle()
    (period,) = grace.begun
    late = lines.take_one(6)
    retire(lines, [late])  # after the period began: it needs another one
    lines.settle()
    assert not {lines.take_one(6) for _ in range(ENOUGH)} & {*old, late}
    period.set_result(None)
    assert not {lines.take_one(6)} & {*old, late}  # within a change nothing moves
    lines.settle()
    again = {lines.take_one(6) for _ in range(ENOUGH)}
    assert again == set(old)
    assert (len(grace.begun), lines.parked, lines.used) == (1, 1, 2 * ENOUGH + 1)


def test_few_blocks_wait_for_company() -> None:
    grace = ByHand()
    lines = Lines(100_000, grace)
    retire(lines, [lines.take_one(6) for _ in range(ENOUGH - 1)])
    lines.settle()
    assert not grace.begun


def test_a_change_waits_for_lines_in_limbo_where_free_ones_are_few() -> None:
    grace = ByHand()
    grace.at_once = True
    lines = Lines(1001, grace)
    retire(lines, [lines.take_one(6) for _ in range(900)])
    lines.settle(200)
    assert (len(grace.begun), lines.parked, lines.room) == (1, 0, 1000)
    assert len({lines.take_one(6) for _ in range(1000)}) == 1000
    with pytest.raises(CapacityError, match="1,000 of 1,000 lines are in use"):
        lines.take_one(6)


def test_where_there_is_no_grace_period_limbo_keeps_what_it_has_and_says_why() -> None:
    grace = ByHand()
    grace.refusal = DatapathError("no way to wait")
    lines = Lines(1001, grace)
    retire(lines, [lines.take_one(6) for _ in range(900)])
    for _ in range(3):
        lines.settle(200)
    assert (lines.stuck, lines.parked, lines.room, len(grace.begun)) == ("no way to wait", 900, 100, 1)
    assert len({lines.take_one(6) for _ in range(100)}) == 100
    with pytest.raises(CapacityError):
        lines.take_one(6)


def test_small_blocks_side_by_side_become_a_large_one_when_it_is_wanted() -> None:
    grace = ByHand()
    grace.at_once = True
    lines = Lines(171, grace)
    singles = [lines.take_one(6) for _ in range(170)]
    retire(lines, singles[1:])
    lines.settle(171)
    assert lines_of(np.array([256])).tolist() == [17]
    large = lines.take(np.full(9, 256))
    assert sorted(large.tolist()) == list(range(2, 155, 17))
    with pytest.raises(CapacityError):
        lines.take(np.full(1, 256))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 256), max_size=8)), max_size=30))
def test_no_line_is_in_two_blocks_and_none_is_lost(steps: list[tuple[bool, list[int]]]) -> None:
    grace = ByHand()
    grace.at_once = True
    lines, held = Lines(600, grace), {}
    for many, sizes in steps:
        try:
            given = lines.take(np.array(sizes, np.int64)).tolist() if many else [lines.take_one(n) for n in sizes]
        except CapacityError:
            break
        held |= dict(zip(given, sizes, strict=True))
        blocks = [range(line, line + int(lines_of(np.array([n]))[0])) for line, n in held.items()]
        used = [line for block in blocks for line in block]
        assert len(used) == len(set(used)) == lines.used
        assert all(0 < line < 600 for line in used)
        for line in list(held)[::2]:
            lines.retire_one(line, held.pop(line))
        lines.settle(10_000)
    lines.start(np.array(list(held), np.int64), np.array(list(held.values()), np.int64))
    room = lines.room
    assert len(set(lines.take(np.full(room, 1)).tolist())) == room
