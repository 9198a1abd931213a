"""How large everything is, how often and how long at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bgpbridge.bench.whole.contenders import SLOW, Who

__all__ = ["Scale", "words"]


@dataclass(frozen=True, slots=True)
class Scale:
    """`ipv4` and `ipv6` prefixes of the whole tables; `losses` are tables that lose a path, the whole one besides;
    `sizes` and `peers` are those that growth is shown by. `limit_s` is the time for one step with a million prefixes,
    `turn_s` for all steps of a slow subject's turn. Those who are only `glanced`
    at are given the whole IPv4 table once, and nothing else."""

    runs: int = 3
    slow_runs: int = 1
    ipv4: int = 1_000_000
    ipv6: int = 220_000
    losses: tuple[int, ...] = (1_000, 100_000)
    sizes: tuple[int, ...] = (10_000, 100_000, 2_000_000)
    peers: tuple[int, ...] = (2, 4, 8)
    samples: int = 200
    updates: int = 300
    busy_s: float = 5.0
    storm_s: float = 6.0
    limit_s: float = 90.0
    slow_limit_s: float = 200.0
    turn_s: float = 360.0
    recorded: bool = True
    who: tuple[Who, ...] = tuple(Who)
    glanced: frozenset[Who] = frozenset()

    @classmethod
    def quick(cls) -> Scale:
        """One run with small tables, under 3 minutes."""
        return cls(
            runs=1,
            ipv4=100_000,
            ipv6=20_000,
            losses=(),
            sizes=(10_000,),
            peers=(2,),
            updates=50,
            busy_s=2.0,
            storm_s=2.0,
            limit_s=20.0,
            slow_limit_s=20.0,
            turn_s=25.0,
            recorded=False,
            glanced=SLOW,
        )

    def turns(self, allowed: Sequence[Who]) -> list[tuple[int, Who]]:
        """Everybody once, then again those that are quick."""
        who = [one for one in self.who if one in allowed]
        return [
            (run, one)
            for run in range(max(self.runs, self.slow_runs))
            for one in who
            if run < (self.slow_runs if one in SLOW else self.runs)
        ]

    def step_s(self, who: Who, prefixes: int) -> float:
        """The time for one step with so many prefixes."""
        whole = self.slow_limit_s if who in SLOW else self.limit_s
        return max(20.0, whole * prefixes / max(self.ipv4, 1_000_000))


def words(count: int) -> str:
    """A number as metrics name it: 10k, 220k, 1m, and as it is where that is not round."""
    for size, letter in ((1_000_000, "m"), (1_000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size}{letter}"
    return str(count)
