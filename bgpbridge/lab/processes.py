"""The processes of a lab: started in a namespace, known by pid and start time, ended by pid.

A pid alone may belong to somebody else by the time it is used; with the start time of /proc it cannot.
Processes lead their own session, so a Ctrl-C on the terminal reaches the lab's runner and not its routers.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bgpbridge.lab import namespaces

__all__ = ["Process", "end", "exit_code", "in_namespace", "start", "started_at", "words"]


@dataclass(frozen=True, slots=True)
class Process:
    """A running program of a node. `started` is its start in clock ticks since boot (proc(5), stat field 22)."""

    node: str
    name: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """True while this very process runs."""
        return started_at(self.pid) == self.started


def start(argv: Sequence[str], *, namespace: str | None, log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a program in a namespace (None: here), its output appended to `log`; the pid. It may outlive us."""
    enter = ["nsenter", f"--net={namespaces.where(namespace)}", "--"] if namespace else []
    words = [*enter, *argv]
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        words[0],
        words,
        {**os.environ, **(env or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), output, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
    )


def exit_code(pid: int) -> int | None:
    """How a child of ours ended, negative for a signal; None while it runs. Collects its zombie."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None


def started_at(pid: int) -> int | None:
    """The start time of a process that lives; None when there is none or only its zombie."""
    try:
        # The name in parentheses may hold anything, so fields are counted after the last of them.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def words(pid: int) -> list[str]:
    """The command line of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def in_namespace(name: str) -> list[int]:
    """The pids of all processes in a namespace, whoever started them."""
    if not namespaces.exists(name):
        return []
    inode = namespaces.where(name).stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns/net").stat().st_ino == inode:
                    found.append(int(entry.name))
    return found


def end(pids: Iterable[int], grace_s: float = 3.0) -> None:
    """SIGTERM, and SIGKILL for those that live after `grace_s`. A pid that leads a group takes it along."""
    handles = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles[pid] = os.pidfd_open(pid)
            _signal(pid, signal.SIGTERM)
    try:
        for pid in _living(handles, grace_s):
            _signal(pid, signal.SIGKILL)
        _living(handles, grace_s)
    finally:
        for pid, handle in handles.items():
            os.close(handle)
            exit_code(pid)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _living(handles: Mapping[int, int], wait_s: float) -> list[int]:
    """Those that have not ended within `wait_s`; a pidfd becomes readable when its process ends."""
    left = {handle: pid for pid, handle in handles.items() if started_at(pid) is not None}
    poll = select.poll()
    for handle in left:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + wait_s
    while left and (remaining := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(remaining * 1000):
            poll.unregister(handle)
            del left[handle]
    return list(left.values())
