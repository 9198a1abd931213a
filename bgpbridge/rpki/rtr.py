"""An RTR cache over TCP: connects, keeps asking, comes back with growing pauses, drops what is too old (RFC 8210).

The protocol is in `rtr_session`, what it brought in `rtr_data`; here are only the socket and the clock. One task per
cache runs `run`; what it holds is read between its calls of `changed`.
"""

from __future__ import annotations

import asyncio
import enum
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bgpbridge.rpki.rtr_data import NO_VERSION, RtrData
from bgpbridge.rpki.rtr_pdus import HIGHEST_VERSION
from bgpbridge.rpki.rtr_session import Phase, RtrEnded, RtrSession

__all__ = ["RtrClient", "RtrNews", "RtrState", "RtrStatus"]

READ_OCTETS = 65536
CONNECT_LIMIT_S = 10.0
WRITE_LIMIT_S = 10.0
PAUSES_S = (1.0, 60.0)


class RtrState(enum.StrEnum):
    """How things stand with a cache."""

    CONNECTING = "connecting"
    SYNCHRONISING = "synchronising"
    SYNCHRONISED = "synchronised"
    NO_DATA = "no-data"  # connected, and the cache has nothing yet
    DOWN = "down"  # between two attempts


class RtrNews(enum.StrEnum):
    """What an operator hears of a cache."""

    UP = "rpki-server-up"
    LOST = "rpki-server-lost"
    RESET = "rpki-cache-reset"  # it could not tell what changed, all was asked for anew
    EXPIRED = "rpki-expired"  # what it told is too old and gone
    NONSENSE = "rpki-nonsense"  # it broke the protocol


@dataclass(frozen=True, slots=True)
class RtrStatus:
    """For `status` and metrics. Version, session and serial are those of what is held, None when all of it will be
    asked for anew. `age_s` is the time since the last End of Data, None when nothing is held; `error` is
    why the last connection ended, empty since a later one is synchronised."""

    state: RtrState
    version: int | None
    session: int | None
    serial: int | None
    vrps: int
    age_s: float | None
    error: str


