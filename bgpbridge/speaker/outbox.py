"""The speaker's end of the lanes: what the tap writes, and what it does when a lane has no room.

- UPDATE runs are written only after `full` has said no, which leaves room for one whole read; so they
  always fit, and a peer whose lane is full is simply not read.
- Session events are never lost: one that finds no room waits here, its peer stays unread meanwhile, and of
  several only what still matters is kept (an end, and the beginning after it).
- Notices may be lost; they are then counted in the lane. Repeated ones are held back and counted.
- A ring that much went through, and that nothing has come into for a while, gives its memory back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from bgpbridge.feed.frames import Notice, NoticeKind, Record, RecordKind, SessionDown, encode
from bgpbridge.feed.lane import Lane, LaneMemory

__all__ = ["Outbox"]

_LARGEST_MESSAGE: Final = 65535
_REPEAT_S: Final = 10.0  # the same notice about the same peer no more often than this
_SUBJECTS: Final = 1024  # subjects (kind and peer or address) that are remembered for that
_LOOK_S: Final = 1.0  # how long nothing came into a lane that gives its memory back
_MUCH: Final = 256 << 10  # octets that went through it since it did


class Outbox:
    """The producer of all lanes."""

    def __init__(self, memory: LaneMemory, bell: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._lanes: tuple[Lane, ...] = memory.lanes
        self._look_at = clock() + _LOOK_S
        self._seen = [lane.written for lane in self._lanes]
        self._given_back = [0] * len(self._lanes)
        self._bell = bell
        self._clock = clock
        self._waiting: dict[int, list[Record]] = {}
        self._said: dict[tuple[NoticeKind, int, str], tuple[float, int]] = {}
        self.read_octets = min(256 << 10, memory.layout.lane_octets >> 3)
        # a read plus what was left before it, twice: a record may have to skip the end of the ring
        self._room = 2 * (self.read_octets + _LARGEST_MESSAGE + 16)

    def has_lane(self, peer: int) -> bool:
        """True when the layout has a lane for this number."""
        return 0 < peer < len(self._lanes)

    @property
    def waiting(self) -> bool:
        """True while events wait for room."""
        return bool(self._waiting)

    def full(self, peer: int) -> bool:
        """True when nothing may be read from this peer now. The space bell rings when that changes."""
        if peer in self._waiting and not self._flush(peer):
            return True
        return self._lanes[peer].full(self._room)

    def updates(self, peer: int, run: bytes) -> None:
        """Whole UPDATE messages; call only after `full` was False."""
        self._fits(self._lanes[peer].put(RecordKind.UPDATES, run))

    def refresh(self, peer: int, message: bytes) -> None:
        """A BoRR or EoRR, in order; call only after `full` was False."""
        self._fits(self._lanes[peer].put(RecordKind.REFRESH, message))

    def _fits(self, written: bool) -> None:
        assert written, "a lane without room was written to"
        self.ring()

    def event(self, peer: int, record: Record) -> None:
        """A session event; waits here when the lane is full."""
        queue = self._waiting.setdefault(peer, [])
        if isinstance(record, SessionDown):
            queue.clear()
        else:
            queue[:] = [earlier for earlier in queue if isinstance(earlier, SessionDown)]
        queue.append(record)
        self._flush(peer)

    def _flush(self, peer: int) -> bool:
        queue = self._waiting[peer]
        while queue:
            kind, payload = encode(queue[0])
            if not self._lanes[peer].put(kind, payload):
                self._lanes[peer].full(self._room)  # asks for the bell
                return False
            del queue[0]
        del self._waiting[peer]
        self.ring()
        return True

    def retry(self) -> None:
        """Write what waits, where there is room now."""
        for peer in list(self._waiting):
            self._flush(peer)

    def give_back(self) -> None:
        """The memory of lanes that a table has gone through. To be called now and then, between two records."""
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_S
        for index, lane in enumerate(self._lanes):
            written, before = lane.written, self._seen[index]
            self._seen[index] = written
            since = written - self._given_back[index]
            much = since >= _MUCH and (written == before or since >= lane.size // 4)  # one that never rests, too
            if much and self._memory.give_back(index):
                self._given_back[index] = written

    def notice(
        self, kind: NoticeKind, text: str, *, peer: int = 0, subject: str = "", token: int = 0, always: bool = False
    ) -> None:
        """Tell the operator. Answers (with a token) go out `always`; else the same kind about the same peer and
        subject is told once in ten seconds, and the next one says how many were held back."""
        repeated = 0
        if not token and not always:
            key, now = (kind, peer, subject), self._clock()
            last, held = self._said.get(key, (now - _REPEAT_S, 0))
            if now - last < _REPEAT_S:
                self._said[key] = (last, held + 1)
                return
            repeated = held
            if len(self._said) >= _SUBJECTS:
                self._said.clear()
            self._said[key] = (now, 0)
        record = Notice(kind, text, peer, token, repeated)
        if not self._lanes[0].put(*encode(record)):
            self._lanes[0].count_dropped()
        self.ring()

    def ring(self) -> None:
        """Wake the bridge."""
        os.eventfd_write(self._bell, 1)
