"""What whole tables are meant to reach, and what a record says of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bgpbridge.bench.datapath.aims import Aim, Reached
from bgpbridge.bench.records import OURS, Row

__all__ = ["GOALS", "Goal", "reached"]


@dataclass(frozen=True, slots=True)
class Goal:
    """Our `metric` is to be `under` so much; or a peer's `theirs` (the same metric where it is not named), the best
    one's or that of the `peer` named, `times` as much at least."""

    metric: str
    under: float | None = None
    times: float | None = None
    theirs: str = ""
    peer: str = ""


GOALS = (
    Goal("load_v4_1m_xdp", under=1.25),
    Goal("load_v4_1m_xdp", times=6, theirs="load_v4_1m"),
    Goal("load_v4_1m", times=1),
    Goal("load_v6_220k_xdp", times=6, theirs="load_v6_220k"),
    Goal("load_v6_220k", times=1),
    Goal("load_real_2015_xdp", times=6, theirs="load_real_2015"),
    Goal("load_real_2015", times=1),
    Goal("update_p50", under=0.6),
    Goal("update_p50_1000", under=0.3),
    Goal("update_p99", times=3, peer="bird"),
    Goal("bridge_p99", under=0.2),
    Goal("storm_p99", under=5),
    Goal("storm_p99", times=10),
    Goal("storm_p99_load", under=5),
    Goal("storm_p99_load", times=10),
    Goal("loop_lag_p99_load", under=10),
    Goal("status_p99_load", under=100),
    Goal("memory_1m_x2", times=1 / 1.5, peer="bird"),
    *(Goal(f"{what}_loss_last_{size}", under=0.01) for what in ("peer", "link") for size in ("1k", "100k", "1m")),
    Goal("withdraw_all_1m", times=1),
    Goal("policy_reload_1m", under=0.5),
    Goal("restart_1m", under=5),
    Goal("restart_1m_lost", under=1),
    *(Goal(f"peers_{count}x1m", times=2, peer="bird") for count in (2, 8)),
    *(Goal(f"peers_{count}x1m_memory", times=1, peer="bird") for count in (2, 8)),
    Goal("audit_divergent", under=1),
)


def reached(rows: Iterable[Row]) -> list[Reached]:
    """Every goal of which the figures are there."""
    known: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.median is not None:
            known.setdefault(row.metric, {})[row.subject] = row.median
    found = (_reached(goal, known) for goal in GOALS)
    return [one for one in found if one is not None]


def _reached(goal: Goal, known: Mapping[str, Mapping[str, float]]) -> Reached | None:
    ours = known.get(goal.metric, {}).get(OURS)
    if ours is None:
        return None
    if goal.under is not None:
        return Reached(Aim(goal.metric, (goal.metric, OURS), under=goal.under), ours, ours < goal.under)
    theirs = goal.theirs or goal.metric
    peers = {name: value for name, value in known.get(theirs, {}).items() if name not in (OURS, "tester")}
    best = min((value for name, value in peers.items() if goal.peer in ("", name)), default=None)
    if best is None or not ours or goal.times is None:
        return None
    beside = f" of {theirs}" if goal.theirs else ""
    words = f"{goal.metric}: {goal.peer or 'the best peer'}{beside} to ours, times"
    return Reached(
        Aim(words, (theirs, goal.peer), (goal.metric, OURS), goal.times), best / ours, best / ours >= goal.times
    )
