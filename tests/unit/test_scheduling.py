"""The slice that a thread asks for is the slice that it has."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bgpbridge import scheduling
from bgpbridge.scheduling import SHORT_NS, WORKED_S, ask_short_slice, ask_usual_slice, beat, breathe, giving_way


def in_a_thread(act: object) -> list[object]:
    """What `act` says; in a thread of its own, so that the test's keeps its slice."""
    said: list[object] = []
    assert callable(act)
    thread = threading.Thread(target=lambda: said.append(act()))
    thread.start()
    thread.join()
    return said


def slice_ns() -> int:
    lines = Path(f"/proc/self/task/{threading.get_native_id()}/sched").read_text().splitlines()
    found = [line for line in lines if line.startswith("se.slice")]
    if not found:
        pytest.skip("this kernel does not tell a thread's slice")
    return int(found[0].split(":")[1])


def test_a_short_slice_is_asked_for_and_given_back() -> None:
    def act() -> tuple[int, bool, int, bool, int]:
        return slice_ns(), ask_short_slice(), slice_ns(), ask_usual_slice(), slice_ns()

    ((usual, asked, short, given_back, after),) = in_a_thread(act)
    assert asked
    assert given_back
    assert (short, after) == (SHORT_NS, usual)


def test_the_nice_value_stays() -> None:
    def act() -> tuple[int, bool, int]:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        return 5, ask_short_slice(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    ((wanted, asked, found),) = in_a_thread(act)
    assert asked
    assert wanted == found


def test_a_beat_ends_at_a_multiple_and_for_all_at_once() -> None:
    async def heard() -> list[float]:
        loop = asyncio.get_running_loop()

        async def one() -> float:
            await beat(0.2)
            return loop.time()

        return await asyncio.gather(one(), one())

    times = asyncio.run(heard())
    assert len({int(at / 0.2) for at in times}) == 1


def test_a_beat_that_is_only_just_over_is_not_heard_again() -> None:
    class AtTheBeat(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return super().time() // 0.05 * 0.05 + 0.0499999

    async def took() -> float:
        began = time.monotonic()
        await beat(0.2)
        return time.monotonic() - began

    with asyncio.Runner(loop_factory=AtTheBeat) as runner:
        assert runner.run(took()) > 0.01


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `breathe` has slept; the clock goes on by twice WORKED_S at each look, and by what is slept."""
    clock, slept = [0.0], list[float]()

    def look() -> float:
        clock[0] += 2 * WORKED_S
        return clock[0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(scheduling, "time", SimpleNamespace(monotonic=look, sleep=sleep))
    return slept


def test_long_work_rests_while_changes_come_in_and_goes_on_when_they_end(rests: list[float]) -> None:
    changes = 7
    with giving_way(lambda: changes):
        breathe()
        assert not rests  # nothing has changed yet
        changes += 1
        breathe()
        assert len(rests) == 1
        assert 0 < rests[0] <= scheduling.LONGEST_S
        for _ in range(100):
            breathe()
        stopped = len(rests)
        assert stopped < 100
        breathe()
    assert len(rests) == stopped
    changes += 1
    breathe()  # nobody gives way here
    assert len(rests) == stopped


def test_a_thread_that_does_not_give_way_never_rests(rests: list[float]) -> None:
    changes = [0]
    with giving_way(lambda: changes[0]):
        changes[0] += 1
        in_a_thread(breathe)
    assert not rests
