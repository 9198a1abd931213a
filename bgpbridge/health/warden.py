"""A warden: one process that starts one check command, reads what it says, and sees to it that nothing of it is left.

It is a child subreaper (prctl(2)): whatever the command forks and abandons becomes a child of the warden's, never of
init's. When the command ends, or its time, the warden kills all that descends from it and reaps it, until it has no
child any more.

A chain of processes, each of which forks and ends, could outrun a killer that walks through /proc. So the command
lives in a PID namespace of its own where the kernel allows it (user_namespaces(7); no privilege is needed): with the
first process of it the kernel kills all others, and lets none begin. Where it does not allow that, the walk is
repeated until it has won; RLIMIT_NPROC bounds how many there are to win against.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

from bgpbridge.capabilities import limit_permitted, no_new_privileges

__all__ = ["KEPT_OCTETS", "adopt_orphans", "end_all", "watch_over"]

KEPT_OCTETS = 2048
POLL_S = 0.05  # how late the end of a command that keeps its output open for others is found
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
NOT_FOUND, NOT_RUN = 127, 126  # what a shell says for it
SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_libc = ctypes.CDLL(None, use_errno=True)


def watch_over(control: socket.socket, order: dict[str, Any], parent: int) -> None:
    """Run one order in this process, which is there for nothing else, and answer."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    adopt_orphans()
    began_s = time.monotonic()
    said_in, said = os.pipe2(os.O_CLOEXEC)
    trouble_in, trouble = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _become(order, said, trouble)
    os.close(said)
    os.close(trouble)
    output, status, killed = _wait(child, said_in, began_s + float(order["limit_s"]))
    left = end_all()
    why = _read_all(trouble_in)
    control.send(
        json.dumps(
            {
                "id": order["id"],
                "code": None if why or status is None else os.waitstatus_to_exitcode(status),
                "killed": killed,
                "output": output.decode("utf-8", "replace"),
                "trouble": why.decode("utf-8", "replace"),
                "left": left,
                "took_s": round(time.monotonic() - began_s, 6),
            }
        ).encode()
    )


def _wait(child: int, said_in: int, until_s: float) -> tuple[bytes, int | None, bool]:
    """What it says, how it ended, and whether its time did; reads on beyond what is kept, so that it never blocks."""
    output, open_still = b"", True
    handle = os.pidfd_open(child)
    while True:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            return output, os.waitpid(child, 0)[1], True
        ready, _, _ = select.select([handle, *([said_in] if open_still else [])], [], [], left_s)
        if said_in in ready:
            piece = os.read(said_in, 1 << 16)
            open_still = bool(piece)
            output += piece[: KEPT_OCTETS - len(output)]
        elif handle in ready:
            return output, os.waitpid(child, 0)[1], False


def adopt_orphans() -> None:
    """Whoever below us loses its parent becomes a child of ours."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all() -> int:
    """Kill and reap whatever is below us, until there is nothing. How many there were."""
    ended: set[int] = set()
    while True:
        for pid in _below(os.getpid()):
            ended.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return len(ended)
        time.sleep(0)


def _below(pid: int) -> list[int]:
    """All descendants that are to be seen now, those nearest first."""
    found, look = [], [pid]
    while look:
        one = look.pop()
        with contextlib.suppress(OSError):
            children = [int(word) for word in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
            found += children
            look += children
    return found


def _read_all(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 1024)
    except BlockingIOError:
        return b""


# -- below the warden: the command's side of the fork


def _become(order: dict[str, Any], said: int, trouble: int) -> NoReturn:
    """Another user, a session of its own, limits, a PID namespace; then the command."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        _limit(order)
        _change_user(int(order["uid"]), int(order["gid"]))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user undoes it
        os.chdir("/")
        no_new_privileges()
        _fence(int(order["uid"]), int(order["gid"]))
        _execute(order["words"], trouble)
    except (OSError, ValueError) as error:
        os.write(trouble, f"could not be prepared: {error}".encode())
    finally:
        os._exit(NOT_RUN)


def _limit(order: dict[str, Any]) -> None:
    cpu_s = int(order["limit_s"]) + 1
    octets = int(order["memory_mib"]) << 20
    for what, most in (
        (resource.RLIMIT_NPROC, int(order["processes"])),
        (resource.RLIMIT_AS, octets),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _change_user(uid: int, gid: int) -> None:
    """Raises OSError where we may not, unless we are that user already."""
    if (os.getuid(), os.geteuid(), os.getgid()) != (uid, uid, gid) or os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    limit_permitted(set())


def _fence(uid: int, gid: int) -> None:
    """What follows is in a PID namespace whose first process is ours; returns in the one that is to be the command.
    Where the kernel refuses, nothing happens."""
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWPID):
        return
    with contextlib.suppress(OSError):  # unmapped, it is a user that owns nothing
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    limit_permitted(set())  # those that a new namespace gives
    first = os.fork()
    if first:
        os._exit(_exit_code(os.waitpid(first, 0)[1]))
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    command = os.fork()
    if command == 0:
        return
    while True:  # the first process of the namespace reaps for all, and ends with the command
        pid, status = os.wait()
        if pid == command:
            os._exit(_exit_code(status))


def _exit_code(status: int) -> int:
    """Signals as shells tell of them."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _execute(words: list[str], trouble: int) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    environment = {"PATH": SAFE_PATH, "LANG": "C", "HOME": "/"}
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 - this is what a command check is
    except OSError as error:
        os.write(trouble, f"{words[0]}: {os.strerror(error.errno or 0)}".encode())
        os._exit(NOT_FOUND)
