"""How the bridge process ends: with a sentence where one is known, and not as an orphan."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bgpbridge.daemon.children import Child
from bgpbridge.daemon.serving import _first_of, _log_events, _say_ready
from bgpbridge.errors import BridgeError, LaneError, NetlinkError
from bgpbridge.events import EventLog, Severity


def test_an_error_of_ours_is_found_in_a_group_of_tasks() -> None:
    lane = LaneError("lane 3 is damaged")
    group = BaseExceptionGroup("tasks", [ValueError("x"), ExceptionGroup("inner", [lane, NetlinkError("y", 5)])])
    assert _first_of(group) is lane


def test_an_error_of_nobodys_stays_what_it_is() -> None:
    error = KeyError("a bug")
    assert _first_of(ExceptionGroup("tasks", [error])) is error
    assert isinstance(_first_of(None), BridgeError)


def test_a_bridge_whose_supervisor_has_gone_does_not_begin() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert not _say_ready(writing)


def test_a_supervisor_that_listens_is_told() -> None:
    reading, writing = os.pipe()
    assert _say_ready(writing)
    assert os.read(reading, 64) == b"ready\n"
    assert os.read(reading, 64) == b"", "and the pipe is closed"
    os.close(reading)


def test_what_happened_outlives_the_process_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bgpbridge")
    events = EventLog()
    events.add("link-up", "eth1", "MTU 1500")

    async def scenario() -> None:
        telling = asyncio.create_task(_log_events(events))
        await asyncio.sleep(0)
        events.add("reload-refused", "edge.yml", "line 3: no\n  mend: yes", Severity.ERROR)
        await asyncio.sleep(0)
        telling.cancel()

    asyncio.run(scenario())
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("INFO", "1 link-up eth1: MTU 1500"),
        ("ERROR", "2 reload-refused edge.yml: line 3: no; mend: yes"),
    ]


def test_without_lanes_it_says_how_it_is_started(tmp_path: Path) -> None:
    path = tmp_path / "bgpbridge.yaml"
    path.write_text("router: {asn: 65000, router_id: 192.0.2.1}\n")
    words = [sys.executable, "-m", "bgpbridge.daemon.bridge", "--config", str(path), "--ready", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "bgpbridge: the bridge process has no lanes\n  mend: start it by `bgpbridge run -c FILE`\n"


async def again(_: int) -> bool:
    return True


def test_a_child_that_is_being_made_when_stop_comes_is_ended() -> None:
    async def scenario() -> None:
        made: list[asyncio.subprocess.Process] = []
        going_on = asyncio.Event()

        async def slowly() -> asyncio.subprocess.Process:
            made.append(await asyncio.create_subprocess_exec("sleep", "60"))
            await going_on.wait()
            return made[0]

        child = Child("sleeper", slowly, again)
        running = asyncio.create_task(child.run())
        while not made:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        await child.stop()
        going_on.set()
        assert await asyncio.wait_for(running, 10) == -signal.SIGTERM

    asyncio.run(scenario())


def test_a_child_that_cannot_be_made_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgpbridge.daemon.children.LONGEST_WAIT_S", 0.01)
    tries = []

    async def start() -> asyncio.subprocess.Process:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(12, "Cannot allocate memory")
        return await asyncio.create_subprocess_exec("true")

    async def no_more(_: int) -> bool:
        return False

    assert asyncio.run(Child("true", start, no_more).run()) == 0
    assert len(tries) == 3


def test_a_signal_to_a_child_that_has_just_ended_is_nothing() -> None:
    async def scenario() -> None:
        async def start() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec("true")

        child = Child("true", start, again)
        child.process = await start()
        # the loop must not hear of it: a thread reaps the process meanwhile
        while Path(f"/proc/{child.process.pid}").exists():  # noqa: ASYNC240
            time.sleep(0.005)  # noqa: ASYNC251
        child.signal(signal.SIGHUP)
        await child.process.wait()
        child.signal(signal.SIGHUP)

    asyncio.run(scenario())
