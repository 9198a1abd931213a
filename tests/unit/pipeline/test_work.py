"""Jobs in slices: in order, out of the way of bulk runs, and not the bridge's end when a table is full."""

from __future__ import annotations

import asyncio

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import CapacityError
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family

CAUSE = Cause(CauseKind.OPERATOR)


class Recorder:
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.work = Work(
            lambda changes, cause: self.seen.append("commit"), lambda cause, error: self.seen.append(error.what)
        )

    def job(self, name: str, steps: int, error: str = ""):
        for number in range(steps):
            self.seen.append(f"{name}{number}")
            yield Changes.none(Family.IPV4) if number % 2 else number
        if error:
            raise CapacityError(error)

    def add(self, name: str, steps: int, error: str = "") -> None:
        self.work.add(CAUSE, self.job(name, steps, error), lambda: self.seen.append(f"{name} done"))


def test_jobs_run_one_after_another_and_only_changes_are_committed() -> None:
    here = Recorder()
    here.add("a", 2)
    here.add("b", 1)
    assert len(list(here.work.drain())) == 5
    assert here.seen == ["a0", "a1", "commit", "a done", "b0", "b done"]
    assert len(here.work) == 0


def test_a_job_that_a_full_table_ends_is_told_of_and_the_next_one_runs() -> None:
    here = Recorder()
    here.add("a", 1, "no room")
    here.add("b", 1)
    for _ in here.work.drain():
        pass
    assert here.seen == ["a0", "no room", "a done", "b0", "b done"]


def test_a_job_may_queue_another_when_it_is_done() -> None:
    here = Recorder()
    here.work.add(CAUSE, here.job("a", 1), lambda: here.add("b", 1))
    for _ in here.work.drain():
        pass
    assert here.seen == ["a0", "b0", "b done"]


def test_jobs_wait_while_a_bulk_run_is_under_way_and_go_on_after_it() -> None:
    async def scenario() -> None:
        here = Recorder()
        running = asyncio.create_task(here.work.run())
        here.add("a", 100)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        begun = len(here.seen)
        assert 0 < begun < 100
        with here.work.bulk():
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(here.seen) <= begun + 2
        for _ in range(300):
            await asyncio.sleep(0)
        assert here.seen[-1] == "a done"
        running.cancel()

    asyncio.run(scenario())
