"""Facts with an age: what probes have found out about a way, which is one target seen through one exit.

Of each way the last outcomes are kept in a ring, answers and losses alike. Percentiles and loss are those of the
outcomes in the ring that are not older than `window_s`; smoothed RTT, its variation (RFC 6298 s2) and jitter
(RFC 3550 s6.4.1) run on from answer to answer, and begin anew after a silence of `stale_after_s`: a path that comes
back may be another one.

Whoever reads facts says what time it is and gets them with their age. Facts that are `stale` must not decide
anything (`score` then leaves a group as BGP has it). All times are seconds of time.monotonic(), handed in; no clock
here, so a step of the wall clock changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bgpbridge.errors import CapacityError

__all__ = ["FactTable", "Facts", "Keeping", "Series", "Way"]

ALPHA, BETA = 1 / 8, 1 / 4  # RFC 6298 s2.3
JITTER_GAIN = 1 / 16  # RFC 3550 s6.4.1


class Way(NamedTuple):
    """One target through one exit, by their names."""

    exit: str
    target: str


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much is kept and for how long. `outcomes` bounds the ring of one way (16 octets each), `ways` their
    number."""

    outcomes: int = 256
    window_s: float = 300.0
    stale_after_s: float = 30.0
    ways: int = 4096


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one way at one moment; None where nothing in the window was answered.

    `samples` counts the answers in the window, `lost` the probes in it that had none; `loss` is a share, 0 to 1.
    Percentiles are of the nearest rank. `age_s` is the time since the last outcome of either kind.
    """

    samples: int
    lost: int
    loss: float
    srtt_s: float | None
    rttvar_s: float | None
    jitter_s: float | None
    least_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    last_s: float
    age_s: float
    stale: bool


class Series:
    """The outcomes of one way, in the order in which they became known."""

    __slots__ = (
        "_at_s",
        "_count",
        "_jitter_s",
        "_keeping",
        "_last_answer_s",
        "_last_rtt_s",
        "_rtt_s",
        "_srtt_s",
        "_var",
    )

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._at_s = np.full(keeping.outcomes, -np.inf)
        self._rtt_s = np.full(keeping.outcomes, np.nan)
        self._count = 0
        self._last_answer_s = -math.inf
        self._srtt_s = self._var = self._jitter_s = self._last_rtt_s = 0.0

    def answered(self, at_s: float, rtt_s: float) -> None:
        """An answer that was known at `at_s`. Raises ValueError for what is no round-trip time."""
        if not (math.isfinite(rtt_s) and rtt_s >= 0):
            raise ValueError(f"{rtt_s} is no round-trip time: finite seconds, not negative")
        at_s = self._keep(at_s, rtt_s)
        if at_s - self._last_answer_s > self._keeping.stale_after_s:
            self._srtt_s, self._var, self._jitter_s = rtt_s, rtt_s / 2, 0.0  # RFC 6298 s2.2
        else:
            self._var += BETA * (abs(self._srtt_s - rtt_s) - self._var)  # before SRTT: s2.3 wants the old one
            self._srtt_s += ALPHA * (rtt_s - self._srtt_s)
            # D of RFC 3550 is the difference of two transit times; of round trips it is that of two RTTs.
            self._jitter_s += JITTER_GAIN * (abs(rtt_s - self._last_rtt_s) - self._jitter_s)
        self._last_answer_s, self._last_rtt_s = at_s, rtt_s

    def lost(self, at_s: float) -> None:
        """A probe that was given up at `at_s`."""
        self._keep(at_s, math.nan)

    def facts(self, now_s: float) -> Facts | None:
        """What is known as of `now_s`; None before the first outcome."""
        if not self._count:
            return None
        recent = self._rtt_s[self._at_s >= now_s - self._keeping.window_s]
        rtts = np.sort(recent[~np.isnan(recent)])
        samples, lost = len(rtts), len(recent) - len(rtts)
        last_s = float(self._at_s[(self._count - 1) % len(self._at_s)])
        age_s = max(0.0, now_s - last_s)
        known = samples > 0
        return Facts(
            samples,
            lost,
            lost / len(recent) if len(recent) else 0.0,
            self._srtt_s if known else None,
            self._var if known else None,
            self._jitter_s if known else None,
            float(rtts[0]) if known else None,
            _ranked(rtts, 50),
            _ranked(rtts, 95),
            _ranked(rtts, 99),
            last_s,
            age_s,
            age_s > self._keeping.stale_after_s or not len(recent),
        )

    def _keep(self, at_s: float, rtt_s: float) -> float:
        """Into the ring; time never runs back in it. The time that it is kept under."""
        size = len(self._at_s)
        if self._count:
            at_s = max(at_s, float(self._at_s[(self._count - 1) % size]))
        self._at_s[self._count % size], self._rtt_s[self._count % size] = at_s, rtt_s
        self._count += 1
        return at_s


def _ranked(ordered: np.ndarray[tuple[int], np.dtype[np.float64]], percent: int) -> float | None:
    """The smallest value that at least `percent` of all are not above (nearest rank)."""
    if not len(ordered):
        return None
    return float(ordered[-(-len(ordered) * percent // 100) - 1])


class FactTable:
    """The facts of all ways. Bounded: a way more than `keeping.ways` is refused."""

    def __init__(self, keeping: Keeping | None = None) -> None:
        self.keeping = keeping or Keeping()
        self._series: dict[Way, Series] = {}

    def answered(self, way: Way, at_s: float, rtt_s: float) -> None:
        """An answer. Raises CapacityError for a new way when the table is full."""
        self._of(way).answered(at_s, rtt_s)

    def lost(self, way: Way, at_s: float) -> None:
        """A probe without an answer. Raises CapacityError for a new way when the table is full."""
        self._of(way).lost(at_s)

    def get(self, way: Way, now_s: float) -> Facts | None:
        """What is known of a way; None for one that nothing was ever heard of."""
        series = self._series.get(way)
        return series.facts(now_s) if series else None

    def view(self, now_s: float) -> Iterator[tuple[Way, Facts]]:
        """All ways by name, with what is known."""
        for way in sorted(self._series):
            facts = self._series[way].facts(now_s)
            if facts is not None:
                yield way, facts

    def keep_only(self, ways: frozenset[Way]) -> None:
        """Forget the ways that are probed no more."""
        self._series = {way: series for way, series in self._series.items() if way in ways}

    def _of(self, way: Way) -> Series:
        series = self._series.get(way)
        if series is None:
            if len(self._series) >= self.keeping.ways:
                raise CapacityError(
                    f"facts about {way.target} through {way.exit} have no room: {self.keeping.ways} ways are known",
                    mend="probe fewer targets, or through fewer exits",
                )
            series = self._series[way] = Series(self.keeping)
        return series
