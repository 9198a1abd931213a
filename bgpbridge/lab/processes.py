"""The processes of a lab: started in a namespace, known by pid and start time, ended by pid.

A pid alone may belong to somebody else by the time it is used; with the start time of /proc it cannot.
Processes lead their own session, so a Ctrl-C on the terminal reaches the lab's runner and not its routers. What
else belongs to a namespace, whoever started it, is found and ended by `sweep`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bgpbridge.lab import namespaces

__all__ = [
    "GRACE_S",
    "KILLED_S",
    "Process",
    "end",
    "exit_code",
    "in_namespace",
    "lives_in",
    "living",
    "pids",
    "run",
    "start",
    "started_at",
    "words",
]

GRACE_S = 3.0
KILLED_S = 20.0  # what is killed ends as soon as it is scheduled, or has left a system call on its own
LOOK_S = 0.02


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
    words = [*_enter(namespace), *argv] if namespace else list(argv)
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        words[0],
        words,
        {**(namespaces.marked(namespace) if namespace else os.environ), **(env or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), output, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
    )


def run(argv: Sequence[str], *, namespace: str, stop: Callable[[], bool]) -> subprocess.CompletedProcess[str]:
    """Run a command in a namespace to its end; its exit code and output, both streams in one. It is killed as soon
    as `stop` says so."""
    with subprocess.Popen(
        [*_enter(namespace), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=namespaces.marked(namespace),
        start_new_session=True,
    ) as child:
        while True:
            try:
                said, _ = child.communicate(timeout=LOOK_S)
                return subprocess.CompletedProcess(argv, child.returncode, said)
            except subprocess.TimeoutExpired:
                if stop():
                    os.killpg(child.pid, signal.SIGKILL)
                    return subprocess.CompletedProcess(argv, child.wait(), "")


def _enter(namespace: str) -> list[str]:
    return ["nsenter", f"--net={namespaces.where(namespace)}", "--"]


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
    try:
        there = namespaces.where(name).stat()
    except FileNotFoundError:
        return []
    return [pid for pid in pids() if lives_in(pid, {(there.st_dev, there.st_ino)})]


def pids() -> list[int]:
    """All processes of the machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 -- names are all we need


def lives_in(pid: int, files: Collection[tuple[int, int]]) -> bool:
    """True when the process is in one of these network namespaces, told by the device and inode of their files."""
    with contextlib.suppress(OSError):
        status = os.stat(f"/proc/{pid}/ns/net")  # noqa: PTH116 -- done for every process of the machine
        return (status.st_dev, status.st_ino) in files
    return False


def end(pids: Iterable[int], grace_s: float = GRACE_S) -> None:
    """SIGTERM, and SIGKILL for those that live after `grace_s`. A pid that leads a group takes it along."""
    handles = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handles[pid] = os.pidfd_open(pid)
            _signal(pid, signal.SIGTERM)
    try:
        for pid in living(handles, grace_s):
            _signal(pid, signal.SIGKILL)
        living(handles, KILLED_S)
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


def living(handles: Mapping[int, int], wait_s: float) -> list[int]:
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
