"""A world whose peers speak by their real lanes: what they say is put into the ring, the bell is rung, and the bridge's
own pump decides which way it goes, by turns that the test gives. The way of the last single UPDATE is rehearsed
whenever the pump might do it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from bgpbridge.feed import reader
from bgpbridge.feed.frames import DownReason, Record, SessionDown, Updates, encode
from bgpbridge.feed.reader import Pump
from tests.unit.pipeline.conftest import HandLoop, World

__all__ = ["PumpedWorld"]


class Turning(HandLoop):
    """With what a coroutine waits by. Nobody is called back: whoever gives the turns looks for himself."""

    def create_future(self) -> asyncio.Future[Any]:
        loop: Any = self
        return asyncio.Future(loop=loop)

    def get_debug(self) -> bool:
        return False


class PumpedWorld(World):
    """`tell` puts a record into a lane and has it served at once, as the short lanes are; `run` has it served as a long
    one and gives turns."""

    def __init__(self, folder: Path, peers: dict[str, str], **more: str) -> None:
        super().__init__(folder, peers, loop=Turning(), **more)
        assert self.bridge._reader is not None
        self._pump = Pump(self.bridge._reader, self.bridge.ingest, first=self._first)
        self._serving = self._pump.serve()
        self._waits: asyncio.Future[None] | None = None  # what it waits for; None: just for its next turn
        self._apart = cycle([False, True])  # whether several UPDATEs at once come as as many records
        self._drain()

    def close(self) -> None:
        self._serving.close()
        super().close()

    # -- what is put into lanes -------------------------------------------------------------------------

    def tell(self, name: str, record: Record) -> None:
        self._put(name, record)
        self._ring()

    def tell_together(self, name: str, messages: list[bytes]) -> None:
        """A few UPDATEs, in one record or in as many."""
        for octets in messages if next(self._apart) else [b"".join(messages)]:
            self._put(name, Updates(octets))
        self._ring()

    def run(self, name: str, messages: list[bytes]) -> Iterator[None]:
        """The same as a long lane, in runs. Each yield is a moment at which others may be told something."""
        for octets in messages:
            self._put(name, Updates(octets))
        with lanes_are_long():
            self._ring_bell()
            for turn, _ in enumerate(self._turns()):
                with lanes_are_short():
                    yield
                    if turn % 3 == 2:  # where the pump has just let everybody have a turn
                        self._rehearse()

    def speaker_dies(self) -> None:
        """All sessions are over, as the lanes tell."""
        self.process.memory.close_generation()
        self._ring()

    def speaker_drops(self, index: int) -> None:
        """It has heard that a peer is configured no longer."""
        self._put_into(index, SessionDown(DownReason.REMOVED))
        self._ring()

    def _put(self, name: str, record: Record) -> None:
        self._put_into(self.peer(name).index, record)

    def _put_into(self, lane: int, record: Record) -> None:
        assert self.process.memory.lanes[lane].put(*encode(record))

    def _ring(self) -> None:
        """Whoever is served by a run that is under way comes when that is over, a lane that is long as well."""
        self._ring_bell()
        if not self._amid:
            self._drain()
        self._rehearse()

    @property
    def _amid(self) -> bool:
        return self._pump._busy is not None

    # -- turns --------------------------------------------------------------------------------------------

    def _first(self, _fd: int, serve: Callable[[], None] | None) -> bool:
        self._bell = serve
        return True

    def _ring_bell(self) -> None:
        assert self._bell is not None
        os.eventfd_write(self.process.handles.bell, 1)
        with self.running():
            self._bell()

    def _rehearse(self) -> None:
        with self.running():
            self._pump.rehearse()

    def _turns(self) -> Iterator[None]:
        """Until the pump has nothing to do."""
        while self._waits is None or self._waits.done():
            with self.running():
                self._waits = self._serving.send(None)
            if self._waits is None:
                yield

    def _drain(self) -> None:
        for _ in self._turns():
            pass


@contextlib.contextmanager
def _short(octets: int) -> Iterator[None]:
    before = reader.SHORT
    reader.SHORT = octets  # type: ignore[misc]
    try:
        yield
    finally:
        reader.SHORT = before  # type: ignore[misc]


def lanes_are_long() -> contextlib.AbstractContextManager[None]:
    """Whatever waits goes by a run, were it one UPDATE."""
    return _short(0)


def lanes_are_short() -> contextlib.AbstractContextManager[None]:
    """Whatever waits is served at once."""
    return _short(1 << 16)
