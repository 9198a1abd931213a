"""RCU grace periods: when every BPF program that ran at a moment has ended, so that what it may still read can be
used for something else. No time bound says that: the CPU under a program may be a virtual one that is paused.

membarrier(MEMBARRIER_CMD_GLOBAL) is synchronize_rcu() (kernel/sched/membarrier.c); it refuses with EINVAL where CPUs
run without ticks (nohz_full). There an update of a map in a map waits as long: maybe_wait_bpf_programs() of
kernel/bpf/syscall.c, since Linux 4.19. Either takes 6 ms when idle and 40 when busy, so it has a thread of its own.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from bgpbridge.datapath.syscalls import Command, MapType, bpf, map_create
from bgpbridge.errors import DatapathError

__all__ = ["Grace", "Waiting"]

NR_MEMBARRIER = {"x86_64": 324, "aarch64": 283}.get(platform.machine())
MEMBARRIER_CMD_GLOBAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Waiting(Protocol):
    """What says that nobody reads any more."""

    def begin(self) -> Future[None]:
        """A period that begins now."""

    def wait(self) -> None:
        """The same, and wait for its end. Raises DatapathError."""


class Grace:
    """Grace periods, one after the other, in a thread that starts with the first."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "bgpbridge-grace")

    def begin(self) -> Future[None]:
        """A period that begins now. Its exception is the DatapathError that says why none can be had."""
        return self._thread.submit(grace_period)

    def wait(self) -> None:
        """The same, and wait for its end. Raises DatapathError."""
        self.begin().result()


def grace_period() -> None:
    """Return when every program that ran at the call has ended. Raises DatapathError."""
    if not membarrier():
        map_in_map()


def membarrier() -> bool:
    """One by the system call of this name. False where this kernel will not."""
    if NR_MEMBARRIER is None:
        return False
    return int(_libc.syscall(NR_MEMBARRIER, MEMBARRIER_CMD_GLOBAL, 0, 0)) == 0


def map_in_map() -> None:
    """One by an update of an array of maps. Raises DatapathError."""
    inner = map_create(MapType.ARRAY, 4, 8, 1)
    try:
        outer = map_create(MapType.ARRAY_OF_MAPS, 4, 4, 1, inner=inner)
    except DatapathError:
        os.close(inner)
        raise
    try:
        key, value = ctypes.c_uint32(0), ctypes.c_uint32(inner)
        request = struct.pack("=IIQQQ", outer, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
        bpf(Command.MAP_UPDATE_ELEM, request)
    finally:
        os.close(outer)
        os.close(inner)
