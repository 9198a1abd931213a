"""Memory goes back after a start, when much work is done, and once more when the kernel has followed; never while there
is work. What an index has left for then is done at rest as well."""

from __future__ import annotations

import pytest

from bgpbridge.pipeline import housekeeping


def test_memory_goes_back_once_for_each_piece_of_work_when_it_is_at_rest(make_world, monkeypatch) -> None:
    world, trims = make_world({}), []
    monkeypatch.setattr(housekeeping, "trim_malloc", lambda: trims.append(1))

    def looks(runs: int, behind: int = 0) -> int:
        before = len(trims)
        world.bridge.rib.runs += runs
        world.bridge.planes.kernel.behind = behind
        world.bridge.housekeeping.give_memory_back()
        return len(trims) - before

    assert [looks(0), looks(0)] == [1, 0], "a start takes much"
    assert [looks(0), looks(1), looks(0), looks(0)] == [0, 0, 0, 0], "a little is nothing"
    assert [looks(50), looks(50), looks(0), looks(0)] == [0, 0, 1, 0]
    assert [looks(50, behind=9), looks(0, behind=9), looks(0, behind=9)] == [0, 1, 0]
    assert [looks(0), looks(0), looks(0)] == [1, 0, 0], "the kernel has followed"


@pytest.mark.parametrize("jobs", [0, 1])
def test_nothing_goes_back_while_a_job_runs(make_world, monkeypatch, jobs: int) -> None:
    world, trims = make_world({}), []
    monkeypatch.setattr(housekeeping, "trim_malloc", lambda: trims.append(1))
    world.bridge.work.committed += 50
    for _ in range(jobs):
        world.bridge.work.add(housekeeping.Cause(housekeeping.CauseKind.REPAIR), iter([1]))
    world.bridge.housekeeping.give_memory_back()
    world.bridge.housekeeping.give_memory_back()
    assert len(trims) == 1 - jobs


def test_what_an_index_has_left_for_later_is_done_at_rest(make_world, monkeypatch) -> None:
    world = make_world({})
    xdp, housekeeping_ = world.bridge.planes.xdp, world.bridge.housekeeping
    monkeypatch.setattr(xdp, "waiting", 5)
    world.bridge.rib.runs += 1
    housekeeping_.give_memory_back()
    assert not len(world.bridge.work), "a run has just come"
    housekeeping_.give_memory_back()
    housekeeping_.give_memory_back()
    assert len(world.bridge.work) == 1
    list(world.bridge.work.drain())
    assert xdp.waiting == 0
