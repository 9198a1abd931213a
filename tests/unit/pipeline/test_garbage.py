"""Objects that hold each other go when housekeeping looks, and not before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from bgpbridge.pipeline.garbage import FEW, TIMES, Garbage


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    made = Garbage()
    made.begin()
    yield made
    made.end()
    gc.unfreeze()


def test_what_holds_itself_goes_when_somebody_looks_and_many_have_come(garbage: Garbage) -> None:
    gone = weakref.ref(Knot())
    kept = [[] for _ in range(2 * FEW)]
    assert gone() is not None
    garbage.look()
    assert gone() is None
    assert len(kept) == 2 * FEW


def test_older_ones_are_looked_at_now_and_then(garbage: Garbage) -> None:
    knot = Knot()
    gone = weakref.ref(knot)
    gc.collect(0)
    del knot
    kept: list[list[int]] = []
    for _ in range(2 * TIMES * TIMES):
        kept += [[] for _ in range(FEW)]
        garbage.look()
    assert gone() is None


def test_an_idle_bridge_looks_at_nothing(garbage: Garbage) -> None:
    gc.collect()
    gone = weakref.ref(Knot())
    garbage.look()
    assert gone() is not None


def test_at_the_end_python_has_its_way_again() -> None:
    before, made = gc.get_threshold(), Garbage()
    made.begin()
    assert gc.get_threshold() != before
    made.end()
    assert gc.get_threshold() == before
    gc.unfreeze()
