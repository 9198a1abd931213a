"""The bridge's end of the lanes: records of every peer in order, and an order among the peers that is fair.

Fairness (measured): a lane with up to SHORT octets waiting, some 50 messages, is served whole and at once;
of the longer ones ONE is served by a run at a time, in turn; and the run looks at the short lanes again at
each of its points. So a single UPDATE never waits behind another peer's table. `Pump` does this for a
consumer; `LaneReader` is for those who drive the lanes themselves.

When a speaker dies (`LaneMemory.close_generation`) every session of its lanes is over: the reader gives out
what it had still written and then SessionDown("speaker died", graceful) for each session that was up.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from bgpbridge.feed.frames import DownReason, Record, SessionDown, SessionUp, Updates, decode
from bgpbridge.feed.lane import Lane, LaneMemory, Layout

__all__ = ["BULK_OCTETS", "SHARED_OCTETS", "SHORT", "Consumer", "LaneReader", "Pump", "ReadLane"]

SHORT: Final = 4096  # octets: up to about 50 messages, one by one is quicker than in columns
BULK_OCTETS: Final = 1 << 20  # a run when one lane has work
SHARED_OCTETS: Final = 512 << 10  # a run while others send too
ALONE_S: Final = 0.005  # for so long no thread takes the interpreter away from who stores what has come
RECENT_S: Final = 1.0  # who has sent something so lately may do so again during a run

_DIED: Final = SessionDown(DownReason.SPEAKER_DIED, text="the speaker process ended", graceful=True)


class ReadLane:
    """One peer's lane. `take` then `done`; what was taken is copied out."""

    def __init__(self, lane: Lane, space: int, *, from_tail: bool) -> None:
        self.index = lane.index
        self._lane = lane
        self._space = space
        self._open = from_tail or lane.index == 0  # else: records before the first SESSION_UP are not for us
        self._up = from_tail and lane.position > 0
        self._closed_at = lane.position if lane.boundary <= lane.position else -1
        self._room: Callable[[], None] | None = None  # set: the bridge itself fills the lane, no speaker does

    def feed_from_here(self, room: Callable[[], None]) -> Lane:
        """For a peer that comes by another way: the bridge's own feed writes into this lane, and `room` is called when
        some of it was read. What an earlier feed has left goes, for its sender says everything again."""
        while self._lane.backlog():
            self._lane.take(self._lane.size, None)
            self._lane.done()
        self._room, self._open, self._up = room, False, False
        return self._lane

    def feed_from_speaker(self) -> None:
        """The end of that: from here on the lane is the speaker's."""
        self._room = None
        self._closed_at = max(self._closed_at, self._lane.boundary)

    @property
    def up(self) -> bool:
        """True while a session is up, as far as the records taken tell."""
        return self._up

    @property
    def dropped(self) -> int:
        """Notices that the speaker left out for want of room (lane 0)."""
        return self._lane.dropped

    def _generation_ended(self) -> bool:
        """True when a speaker that died wrote up to a place that we have not passed yet."""
        return self._room is None and self._lane.boundary > self._closed_at and self._lane.boundary > 0

    def backlog(self) -> int:
        """Octets that wait; at least 1 when only the end of a speaker is to be told."""
        waiting = self._lane.backlog()
        return waiting or int(self._up and self._generation_ended())

    def take(self, limit: int) -> list[Record]:
        """The next records, cut after `limit` octets; adjacent UPDATES come as one run. LaneError when the
        memory makes no sense. Call `done` when they are in safe hands: until then a new reader would
        find the same ones again."""
        ending = self._generation_ended()
        boundary = self._lane.boundary if ending else None
        if boundary is not None and self._lane.position >= boundary:
            raw: list[tuple[int, bytes]] = []
        else:
            raw = self._lane.take(limit, boundary)
        records = [record for kind, payload in raw for record in self._accept(decode(kind, payload))]
        if boundary is not None and self._lane.taken >= boundary:
            self._closed_at = boundary
            if self._up:
                self._up = False
                records.append(_DIED)
        return records

    def _accept(self, record: Record) -> Iterator[Record]:
        """Keep the session's state; leave out what comes before the first SESSION_UP after our start."""
        if isinstance(record, SessionUp):
            if self._up and not record.resync:
                yield _DIED
            self._open = self._up = True
        elif isinstance(record, SessionDown):
            self._up = False
        if self._open:
            yield record

    def lone(self) -> bytes | None:
        """The UPDATEs that wait, if that is all that does and it is little: what `take` gives, the short way."""
        if not self._open or self._generation_ended():
            return None
        return self._lane.lone(SHORT)

    def done(self) -> None:
        """Give the room back."""
        wanted = self._lane.done()
        if self._room is not None:
            self._room()
        elif wanted:
            os.eventfd_write(self._space, 1)


