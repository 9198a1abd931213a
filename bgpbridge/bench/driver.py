"""How every suite on the rig is measured: its cases one after the other, in each the subjects by turns, each started
anew; what one turn gives is the suite's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bgpbridge.bench.feeds import Feed, made
from bgpbridge.bench.plan import Plan, Tell
from bgpbridge.bench.probe import Prober
from bgpbridge.bench.records import Row
from bgpbridge.bench.results import Figure, Results
from bgpbridge.bench.rig import Rig, uplink
from bgpbridge.bench.subjects import Subject, running
from bgpbridge.lab.topology import Daemon
from bgpbridge.types import IPAddress

__all__ = ["LOAD_S", "ROUND_S", "SETTLE_S", "Bench", "Stand", "measure", "whole_table"]

LOAD_S = 60.0  # a table that has not arrived by then is told as too late
ROUND_S = 0.02  # between two rounds of probes while a table loads
SETTLE_S = 60.0

Case = TypeVar("Case")


@dataclass(frozen=True, slots=True)
class Stand:
    """One turn: a subject that runs and has no routes yet, and a prober."""

    place: Rig
    subject: Subject
    prober: Prober
    plan: Plan

    @property
    def daemon(self) -> Daemon:
        """Whose turn it is."""
        return self.subject.daemon

    def loaded(self, samples: Sequence[IPAddress]) -> bool:
        """Wait until all of these go by uplink `a` and the subject is at rest; False when they come too late."""
        if self.prober.all_of(samples, "eth1", LOAD_S, round_s=ROUND_S) is None:
            return False
        self.subject.settle(SETTLE_S)
        return True


@dataclass(frozen=True, slots=True)
class Bench(Generic[Case]):
    """A suite. `cases` gives what is announced, `one` measures a turn, `note` says how to the page, `timeout_s` is
    what a missing figure took at least. `configured` gives a configuration that is the case's own; `wired` asks for a
    rig with a wire in uplink a."""

    name: str
    timeout_s: float
    cases: Callable[[Plan], Iterable[Case]]
    one: Callable[[Stand, Case], Sequence[Figure]]
    note: Callable[[Plan], str]
    configured: Callable[[Daemon, Case], str] | None = None
    wired: bool = False


def whole_table(plan: Plan) -> list[Feed]:
    """The one case of many suites: the large table from uplink `a`."""
    return [made(plan.prefixes, uplink("a").origin())]


def measure(bench: Bench[Case], place: Rig, plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """All cases, subjects and runs of a suite."""
    results = Results(bench.timeout_s)
    for case in bench.cases(plan):
        for run, daemon in plan.turns():
            text = bench.configured(daemon, case) if bench.configured else ""
            with running(place, daemon, text) as subject, Prober(place) as prober:
                figures = bench.one(Stand(place, subject, prober, plan), case)
            for figure in figures:
                results.add(daemon, figure)
            tell(f"{bench.name}, run {run + 1}: {daemon} {'; '.join(map(str, figures))}")
    return results.rows()
