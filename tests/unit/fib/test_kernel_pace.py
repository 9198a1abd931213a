"""The kernel's worker stands back while a table loads, and never for long."""

from __future__ import annotations

import pytest

from bgpbridge.fib.pace import LONGEST_S, REST_S, RESTS, Pace


def test_without_a_commit_nothing_is_held() -> None:
    assert Pace().held_s(1000.0) <= 0


def test_each_commit_puts_the_storm_off_a_little() -> None:
    pace = Pace()
    pace.commit(100.0, storming=False)
    assert 0 < pace.held_s(100.0) <= REST_S
    pace.commit(100.0 + REST_S / 2, storming=True)
    assert pace.held_s(100.0 + REST_S) > 0
    assert pace.held_s(100.0 + 2 * REST_S) <= 0


def test_a_table_that_keeps_coming_is_not_waited_for() -> None:
    pace = Pace()
    pace.commit(100.0, storming=False)
    for step in range(200):
        pace.commit(100.0 + step * REST_S / 2, storming=True)
    assert pace.held_s(100.0 + LONGEST_S - REST_S) > 0
    assert pace.held_s(100.0 + LONGEST_S) <= 0


def test_a_storm_after_a_pause_is_held_anew() -> None:
    pace = Pace()
    pace.commit(100.0, storming=False)
    pace.commit(200.0, storming=False)
    assert pace.held_s(200.0) > 0


def test_between_pieces_they_rest_while_the_table_comes_and_no_longer() -> None:
    pace = Pace()
    pace.commit(100.0, storming=False)
    late = 100.0 + 2 * LONGEST_S
    pace.commit(late, storming=True)
    assert pace.held_s(late) <= 0
    pace.worked(late - 0.002, late)
    assert pace.held_s(late) == pytest.approx(RESTS * 0.002)
    pace.worked(late - 1.0, late)
    assert pace.held_s(late) == pytest.approx(REST_S)  # nothing came meanwhile: it has ended


def test_who_is_asked_by_no_packet_stands_back_longer() -> None:
    pace = Pace(10 * LONGEST_S)
    pace.commit(100.0, storming=False)
    pace.commit(100.0 + 9 * LONGEST_S, storming=True)
    assert pace.held_s(100.0 + 9 * LONGEST_S) > 0
