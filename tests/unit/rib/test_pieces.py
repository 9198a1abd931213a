"""Pieces follow the time that those before have taken."""

from __future__ import annotations

import pytest

from bgpbridge.rib.pieces import Pieces, Size


@pytest.fixture
def pieces() -> Pieces:
    return Pieces(rows=Size(1_000, 2_000, 16_000), blocks=Size(100, 200, 4_000))


def work(pieces: Pieces, seconds_each: float, times: int = 20) -> int:
    """So many pieces of rows that take so long by the row: how large the next one is."""
    for _ in range(times):
        count = int(pieces.rows.now)
        pieces.began(pieces.rows, count)
        pieces.took(count * seconds_each)
    return int(pieces.rows.now)


def test_as_large_as_may_be_until_somebody_says_how_long_they_may_take(pieces: Pieces) -> None:
    assert work(pieces, 1.0) == 16_000


def test_they_come_to_the_time_that_is_allowed(pieces: Pieces) -> None:
    pieces.allow(0.004)
    assert 3_900 <= work(pieces, 1e-6) <= 4_100
    assert 7_900 <= work(pieces, 0.5e-6) <= 8_100
    assert work(pieces, 1e-4) == 2_000
    assert work(pieces, 1e-9) == 16_000


def test_they_are_smaller_than_usual_only_while_somebody_waits(pieces: Pieces) -> None:
    pieces.allow(0.004, hurried=True)
    assert work(pieces, 1e-4) == 1_000
    pieces.allow(0.004)
    assert work(pieces, 1e-4) == 2_000


def test_the_first_ones_are_small(pieces: Pieces) -> None:
    pieces.allow(0.008)
    assert (int(pieces.rows.now), int(pieces.blocks.now)) == (2_000, 200)
    assert work(pieces, 1e-9) == 16_000


def test_less_time_holds_from_the_next_piece_on(pieces: Pieces) -> None:
    pieces.allow(0.008)
    pieces.blocks.now = 4_000
    work(pieces, 1e-6)
    pieces.allow(0.002)
    assert 1_900 <= int(pieces.rows.now) <= 2_100
    assert int(pieces.blocks.now) == 1_000


def test_one_that_is_late_by_chance_halves_them_at_most(pieces: Pieces) -> None:
    pieces.allow(0.008)
    before = work(pieces, 1e-6)
    pieces.began(pieces.rows, before)
    pieces.took(5.0)
    assert int(pieces.rows.now) == before // 2


def test_a_small_rest_that_was_in_time_says_nothing(pieces: Pieces) -> None:
    pieces.allow(0.008)
    before = work(pieces, 1e-6)
    pieces.began(pieces.rows, 10)
    pieces.took(0.001)
    assert int(pieces.rows.now) == before


def test_each_kind_has_a_size_of_its_own(pieces: Pieces) -> None:
    pieces.allow(0.001, hurried=True)
    pieces.began(pieces.blocks, 100)
    pieces.took(0.0005)
    assert (int(pieces.rows.now), int(pieces.blocks.now)) == (1_000, 150)
    pieces.took(1.0)  # of no piece
    assert (int(pieces.rows.now), int(pieces.blocks.now)) == (1_000, 150)
