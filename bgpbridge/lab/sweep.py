"""Ending all that lives in a lab's namespaces, listed or not.

A lab's own list of processes is not the whole: daemons fork, a runner may be killed between a start and its note,
and people run things by `lab exec`. What belongs to a namespace is known by two signs: it is in there, or it was
started for it (`namespaces.marked`) and is still on its way. Several looks are needed, since whoever is found may have
forked since.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator, Mapping
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
    deadline, grace_s, quiet = time.monotonic() + GRACE_S + KILLED_S, GRACE_S, 0
    while quiet < 2:  # a process that forks and ends behind our back is seen by the second look
        with _gripped(_Belonging.to(names)) as handles:
            quiet = 0 if handles else quiet + 1
            if handles and time.monotonic() > deadline:
                raise LabError(
                    f"processes do not end: {', '.join(map(str, handles))}", mend="end them, then `bgpbridge lab down`"
                )
            _end(handles, grace_s)
        grace_s = 0.0 if handles else grace_s


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


@contextlib.contextmanager
def _gripped(belonging: _Belonging) -> Iterator[dict[int, int]]:
    """All that belong, each held by a pidfd: what is ended by it is the very process that was looked at."""
    handles: dict[int, int] = {}
    spared = _ancestry()
    try:
        for pid in pids():
            if pid not in spared and belonging.holds(pid):
                with contextlib.suppress(ProcessLookupError):
                    handle = os.pidfd_open(pid)
                    if belonging.holds(pid):  # the pid may have been given to somebody else by the time it was gripped
                        handles[pid] = handle
                    else:
                        os.close(handle)
        yield handles
    finally:
        for pid, handle in handles.items():
            os.close(handle)
            exit_code(pid)


def _ancestry() -> set[int]:
    """Our own pid and those above it: `lab down` may be typed in a shell that runs in the lab."""
    pid, found = os.getpid(), set[int]()
    with contextlib.suppress(FileNotFoundError):
        while pid:
            found.add(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def _end(handles: Mapping[int, int], grace_s: float) -> None:
    if grace_s:
        _signal(handles.values(), signal.SIGTERM)
    left = living(handles, grace_s)
    _signal([handles[pid] for pid in left], signal.SIGKILL)
    living({pid: handles[pid] for pid in left}, KILLED_S)


def _signal(handles: Collection[int], number: signal.Signals) -> None:
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
