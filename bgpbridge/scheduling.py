"""When we run: how soon after something has come (sched(7), Documentation/scheduler/sched-eevdf.rst), and how seldom
while nothing does (`beat`).

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

__all__ = ["ask_short_slice", "ask_usual_slice", "beat"]

SHORT_NS = 100_000  # the least that the kernel grants
NR_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
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


def _ask(slice_ns: int) -> bool:
    if NR_SCHED_SETATTR is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    attr = _ATTR.pack(_ATTR.size, os.SCHED_OTHER, 0, nice, 0, slice_ns, 0, 0, 0, 0)
    return int(_libc.syscall(NR_SCHED_SETATTR, 0, attr, 0)) == 0