class RtrClient:
    """One cache. `changed` is called from the loop whenever the payloads in `data` have become others. The pauses
    between two connections grow from the first of `pauses_s` to the second by doubling, and are never longer than the
    cache's own retry interval."""

    def __init__(
        self,
        address: str,
        port: int,
        changed: Callable[[RtrData], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        pauses_s: tuple[float, float] = PAUSES_S,
        timers_s: tuple[int | None, int | None, int | None] = (None, None, None),
        news: Callable[[RtrNews, str], None] = lambda _kind, _text: None,
    ) -> None:
        self.address, self.port = address, port
        self.data = RtrData(wanted=timers_s)
        self.data.heed(None)
        self._news = news
        self._up: bool | None = None
        self.nonsense = ""  # what it said last that is not RTR, until it is synchronised again
        self._changed = changed
        self._clock = clock
        self._pauses_s = pauses_s
        self._told = 0
        self._version = HIGHEST_VERSION
        self._session: RtrSession | None = None
        self._connecting = False
        self._error = ""

    def status(self) -> RtrStatus:
        """How it stands now."""
        held = self.data.key is not None
        version, session, serial = self.data.key or (NO_VERSION, 0, 0)
        known = version != NO_VERSION
        return RtrStatus(
            self._state(),
            version if known else None,
            session if known else None,
            serial if known else None,
            len(self.data),
            self._clock() - self.data.fresh_at if held else None,
            self._error,
        )

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            synchronised = await self._attempt()
            failures = 0 if synchronised else failures + 1
            self._tell()
            if self._up is not False:
                self._up = False
                self._news(RtrNews.LOST, self._error)
            first, most = self._pauses_s
            await self._pause(min(first * 2 ** min(failures, 20), most, self.data.timers.retry_s))

    def _state(self) -> RtrState:
        session = self._session
        if session is None:
            return RtrState.CONNECTING if self._connecting else RtrState.DOWN
        if session.phase is Phase.WAITING:
            return RtrState.SYNCHRONISED if session.synchronised else RtrState.NO_DATA
        return RtrState.SYNCHRONISED if session.synchronised else RtrState.SYNCHRONISING

    async def _attempt(self) -> bool:
        """One connection from its beginning to its end. True when it brought an End of Data."""
        self._connecting = True
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                reader, writer = await asyncio.open_connection(self.address, self.port, limit=READ_OCTETS)
        except TimeoutError:
            self._error = f"no connection within {CONNECT_LIMIT_S:.0f} s"
            return False
        except OSError as error:
            self._error = f"no connection: {_reason(error)}"
            return False
        finally:
            self._connecting = False
        session = self._session = RtrSession(self.data, self._version, self._clock())
        try:
            await self._speak(session, reader, writer)
        except RtrEnded as end:
            self._error = end.what
            self._version = 0 if end.downgrade else HIGHEST_VERSION
            if end.last_words:
                if not self.nonsense:  # once: other octets may come on every try
                    mend = f"is {self.address} port {self.port} an RTR cache, without TLS or SSH? Look at its log"
                    self._news(RtrNews.NONSENSE, f"{end.what}\n  mend: {mend}")
                self.nonsense = end.what
            await _send_last(writer, end.last_words)
        except OSError as error:
            self._error = f"the connection broke: {_reason(error)}"
        finally:
            self._session = None
            writer.transport.abort()  # what the cache has not taken by now it need not have
            with suppress(OSError):
                await writer.wait_closed()
        return session.synchronised

    async def _speak(self, session: RtrSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        resets = 0
        while True:
            await _send(writer, session.tick(self._clock()))
            octets = await self._read(reader, min(session.deadline, self.data.expires_at))
            if octets == b"":
                raise RtrEnded("the cache closed the connection")
            if octets is not None:
                await _send(writer, session.receive(octets, self._clock()))
            if self._expire():
                raise RtrEnded("what the cache told has expired")  # an answer under way may build on it
            if session.resets != resets:
                resets = session.resets
                self._news(RtrNews.RESET, "it cannot tell what changed: everything is asked for anew")
            self._tell()
            if session.synchronised:
                self._error = self.nonsense = ""
                if not self._up:
                    self._up = True
                    self._news(RtrNews.UP, f"{len(self.data):,} VRPs, {self.address} port {self.port}")

    async def _read(self, reader: asyncio.StreamReader, until: float) -> bytes | None:
        """What comes, or None when the time is over."""
        left = until - self._clock()
        try:
            async with asyncio.timeout(max(0.0, left) if math.isfinite(left) else None):
                return await reader.read(READ_OCTETS)
        except TimeoutError:
            return None

    async def _pause(self, seconds: float) -> None:
        """Between two connections, in which what is held may become too old."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            await asyncio.sleep(max(0.0, min(left, self.data.expires_at - self._clock())))
            self._expire()
            self._tell()

    def _expire(self) -> bool:
        if self._clock() < self.data.expires_at:
            return False
        held = len(self.data)
        self.data.flush()
        self._news(RtrNews.EXPIRED, f"its {held:,} VRPs are too old: nothing was heard of it for too long")
        return True

    def _tell(self) -> None:
        if self._told != self.data.changes:
            self._told = self.data.changes
            self._changed(self.data)


def _reason(error: OSError) -> str:
    """The system's word; a name without an address, or several addresses that all failed, have none."""
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)


async def _send(writer: asyncio.StreamWriter, octets: bytes) -> None:
    if not octets:
        return
    writer.write(octets)
    try:
        async with asyncio.timeout(WRITE_LIMIT_S):
            await writer.drain()
    except TimeoutError:
        raise RtrEnded("the cache reads nothing") from None


async def _send_last(writer: asyncio.StreamWriter, octets: bytes) -> None:
    with suppress(OSError, RtrEnded):
        await _send(writer, octets)
