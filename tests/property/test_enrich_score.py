"""What holds of latency's advice whatever the paths do: BGP's members and no others, calm under noise, and there in
the end after a step."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.enrich.facts import Facts, Keeping, Series
from bgpbridge.enrich.score import Candidate, Decision, Memory, Rules, Standing, decide, plain

RULES = Rules(hold_s=30, least_probes=10)
AT_ONCE = Rules(hold_s=0, least_probes=1)
MAYBE_RTT = st.none() | st.floats(0, 0.5)
FACTS = st.none() | st.builds(
    lambda rtt, probes, lost, stale: Facts(
        0 if rtt is None else probes - min(lost, probes - 1),
        probes if rtt is None else min(lost, probes - 1),
        1.0 if rtt is None else min(lost, probes - 1) / probes,
        *((rtt, rtt, 0.0, rtt, rtt, rtt, rtt) if rtt is not None else (None,) * 7),
        0.0,
        0.0,
        stale,
    ),
    MAYBE_RTT,
    st.integers(1, 40),
    st.integers(0, 3),
    st.sampled_from([False, False, False, True]),
)


@st.composite
def groups(draw: st.DrawFn) -> list[Candidate]:
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
    actives = draw(st.integers(1, len(names)))
    return [Candidate(name, draw(st.integers(1, 9)), n < actives, draw(FACTS)) for n, name in enumerate(names)]


def names_of(decision: Decision) -> list[str]:
    return sorted([*(name for name, _ in decision.arrangement.active), *decision.arrangement.backup])


@settings(max_examples=150)
@given(st.lists(st.tuples(groups(), st.floats(0, 200), st.booleans()), min_size=1, max_size=6))
def test_every_member_of_bgp_is_there_once_and_no_other_whatever_came_before(
    history: list[tuple[list[Candidate], float, bool]],
) -> None:
    memory, now = Memory(), 0.0
    for members, later, free in history:
        now += later
        decision = decide(members, memory, RULES, now, free=free)
        memory = decision.memory
        assert names_of(decision) == sorted(member.name for member in members)
        assert decision.arrangement.active
        assert all(weight >= 1 for _, weight in decision.arrangement.active)
        again = decide(members, memory, RULES, now, free=free)
        assert not again.changed, "the same facts at the same time change nothing more"
        assert again.arrangement == decision.arrangement


@settings(max_examples=150)
@given(groups(), groups(), st.data())
def test_stale_or_missing_facts_of_an_active_member_are_plain_bgp(
    before: list[Candidate], members: list[Candidate], data: st.DataObject
) -> None:
    memory = decide(before, Memory(), AT_ONCE, 0.0).memory
    stale = data.draw(st.sampled_from([member for member in members if member.active]))
    members = [Candidate(m.name, m.weight, m.active, None if m is stale else m.facts) for m in members]
    assert decide(members, memory, RULES, 1.0, free=False).arrangement == plain(members)


def oracle(members: list[Candidate]) -> tuple[set[str], bool]:
    """Who carries at the first look, the slow way; and whether anything can be said at all."""
    usable = {m.name: m.facts for m in members if m.facts and not m.facts.stale}
    by_bgp = {m.name for m in members if m.active}
    answered = {n: f.srtt_s + (f.jitter_s or 0) + f.loss for n, f in usable.items() if f.srtt_s is not None}
    if not by_bgp <= set(usable) or len(usable) < 2 or not answered:
        return by_bgp, False
    best = min(answered.values())
    standing = {}
    for name in usable:
        above = answered.get(name, math.inf) - best
        if not (above > AT_ONCE.absolute_s and above > AT_ONCE.relative * best):
            standing[name] = Standing.GOOD
        elif not (above > 2 * AT_ONCE.absolute_s and above > 2 * AT_ONCE.relative * best):
            standing[name] = Standing.WORSE
        else:
            standing[name] = Standing.BAD
    if any(standing[name] is Standing.GOOD for name in by_bgp):
        return {name for name in by_bgp if standing[name] is not Standing.BAD}, True
    return {next(m.name for m in members if standing.get(m.name) is Standing.GOOD)}, True


@settings(max_examples=200)
@given(groups())
def test_the_first_look_is_what_the_rules_say(members: list[Candidate]) -> None:
    carriers, said = oracle(members)
    decision = decide(members, Memory(), AT_ONCE, 0.0)
    assert {name for name, _ in decision.arrangement.active} == carriers
    assert said or decision.would[0].startswith("plain BGP: ")


# -- paths that are probed for a while


Path = Callable[[float], float | None]


def carried(paths: dict[str, Path], seconds: int, rules: Rules = RULES) -> list[str]:
    """Who carried in each second: one probe a second of every path, a decision after each. The first is BGP's."""
    series = {name: Series(Keeping()) for name in paths}
    memory, history = Memory(), []
    for now in range(seconds):
        for name, path in paths.items():
            rtt = path(float(now))
            if rtt is None:
                series[name].lost(float(now))
            else:
                series[name].answered(float(now), rtt)
        members = [Candidate(name, 1, n == 0, series[name].facts(float(now))) for n, name in enumerate(paths)]
        decision = decide(members, memory, rules, float(now))
        memory = decision.memory
        history.append(decision.arrangement.active[0][0])
    return history


