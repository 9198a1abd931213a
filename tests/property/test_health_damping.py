"""Rise, fall, hold-down and damping against an oracle that keeps every result and reckons all anew each time."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.health.damping import PENALTY, Damping, Health, Rules, Verdict

STEP_S = 0.25


@dataclass
class Oracle:
    """Walks through all results in small steps of time, again for each question."""

    rules: Rules
    results: list[tuple[float, bool]] = field(default_factory=list)

    def verdict(self, now_s: float) -> Verdict:
        state, streak, last = None, 0, None
        recovered_s, penalty, at_s, suppressed = None, 0.0, 0.0, False
        damping = self.rules.damping
        marks = sorted({when for when, _ in self.results if when <= now_s} | {now_s})
        for mark in marks:
            if damping:
                while at_s < mark:
                    step = min(STEP_S, mark - at_s)
                    penalty *= 0.5 ** (step / damping.half_life_s)
                    at_s += step
                    penalty = 0.0 if penalty < 1 else penalty
                    suppressed = suppressed and penalty >= damping.reuse
            for when, good in self.results:
                if when != mark:
                    continue
                streak = streak + 1 if good is last else 1
                last = good
                if good and state is not True and streak >= self.rules.rise:
                    recovered_s = None if state is None else mark
                    state = True
                elif not good and state is not False and streak >= self.rules.fall:
                    state = False
                    if damping:
                        penalty = min(penalty + PENALTY, damping.ceiling)
                        suppressed = suppressed or penalty > damping.suppress
        if state is None:
            return Verdict.UNKNOWN
        if state is False:
            return Verdict.UNHEALTHY
        if suppressed:
            return Verdict.SUPPRESSED
        held = recovered_s is not None and now_s < recovered_s + self.rules.hold_down_s
        return Verdict.RECOVERING if held else Verdict.HEALTHY


dampings = st.none() | st.builds(
    Damping,
    half_life_s=st.sampled_from([3.7, 11.3]),
    suppress=st.sampled_from([1500.0, 2900.0]),
    reuse=st.sampled_from([333.0, 777.0]),
    most_s=st.sampled_from([7.0, 40.0]),
)
rules = st.builds(
    Rules,
    rise=st.integers(1, 3),
    fall=st.integers(1, 3),
    hold_down_s=st.sampled_from([0.0, 2.0, 9.0]),
    damping=dampings,
)
moments = st.lists(
    st.tuples(st.sampled_from([0.25, 1.0, 5.0, 30.0]), st.sampled_from([True, False, None])), max_size=40
)


@given(rules, moments)
def test_the_machine_says_what_the_oracle_says(rule: Rules, steps: list[tuple[float, bool | None]]) -> None:
    machine, oracle, now_s = Health(rule, 0.0), Oracle(rule), 0.0
    for after_s, result in steps:
        now_s += after_s
        if result is not None:
            (machine.passed if result else machine.failed)(now_s)
            oracle.results.append((now_s, result))
        assert machine.verdict(now_s) == oracle.verdict(now_s)


@given(rules, moments)
def test_what_is_due_is_the_next_change_and_it_comes(rule: Rules, steps: list[tuple[float, bool | None]]) -> None:
    machine, now_s = Health(rule, 0.0), 0.0
    for after_s, result in steps:
        now_s += after_s
        if result is not None:
            (machine.passed if result else machine.failed)(now_s)
    before, changes = machine.verdict(now_s), 0
    while (due_s := machine.due_s(now_s)) is not None:
        assert due_s >= now_s
        if due_s > now_s:
            assert machine.verdict(now_s + (due_s - now_s) * 0.5) in {before, Verdict.RECOVERING}
        now_s, changes = due_s, changes + 1
        assert changes <= 3
    assert machine.verdict(now_s) in {Verdict.UNKNOWN, Verdict.UNHEALTHY, Verdict.HEALTHY}


@given(rules, moments)
def test_a_clock_that_runs_back_changes_nothing_for_the_better(
    rule: Rules, steps: list[tuple[float, bool | None]]
) -> None:
    machine, now_s = Health(rule, 0.0), 0.0
    for after_s, result in steps:
        now_s += after_s
        if result is not None:
            (machine.passed if result else machine.failed)(now_s)
    bad = machine.verdict(now_s).bad
    assert machine.verdict(now_s - 100).bad is bad
