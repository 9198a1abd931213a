"""The way of an UPDATE through the speaker, gone on a stage of its own: socket, lane and bell that nobody else has.

What is used every few milliseconds stays in the caches of a processor that others use too; else the first UPDATE after
a pause takes five times as long as the next one.
"""

from __future__ import annotations

import os
import socket

from bgpbridge.feed.lane import LaneMemory, Layout
from bgpbridge.speaker.connection import TapConnection
from bgpbridge.speaker.outbox import Outbox
from bgpbridge.wire.message import build_update

__all__ = ["Rehearsal"]

LARGEST = 4096


class Rehearsal:
    """Call it: each call sends one UPDATE and takes it out of the lane again."""

    def __init__(self) -> None:
        self._peer, ours = socket.socketpair()
        ours.setblocking(False)
        self._connection = TapConnection()
        self._connection.io, self._connection.msg_size = ours, LARGEST
        layout = Layout(1, 1 << 20)
        self._fd = LaneMemory.create(layout)
        self._memory = LaneMemory(self._fd, layout)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._outbox = Outbox(self._memory, self._bell)
        self._update = build_update(withdrawn=b"\x18\xc0\x00\x02")

    def __call__(self) -> None:
        """Once."""
        self._peer.send(self._update)
        if not self._outbox.full(0) and (run := self._connection.updates()):
            self._outbox.updates(0, run)
            os.eventfd_read(self._bell)
        lane = self._memory.lanes[0]
        lane.take(LARGEST)
        lane.done()

    def close(self) -> None:
        """Give back what it is made of."""
        self._peer.close()
        if self._connection.io is not None:
            self._connection.io.close()
        self._memory.close()
        os.close(self._fd)
        os.close(self._bell)