class LaneReader:
    """All lanes, and the bell that says that one of them has something.

    `from_tail=False` is for a bridge with empty tables: it sends Resync, and each lane begins with the
    SESSION_UP that follows. `from_tail=True` goes on where the last reader stopped.
    """

    def __init__(self, fd: int, layout: Layout, bell: int, space: int, *, from_tail: bool = False) -> None:
        self.memory = LaneMemory(fd, layout)
        self.bell = bell
        self.lanes = tuple(ReadLane(lane, space, from_tail=from_tail) for lane in self.memory.lanes)
        self._turn = 0

    @property
    def epoch(self) -> int:
        """How many speakers have died."""
        return self.memory.epoch

    def pending(self) -> bool:
        """True when any lane has something."""
        return any(lane.backlog() for lane in self.lanes)

    def rung(self) -> list[ReadLane]:
        """Lanes that something came into since the last call; not to be asked for again, so look at each."""
        return [self.lanes[index] for index in self.memory.flagged()]

    def next_bulk(self) -> ReadLane | None:
        """The long lane whose turn it is."""
        count = len(self.lanes)
        for step in range(count):
            lane = self.lanes[(self._turn + step) % count]
            if lane.backlog() > SHORT:
                self._turn = (lane.index + 1) % count
                return lane
        return None

    def others_busy(self, lane: ReadLane) -> bool:
        """True when another lane has something too: take a smaller run then."""
        return any(other is not lane and other.backlog() for other in self.lanes)

    def close(self) -> None:
        """Unmap; the descriptors stay with their owner."""
        self.memory.close()


class Consumer(Protocol):
    """What a pump feeds."""

    def begin(self, since_s: float) -> None:
        """What comes next may have waited for us since then, no longer (time.monotonic())."""

    def pace(self, *, hurried: bool) -> None:
        """From now on somebody waits for each point of a bulk run, or nobody does."""

    def one(self, lane: int, record: Record) -> None:
        """At once: a session event, or a run of at most about SHORT octets. Never blocks for long."""

    def few(self, lane: int, data: bytes) -> None:
        """The same of UPDATEs, without a record around them."""

    def rehearse(self) -> Iterator[object]:
        """Go the way of `few` once more, and change nothing. Every yield is a point at which `few` and `one` may be
        called."""

    def run(self, lane: int, data: bytes) -> Iterator[object]:
        """A bulk run. Every yield is a point at which `one` may be called for another lane."""


