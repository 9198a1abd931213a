"""What the bridge may ask of its supervisor, which keeps the rights that the bridge gives up: the process below which
check commands run, when a reload brings the first of them.

The bridge's word is not enough: the supervisor reads the configuration file itself, and starts the process when a
command check stands there, as a bridge that starts would. The bridge gets one end of the process's socket and nothing
else: it may order what it could have ordered had it begun with that file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bgpbridge.daemon.needs import gives_commands
from bgpbridge.errors import BridgeError
from bgpbridge.health.child import ended, launch, receive
from bgpbridge.health.commands import Commands

if TYPE_CHECKING:  # the supervisor needs none of the tables that come with it
    from bgpbridge.pipeline.health import HealthWatch

__all__ = ["Giver", "listen", "pair"]

COMMANDS = b"commands"
ROOM = 1024
GRACE_S = 5.0

log = logging.getLogger("bgpbridge.supervisor")


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and the bridge's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


# -- the bridge's side


def listen(line: socket.socket, health: HealthWatch) -> None:
    """From now on health asks there. Called in the loop."""
    line.set_inheritable(False)
    health.ask = lambda: _ask(line, health)
    asyncio.get_running_loop().add_reader(line, _answered, line, health)


def _ask(line: socket.socket, health: HealthWatch) -> None:
    try:
        line.send(COMMANDS)
    except OSError as error:
        health.commands_refused(f"the supervisor does not hear: {error.strerror}")


def _answered(line: socket.socket, health: HealthWatch) -> None:
    try:
        octets, given, _, _ = socket.recv_fds(line, ROOM, 1, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return
    except OSError:
        octets, given = b"", []
    if given:
        health.take_commands(Commands.adopt(socket.socket(fileno=given[0])))
    elif octets:
        health.commands_refused(octets.decode("utf-8", "replace"))
    else:  # the supervisor has gone, and we follow it
        asyncio.get_running_loop().remove_reader(line)
        line.close()


# -- the supervisor's side


@dataclass(slots=True)
class Giver:
    """Hears one bridge after another, and reaps what it started for them."""

    path: Path
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _giving: set[asyncio.Task[None]] = field(default_factory=set)

    def hear(self, line: socket.socket) -> None:
        """Serve a bridge until it closes its end."""
        asyncio.get_running_loop().add_reader(line, self._heard, line)

    def _heard(self, line: socket.socket) -> None:
        octets = receive(line, ROOM)
        if octets == COMMANDS:
            task = asyncio.create_task(self._give(line))
            self._giving.add(task)
            task.add_done_callback(self._giving.discard)
        elif octets is not None:
            asyncio.get_running_loop().remove_reader(line)
            line.close()

    async def _give(self, line: socket.socket) -> None:
        try:
            await asyncio.to_thread(_judge, self.path)
            process, theirs = launch("bgpbridge.health.command_child", "the process for command checks")
        except BridgeError as error:
            log.warning("no process for command checks: %s", error.what)
            with suppress(OSError):
                line.send(error.what.encode()[:ROOM])
            return
        with theirs, suppress(OSError):  # a bridge that has gone: the process ends as its socket closes
            socket.send_fds(line, [COMMANDS], [theirs.fileno()])
        log.info("the process for command checks started as process %d", process.pid)
        pidfd = os.pidfd_open(process.pid)
        self._processes[pidfd] = process
        asyncio.get_running_loop().add_reader(pidfd, self._reap, pidfd)

    def _reap(self, pidfd: int) -> subprocess.Popen[bytes]:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        process = self._processes.pop(pidfd)
        process.poll()
        return process

    async def stop(self) -> None:
        """After the last bridge has ended: wait for what ran for it."""
        await asyncio.gather(*self._giving)
        for pidfd in list(self._processes):
            await ended(self._reap(pidfd), GRACE_S)


def _judge(path: Path) -> None:
    """Raises BridgeError when the file gives no right to run commands."""
    if not gives_commands(path):
        raise BridgeError("no check of kind command is in the file any more")
