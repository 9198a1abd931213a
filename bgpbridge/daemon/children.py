"""A child process that is started again when it ends: with back-off, and with its last words kept.

The supervisor owns one task per child. A child that ends within `STEADY_S` of its start waits twice as long
before the next start, up to `LONGEST_WAIT_S`; one that ran longer starts again at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = ["Child", "ended_because", "follow_parent"]

STEADY_S = 30.0
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 5.0
GRACE_S = 5.0
PR_SET_PDEATHSIG = 1

log = logging.getLogger("bgpbridge.supervisor")


def follow_parent(number: int = signal.SIGTERM) -> None:
    """Called by a child at its start: end when the supervisor ends (prctl(2) PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def ended_because(code: int) -> str:
    """How a process ended, in words: `exit code 2`, `killed by SIGKILL`."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@dataclass(slots=True)
class Child:
    """One supervised process. `start` launches it; `ended(code)` is awaited after each end, before a restart,
    and says whether to start it again."""

    name: str
    start: Callable[[], Awaitable[asyncio.subprocess.Process]]
    ended: Callable[[int], Awaitable[bool]]
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    _stopping: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Start, wait, start again; returns the exit code of the last run once told to stop."""
        wait = FIRST_WAIT_S
        while True:
            began = time.monotonic()
            try:
                self.process = process = await self.start()
            except OSError as error:
                log.error("%s could not be started: %s", self.name, error.strerror)  # noqa: TRY400 - says it all
                if await self._told_to_stop_within(LONGEST_WAIT_S):
                    return 1
                continue
            self.starts += 1
            log.info("%s started as process %d", self.name, process.pid)
            if self._stopping:  # told while it was being made: `stop` has not seen it
                await self._end(process, GRACE_S)
            code = await process.wait()
            if self._stopping:
                return code
            log.warning("%s ended: %s", self.name, ended_because(code))
            if not await self.ended(code):
                return code
            wait = FIRST_WAIT_S if time.monotonic() - began > STEADY_S else min(wait * 2, LONGEST_WAIT_S)
            if await self._told_to_stop_within(wait):
                return code

    async def _told_to_stop_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """SIGTERM, then SIGKILL when `grace_s` have passed."""
        self._stopping = True
        self._wake.set()
        if self.process is not None and self.process.returncode is None:
            await self._end(self.process, grace_s)

    async def _end(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        _send(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            log.warning("%s did not end within %.0f s: killed", self.name, grace_s)
            _send(process, signal.SIGKILL)
            await process.wait()

    def signal(self, number: int) -> None:
        """Pass a signal on, when the process lives."""
        if self.process is not None and self.process.returncode is None:
            _send(self.process, number)


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    """A process that has just ended hears nothing, and that is fine."""
    with suppress(ProcessLookupError):
        process.send_signal(number)
