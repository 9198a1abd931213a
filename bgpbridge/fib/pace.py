"""How those who write behind XDP stand back for it: the kernel's worker, and tries that follow an index.

All are written by one interpreter on few processors, and packets already go by XDP: so a table that is loading goes
there first. Each commit of it puts the others off a little, but never for long: a table that keeps coming reaches them
while it comes. Then they rest between their pieces for as long as it comes: with several whole tables at once two
threads that never rested left a third of the interpreter to the one that takes them in.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GATHER_MORE_S", "GATHER_S", "LATELY_S", "SINGLES", "Pace"]

SINGLES = 64  # so many rows of a commit at most are no part of a table: they go ahead of those that are
GATHER_S = 0.003  # single routes wait this long for others
GATHER_MORE_S = 0.01  # where others have come while the ones before them were written, or so soon after them:
LATELY_S = 0.02
REST_S = 0.05  # after a commit of many routes: a run of a million's UPDATEs is looked at for so long before its first
LONGEST_S = 2.0  # from the first of them on: a million routes to XDP
RESTS = 3  # times as long as a piece took


@dataclass(slots=True)
class Pace:
    """Times are of time.monotonic(). A table has ended when nothing has come for `rest_s`; nobody waits longer than
    `longest_s` for that."""

    longest_s: float = LONGEST_S
    rest_s: float = REST_S
    _rested_s: float = 0.0
    _since_s: float = 0.0
    _last_s: float = 0.0

    def commit(self, now_s: float, *, storming: bool) -> None:
        """Many routes were committed; `storming` when others waited already."""
        if not storming:
            self._since_s = now_s
        self._last_s = now_s

    def worked(self, began_s: float, now_s: float) -> None:
        """A piece of a storm was written."""
        self._rested_s = now_s + RESTS * (now_s - began_s)

    def held_s(self, now_s: float) -> float:
        """For how long storms are still to wait; 0 or less when they may go."""
        return min(self._last_s + self.rest_s, max(self._since_s + self.longest_s, self._rested_s)) - now_s
