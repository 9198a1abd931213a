"""Whose turn it is to be probed, and when: a budget spread evenly, never a burst.

Every way (target through an exit) has its turn in a round. Turns stand `gap_s` apart: the interval that is wanted
between two probes of one way, divided by the number of ways, but never less than the budget allows; with more ways
than the budget serves, rounds take longer and every way is probed less often by the same measure. Turns that were
missed, because the process was held up, are missed: the next comes a gap later, and nothing is made up for.

A round goes through the targets before it goes through the exits, so that the probes of one target stand as far apart
as they can. Ways that stay keep their place when others come and go. Pure: the time is handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from bgpbridge.enrich.facts import Way
from bgpbridge.errors import UsageError

__all__ = ["Budget", "Schedule"]


@dataclass(frozen=True, slots=True)
class Budget:
    """`rate_pps` is the most probes per second in all, `interval_s` the time wanted between two of one way."""

    rate_pps: float = 50.0
    interval_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate_pps <= 10_000 or not 0.01 <= self.interval_s <= 3600:
            raise UsageError(
                f"a budget of {self.rate_pps} probes per second, each way every {self.interval_s} s, is out of range",
                mend="give 0 < rate <= 10000 and 0.01 <= interval <= 3600",
            )


class Schedule:
    """The round of all ways. `due` gives at most one of them, `next_s` says when to ask again."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._round: deque[Way] = deque()
        self._next_s = float("-inf")

    @property
    def gap_s(self) -> float:
        """Time between two probes of any way."""
        return max(1 / self.budget.rate_pps, self.budget.interval_s / max(1, len(self._round)))

    @property
    def round_s(self) -> float:
        """Time between two probes of one way: the wanted interval, or more where the budget is short."""
        return self.gap_s * len(self._round)

    @property
    def next_s(self) -> float | None:
        """When the next turn is; None when there is nothing to probe."""
        return self._next_s if self._round else None

    def set_ways(self, ways: Iterable[Way]) -> None:
        """What is to be probed from now on."""
        wanted = dict.fromkeys(ways)
        kept = [way for way in self._round if way in wanted]
        known = set(kept)
        fresh = [way for way in wanted if way not in known]
        self._round = deque([*kept, *_targets_first(fresh)])

    def due(self, now_s: float) -> Way | None:
        """The way whose turn it is, which is then behind it; None before its time."""
        if not self._round or now_s < self._next_s:
            return None
        # On time: from the turn, so that no rounding adds up. Late: from now, so that no two follow at once.
        late_s = now_s - self._next_s
        self._next_s = (self._next_s if late_s < self.gap_s / 10 else now_s) + self.gap_s
        self._round.rotate(-1)
        return self._round[-1]


def _targets_first(ways: Iterable[Way]) -> list[Way]:
    """First each target's first exit, then each one's second, and so on."""
    seen: dict[str, int] = {}
    placed = []
    for way in ways:
        place = seen[way.target] = seen.get(way.target, -1) + 1
        placed.append((place, way))
    return [way for _, way in sorted(placed, key=lambda entry: entry[0])]