def changes(history: list[str]) -> int:
    return sum(one != other for one, other in pairwise(history))


def noisy(mean_s: float, spread_s: float, rng: random.Random) -> Path:
    return lambda _: max(0.0, rng.gauss(mean_s, spread_s))


@settings(max_examples=10, deadline=None)
@given(st.integers(), st.floats(0.005, 0.2), st.floats(-0.002, 0.002))
def test_equal_paths_with_noise_never_move_traffic(seed: int, mean: float, apart: float) -> None:
    rng = random.Random(seed)
    spread = min(0.004, mean / 4)
    history = carried({"a": noisy(mean + apart, spread, rng), "b": noisy(mean, spread, rng)}, 300)
    assert changes(history) == 0


@settings(max_examples=4, deadline=None)
@given(st.integers())
def test_wild_noise_at_the_threshold_moves_traffic_ever_more_seldom(seed: int) -> None:
    rng = random.Random(seed)
    history = carried({"a": noisy(0.06, 0.04, rng), "b": noisy(0.05, 0.04, rng)}, 1200)
    # Out and back is one flip. The n-th keeps out for 30 * 2^(n-1) s, and for 240 s at most where nobody else is good:
    # 1200 s have room for 30 + 60 + 120 + 240 + 240 + 240 + 240 and the one under way.
    assert changes(history) <= 16


@settings(max_examples=10, deadline=None)
@given(st.integers(), st.floats(0.04, 0.3), st.integers(60, 120))
def test_after_a_step_traffic_has_moved_and_comes_back_after_the_step_back(seed: int, step: float, at: int) -> None:
    rng = random.Random(seed)
    quiet = noisy(0.02, 0.001, rng)
    history = carried({"a": lambda now: quiet(now) + (step if at <= now < at + 120 else 0.0), "b": quiet}, at + 240)
    assert set(history[:at]) == {"a"}
    assert set(history[at + 20 : at + 120]) == {"b"}, "a smoothed RTT has gone 9 tenths of the step after 18 answers"
    assert set(history[at + 200 :]) == {"a"}
    assert changes(history) == 2


@settings(max_examples=10, deadline=None)
@given(st.integers(), st.floats(0.1, 1.0))
def test_a_brown_out_moves_traffic(seed: int, share: float) -> None:
    rng = random.Random(seed)
    quiet = noisy(0.02, 0.001, rng)
    history = carried({"a": lambda now: None if now >= 60 and rng.random() < share else quiet(now), "b": quiet}, 240)
    assert set(history[:60]) == {"a"}
    assert set(history[180:]) == {"b"}
