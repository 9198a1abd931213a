"""Supervised processes: real ones, killed and started again."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from bgpbridge.daemon.children import Child, ended_because


class Starter:
    """How to start a process, and when it has been."""

    def __init__(self, *words: str) -> None:
        self.words, self.started = words, asyncio.Event()

    async def __call__(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(*self.words, stdout=asyncio.subprocess.PIPE)
        self.started.set()
        return process


async def again(code: int) -> bool:
    return True


async def no_more(code: int) -> bool:
    return False


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr("bgpbridge.daemon.children.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("bgpbridge.daemon.children.LONGEST_WAIT_S", 0.04)


def test_a_killed_child_comes_back_with_growing_pauses():
    async def run():
        seen = []

        async def ended(code: int) -> bool:
            seen.append((code, time.monotonic()))
            return len(seen) < 4

        child = Child("short", Starter("sh", "-c", "kill -9 $$"), ended)
        return await asyncio.wait_for(child.run(), 20), child.starts, seen

    code, starts, seen = asyncio.run(run())
    assert (code, starts) == (-9, 4)
    pauses = [later - earlier for (_, earlier), (_, later) in pairwise(seen)]
    assert pauses[0] >= 0.02
    assert pauses[1] >= 0.04


def test_who_says_no_ends_it_with_the_child_s_code():
    code = asyncio.run(Child("once", Starter("sh", "-c", "exit 2"), no_more).run())
    assert code == 2


def test_stopping_is_a_sigterm_and_no_restart():
    async def run():
        start = Starter("sleep", "60")
        child = Child("long", start, again)
        running = asyncio.create_task(child.run())
        await start.started.wait()
        await child.stop()
        return await asyncio.wait_for(running, 10), child.starts

    assert asyncio.run(run()) == (-signal.SIGTERM, 1)


def test_one_that_does_not_hear_sigterm_is_killed():
    async def run():
        start = Starter("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done")
        child = Child("deaf", start, again)
        running = asyncio.create_task(child.run())
        await start.started.wait()
        assert child.process is not None
        assert child.process.stdout is not None
        await child.process.stdout.readline()
        await child.stop(grace_s=0.2)
        return await asyncio.wait_for(running, 10)

    assert asyncio.run(run()) == -signal.SIGKILL


def test_stopping_while_it_waits_to_start_again(monkeypatch):
    monkeypatch.setattr("bgpbridge.daemon.children.LONGEST_WAIT_S", 60.0)
    monkeypatch.setattr("bgpbridge.daemon.children.FIRST_WAIT_S", 30.0)

    async def run():
        gone = asyncio.Event()

        async def ended(code: int) -> bool:
            gone.set()
            return True

        child = Child("short", Starter("true"), ended)
        running = asyncio.create_task(child.run())
        await gone.wait()
        await child.stop()
        return await asyncio.wait_for(running, 10), child.starts

    assert asyncio.run(run()) == (0, 1)


def test_signals_are_passed_on_to_a_child_that_lives():
    async def run():
        start = Starter("sleep", "60")
        child = Child("long", start, no_more)
        child.signal(signal.SIGHUP)  # none there yet: nothing happens
        running = asyncio.create_task(child.run())
        await start.started.wait()
        child.signal(signal.SIGHUP)
        return await asyncio.wait_for(running, 10)

    assert asyncio.run(run()) == -signal.SIGHUP


def test_a_child_ends_with_its_parent():
    """follow_parent: the parent dies by SIGKILL, so it can't tell anybody."""
    follow = "from bgpbridge.daemon.children import follow_parent; follow_parent()"
    inner = f"import time; {follow}; print('up', flush=True); time.sleep(60)"
    outer = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    watch = os.pidfd_open(pid)
    try:
        parent.kill()
        parent.wait(10)
        assert select.select([watch], [], [], 10)[0], "the child lives on"
    finally:
        os.close(watch)
        parent.stdout.close()


def test_how_a_process_ended_in_words():
    assert (ended_because(2), ended_because(-9)) == ("exit code 2", "killed by SIGKILL")
