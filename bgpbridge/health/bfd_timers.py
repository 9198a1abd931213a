"""The timers of one BFD session as arithmetic: what is advertised, what is in use, and the polls between the two
(RFC 5880 s6.5, s6.8.2-4, s6.8.7). Integers of microseconds; no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bgpbridge.errors import UsageError

__all__ = ["SLOW_US", "BfdTimers", "Poll", "jitter"]

SLOW_US = 1_000_000  # RFC 5880 s6.8.3: no quicker than this until Up
LEAST_US, MOST_US = 10_000, 60_000_000


@dataclass(frozen=True, slots=True)
class BfdTimers:
    """What an operator asks for: the quickest that we send and take, in microseconds, and the detect multiplier."""

    tx_us: int = 300_000
    rx_us: int = 300_000
    multiplier: int = 3

    def __post_init__(self) -> None:
        for name, value in (("tx", self.tx_us), ("rx", self.rx_us)):
            if not LEAST_US <= value <= MOST_US:
                raise UsageError(
                    f"BFD: {name} interval {value} us is outside {LEAST_US}..{MOST_US}",
                    mend="50000 (50 ms) with a multiplier of 3 finds a cut in 150 ms",
                )
        if not 1 <= self.multiplier <= 255:
            raise UsageError(f"BFD: multiplier {self.multiplier} is outside 1..255", mend="3 is usual")


def jitter(multiplier: int, draw: Callable[[], float]) -> float:
    """The part of the interval after which the next packet goes: 75..100 %, and at most 90 % where one lost packet
    is a failure (RFC 5880 s6.8.7). `draw` gives 0.0 up to, but not, 1.0."""
    return 0.75 + draw() * (0.15 if multiplier == 1 else 0.25)


@dataclass(slots=True)
class Poll:
    """One Poll Sequence at a time (RFC 5880 s6.5). A change that comes while one is under way gets another after it,
    with a packet without P between the two, so that a Final can't be taken for the answer to the later one."""

    active: bool = False
    _again: bool = False
    _gap: bool = False

    def begin(self) -> None:
        """The parameters have changed and the other side has to hear of it."""
        if self.active:
            self._again = True
        elif not self._gap:
            self.active = True

    def answered(self) -> bool:
        """A Final has come. True when with it the other side knows everything."""
        if not self.active:
            return False
        self.active = False
        if self._again:
            self._again, self._gap = False, True
            return False
        return True

    def sent(self) -> None:
        """A periodic packet has gone."""
        if self._gap:
            self._gap, self.active = False, True

    def forget(self) -> None:
        """Nobody is there who could answer."""
        self.active = self._again = self._gap = False
