"""What runs give: figures by metric and subject, and the rows that come of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bgpbridge.bench.records import Row, percentile, summarise

__all__ = ["Figure", "Results", "spread"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one run gave for one metric. `value` None: it did not end in time, which was `timeout_s`, or else what the
    suite has for all."""

    metric: str
    unit: str
    value: float | None
    timeout_s: float | None = None

    def __str__(self) -> str:
        said = "too late" if self.value is None else f"{self.value:,.2f} {self.unit}"
        return f"{self.metric} {said}"


def spread(metric: str, unit: str, many: Sequence[float]) -> list[Figure]:
    """The median and the 99th percentile of what one run gave; nothing at all counts as not ended in time."""
    shares = {"p50": 0.5, "p99": 0.99}
    return [
        Figure(f"{metric}, {name}", unit, percentile(many, share) if many else None) for name, share in shares.items()
    ]


@dataclass(slots=True)
class Results:
    """One value a run for each metric and subject, in the order in which they first came. `timeout_s`: how long a
    run may take."""

    timeout_s: float | None = None
    values: dict[tuple[str, str, str], list[float | None]] = field(default_factory=lambda: defaultdict(list))
    late: dict[tuple[str, str, str], float] = field(default_factory=dict)

    def add(self, subject: str, figure: Figure) -> None:
        """What one run gave."""
        key = (figure.metric, subject, figure.unit)
        self.values[key].append(figure.value)
        if figure.value is None and figure.timeout_s is not None:
            self.late[key] = figure.timeout_s

    def rows(self) -> tuple[Row, ...]:
        """A row for each metric and subject."""
        return tuple(
            summarise(metric, subject, values, unit, timeout_s=self.late.get((metric, subject, unit), self.timeout_s))
            for (metric, subject, unit), values in self.values.items()
        )
