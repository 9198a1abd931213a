"""What a check says."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level"]


class Level(enum.StrEnum):
    """`ok`; `warn`: it runs, but not as well or as safely; `fail`: it will not run or will not forward."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: which check, how it stands, what was seen, and how to mend it."""

    check: str
    level: Level
    seen: str
    mend: str = ""
