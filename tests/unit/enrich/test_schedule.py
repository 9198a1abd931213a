"""Probes are spread evenly and within the budget, whatever the loop's delays and the changes of what is probed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.schedule import Budget, Schedule
from bgpbridge.errors import UsageError

WAYS = [Way(exit_, target) for exit_ in ("a", "b", "c") for target in ("1", "2", "3", "4")]


def made(ways: list[Way], rate: float = 10.0, interval: float = 1.0) -> Schedule:
    schedule = Schedule(Budget(rate, interval))
    schedule.set_ways(ways)
    return schedule


def turns(schedule: Schedule, count: int, delays: list[float] | None = None) -> list[tuple[float, Way]]:
    now, found = 50.0, []
    for n in range(count):
        if schedule.next_s is not None:
            now = max(now, schedule.next_s) + (delays[n % len(delays)] if delays else 0.0)
        way = schedule.due(now)
        assert way is not None
        found.append((now, way))
    return found


@given(st.integers(1, 12), st.floats(0.5, 100), st.floats(0.05, 5), st.lists(st.floats(0, 2), min_size=1, max_size=9))
def test_never_more_than_the_budget_in_any_second(ways: int, rate: float, interval: float, delays: list[float]) -> None:
    times = [at for at, _ in turns(made(WAYS[:ways], rate, interval), 60, delays)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= 0.9 / rate - 1e-9
    assert all(n <= rate * 1.12 + 1 for n in Counter(int(at) for at in times).values())


@given(st.integers(1, 12), st.floats(0.5, 100))
def test_every_way_is_probed_equally_often(ways: int, rate: float) -> None:
    counts = Counter(way for _, way in turns(made(WAYS[:ways], rate), ways * 5))
    assert counts == dict.fromkeys(WAYS[:ways], 5)


def test_few_ways_are_probed_at_the_wanted_interval_evenly_apart() -> None:
    times = [at for at, _ in turns(made(WAYS[:4], 100.0), 9)]
    assert [round(later - earlier, 6) for earlier, later in pairwise(times)] == [0.25] * 8


def test_with_too_many_ways_rounds_take_longer() -> None:
    assert made(WAYS, 6.0).round_s == pytest.approx(2.0)


def test_targets_come_before_exits() -> None:
    assert [way.target for _, way in turns(made(WAYS), 8)] == ["1", "2", "3", "4"] * 2


def test_missed_turns_are_not_made_up_for() -> None:
    schedule = made(WAYS[:4], 100.0)
    turns(schedule, 1)
    assert schedule.due(1000.0) is not None
    assert schedule.due(1000.0) is None
    assert schedule.next_s == 1000.25


def test_ways_that_stay_keep_their_place() -> None:
    schedule = made(WAYS[:3])
    first = [way for _, way in turns(schedule, 1)]
    schedule.set_ways([WAYS[5], *WAYS[:2]])
    assert first == [WAYS[0]]
    assert [way for _, way in turns(schedule, 3)] == [WAYS[1], WAYS[0], WAYS[5]]


def test_nothing_to_probe_is_no_turn() -> None:
    schedule = made([])
    assert (schedule.due(1.0), schedule.next_s) == (None, None)


@pytest.mark.parametrize(("rate", "interval"), [(0.0, 1.0), (-1.0, 1.0), (20_000.0, 1.0), (1.0, 0.0)])
def test_a_budget_that_cannot_be_meant_is_refused(rate: float, interval: float) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Budget(rate, interval)
