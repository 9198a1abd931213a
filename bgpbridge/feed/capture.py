"""What comes in by the lanes, for somebody who listens: whole records with time and lane, in a queue that is bounded.

The bridge offers records and goes on. When the listener is too slow the queue is full, what comes then is left out, and
a frame that says how much stands in its place: a listener always knows that it has missed something. MRT is made at
the listener's end (`feed.recording`), not in the process that routes.

A frame: octets of the payload (4), kind (1), lane (2), microseconds since 1970 (8), payload as in the lane.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bgpbridge.feed.frames import Record, decode, encode

__all__ = ["Captured", "Lost", "Tap", "read_frames"]

ROOM = 64 << 20  # octets that may wait for one listener: some ten full tables of single messages
HEADER = struct.Struct("!IBHQ")
LOST = 0  # the kind of the frame that tells of a gap; kinds of records begin at 1


@dataclass(frozen=True, slots=True)
class Captured:
    """A record as it came in."""

    time_s: float
    lane: int
    record: Record


@dataclass(frozen=True, slots=True)
class Lost:
    """So many records did not fit here."""

    time_s: float
    records: int


class Tap:
    """One listener's queue. `lane` None means all."""

    def __init__(self, lane: int | None = None, room: int = ROOM, clock: Callable[[], float] = time.time) -> None:
        self._lane, self._room, self._clock = lane, room, clock
        self._frames: list[bytes] = []
        self._octets = self._lost = 0
        self._some = asyncio.Event()

    def offer(self, lane: int, record: Record) -> None:
        """A record came in. Never waits."""
        if self._lane not in {None, lane}:
            return
        kind, payload = encode(record)
        if self._lost or self._octets + len(payload) > self._room:
            self._lost += 1
            return
        self._frames += (HEADER.pack(len(payload), kind, lane, self._now_us()), payload)
        self._octets += HEADER.size + len(payload)
        self._some.set()

    async def take(self) -> bytes:
        """All that waits, as soon as there is something."""
        await self._some.wait()
        self._some.clear()
        if self._lost:
            self._frames += (HEADER.pack(8, LOST, 0, self._now_us()), self._lost.to_bytes(8, "big"))
        frames, self._frames, self._octets, self._lost = self._frames, [], 0, 0
        return b"".join(frames)

    def _now_us(self) -> int:
        return int(self._clock() * 1e6)


def read_frames(pieces: Iterable[bytes]) -> Iterator[Captured | Lost]:
    """The frames of a stream that comes in pieces of any size. Raises LaneError for a record of another version."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        position = 0
        while len(waiting) - position >= HEADER.size:
            length, kind, lane, micros = HEADER.unpack_from(waiting, position)
            start = position + HEADER.size
            if len(waiting) - start < length:
                break
            payload = bytes(waiting[start : start + length])
            position = start + length
            if kind == LOST:
                yield Lost(micros / 1e6, int.from_bytes(payload, "big"))
            else:
                yield Captured(micros / 1e6, lane, decode(kind, payload))
        del waiting[:position]
