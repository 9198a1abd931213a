"""Command checks, from the bridge's loop: somebody else's program that is trusted with nothing.

    commands = Commands()
    commands.start()                              # while we still may give a process the right to change its user
    result = await commands.run(Command(("/usr/local/bin/check",), "nobody", limit_s=5))

The programs run below a process of our own (`command_child`), which keeps the right to change users that the bridge
gives up, and hears orders over a socketpair. At most `MOST` run at once; one more is refused, not queued.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pwd
import socket
import subprocess
from dataclasses import asdict, dataclass
from typing import Any

from bgpbridge.errors import BridgeError, CapacityError
from bgpbridge.health.child import ended, launch, receive

__all__ = ["MOST", "Command", "CommandResult", "Commands"]

MOST = 32
ROOM = 1 << 16
GRACE_S = 5.0  # beyond its own limit: then what watches over the command has died


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: words, no shell. `limit_s` is wall time; `processes` counts those of its user, `memory_mib` is each
    one's."""

    words: tuple[str, ...]
    user: str = "nobody"
    limit_s: float = 5.0
    processes: int = 64
    memory_mib: int = 512


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How it ended: `code` of exit, or minus the signal; None when it never ran (`trouble` says why). `killed`: at its
    time limit. `output`: the first octets of both streams. `left`: processes that it had left behind, all ended."""

    code: int | None = None
    killed: bool = False
    output: str = ""
    trouble: str = ""
    left: int = 0
    took_s: float = 0.0


class Commands:
    """Orders and answers. Not for use from several threads."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[CommandResult]] = {}

    @property
    def pid(self) -> int:
        """Of the process below which commands run; 0 when there is none, or it is not our child."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process. Raises BridgeError."""
        self._process, self._control = launch("bgpbridge.health.command_child", "the process for command checks")
        asyncio.get_running_loop().add_reader(self._control, self._readable)

    @classmethod
    def adopt(cls, control: socket.socket) -> Commands:
        """With a process that somebody else started, and reaps: our end of its socket, which does not block."""
        commands = cls()
        commands._control = control
        asyncio.get_running_loop().add_reader(control, commands._readable)
        return commands

    async def stop(self) -> None:
        """End what runs."""
        process, self._process = self._process, None
        self._lost()
        if process is not None:
            await ended(process, GRACE_S)

    async def run(self, command: Command) -> CommandResult:
        """Run one to its end, or its limit's. Raises CapacityError when too many run, BridgeError when nothing can."""
        try:
            user = pwd.getpwnam(command.user)
        except KeyError:
            raise BridgeError(f"there is no user {command.user}", mend="`user:` of the check names one") from None
        if self._control is None:
            raise BridgeError("the process for command checks has died", mend="restart bgpbridge; packets go on")
        if len(self._waiting) >= MOST:
            raise CapacityError(f"{MOST} check commands run already", mend="longer intervals, or shorter time limits")
        number = next(self._numbers)
        answer: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        order = {"id": number, **asdict(command), "uid": user.pw_uid, "gid": user.pw_gid}
        try:
            self._control.send(json.dumps(order).encode())
            async with asyncio.timeout(command.limit_s + GRACE_S):
                return await answer
        except TimeoutError:
            raise BridgeError("what watches over the command does not answer") from None
        except OSError as error:
            raise BridgeError(f"the command could not be ordered: {error.strerror}") from None
        finally:
            self._waiting.pop(number, None)

    def _readable(self) -> None:
        assert self._control is not None
        octets = receive(self._control, ROOM)
        if octets is None:
            return
        if not octets:
            self._lost()
            return
        message: dict[str, Any] = json.loads(octets)
        answer = self._waiting.get(message.pop("id"))
        if answer is not None and not answer.done():
            answer.set_result(CommandResult(**message))

    def _lost(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()
        for answer in self._waiting.values():
            if not answer.done():
                with contextlib.suppress(asyncio.InvalidStateError):
                    answer.set_exception(BridgeError("the process for command checks has gone"))