class Pump:
    """Serves a consumer fairly, for ever. Short lanes are served where the loop hears the bell, without a task that
    would have to be woken first; long ones by a coroutine that gives way at each point. `woken` tells when the loop
    last woke (time.monotonic()); `first` asks it to call the pump before anybody else when the bell rings (None: no
    longer), and says whether it does."""

    def __init__(
        self,
        reader: LaneReader,
        consumer: Consumer,
        woken: Callable[[], float] = time.monotonic,
        first: Callable[[int, Callable[[], None] | None], bool] = lambda _fd, _serve: False,
    ) -> None:
        self.reader = reader
        self._consumer = consumer
        self._woken, self._first = woken, first
        self._looked_s = 0.0
        self._served_s: dict[int, float] = {}  # when each lane last had a little
        self._last = reader.lanes[0]  # that had a little
        self._ran_s: dict[int, float] = {}  # when each lane last had much
        self._busy: ReadLane | None = None  # its records go by a run that is under way
        self._long = asyncio.Event()
        self._failure: Exception | None = None
        self._shared_s = sys.getswitchinterval()

    async def serve(self) -> None:
        """Run until cancelled. LaneError, or what the consumer raises, ends it."""
        loop, bell = asyncio.get_running_loop(), self.reader.bell
        if not self._first(bell, self._rung):
            loop.add_reader(bell, self._rung)
        try:
            for lane in self.reader.lanes:
                self._serve(lane)
            while True:
                await self._long.wait()
                self._long.clear()
                await self._drain()
        finally:
            if not self._first(bell, None):
                loop.remove_reader(bell)

    def _rung(self) -> None:
        """Packets wait: the bell is silenced after what has rung it, and then looked at once more for what came before
        that. A system call lets the thread of the kernel plane have the interpreter."""
        try:
            sys.setswitchinterval(ALONE_S)
            self._short_ones()
            sys.setswitchinterval(self._shared_s)
            try:
                os.eventfd_read(self.reader.bell)
            except BlockingIOError:
                return
            self._short_ones()
        except Exception as error:  # noqa: BLE001  (a callback has nobody above it: `serve` raises it)
            sys.setswitchinterval(self._shared_s)
            self._failure = error
            self._long.set()

    def rehearse(self) -> None:
        """Go the way of a few UPDATEs once more, so that it stays in the caches. What comes meanwhile is served."""
        self._rung()
        self._last.lone()
        for _ in self._consumer.rehearse():
            self._rung()

    async def _drain(self) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            lane = self.reader.next_bulk()
            if lane is None:
                return
            self._busy = lane
            try:
                await self._bulk(lane)
            finally:
                self._busy = None
            self._serve(lane)

    def _short_ones(self) -> None:
        since, self._looked_s = max(self._looked_s, self._woken()), time.monotonic()
        self._consumer.begin(since)
        for lane in self.reader.rung():
            if lane is self._busy:  # that one is looked at again when its run is over
                continue
            data = lane.lone()
            if data is not None:
                self._consumer.few(lane.index, data)
                lane.done()
                self._served_s[lane.index] = since
                self._last = lane
            self._serve(lane)

    def _serve(self, lane: ReadLane) -> None:
        """A short lane whole; a long one is left to `_drain`. `take` stops where a speaker has died, so look again."""
        while waiting := lane.backlog():
            if waiting > SHORT:
                self._long.set()
                return
            for record in lane.take(SHORT):
                self._consumer.one(lane.index, record)
            lane.done()
            self._served_s[lane.index] = time.monotonic()

    def _single_lately(self, lane: ReadLane) -> bool:
        """Whether another lane had a little lately, and no run. It may have so again, and waits for each step."""
        since = time.monotonic() - RECENT_S
        return any(
            at > since and index != lane.index and self._ran_s.get(index, 0.0) < since
            for index, at in self._served_s.items()
        )

    def _pace(self, lane: ReadLane) -> bool:
        hurried = self._single_lately(lane)
        self._consumer.pace(hurried=hurried)
        return hurried

    async def _bulk(self, lane: ReadLane) -> None:
        shared = self._pace(lane) or self.reader.others_busy(lane)
        records = lane.take(SHARED_OCTETS if shared else BULK_OCTETS)
        lane.done()
        for record in records:
            if not isinstance(record, Updates) or len(record.data) <= SHORT:
                self._consumer.one(lane.index, record)
                continue
            self._ran_s[lane.index] = time.monotonic()
            for _ in self._consumer.run(lane.index, record.data):
                self._short_ones()
                await _point()
                self._pace(lane)


async def _point() -> None:
    """Let timers and sockets have their turn: a due timer needs up to three rounds to reach its coroutine."""
    for _ in range(3):
        await asyncio.sleep(0)
