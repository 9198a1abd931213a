"""A failed write is a state of its route: which errno, in which words, how often, and when it is tried again.

Columns by row, so that a full map with a million refused routes costs a few octets each and is still listed,
counted and retried. Waiting doubles from 1 s to 60 s with each refusal of the same route.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.columns import Column
from bgpbridge.fib.keys import Rows
from bgpbridge.types import Prefix

__all__ = ["FIRST_WAIT_S", "LONGEST_WAIT_S", "Refusals", "RouteState"]

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
MOST_TEXTS = 255


@dataclass(frozen=True, slots=True)
class RouteState:
    """A route that a plane would not take. `plane` is `xdp` or `kernel`, `errno` positive, `said` the
    kernel's words or ours; tried `tries` times, `in_s` seconds until the next time."""

    plane: str
    prefix: Prefix
    errno: int
    said: str
    tries: int
    in_s: float

    def __str__(self) -> str:
        return f"{self.plane} {self.prefix}: {os.strerror(self.errno)} ({self.said}), tried {self.tries}x"


class Refusals:
    """Refused rows of one plane and family. Times are seconds on the caller's monotonic clock."""

    def __init__(self) -> None:
        self.count = 0
        self._errno = Column(np.uint8)
        self._text = Column(np.uint8)
        self._tries = Column(np.uint8)
        self._due = Column(np.float64)
        self._texts: list[str] = [""]

    def refuse(self, rows: Rows, errno: int, said: str, now_s: float) -> None:
        """These rows were not taken."""
        if not len(rows):
            return
        for column in (self._errno, self._text, self._tries, self._due):
            column.reserve(int(rows.max()) + 1)
        self.count += int((self._errno.cells[rows] == 0).sum())
        tries = np.minimum(self._tries.cells[rows].astype(np.int64) + 1, 255)
        wait = np.minimum(FIRST_WAIT_S * 2.0 ** np.minimum(tries - 1, 10), LONGEST_WAIT_S)
        self._errno.cells[rows] = errno
        self._text.cells[rows] = self._text_id(said)
        self._tries.cells[rows] = tries
        self._due.cells[rows] = now_s + wait

    def settle(self, rows: Rows) -> None:
        """These rows stand as they should: whatever was wrong is over."""
        if not self.count or not len(rows):
            return
        rows = rows[rows < len(self._errno.cells)]
        held = rows[self._errno.cells[rows] != 0]
        self._errno.cells[held] = 0
        self._tries.cells[held] = 0
        self.count -= len(held)

    def holds(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which of these are refused."""
        held = np.zeros(len(rows), np.bool_)
        if self.count:
            known = rows < len(self._errno.cells)
            held[known] = self._errno.cells[rows[known]] != 0
        return held

    def holds_one(self, row: int) -> bool:
        """Whether this one is refused."""
        return bool(self.count) and row < len(self._errno.cells) and bool(self._errno.view[row])

    def rows(self) -> Rows:
        """All refused rows."""
        return np.flatnonzero(self._errno.cells) if self.count else np.empty(0, np.int64)

    def take_due(self, now_s: float) -> Rows:
        """Refused rows whose time has come; they are not due again until `refuse` says when."""
        rows = self.rows()
        rows = rows[self._due.cells[rows] <= now_s]
        self._due.cells[rows] = np.inf
        return rows

    def hasten(self, rows: Rows) -> None:
        """Try these at the next opportunity: what stood in the way may be gone."""
        if self.count and len(rows):
            self._due.cells[rows[rows < len(self._due.cells)]] = 0.0

    def next_due(self) -> float | None:
        """When the next retry is due; None when nothing is refused."""
        rows = self.rows()
        earliest = float(self._due.cells[rows].min()) if len(rows) else np.inf
        return earliest if earliest < np.inf else None

    def state(self, row: int, plane: str, prefix: Prefix, now_s: float) -> RouteState:
        """One refused row as a value."""
        in_s = max(0.0, float(self._due.cells[row]) - now_s)
        said = self._texts[int(self._text.cells[row])]
        return RouteState(plane, prefix, int(self._errno.cells[row]), said, int(self._tries.cells[row]), in_s)

    def by_reason(self) -> dict[tuple[int, str], int]:
        """Refused rows counted by (errno, words): for status and metrics."""
        rows = self.rows()
        pairs = self._errno.cells[rows].astype(np.int64) << 8 | self._text.cells[rows]
        values, counts = np.unique(pairs, return_counts=True)
        return {
            (int(value) >> 8, self._texts[int(value) & 0xFF]): int(count)
            for value, count in zip(values, counts, strict=True)
        }

    def _text_id(self, said: str) -> int:
        if said in self._texts:
            return self._texts.index(said)
        if len(self._texts) == MOST_TEXTS:
            return 0
        self._texts.append(said)
        return len(self._texts) - 1
