"""How long a peer is left alone after a reset of our own making (DampPeerOscillations, RFC 4271 s8.1).

A table that does not fit, or an UPDATE that must end the session, comes again with the next session. So the next one
begins after IdleHoldTime: half a minute, twice as long after each further reset, ten minutes at most. A session that
lasted for ten minutes makes it begin anew. What the peer ends, what TCP loses and what an operator does is not held
against it.

A peer that sent more than its max-prefix is another matter: it is held until an operator clears it, or until one
timer ends; when it does so again after that, there is no second timer.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FIRST_S", "LATCHED_S", "LONGEST_S", "STEADY_S", "HoldOff"]

FIRST_S = 30
LONGEST_S = 600
STEADY_S = 600.0
LATCHED_S = 10 * 365 * 86_400  # what the speaker is told in place of "until an operator clears it"


@dataclass(slots=True)
class HoldOff:
    """One peer's. `until` is in seconds of the monotonic clock, as the speaker holds too: the wall clock may jump.
    `why`: reason of the last reset; `latched`: until an operator clears it; `retried`: the one timer has been
    used."""

    until: float = 0.0
    why: str = ""
    resets: int = 0
    latched: bool = False
    retried: bool = False

    def begin(self, why: str, lasted_s: float) -> int:
        """Another reset, of a session that lasted so long: how many seconds to leave the peer alone."""
        if lasted_s >= STEADY_S:
            self.resets = 0
        self.why = why
        seconds = min(FIRST_S << min(self.resets, 16), LONGEST_S)
        self.resets += 1
        return seconds

    def over_limit(self, why: str, restart_s: int | None) -> int:
        """The peer went beyond its max-prefix: how many seconds to leave it alone."""
        self.why = why
        self.latched = restart_s is None or self.retried
        self.retried = True
        return LATCHED_S if restart_s is None or self.latched else restart_s

    def again(self, why: str, left_s: float | None, now: float) -> None:
        """As it was before a restart of ours: the timer was used; so many seconds are left, None: latched. `now` by the
        monotonic clock."""
        self.why, self.retried, self.latched = why, True, left_s is None
        self.until = now + (LATCHED_S if left_s is None else left_s)

    def left(self, now: float) -> float:
        """Seconds that are left of it, `now` by the monotonic clock; 0 when there is none."""
        return max(0.0, self.until - now)

    def over(self) -> None:
        """A session came up: what comes next counts on."""
        self.until, self.latched = 0.0, False

    def forget(self) -> None:
        """An operator says that the reason is gone."""
        self.until, self.why, self.resets = 0.0, "", 0
        self.latched = self.retried = False
