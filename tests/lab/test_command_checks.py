"""Command checks with real programs: what they may not do, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.errors import BridgeError
from bgpbridge.health.commands import Command, CommandResult, Commands

pytestmark = [pytest.mark.root, pytest.mark.alone]

# Each process forks, and ends: a killer that walks through /proc comes late to every one of them.
CHAIN = """
import os
import socket
import subprocess
import sys
while True:
    if os.fork():
        os._exit(0)
    os.setsid()
"""
BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""


def running(mark: str) -> list[int]:
    """Processes that bear a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def with_commands(scenario: Any) -> None:
    async def body() -> None:
        commands = Commands()
        commands.start()
        try:
            await scenario(commands)
        finally:
            await commands.stop()

    asyncio.run(asyncio.wait_for(body(), 60))


def shell(text: str, **more: Any) -> Command:
    return Command(("/bin/sh", "-c", text), **more)


def test_a_command_is_nobody_without_rights_in_a_session_of_its_own() -> None:
    async def scenario(commands: Commands) -> None:
        result = await commands.run(shell("id -u; id -g; grep -E 'CapPrm|NoNewPrivs|Groups' /proc/self/status; exit 3"))
        assert result.code == 3
        user, group, *rest = result.output.splitlines()
        assert (user, group) == ("65534", "65534")
        assert {"CapPrm:\t0000000000000000", "NoNewPrivs:\t1"} <= set(rest)

    with_commands(scenario)


def test_a_hanging_command_is_killed_at_its_limit_with_all_that_it_started() -> None:
    mark = f"86400.{os.getpid()}1"

    async def scenario(commands: Commands) -> None:
        text = f"trap '' TERM HUP; echo begun; setsid sleep {mark} & sleep {mark}"
        began = time.monotonic()
        result = await commands.run(shell(text, limit_s=0.4))
        assert result.killed
        assert result.output == "begun\n"
        assert time.monotonic() - began < 10
        assert running(mark) == []

    with_commands(scenario)


@pytest.mark.parametrize("program", [CHAIN, BOMB])
def test_neither_a_chain_nor_a_bomb_outlives_its_limit(program: str) -> None:
    mark = f"bomb{os.getpid()}"

    async def scenario(commands: Commands) -> None:
        words = ("/usr/bin/python3", "-S", "-E", "-c", program, mark)
        await commands.run(Command(words, limit_s=0.7, processes=40))
        assert running(mark) == []
        assert (await commands.run(shell("exit 0"))).code == 0, "and others are served"

    with_commands(scenario)


def test_what_a_command_leaves_behind_ends_with_it() -> None:
    mark = f"86400.{os.getpid()}2"

    async def scenario(commands: Commands) -> None:
        result = await commands.run(shell(f"setsid sleep {mark} >/dev/null 2>&1 & exit 0"))
        assert (result.code, result.killed) == (0, False)
        assert running(mark) == []

    with_commands(scenario)


def test_a_missing_command_a_talker_and_a_glutton_are_told_apart() -> None:
    async def scenario(commands: Commands) -> None:
        missing = await commands.run(Command(("/nowhere/check",)))
        assert missing.code is None
        assert "/nowhere/check: No such file" in missing.trouble
        talker = await commands.run(shell("head -c 5000000 /dev/zero | tr '\\0' x; exit 1"))
        assert (talker.code, len(talker.output)) == (1, 2048)
        glutton = await commands.run(Command(("/usr/bin/python3", "-c", "x = bytearray(1 << 30)"), memory_mib=128))
        assert glutton.code == 1
        assert "MemoryError" in glutton.output
        with pytest.raises(BridgeError, match="no user"):
            await commands.run(shell("true", user="nobody-at-all"))

    with_commands(scenario)


def test_when_the_bridge_goes_its_commands_go() -> None:
    mark = f"86400.{os.getpid()}3"

    async def scenario(commands: Commands) -> None:
        running_now: asyncio.Task[CommandResult] = asyncio.create_task(commands.run(shell(f"sleep {mark}", limit_s=30)))
        await asyncio.to_thread(until, lambda: running(mark))
        await commands.stop()
        with pytest.raises(BridgeError):
            await running_now
        await asyncio.to_thread(until, lambda: not running(mark))

    with_commands(scenario)


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


WITHOUT_NAMESPACES = """
import sys
from bgpbridge.health import command_child, warden
warden._fence = lambda uid, gid: None
command_child.main()
"""


def test_a_chain_that_leaves_its_session_is_caught_without_namespaces_too() -> None:
    """A kernel that gives no PID namespace: the walk through /proc has to win."""
    mark = f"bomb{os.getpid()}w"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [sys.executable, "-c", WITHOUT_NAMESPACES, str(theirs.fileno())]
    with subprocess.Popen(words, pass_fds=(theirs.fileno(),)):
        theirs.close()
        try:
            command = Command(("/usr/bin/python3", "-S", "-E", "-c", CHAIN, mark), processes=40)
            order = {"id": 1, **asdict(command), "uid": 65534, "gid": 65534}
            ours.settimeout(20)
            ours.send(json.dumps(order).encode())
            assert json.loads(ours.recv(1 << 16))["id"] == 1
            assert running(mark) == []
        finally:
            ours.close()
