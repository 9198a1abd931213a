"""The supervisor over small real children that stand for bridge and speaker: it keeps both, and ends both."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.daemon import children
from bgpbridge.daemon import supervisor as room
from bgpbridge.daemon.needs import read_needs
from bgpbridge.daemon.runtime import RuntimeFolder
from bgpbridge.daemon.supervisor import Supervisor
from bgpbridge.errors import SpeakerError

TEXT = """
router: {asn: 65000, router_id: 192.0.2.250}
runtime: {directory: %s}
peers: [{name: a, address: 192.0.2.1, asn: 65001, import: accept}]
"""
BRIDGE = """
import os, signal, sys, time
from pathlib import Path
folder = Path(os.environ["FAKE_FOLDER"])
def note(text):
    with (folder / "said").open("a") as file: file.write(text + "\\n")
signal.signal(signal.SIGTERM, lambda *_: (note("end"), os._exit(0)))
signal.signal(signal.SIGHUP, lambda *_: note("reload"))
ready = int(sys.argv[sys.argv.index("--ready") + 1])
plan = (folder / "plan").read_text().split()
word = plan.pop(0) if plan else "stay"
(folder / "plan").write_text(" ".join(plan))
note("begin")
if word.startswith("refuse"): sys.exit(int(word[-1]))
if word == "slow":
    while not (folder / "go").exists(): time.sleep(0.01)
note("ready")
os.write(ready, b"ready\\n"); os.close(ready)
if word.startswith("crash"): sys.exit(int(word[-1]))
while True: time.sleep(10)
"""
SPEAKER = """
import os, signal, time
from pathlib import Path
folder = Path(__file__).parent
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
with (folder / "speakers").open("a") as file: file.write(f"{os.getpid()}\\n")
while True: time.sleep(10)
"""


class Stage:
    """A supervisor with its children's scripts, and what they said."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        (folder / "fake_bridge.py").write_text(BRIDGE)
        (folder / "fake_speaker.py").write_text(SPEAKER)
        monkeypatch.setenv("FAKE_FOLDER", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setattr(room, "BRIDGE", "fake_bridge")
        words = [sys.executable, str(folder / "fake_speaker.py")]
        monkeypatch.setattr(room.SpeakerProcess, "_arguments", lambda _: words)
        monkeypatch.setattr(children, "FIRST_WAIT_S", 0.01)
        monkeypatch.setattr(room, "FIRST_WAIT_S", 0.01)
        self.plan()
        (folder / "bgpbridge.yaml").write_text(TEXT % (folder / "run"))
        needs = read_needs(folder / "bgpbridge.yaml")
        self.supervisor = Supervisor(needs, folder / "bgpbridge.yaml", RuntimeFolder(folder / "run"))

    def plan(self, *words: str) -> None:
        """What the bridges are to do, one after another; then they stay."""
        (self.folder / "plan").write_text(" ".join(words))

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)

    def play(self, act: Callable[[], Any] | None = None) -> int:
        """Run the supervisor; `act` meanwhile, then SIGTERM. Without `act` it must end by itself."""

        async def scenario() -> int:
            running = asyncio.create_task(self.supervisor.run())
            if act is not None:
                await act()
                os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(20):
                return await running

        return asyncio.run(scenario())

    def speakers_alive(self) -> list[int]:
        return [pid for pid in map(int, self.lines("speakers")) if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_both_start_and_sigterm_ends_both(stage: Stage) -> None:
    async def act() -> None:
        await stage.until(lambda: stage.supervisor._ready and stage.lines("speakers"))

    assert stage.play(act) == 0
    assert stage.lines("said") == ["begin", "ready", "end"]
    assert stage.speakers_alive() == []


@pytest.mark.parametrize("code", [1, 2])
def test_a_bridge_that_refuses_to_begin_ends_the_daemon_with_its_code(stage: Stage, code: int) -> None:
    stage.plan(f"refuse{code}")
    assert stage.play() == code
    assert stage.lines("said") == ["begin"]
    assert stage.speakers_alive() == []


def test_a_bridge_that_dies_of_a_signal_before_it_is_ready_is_started_again(stage: Stage) -> None:
    stage.plan("slow")

    async def act() -> None:
        await stage.until(lambda: stage.lines("said") == ["begin"])
        os.kill(stage.supervisor.bridge.process.pid, signal.SIGKILL)
        await stage.until(lambda: stage.supervisor._ready)

    assert stage.play(act) == 0
    assert stage.lines("said") == ["begin", "begin", "ready", "end"]


def test_a_bridge_that_crashes_is_started_again_whatever_its_code_once_one_was_ready(stage: Stage) -> None:
    stage.plan("crash1", "refuse2", "crash0", "refuse1")

    async def act() -> None:
        await stage.until(lambda: stage.supervisor._ready and stage.supervisor.bridge.starts == 5)

    assert stage.play(act) == 0
    assert stage.lines("said") == ["begin", "ready", "begin", "begin", "ready", "begin", "begin", "ready", "end"]


def test_the_end_of_a_speaker_is_marked_in_the_lanes_and_another_is_started(stage: Stage) -> None:
    async def act() -> None:
        await stage.until(lambda: stage.lines("speakers"))
        epoch = stage.supervisor.speaker.memory.epoch
        os.kill(stage.supervisor.speaker.pid, signal.SIGKILL)
        await stage.until(lambda: len(stage.lines("speakers")) == 2)
        assert stage.supervisor.speaker.memory.epoch > epoch

    assert stage.play(act) == 0
    assert stage.lines("said").count("begin") == 1, "the bridge goes on"
    assert stage.speakers_alive() == []


def test_a_reload_before_the_bridge_is_ready_reaches_it_when_it_is(stage: Stage) -> None:
    stage.plan("slow")

    async def act() -> None:
        await stage.until(lambda: stage.lines("said") == ["begin"])
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.05)
        (stage.folder / "go").touch()
        await stage.until(lambda: "reload" in stage.lines("said"))

    assert stage.play(act) == 0
    assert stage.lines("said")[:3] == ["begin", "ready", "reload"]


def test_sigterm_while_the_bridge_is_starting_ends_both(stage: Stage) -> None:
    stage.plan("slow")

    async def act() -> None:
        await stage.until(lambda: stage.lines("said") == ["begin"])

    assert stage.play(act) == 0
    assert stage.lines("said") == ["begin", "end"]


def test_sigterm_at_the_very_first_moment_ends_both(stage: Stage) -> None:
    async def act() -> None:
        await asyncio.sleep(0)

    assert stage.play(act) == 0
    assert stage.speakers_alive() == []


def test_a_speaker_without_a_user_is_said_before_anything_starts(stage: Stage) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives the file to another user")
    stage.supervisor.needs = dataclasses.replace(stage.supervisor.needs, user="nobody-of-that-name")
    with pytest.raises(SpeakerError, match="no user 'nobody-of-that-name'"):
        stage.play()
    assert stage.lines("said") == []
