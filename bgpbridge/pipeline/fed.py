"""A peer that a feeder speaks for: its lane, whether anything is taken now, and how its session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bgpbridge.feed.frames import SessionDown, encode
from bgpbridge.feed.lane import Lane
from bgpbridge.feed.ways import Hello, answer

__all__ = ["Fed", "Feeder"]


@dataclass(slots=True, eq=False)
class Feeder:
    """One connection. `peers` are the indices that its numbers stand for, 0 where it may feed nobody."""

    hello: Hello
    writer: asyncio.StreamWriter
    peers: dict[int, int] = field(default_factory=dict)
    complaints: int = 0
    unread: str = ""

    def say(self, line: bytes) -> None:
        """Lines are few and short; one that nobody reads is the transport's to keep, or to lose with it."""
        self.writer.write(line)


@dataclass(slots=True)
class Fed:
    """The lane of such a peer, and who feeds it. `held`: nothing is taken before the timer ends; `ending`
    goes into the lane before anything else, as soon as there is room; `kept`: a replay has left its session up."""

    lane: Lane
    ring: Callable[[], None]
    room: asyncio.Event = field(default_factory=asyncio.Event)
    feeder: Feeder | None = None
    number: int = 0
    held: bool = False
    kept: bool = False
    ending: SessionDown | None = None
    timer: asyncio.TimerHandle | None = None

    def hold(self, seconds: float) -> None:
        """Take nothing for so long."""
        if self.timer is not None:
            self.timer.cancel()
        self.held = True
        self.room.set()
        self.timer = asyncio.get_running_loop().call_later(seconds, self.release)

    def release(self) -> None:
        """Take again, all of it."""
        if self.timer is not None:
            self.timer.cancel()
        self.held, self.timer = False, None
        self.again()

    def again(self) -> None:
        """Ask for the whole table."""
        if self.feeder is not None:
            self.feeder.say(answer(resync=[self.number]))

    def end(self, down: SessionDown) -> None:
        """The session counts as ended from here on."""
        self.ending = down
        self.flush()

    def flush(self) -> None:
        """There may be room now for an end that waits; `ring` wakes the reader of the lane."""
        if self.ending is not None and self.lane.put(*encode(self.ending)):
            self.ending = None
            self.ring()
