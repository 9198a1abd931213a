"""How much is measured, and the order in which subjects take turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bgpbridge.bench.records import Row, percentile, summarise
from bgpbridge.bench.subjects import SUBJECTS
from bgpbridge.lab.topology import Daemon

__all__ = ["Plan", "Results", "Tell"]

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`prefixes` of the large table, `small` of the other one; `samples` prefixes that are probed."""

    runs: int = 3
    prefixes: int = 100_000
    small: int = 1_000
    samples: int = 200
    updates: int = 200
    busy_s: float = 5.0
    subjects: tuple[Daemon, ...] = SUBJECTS
    timeout_s: float = 60.0

    @classmethod
    def quick(cls) -> Plan:
        """One run of everything, for a look."""
        return cls(runs=1, updates=100, busy_s=3.0)

    def turns(self) -> Iterator[tuple[int, Daemon]]:
        """Run by run, every subject in turn: what the machine does meanwhile falls on all alike."""
        for run in range(self.runs):
            for daemon in self.subjects:
                yield run, daemon


@dataclass(slots=True)
class Results:
    """One value a run for each metric and subject, in the order in which they first came."""

    timeout_s: float
    values: dict[tuple[str, str, str], list[float | None]] = field(default_factory=lambda: defaultdict(list))

    def add(self, metric: str, subject: str, value: float | None, unit: str) -> None:
        """What one run gave; None when it did not end in time."""
        self.values[(metric, subject, unit)].append(value)

    def add_spread(self, metric: str, subject: str, many: list[float], unit: str) -> None:
        """The median and the 99th percentile of what one run gave; nothing at all counts as not ended in time."""
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            self.add(f"{metric}, {name}", subject, percentile(many, share) if many else None, unit)

    def rows(self) -> tuple[Row, ...]:
        """A row for each metric and subject."""
        return tuple(
            summarise(metric, subject, values, unit, timeout_s=self.timeout_s)
            for (metric, subject, unit), values in self.values.items()
        )
