"""What latency advises for a group, when it waits, and the words that say so."""

from __future__ import annotations

import pytest

from bgpbridge.enrich.facts import Facts
from bgpbridge.enrich.score import (
    Arrangement,
    Candidate,
    ChangeBudget,
    Decision,
    Memory,
    Rules,
    decide,
    plain,
)
from bgpbridge.errors import UsageError

RULES = Rules(hold_s=60, least_probes=20)


def facts(
    rtt_ms: float | None, *, loss: float = 0.0, probes: int = 100, age: float = 0.5, stale: bool = False
) -> Facts:
    lost = probes if rtt_ms is None else round(probes * loss)
    rtt = None if rtt_ms is None else rtt_ms / 1000
    jitter = None if rtt is None else 0.0
    return Facts(probes - lost, lost, lost / probes, rtt, jitter, jitter, rtt, rtt, rtt, rtt, 0.0, age, stale)


def member(name: str, rtt_ms: float | None, *, active: bool = False, weight: int = 1, **more: object) -> Candidate:
    return Candidate(name, weight, active, facts(rtt_ms, **more))  # type: ignore[arg-type]


def pair(one_ms: float | None, two_ms: float | None) -> list[Candidate]:
    return [member("a", one_ms, active=True), member("b", two_ms)]


def run(members: list[Candidate], now: float = 1000.0, memory: Memory | None = None, rules: Rules = RULES) -> Decision:
    return decide(members, memory or Memory(), rules, now)


A_CARRIES, B_CARRIES = Arrangement((("a", 1),), ("b",)), Arrangement((("b", 1),), ("a",))


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (49, 40, A_CARRIES),  # neither threshold
        (100, 85, A_CARRIES),  # 15 ms, but not 20%
        (5, 1, A_CARRIES),  # 400%, but not 10 ms
        (50, 30, B_CARRIES),
        (30, 50, A_CARRIES),
        (None, 50, B_CARRIES),
        (50, None, A_CARRIES),
        (None, None, A_CARRIES),
    ],
)
def test_traffic_moves_only_past_both_thresholds(one: float | None, two: float | None, expected: Arrangement) -> None:
    assert run(pair(one, two)).arrangement == expected


def test_loss_counts_like_time() -> None:
    assert run([member("a", 20, active=True, loss=0.2), member("b", 60)]).arrangement == B_CARRIES
    assert run([member("a", 20, active=True, loss=0.01), member("b", 20)]).arrangement == A_CARRIES


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (Candidate("a", 1, True, None), "nothing is known about a"),
        (member("a", 90, active=True, age=45, stale=True), "facts about a are stale, 45.0 s old"),
        (member("a", 90, active=True, probes=19), "19 probes of a, 20 are wanted"),
    ],
)
def test_without_facts_it_is_plain_bgp(candidate: Candidate, why: str) -> None:
    decision = run([candidate, member("b", 10)])
    assert (decision.arrangement, decision.changed, decision.would) == (A_CARRIES, False, (f"plain BGP: {why}",))


def test_with_one_probed_member_there_is_nothing_to_compare() -> None:
    decision = run([member("a", 90, active=True), Candidate("b", 1, False, None)])
    assert decision.would == ("plain BGP: no second member with fresh facts to compare with",)


def test_facts_that_grow_stale_take_traffic_back_at_once() -> None:
    moved = run(pair(90, 10))
    for gone in ("a", "b"):
        members = [
            member("a", 90, active=True, stale=gone == "a", age=31.0),
            member("b", 10, stale=gone == "b", age=31.0),
        ]
        back = decide(members, moved.memory, RULES, 1001.0, free=False)
        assert (back.arrangement, back.changed) == (A_CARRIES, True)
        assert back.would == (f"plain BGP: facts about {gone} are stale, 31.0 s old",)


def test_a_worse_member_of_several_keeps_a_quarter_and_a_bad_one_nothing() -> None:
    members = [member("a", 20, active=True, weight=3), member("b", 35, active=True, weight=3), member("c", 20)]
    assert run(members).arrangement == Arrangement((("a", 12), ("b", 3)), ("c",))
    members[1] = member("b", 60, active=True, weight=3)
    assert run(members).arrangement == Arrangement((("a", 3),), ("c", "b"))


def test_of_several_good_backups_bgps_first_one_carries() -> None:
    members = [member("a", 90, active=True), member("b", 14), member("c", 10), member("d", 80)]
    assert run(members).arrangement == Arrangement((("b", 1),), ("c", "a", "d"))


def test_a_backup_that_is_not_probed_is_not_promoted_and_keeps_its_place() -> None:
    members = [member("a", 90, active=True), Candidate("x", 1, False, None), member("b", 10)]
    first = run(members)
    assert first.arrangement == Arrangement((("b", 1),), ("x", "a"))
    assert not run(members, 2000.0, first.memory).changed


