"""One check at one subject: what it is told, and what comes of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from bgpbridge.config.health import Check
from bgpbridge.health.checks import Key
from bgpbridge.health.damping import Health, Verdict
from bgpbridge.health.results import CheckResult, Said
from bgpbridge.pipeline.subjects import Subject, SubjectKind

__all__ = ["Row"]

PATIENCE = {"rise", "fall", "hold_down_s", "damping", "interval_ms", "timeout_ms"}


@dataclass(slots=True)
class Row:
    """One check at one subject. Times of day are Unix seconds."""

    subject: Subject
    check: Check
    health: Health
    verdict: Verdict = Verdict.UNKNOWN
    since: float = field(default_factory=time.time)
    last: CheckResult | None = None
    last_at: float = 0.0
    counts: Counter[Said] = field(default_factory=Counter)
    told: str = ""  # why it is unknown, as last said

    @property
    def key(self) -> Key:
        """What it is known by."""
        return str(self.subject), self.check.name

    @property
    def is_service(self) -> bool:
        """True for a prefix that we announce."""
        return self.subject.kind is SubjectKind.SERVICE

    def asks_otherwise(self, subject: Subject, check: Check) -> bool:
        """True when what is known answers another question than these: not for other patience alone."""
        before, after = (one.model_dump(exclude=PATIENCE) for one in (self.check, check))
        return before != after or self.subject.address != subject.address
