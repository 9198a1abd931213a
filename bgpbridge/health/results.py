"""What one run of a check came to."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["CheckResult", "Said"]


class Said(enum.StrEnum):
    """`UNKNOWN`: nothing could be asked, or the answer says nothing of what was asked; what was known goes on."""

    PASS = "pass"  # noqa: S105 - a word, no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`text` says what came, `mend` how to put right what kept it from being asked; `took_s` in seconds. `cause` is the
    same for results that differ in words alone; empty: the text is."""

    said: Said
    text: str
    took_s: float | None = None
    mend: str = ""
    cause: str = ""
