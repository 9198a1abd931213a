"""The queue of one direction of a wire: late by what it was told, in order, and no more lost than told."""

from __future__ import annotations

import random

import pytest

from bgpbridge.lab.shaper import QUEUED_MOST, Direction, Shape


def test_a_frame_leaves_when_its_delay_is_over() -> None:
    direction = Direction(Shape(delay_ms=25))
    direction.put(b"one", 1.0)
    assert direction.due_s() == pytest.approx(1.025)
    assert list(direction.take(1.024)) == []
    assert list(direction.take(1.026)) == [b"one"]
    assert direction.due_s() is None


def test_frames_keep_their_order_when_the_delay_shrinks_or_jitters() -> None:
    direction = Direction(Shape(delay_ms=50))
    direction.put(b"one", 1.0)
    direction.shape = Shape(delay_ms=10, jitter_ms=10)
    for number in range(50):
        direction.put(b"%d" % number, 1.001)
    assert list(direction.take(2.0)) == [b"one", *(b"%d" % number for number in range(50))]


def test_the_share_that_is_told_is_lost() -> None:
    direction = Direction(Shape(loss_percent=20), random.Random(1))
    for _ in range(10_000):
        direction.put(b"x", 0.0)
    assert 1800 < direction.dropped < 2200
    assert len(list(direction.take(0.0))) == direction.carried == 10_000 - direction.dropped


def test_a_full_queue_takes_no_more() -> None:
    direction = Direction(Shape(delay_ms=1000))
    for _ in range(QUEUED_MOST + 3):
        direction.put(b"x", 0.0)
    assert direction.overflowed == 3


@pytest.mark.parametrize("wrong", [{"delay_ms": -1}, {"loss_percent": 101}, {"jitter_ms": float("nan")}])
def test_what_no_cable_does_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="to 10"):
        Shape(**wrong)
