"""Forwarding while routes change: the Loc-RIB's changes go to XDP one UPDATE at a time (`XdpFib.apply_few`), from this
thread, at an even rate, while the senders' CPU forwards as quickly as it can. Of three changes one withdraws a prefix,
one announces it again, one moves it to another group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from bgpbridge.bench.datapath.lookups import words
from bgpbridge.bench.datapath.routers import routing, sinking
from bgpbridge.bench.datapath.stand import Stand, undisturbed
from bgpbridge.bench.datapath.table import GROUPS, first_group
from bgpbridge.bench.records import OURS
from bgpbridge.bench.results import Figure
from bgpbridge.rib.changes import FewChanges, Move
from bgpbridge.types import Family

__all__ = ["RATES", "Churn", "under_churn"]

RATES: Final = (0, 100, 1_000, 10_000)
KEPT_SHARE: Final = 0.95  # of the rate that was asked for
PAUSE_S: Final = 0.0002


@dataclass(slots=True)
class Churn:
    """Changes of random prefixes without end, made ahead so that only applying them takes time."""

    stand: Stand
    family: Family
    applied: int = 0
    _moves: list[Move] = field(default_factory=list)

    def prepare(self, count: int, seed: int) -> None:
        """`count` changes to come. Every prefix stands as in the table again after the last one of three."""
        table = self.stand.table(self.family)
        rows = np.random.default_rng(seed).choice(len(table), min(count // 3 + 1, len(table)), replace=False)
        first = first_group(self.family)
        self._moves, self.applied = [], 0
        for row in rows.tolist():
            key = (row + 1, int(table.hi[row]), int(table.lo[row]), int(table.length[row]))
            group = int(table.group[row])
            other = first + (group - first + 1) % GROUPS
            self._moves += [(*key, group, other), (*key, other, 0), (*key, 0, group)]

    def keep(self, rate: int, seconds: float) -> float:
        """Apply `rate` changes a second for so long; how many a second it came to."""
        began, xdp = time.monotonic(), self.stand.planes.xdp
        self.applied = 0
        while (passed := time.monotonic() - began) < seconds:
            due = min(int(passed * rate), len(self._moves))
            for move in self._moves[self.applied : due]:
                xdp.apply_few(FewChanges(self.family, [move]))
            self.applied = max(due, self.applied)
            time.sleep(PAUSE_S)
        return self.applied / passed

    def finish(self) -> None:
        """What was begun of three changes is ended, so that the table is as it was."""
        while self.applied % 3:
            self.stand.planes.xdp.apply_few(FewChanges(self.family, [self._moves[self.applied]]))
            self.applied += 1


def under_churn(stand: Stand, family: Family = Family.IPV4) -> Iterator[tuple[str, Figure]]:
    """Each rate in turn. A rate that could not be kept up gives no figure."""
    table = stand.table(family)
    stand.aim(table.destinations(stand.plan.walked, "random", among=len(table)), family)
    churn = Churn(stand, family)
    with sinking(stand), routing(stand, OURS, family):
        for run in range(stand.plan.runs):
            for rate in RATES:
                churn.prepare(int(rate * stand.plan.turn_s) + 3, run)
                yield f"{OURS} at {rate:,}/s", Figure(f"under_churn_{words(len(table))}", "Mpps", _rate(churn, rate))


def _rate(churn: Churn, rate: int) -> float | None:
    stand = churn.stand
    with stand.sending(churn.family, stand.cpus[-1:]), undisturbed():
        before, began = stand.programs.sunk(), time.monotonic_ns()
        kept = churn.keep(rate, stand.plan.turn_s)
        packets, took_ns = stand.programs.sunk() - before, time.monotonic_ns() - began
    churn.finish()
    return packets * 1e3 / took_ns if kept >= rate * KEPT_SHARE else None