def test_after_a_move_the_group_is_held() -> None:
    moved = run(pair(90, 10))
    held = run(pair(10, 90), 1059.0, moved.memory)
    assert (held.arrangement, held.changed) == (B_CARRIES, False)
    assert held.would[-1] == "b (weight 1): stays, none is good that may return yet"
    assert run(pair(10, 90), 1060.0, moved.memory).arrangement == A_CARRIES


def test_a_member_returns_only_well_below_the_threshold() -> None:
    moved = run(pair(90, 50))
    assert run(pair(56, 50), 1100.0, moved.memory).arrangement == B_CARRIES
    assert run(pair(55, 50), 1100.0, moved.memory).arrangement == A_CARRIES


def test_one_that_flips_waits_twice_as_long_each_time() -> None:
    memory, now, waits = Memory(), 1000.0, []
    for _ in range(4):
        memory = run(pair(90, 10), now, memory).memory
        turned = now
        while not (back := run(pair(10, 10), now, memory)).changed:
            now += 1
        memory, waits = back.memory, [*waits, now - turned]
        now += RULES.hold_s
    assert waits == [60, 120, 240, 480]


def test_back_off_keeps_traffic_on_a_worse_member_for_eight_holds_at_most() -> None:
    memory, now = Memory(), 1000.0
    for _ in range(6):
        memory = run(pair(90, 10), now, memory).memory
        while not (back := run(pair(10, 10), now, memory)).changed:
            now += 20
        memory, now = back.memory, now + RULES.hold_s
    memory, turned = run(pair(90, 10), now, memory).memory, now
    waiting = run(pair(10, 90), turned + 479, memory)
    assert waiting.arrangement == B_CARRIES
    assert waiting.would[-1] == "b (weight 1): stays, none is good that may return yet"
    assert run(pair(10, 90), turned + 480, memory).arrangement == A_CARRIES


def test_a_new_order_of_backups_waits_for_no_hold_and_starts_none() -> None:
    members = [member("a", 10, active=True), member("b", 10), member("c", 10)]
    first = run(members)
    members[1] = member("b", 90)
    second = run(members, 1001.0, first.memory)
    assert second.arrangement == Arrangement((("a", 1),), ("c", "b"))
    assert second.would[-1] == "a (weight 1): stays; backups b, c -> c, b"
    members[0] = member("a", 90, active=True)
    assert run(members, 1002.0, second.memory).arrangement.active == (("c", 1),)


def test_a_spent_budget_makes_it_wait() -> None:
    waiting = decide(pair(90, 10), Memory(), RULES, 1000.0, free=False)
    assert (waiting.arrangement, waiting.changed) == (A_CARRIES, False)
    assert waiting.would[-1] == "a (weight 1) -> b (weight 1): not yet, the change budget is spent"
    assert decide(pair(90, 10), waiting.memory, RULES, 1001.0).changed


def test_the_budget_is_of_any_minute() -> None:
    budget = ChangeBudget(2)
    for now in (0.0, 30.0):
        assert budget.free(now)
        budget.spend(now)
    assert [budget.free(now) for now in (59.9, 60.0)] == [False, True]
    budget.spend(60.0)
    assert [budget.free(now) for now in (89.9, 90.0)] == [False, True]


def test_members_that_bgp_takes_away_are_not_used() -> None:
    moved = run(pair(90, 10))
    members = [member("a", 90, active=True), member("c", 20)]
    assert {name for name, _ in run(members, 1001.0, moved.memory).arrangement.active} <= {"a", "c"}
    assert run([member("a", 90, active=True)], 1001.0, moved.memory).arrangement == plain(
        [member("a", 90, active=True)]
    )


def test_the_words_give_every_value_that_decided() -> None:
    members = [
        member("a", 81.5, active=True, loss=0.05),
        member("b", 52.3),
        member("c", None),
        Candidate("d", 1, False, None),
    ]
    assert run(members).would == (
        (
            "a: 131.5 ms (rtt 81.5 ms, jitter 0.0 ms, loss 5.0%, 95 answers, 0.5 s old): "
            "79.2 ms above the best, limit 10.5 ms, bad, may return in 60 s"
        ),
        "b: 52.3 ms (rtt 52.3 ms, jitter 0.0 ms, loss 0.0%, 100 answers, 0.5 s old): the best, good",
        "c: no answer (loss 100.0%, 0 answers, 0.5 s old): bad",
        "d: not compared, not probed",
        "a (weight 1) -> b (weight 1)",
    )


@pytest.mark.parametrize("name", ["absolute_s", "relative", "hold_s", "loss_cost_s"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_rules_that_cannot_be_meant_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        Rules(**{name: value})
    with pytest.raises(UsageError, match="change budget"):
        ChangeBudget(0)
