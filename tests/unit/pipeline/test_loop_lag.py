"""The loop's delay as a cumulative histogram."""

from __future__ import annotations

import asyncio
import contextlib
import time

from bgpbridge.pipeline.loop_lag import BOUNDS_S, LoopLag


def test_samples_fall_into_their_buckets():
    lag = LoopLag()
    for late_s in (-0.001, 0.0, 0.001, 0.02, 99.0):
        lag.sample(late_s)
    found = dict(lag.buckets())
    assert (found["0.001"], found["0.01"], found["0.025"], found["2.5"], found["+Inf"]) == (3, 3, 4, 4, 5)
    assert [*map(float, found)] == [*BOUNDS_S, float("inf")]
    assert lag.sum_s == 99.021


def test_a_loop_that_is_blocked_is_seen():
    lag = LoopLag()

    async def block() -> None:
        keeping = asyncio.create_task(lag.keep())
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - what must not happen in the bridge
        while not dict(lag.buckets())["+Inf"]:  # noqa: ASYNC110 - a timer has no event
            await asyncio.sleep(0)
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping

    asyncio.run(block())
    assert dict(lag.buckets())["0.25"] == 0
    assert dict(lag.buckets())["+Inf"] == 1
