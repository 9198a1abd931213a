"""When we run: how soon after something has come (sched(7), Documentation/scheduler/sched-eevdf.rst), and how seldom
while nothing does (`beat`); and how long work in a thread gives way to those who serve packets (`breathe`).

A thread that asks for a short slice is due sooner after it wakes, and runs no more in sum. On a busy router that is
what a single UPDATE waits for most: without it speaker and bridge each wait for whoever runs to end its slice, up to
3 ms. Kernels before 6.12 take the request and do nothing with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["ask_short_slice", "ask_usual_slice", "beat", "breathe", "giving_way", "stand_behind"]

BEHIND = 5  # nice: forwarding goes before what only stands ready
SHORT_NS = 100_000  # the least that the kernel grants
NR_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
WORKED_S = 0.001  # a breath after less is none
RECENT_S = 0.05  # for so long after a change there may be another at any moment
RESTS, LONGEST_S = 2, 0.05  # of rest: times as long as was worked, and the most of it
_ATTR = struct.Struct("=IIQiIQQQII")  # struct sched_attr of uapi/linux/sched/types.h

_libc = ctypes.CDLL(None, use_errno=True)


def ask_short_slice() -> bool:
    """For the calling thread, and for threads and processes that it makes later. False where the kernel refuses, or
    where an operator has put us into another scheduling class (chrt)."""
    return _ask(SHORT_NS)


def ask_usual_slice() -> bool:
    """Back to the system's: for a thread that does long work behind those that packets wait for."""
    return _ask(0)


async def beat(every_s: float) -> None:
    """Sleep until the loop's clock is at the next multiple of `every_s`: who looks at something now and then does so
    with the others, and an idle processor is woken once for all of them."""
    left = every_s - asyncio.get_running_loop().time() % every_s
    await asyncio.sleep(left if left > every_s / 100 else left + every_s)


def stand_behind() -> None:
    """For the calling thread, which writes what no packet waits for: whoever else has something to do goes first, and
    in longer slices. It holds the interpreter for short times only, else others would wait for it all the same."""
    ask_usual_slice()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)


@contextmanager
def giving_way(changes: Callable[[], int]) -> Iterator[None]:
    """Within it, `breathe` rests this thread while something changes: `changes` counts what does, from any thread."""
    _own.breath = _Breath(changes)
    try:
        yield
    finally:
        del _own.breath


def breathe() -> None:
    """A point in long work. In a thread that gives way it rests here while changes come in: two processors have enough
    to do then, and the interpreter is one. Anywhere else it does nothing."""
    breath: _Breath | None = getattr(_own, "breath", None)
    if breath is not None:
        breath.take()


class _Breath:
    def __init__(self, changes: Callable[[], int]) -> None:
        self._changes = changes
        self._seen = changes()
        self._changed_s = -RECENT_S
        self._since_s = time.monotonic()

    def take(self) -> None:
        now = time.monotonic()
        worked_s = now - self._since_s
        if worked_s < WORKED_S:
            return
        count = self._changes()
        if count != self._seen:
            self._seen, self._changed_s = count, now
        if now - self._changed_s < RECENT_S:
            time.sleep(min(RESTS * worked_s, LONGEST_S))
        self._since_s = time.monotonic()


_own = threading.local()


def _ask(slice_ns: int) -> bool:
    if NR_SCHED_SETATTR is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attr = _ATTR.pack(_ATTR.size, os.SCHED_OTHER, 0, nice, 0, slice_ns, 0, 0, 0, 0)
    return int(_libc.syscall(NR_SCHED_SETATTR, 0, attr, 0)) == 0
