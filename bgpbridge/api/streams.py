"""Answers that go on for as long as somebody listens: how many there may be, and how long one may stall."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiohttp import hdrs, web

from bgpbridge.api.errors import RequestError
from bgpbridge.events import EventLog

__all__ = ["MOST", "Stalled", "Streams", "hear", "send"]

MOST = 32
RETRY_S = 5
LISTENS_S = 2.0
STALLED_S = 30.0  # how long a reader may take nothing; then its connection is closed


class Stalled(ConnectionResetError):  # noqa: N818 -- a listener that is slow is no error of ours
    """The listener is there and takes nothing: it was cut off."""


class Streams:
    """The listeners of one server, bounded."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self.now = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """For as long as one listener is there. Raises RequestError when there are too many."""
        if self.now >= self._most:
            raise RequestError(
                f"{self._most} listeners are here already",
                mend="close one, or come back later",
                status=503,
                headers={hdrs.RETRY_AFTER: str(RETRY_S)},
            )
        self.now += 1
        try:
            yield
        finally:
            self.now -= 1


async def hear(request: web.Request, log: EventLog, last: int) -> bool:
    """Wait a moment for an event after event `last`; True when there is one. Raises ConnectionResetError when the
    listener has left, which nobody would notice otherwise while nothing happens."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LISTENS_S):
            await log.news(last)
    if request.transport is None:
        raise ConnectionResetError("the listener has left")
    return log.total > last


async def send(request: web.Request, response: web.StreamResponse, octets: bytes) -> None:
    """Write, and wait for a reader that is slow, but not for ever: its connection is then cut. Raises
    ConnectionResetError, as aiohttp does for one that has gone."""
    try:
        async with asyncio.timeout(STALLED_S):
            await response.write(octets)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise Stalled(f"has taken nothing for {STALLED_S:g} s: cut off, nothing is kept for it") from None
