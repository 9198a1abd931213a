"""How much is measured, and the order in which subjects take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bgpbridge.bench.subjects import SUBJECTS
from bgpbridge.lab.topology import Daemon

__all__ = ["Plan", "Tell"]

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`prefixes` of the large table, `small` of the other one, `judged` of the one for policies; `samples` prefixes
    that are probed; `busy_s` of 1,000 UPDATE a second, `idle_s` of nothing at all. The datapath has `ipv4` and `ipv6`
    routes, a list of `walked` destinations (a power of two), `turn_s` of traffic, `trials` of a group."""

    runs: int = 3
    prefixes: int = 100_000
    small: int = 1_000
    judged: int = 1_000_000
    samples: int = 200
    updates: int = 200
    busy_s: float = 5.0
    idle_s: float = 5.0
    ipv4: int = 1_000_000
    ipv6: int = 220_000
    walked: int = 1 << 20
    turn_s: float = 0.6
    trials: int = 200
    subjects: tuple[Daemon, ...] = SUBJECTS

    @classmethod
    def quick(cls) -> Plan:
        """One run of everything, for a look."""
        return cls(runs=1, judged=200_000, updates=50, busy_s=2.0, idle_s=3.0, turn_s=0.3, trials=50)

    def turns(self) -> Iterator[tuple[int, Daemon]]:
        """Everybody once, then again: what the machine does meanwhile meets all alike."""
        for run in range(self.runs):
            for daemon in self.subjects:
                yield run, daemon
