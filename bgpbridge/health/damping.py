"""What results of checks come to: rise and fall, hold-down after recovery, flap damping. Pure; time is handed in.

A subject is unhealthy at once when `fall` results in a row have failed. It is healthy again when `rise` in a row have
passed *and* `hold_down_s` have gone by since *and* it is not suppressed: recovery waits, failure does not. The first
verdict after the start waits for nothing. A result that says nothing (a probe that could not be sent) is not handed
in at all, so what was known goes on.

Damping is that of RFC 2439 s4.2: each failure adds `PENALTY`, which halves every `half_life_s`. Above `suppress` the
subject is suppressed, below `reuse` no longer; the penalty has a ceiling, so that it takes `most_s` at most.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

__all__ = ["PENALTY", "Damping", "Health", "Rules", "Verdict"]

PENALTY = 1000.0  # of one failure (RFC 2439's figure of merit, in the units that routers use)
LEAST = 1.0  # a penalty below this is none


class Verdict(enum.StrEnum):
    """What holds now. `UNKNOWN` is not unhealthy; `RECOVERING` and `SUPPRESSED` still are."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    RECOVERING = "recovering"
    SUPPRESSED = "suppressed"

    @property
    def bad(self) -> bool:
        """True while the subject is not to be used."""
        return self in {Verdict.UNHEALTHY, Verdict.RECOVERING, Verdict.SUPPRESSED}


@dataclass(frozen=True, slots=True)
class Damping:
    """Thresholds of the penalty; `half_life_s` and `most_s` in seconds."""

    half_life_s: float = 60.0
    suppress: float = 3000.0
    reuse: float = 1000.0
    most_s: float = 600.0

    @property
    def ceiling(self) -> float:
        """From here it takes `most_s` to come down to `reuse` (RFC 2439 s4.2); never below one that suppresses."""
        exponent = min(self.most_s / self.half_life_s, 64.0)
        return max(self.reuse * math.exp2(exponent), self.suppress + LEAST)


@dataclass(frozen=True, slots=True)
class Rules:
    """`rise` passes or `fall` failures in a row change the state; `hold_down_s` seconds pass after a recovery."""

    rise: int = 2
    fall: int = 3
    hold_down_s: float = 10.0
    damping: Damping | None = None


class Health:
    """The state of one subject under one check."""

    __slots__ = ("_at_s", "_free_s", "_penalty", "_run", "_suppressed", "_up", "failures", "rules", "since_s")

    def __init__(self, rules: Rules, now_s: float) -> None:
        self.rules = rules
        self.failures = 0  # how often it went bad
        self.since_s = now_s  # the last change of what passes or fails
        self._up: bool | None = None
        self._run = 0  # results in a row that speak against `_up`; before the first verdict, with their sign
        self._free_s = -math.inf  # hold-down ends
        self._penalty = 0.0
        self._at_s = now_s  # of `_penalty`
        self._suppressed = False

    def passed(self, now_s: float) -> None:
        """A result: good."""
        self._result(True, now_s)

    def failed(self, now_s: float) -> None:
        """A result: bad."""
        self._result(False, now_s)

    def _result(self, good: bool, now_s: float) -> None:
        self._decay(now_s)
        if good is self._up:
            self._run = 0
            return
        if self._up is None and (self._run > 0) is not good:
            self._run = 0
        self._run += 1 if self._up is not None or good else -1
        if abs(self._run) >= (self.rules.rise if good else self.rules.fall):
            self._turn(good, now_s)

    def _turn(self, good: bool, now_s: float) -> None:
        first, self._up, self._run, self.since_s = self._up is None, good, 0, now_s
        if good:
            self._free_s = now_s if first else now_s + self.rules.hold_down_s
            return
        self.failures += 1
        damping = self.rules.damping
        if damping is not None:
            self._penalty = min(self._penalty + PENALTY, damping.ceiling)
            self._suppressed = self._suppressed or self._penalty > damping.suppress

    def _decay(self, now_s: float) -> None:
        """Bring the penalty up to now; time never runs back."""
        damping = self.rules.damping
        passed_s = max(0.0, now_s - self._at_s)
        self._at_s = max(now_s, self._at_s)
        if damping is None:
            self._penalty, self._suppressed = 0.0, False
            return
        self._penalty *= 0.5 ** min(passed_s / damping.half_life_s, 1074.0)
        if self._penalty < LEAST:
            self._penalty = 0.0
        if self._penalty < damping.reuse:
            self._suppressed = False

    def verdict(self, now_s: float) -> Verdict:
        """What holds at `now_s`."""
        self._decay(now_s)
        if self._up is None:
            return Verdict.UNKNOWN
        if not self._up:
            return Verdict.UNHEALTHY
        if self._suppressed:
            return Verdict.SUPPRESSED
        return Verdict.RECOVERING if self._at_s < self._free_s else Verdict.HEALTHY

    def penalty(self, now_s: float) -> float:
        """The penalty now."""
        self._decay(now_s)
        return self._penalty

    def due_s(self, now_s: float) -> float | None:
        """When the verdict changes though no result comes; None: it does not. Never before `now_s`."""
        verdict = self.verdict(now_s)
        if verdict is Verdict.RECOVERING:
            return self._free_s
        if verdict is Verdict.SUPPRESSED:
            return max(self._reuse_s(), self._free_s, now_s)
        return None

    def suppressed_s(self, now_s: float) -> float:
        """For how long it stays suppressed if nothing more goes wrong; 0 when it is not."""
        self._decay(now_s)
        return max(0.0, self._reuse_s() - now_s) if self._suppressed else 0.0

    def _reuse_s(self) -> float:
        """When the penalty is below `reuse`: a little later than the formula says, so that rounding is behind us."""
        damping = self.rules.damping
        if damping is None or self._penalty < damping.reuse:
            return self._at_s
        return self._at_s + damping.half_life_s * math.log2(self._penalty / damping.reuse) + 0.001

    def change(self, rules: Rules, now_s: float) -> None:
        """Other rules from now on; what is known stays. A hold-down under way ends with the new one at the latest."""
        self._decay(now_s)
        self.rules = rules
        if self._up and self._free_s > now_s:
            self._free_s = min(self._free_s, self.since_s + rules.hold_down_s)
        self._decay(now_s)

    def forget(self, now_s: float) -> None:
        """Nothing is known any more; the penalty stays."""
        self._decay(now_s)
        self._up, self._run, self._free_s, self.since_s = None, 0, -math.inf, now_s
