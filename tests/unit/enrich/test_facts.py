"""Facts against slow, obvious oracles written from the RFCs, and what holds of their age."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.enrich.facts import Facts, FactTable, Keeping, Series, Way
from bgpbridge.errors import CapacityError

KEEPING = Keeping(outcomes=8, window_s=10.0, stale_after_s=4.0, ways=2)
RTTS = st.floats(0, 2, allow_subnormal=False)
OUTCOMES = st.lists(st.tuples(st.floats(0, 6, allow_subnormal=False), st.none() | RTTS), min_size=1, max_size=40)
WAY = Way("eth1", "192.0.2.1")


def oracle(outcomes: list[tuple[float, float | None]], now_s: float) -> tuple[float, float, float]:
    """SRTT, RTTVAR, jitter as the RFCs write them, one answer after the other."""
    answers = [(at, rtt) for at, rtt in outcomes if rtt is not None]
    srtt = rttvar = jitter = 0.0
    for n, (at, rtt) in enumerate(answers):
        if n == 0 or at - answers[n - 1][0] > KEEPING.stale_after_s:
            srtt, rttvar, jitter = rtt, rtt / 2, 0.0
            continue
        rttvar = (1 - 1 / 4) * rttvar + 1 / 4 * abs(srtt - rtt)
        srtt = (1 - 1 / 8) * srtt + 1 / 8 * rtt
        jitter = jitter + (abs(rtt - answers[n - 1][1]) - jitter) / 16
    return srtt, rttvar, jitter


def percentile(values: list[float], percent: int) -> float:
    """The first value, from below, that enough others are not above."""
    return next(v for v in sorted(values) if sum(o <= v for o in values) * 100 >= percent * len(values))


def fed(gaps: list[tuple[float, float | None]]) -> tuple[Series, list[tuple[float, float | None]]]:
    series, now, outcomes = Series(KEEPING), 100.0, []
    for gap, rtt in gaps:
        now += gap
        outcomes.append((now, rtt))
        if rtt is None:
            series.lost(now)
        else:
            series.answered(now, rtt)
    return series, outcomes


def taken(series: Series, now_s: float) -> Facts:
    facts = series.facts(now_s)
    assert facts is not None
    return facts


@given(OUTCOMES, st.floats(0, 15))
def test_facts_are_what_the_rfcs_say(gaps: list[tuple[float, float | None]], later: float) -> None:
    series, outcomes = fed(gaps)
    now = outcomes[-1][0] + later
    facts = taken(series, now)
    recent = [rtt for at, rtt in outcomes[-KEEPING.outcomes :] if at >= now - KEEPING.window_s]
    rtts = [rtt for rtt in recent if rtt is not None]
    assert (facts.samples, facts.lost) == (len(rtts), len(recent) - len(rtts))
    assert facts.loss == (facts.lost / len(recent) if recent else 0.0)
    assert facts.stale == (now - outcomes[-1][0] > KEEPING.stale_after_s)
    if not rtts:
        assert facts.srtt_s is facts.jitter_s is facts.p50_s is facts.least_s is None
        return
    assert (facts.srtt_s, facts.rttvar_s, facts.jitter_s) == pytest.approx(oracle(outcomes, now), abs=1e-12)
    assert facts.least_s == min(rtts)
    assert (facts.p50_s, facts.p95_s, facts.p99_s) == tuple(percentile(rtts, p) for p in (50, 95, 99))


@given(OUTCOMES)
def test_smoothed_rtt_stays_between_the_least_and_the_most(gaps: list[tuple[float, float | None]]) -> None:
    series, outcomes = fed(gaps)
    rtts = [rtt for _, rtt in outcomes if rtt is not None]
    facts = taken(series, outcomes[-1][0])
    if facts.srtt_s is not None:
        assert min(rtts) - 1e-12 <= facts.srtt_s <= max(rtts) + 1e-12


def test_a_silence_makes_facts_stale_and_the_next_answer_begins_anew() -> None:
    series = Series(KEEPING)
    series.answered(0.0, 1.0)
    assert not taken(series, 4.0).stale
    assert taken(series, 4.1).stale
    series.answered(5.0, 0.1)
    assert taken(series, 5.0).srtt_s == 0.1
    assert taken(series, 5.0).jitter_s == 0.0


def test_time_that_runs_back_is_taken_as_no_time() -> None:
    series = Series(KEEPING)
    series.answered(10.0, 0.1)
    series.answered(3.0, 0.1)
    facts = taken(series, 9.0)
    assert (facts.last_s, facts.age_s, facts.stale, facts.samples) == (10.0, 0.0, False, 2)


@pytest.mark.parametrize("rtt", [-0.001, math.nan, math.inf])
def test_what_is_no_rtt_is_refused_and_not_kept(rtt: float) -> None:
    series = Series(KEEPING)
    with pytest.raises(ValueError, match="no round-trip time"):
        series.answered(0.0, rtt)
    assert series.facts(0.0) is None


def test_only_losses_are_loss_without_rtt() -> None:
    series = Series(KEEPING)
    series.lost(1.0)
    facts = taken(series, 1.0)
    assert (facts.loss, facts.samples, facts.srtt_s, facts.stale) == (1.0, 0, None, False)


def test_the_table_is_bounded_and_forgets_ways_that_are_probed_no_more() -> None:
    table, other = FactTable(KEEPING), Way("eth2", "192.0.2.1")
    table.answered(WAY, 1.0, 0.02)
    table.lost(other, 1.0)
    with pytest.raises(CapacityError, match="through eth1 have no room"):
        table.lost(Way("eth1", "192.0.2.9"), 1.0)
    assert [way for way, _ in table.view(1.0)] == [WAY, other]
    table.keep_only(frozenset({other}))
    assert table.get(WAY, 1.0) is None
    assert [way for way, _ in table.view(1.0)] == [other]
