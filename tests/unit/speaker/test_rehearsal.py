"""The stage on which the speaker keeps warm."""

from __future__ import annotations

from pathlib import Path

from bgpbridge.speaker.rehearsal import Rehearsal


def test_it_goes_the_whole_way_as_often_as_it_is_called_and_leaves_nothing() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    rehearsal = Rehearsal()
    for _ in range(27_000):  # the ring goes round
        rehearsal()
    lane = rehearsal._memory.lanes[0]
    assert lane.position > lane.size
    assert lane.backlog() == 0
    rehearsal.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
