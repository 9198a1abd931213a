"""What the datapath is meant to reach, and what a record of its bench says of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bgpbridge.bench.records import OURS, Row

__all__ = ["AIMS", "Aim", "Reached", "reached"]


@dataclass(frozen=True, slots=True)
class Aim:
    """`upper` divided by `lower` (pairs of metric and subject) is to be `at_least` so much; without `lower` the figure
    itself is to be below `under`."""

    words: str
    upper: tuple[str, str]
    lower: tuple[str, str] | None = None
    at_least: float = 0.0
    under: float | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """What an aim came to."""

    aim: Aim
    value: float
    met: bool


def _quicker(metric: str, subject: str, than: str, times: float) -> Aim:
    """For metrics in ns."""
    return Aim(f"{metric}: {subject} quicker than {than}, times", (metric, than), (metric, subject), times)


def _more(metric: str, than: str, times: float) -> Aim:
    """For metrics in Mpps."""
    return Aim(f"{metric}: {OURS} to {than}, times", (metric, OURS), (metric, than), times)


AIMS = (
    _quicker("lookup_v4_1m_random", "index", "fib_lookup", 10),
    _quicker("lookup_v4_1m_random", "index", "lpm", 20),
    _quicker("lookup_v4_1m_zipf", "index", "fib_lookup", 10),
    _quicker("lookup_v6_220k_random", "index", "fib_lookup", 8),
    _quicker("lookup_v6_220k_random", "index", "lpm", 5),
    _quicker("lookup_v6_220k_zipf", "index", "fib_lookup", 8),
    _quicker("lookup_v6_220k_zipf", "index", "lpm", 5),
    _more("forward_1m_random", "fib_lookup", 3),
    _more("forward_1m_random", "kernel", 4.5),
    Aim(
        f"forward_1m_random: share of forward_10_random, {OURS}",
        ("forward_1m_random", OURS),
        ("forward_10_random", OURS),
        0.8,
    ),
    _more("forward_v6_220k_random", "kernel", 3),
    Aim(
        "under_churn_1m: share of the quiet figure at 1,000 changes/s",
        ("under_churn_1m", f"{OURS} at 1,000/s"),
        ("under_churn_1m", f"{OURS} at 0/s"),
        0.95,
    ),
    Aim("latency_p99: the kernel's to ours, times", ("latency_p99", "kernel"), ("latency_p99", OURS), 2),
    Aim("group_store_p99, us", ("group_store_p99", OURS), under=50),
    Aim("features_cost: trace off, ns", ("features_cost", "trace, off"), under=2),
    Aim("audit_1m, s", ("audit_1m", OURS), under=5),
    Aim("audit_1m_memory, MiB", ("audit_1m_memory", OURS), under=250),
)


def reached(rows: Iterable[Row]) -> list[Reached]:
    """Every aim of which the figures are there."""
    known = {(row.metric, row.subject): row.median for row in rows if row.median}
    found = []
    for aim in AIMS:
        value, below = known.get(aim.upper), known.get(aim.lower) if aim.lower else 1.0
        if value is not None and below is not None:
            ratio = value / below
            found.append(Reached(aim, ratio, ratio < aim.under if aim.under is not None else ratio >= aim.at_least))
    return found
