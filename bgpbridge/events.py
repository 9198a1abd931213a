"""What happened, in order: sessions, links, refusals, repairs, and the commits that they caused.

The log is a bounded ring of values; whoever wants to follow gets a bounded queue of its own and is told
how many it missed when it reads too slowly. Nothing here blocks the one who reports.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import islice

__all__ = ["Event", "EventLog", "Severity"]

KEEP = 4096
FOLLOWER_ROOM = 1024


class Severity(enum.StrEnum):
    """How much an operator should care; the words of syslog (RFC 5424 s6.2.1)."""

    INFO = "info"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `at` is Unix time in seconds; `kind` a fixed word such as `session-up`."""

    number: int
    at: float
    kind: str
    subject: str
    text: str
    severity: Severity = Severity.INFO


@dataclass(slots=True)
class EventLog:
    """The last `KEEP` events. `clock` gives Unix seconds and is handed in for tests."""

    clock: Callable[[], float] = time.time
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=KEEP))
    _followers: set[asyncio.Queue[Event]] = field(default_factory=set)
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)
    _count: int = 0
    missed: int = 0
    counts: Counter[Severity] = field(default_factory=Counter)

    def add(self, kind: str, subject: str, text: str, severity: Severity = Severity.INFO) -> Event:
        """Note an event and hand it to every follower that has room."""
        self._count += 1
        self.counts[severity] += 1
        event = Event(self._count, self.clock(), kind, subject, text, severity)
        self._events.append(event)
        for queue in self._followers:
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self.missed += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        return event

    def tail(self, limit: int = 100) -> list[Event]:
        """The last `limit` events, oldest first."""
        return list(self._events)[-limit:] if limit > 0 else []

    def after(self, number: int) -> list[Event]:
        """The events that are kept and came after event `number`, oldest first."""
        new = min(self._count - number, len(self._events))
        return list(islice(self._events, len(self._events) - new, None)) if new > 0 else []

    async def news(self, number: int) -> None:
        """Wait until there is an event after event `number`."""
        while self._count <= number:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    async def follow(self) -> AsyncIterator[Event]:
        """Events from now on, until the caller stops. A follower that lags more than `FOLLOWER_ROOM`
        events misses some; the gap shows in `number`."""
        queue: asyncio.Queue[Event] = asyncio.Queue(FOLLOWER_ROOM)
        self._followers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)

    @property
    def total(self) -> int:
        """Events since start."""
        return self._count
