"""The loop's delay as a cumulative histogram."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bgpbridge.pipeline.loop_lag import BOUNDS_S, WARM_S, LoopLag


class Clock:
    """Stands still until it is told."""

    now = 1000.005

    def __call__(self) -> float:
        return self.now


def test_samples_fall_into_their_buckets():
    lag = LoopLag()
    for late_s in (-0.001, 0.0, 0.001, 0.02, 99.0):
        lag.sample(late_s)
    found = dict(lag.late.buckets())
    assert (found["0.001"], found["0.01"], found["0.025"], found["2.5"], found["+Inf"]) == (3, 3, 4, 4, 5)
    assert [*map(float, found)] == [*BOUNDS_S, float("inf")]
    assert lag.late.sum_s == 99.021


def test_moments_of_rest_are_in_time_and_those_of_a_block_wait_for_its_end():
    lag = LoopLag(Clock())
    lag.busy(1000.205, 1000.238)  # 20 moments of rest, then those at .21, .22 and .23 are late by 28, 18 and 8 ms
    found = dict(lag.late.buckets())
    assert (found["0.001"], found["0.005"], found["0.01"], found["0.025"], found["0.05"]) == (20, 20, 21, 22, 23)
    assert round(lag.late.sum_s, 4) == 0.054


def test_short_turns_between_two_moments_count_for_nothing():
    lag = LoopLag(Clock())
    lag.busy(1000.006, 1000.007)
    lag.busy(1000.008, 1000.009)
    assert dict(lag.late.buckets())["+Inf"] == 0


def test_a_loop_that_is_blocked_is_seen():
    lag = LoopLag()

    async def block() -> None:
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - what must not happen in the bridge
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lag.loop) as runner:
        runner.run(block())
    found = dict(lag.late.buckets())
    assert found["+Inf"] >= 4
    assert found["0.25"] < found["+Inf"]


def test_a_loop_at_rest_is_not_late():
    lag = LoopLag()
    with asyncio.Runner(loop_factory=lag.loop) as runner:
        runner.run(asyncio.sleep(0.25))
        runner.run(asyncio.sleep(0))
    assert dict(lag.late.buckets())["+Inf"] >= 2


def run_with(lag: LoopLag, served: list[str], what: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """A loop with a bell that is served first, as long as `what` runs."""
    bell = os.eventfd(0, os.EFD_NONBLOCK)

    def serve() -> None:
        os.eventfd_read(bell)
        served.append("bell")

    with asyncio.Runner(loop_factory=lag.loop) as runner:
        runner.get_loop()
        assert lag.first(bell, serve)
        runner.run(what(bell))
        assert lag.first(bell, None)
        os.eventfd_write(bell, 1)
        runner.run(asyncio.sleep(0.01))
    os.close(bell)


def test_one_descriptor_is_served_before_the_loop_hears_of_anything():
    lag, served = LoopLag(), []

    async def main(bell: int) -> None:
        pipe_out, pipe_in = os.pipe()
        asyncio.get_running_loop().add_reader(pipe_out, lambda: served.append(os.read(pipe_out, 9).decode()))
        os.write(pipe_in, b"other")
        os.eventfd_write(bell, 1)
        await asyncio.sleep(0.05)
        asyncio.get_running_loop().remove_reader(pipe_out)
        os.close(pipe_out)
        os.close(pipe_in)

    run_with(lag, served, main)
    assert served == ["bell", "other"]


def test_without_a_loop_of_its_own_nobody_is_served_first():
    assert not LoopLag().first(0, lambda: None)


def test_a_loop_at_rest_rehearses_for_a_while_after_an_update_and_keeps_its_timers():
    lag, found = LoopLag(), []
    lag.rehearse = lambda: found.append(time.monotonic())
    with asyncio.Runner(loop_factory=lag.loop) as runner:
        runner.run(asyncio.sleep(0.05))
        assert found == []
        lag.keep_warm(time.monotonic())
        runner.run(asyncio.sleep(3 * WARM_S))
    assert len(found) > 3
    assert found[-1] - found[0] <= 2 * WARM_S


def test_a_rehearsal_that_fails_is_the_last_one_and_the_loop_goes_on():
    lag, tried, told = LoopLag(), [], []

    def fail() -> None:
        tried.append(1)
        raise ValueError("forgotten the words")

    lag.rehearse, lag.rehearsal_failed = fail, told.append
    with asyncio.Runner(loop_factory=lag.loop) as runner:
        lag.keep_warm(time.monotonic())
        assert runner.run(asyncio.sleep(WARM_S, "done")) == "done"
    assert (len(tried), [str(error) for error in told]) == (1, ["forgotten the words"])


def test_a_rehearsal_is_no_work_that_makes_the_loop_late():
    lag = LoopLag()
    lag.rehearse = lambda: None
    lag.keep_warm(time.monotonic() + 1)
    with asyncio.Runner(loop_factory=lag.loop) as runner:
        runner.run(asyncio.sleep(0.3))
    assert dict(lag.late.buckets())["+Inf"] >= 2
