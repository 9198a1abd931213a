"""Ending all that lives in a lab's namespaces, listed or not.

A lab's own list of processes is not the whole: daemons fork, a runner may be killed between a start and its note,
and people run things by `lab exec`. What belongs to a namespace is known by two signs: it is in there, or it was
started for it (`namespaces.marked`) and is still on its way. Several looks are needed, and each goes on to the
processes that were made while it was taken: whoever is found may have forked since.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces
from bgpbridge.lab.processes import GRACE_S, KILLED_S, exit_code, lives_in, living, pids

__all__ = ["sweep"]


def sweep(names: Collection[str]) -> None:
    """End everything that belongs to these namespaces, but ourselves and those who started us. SIGTERM first, SIGKILL
    after GRACE_S and for whoever appears later. Raises LabError when something does not end even so."""
    deadline, belonging, quiet = time.monotonic() + GRACE_S + KILLED_S, _Belonging.to(names), 0
    _signalled(belonging, signal.SIGTERM, GRACE_S)
    while quiet < 2:  # no process can be made unseen between two looks that find nobody
        found = _signalled(belonging, signal.SIGKILL, KILLED_S)
        quiet = 0 if found else quiet + 1
        if found and time.monotonic() > deadline:
            raise LabError(
                f"processes do not end: {', '.join(map(str, found))}", mend="end them, then `bgpbridge lab down`"
            )


@dataclass(frozen=True, slots=True)
class _Belonging:
    """The two signs."""

    files: frozenset[tuple[int, int]]  # device and inode of the namespaces
    marks: frozenset[bytes]  # words of the environment

    @classmethod
    def to(cls, names: Collection[str]) -> Self:
        files = set()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = namespaces.where(name).stat()
                files.add((status.st_dev, status.st_ino))
        return cls(frozenset(files), frozenset(f"{namespaces.MARK}={name}".encode() for name in names))

    def holds(self, pid: int) -> bool:
        """True for a process that is to go; not for one that has ended."""
        if lives_in(pid, self.files):
            return True
        with contextlib.suppress(OSError):
            return not self.marks.isdisjoint(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
        return False

    def grip(self, pid: int) -> int | None:
        """A pidfd of a process that is to go. It is looked at once more when it is gripped: by then its pid may have
        been given to somebody else."""
        if not self.holds(pid):
            return None
        try:
            handle = os.pidfd_open(pid)
        except OSError:  # it has ended, or is a thread of one that is seen as well
            return None
        if self.holds(pid):
            return handle
        os.close(handle)
        return None


def _signalled(belonging: _Belonging, number: signal.Signals, wait_s: float) -> list[int]:
    """Signal all that belong, each as soon as it is seen, and wait for their end; who they were."""
    handles: dict[int, int] = {}
    spared = _ancestry()
    try:
        for pid in _everybody():
            if pid not in spared and pid not in handles and (handle := belonging.grip(pid)) is not None:
                handles[pid] = handle
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
        living(handles, wait_s)
    finally:
        for pid, handle in handles.items():
            os.close(handle)
            exit_code(pid)
    return list(handles)


def _everybody() -> Iterator[int]:
    """All processes, then those made since, until no more come."""
    last = _last_pid()
    yield from pids()
    while (now := _last_pid()) != last:
        yield from range(last + 1, now + 1) if now > last else pids()  # numbers begin anew at pid_max
        last = now


def _last_pid() -> int:
    """The pid given out last on this machine (proc(5), loadavg)."""
    return int(Path("/proc/loadavg").read_text().split()[4])


def _ancestry() -> set[int]:
    """Our own pid and those above it: `lab down` may be typed in a shell that runs in the lab."""
    pid, found = os.getpid(), set[int]()
    with contextlib.suppress(FileNotFoundError):
        while pid:
            found.add(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found
