"""One BFD session by clock and table: states, timers, polls (RFC 5880 s6)."""

from __future__ import annotations

import dataclasses

import pytest

from bgpbridge.errors import UsageError
from bgpbridge.health.bfd_packet import BfdState, ControlPacket, Diagnostic
from bgpbridge.health.bfd_session import BfdSession
from bgpbridge.health.bfd_timers import BfdTimers, jitter

ADMIN, DOWN, INIT, UP = BfdState.ADMIN_DOWN, BfdState.DOWN, BfdState.INIT, BfdState.UP
QUICK = BfdTimers(50_000, 50_000, 3)
MS = 1000


def said(state: BfdState, **more: object) -> ControlPacket:
    base = ControlPacket(state, 77, 1, 50_000, 50_000, 3)
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def session(timers: BfdTimers = QUICK, *, passive: bool = False, drawn: float = 0.999999) -> BfdSession:
    return BfdSession(1, timers, 0, passive=passive, draw=lambda: drawn)


def brought_up(now_us: int = 0, timers: BfdTimers = QUICK) -> BfdSession:
    """Up at `now_us`, and the poll that goes with it answered."""
    made = session(timers)
    made.receive(said(INIT), now_us)
    made.tick(now_us)
    made.receive(said(UP, final=True), now_us)
    made.take_changes()
    assert made.state is UP
    assert not made.poll.active
    return made


@pytest.mark.parametrize(
    ("state", "heard", "then"),
    [
        (DOWN, ADMIN, DOWN),
        (DOWN, DOWN, INIT),
        (DOWN, INIT, UP),
        (DOWN, UP, DOWN),
        (INIT, ADMIN, DOWN),
        (INIT, DOWN, INIT),
        (INIT, INIT, UP),
        (INIT, UP, UP),
        (UP, ADMIN, DOWN),
        (UP, DOWN, DOWN),
        (UP, INIT, UP),
        (UP, UP, UP),
        (ADMIN, ADMIN, ADMIN),
        (ADMIN, DOWN, ADMIN),
        (ADMIN, INIT, ADMIN),
        (ADMIN, UP, ADMIN),
    ],
)
def test_the_state_machine_of_s6_2(state: BfdState, heard: BfdState, then: BfdState) -> None:
    made = session()
    made.state = state
    made.receive(said(heard), 5)
    assert made.state is then
    changes = made.take_changes()
    assert [(change.old, change.new) for change in changes] == ([(state, then)] if state is not then else [])
    if then is DOWN and state is not DOWN:
        assert made.diagnostic is Diagnostic.NEIGHBOUR_SAID_DOWN


def test_no_quicker_than_a_second_until_up() -> None:
    made = session()
    packet = made.tick(0)
    assert packet is not None
    assert (packet.state, packet.desired_min_tx_us, packet.required_min_rx_us) == (DOWN, 1_000_000, 50_000)
    assert (packet.your_discriminator, packet.required_min_echo_rx_us) == (0, 0)
    assert made.due_us == pytest.approx(1_000_000, rel=0.001)
    made.receive(said(INIT), 10)
    packet = made.tick(10)  # the change is said at once
    assert packet is not None
    assert (packet.state, packet.desired_min_tx_us, packet.poll) == (UP, 50_000, True)
    assert made.transmit_interval_us == 50_000


def test_the_poll_goes_on_until_it_is_answered() -> None:
    made = session()
    made.receive(said(INIT), 0)
    for turn in range(3):
        packet = made.tick(turn * 50 * MS)
        assert packet is not None
        assert packet.poll
    made.receive(said(UP, final=True), 120 * MS)
    packet = made.tick(150 * MS)
    assert packet is not None
    assert not packet.poll


def test_a_poll_is_answered_at_once_with_a_final_and_no_poll() -> None:
    made = brought_up()
    made.change_timers(BfdTimers(60_000, 50_000, 3), 0)
    answer = made.receive(said(UP, poll=True), 5)
    assert answer is not None
    assert answer.final
    assert not answer.poll


def test_admin_down_answers_nothing() -> None:
    made = brought_up()
    made.admin_down(0)
    assert made.receive(said(UP, poll=True), 5) is None


def test_silence_is_found_after_the_detection_time_and_not_before() -> None:
    made = brought_up()
    assert made.detection_us == 150 * MS
    made.tick(150 * MS - 1)
    assert made.state is UP
    made.tick(150 * MS)
    assert (made.state, made.diagnostic) == (DOWN, Diagnostic.DETECTION_TIME_EXPIRED)
    assert made.remote_discriminator == 0
    assert made.take_changes()[0].detection_us == 150 * MS
    assert made.desired_tx_us == 1_000_000


def test_detection_takes_the_others_multiplier_and_the_slower_of_both() -> None:
    made = brought_up()
    made.receive(said(UP, multiplier=5, desired_min_tx_us=80_000), 0)
    assert made.detection_us == 400 * MS
    made.receive(said(UP, multiplier=1, desired_min_tx_us=10_000), 0)
    assert made.detection_us == 50 * MS


def test_the_others_pace_slows_us_and_zero_silences_us() -> None:
    made = brought_up()
    made.receive(said(UP, required_min_rx_us=200_000), 0)
    assert made.transmit_interval_us == 200_000
    made.receive(said(UP, required_min_rx_us=0), 0)
    assert made.tick(100 * MS) is None
    assert made.due_us == 150 * MS  # only the detection


def test_a_quicker_other_is_served_at_once() -> None:
    made = brought_up()
    made.receive(said(UP, required_min_rx_us=1_000_000), 0)
    made.tick(50 * MS)
    made.receive(said(UP, required_min_rx_us=50_000), 60 * MS)
    assert made.due_us is not None
    assert made.due_us <= 100 * MS


def test_slower_sending_and_shorter_patience_wait_for_the_final() -> None:
    made = brought_up()
    made.change_timers(BfdTimers(200_000, 40_000, 3), 0)
    packet = made.tick(0)
    assert packet is not None
    assert (packet.poll, packet.desired_min_tx_us, packet.required_min_rx_us) == (True, 200_000, 40_000)
    made.receive(said(UP, desired_min_tx_us=10_000), 1)
    assert (made.transmit_interval_us, made.detection_us) == (50_000, 150 * MS)
    made.receive(said(UP, desired_min_tx_us=10_000, final=True), 2)
    assert (made.transmit_interval_us, made.detection_us) == (200_000, 120 * MS)


def test_quicker_sending_and_longer_patience_do_not_wait() -> None:
    made = brought_up(timers=BfdTimers(200_000, 50_000, 3))
    made.change_timers(BfdTimers(60_000, 90_000, 3), 0)
    assert (made.transmit_interval_us, made.detection_us) == (60_000, 270 * MS)


def test_a_change_during_a_poll_gets_a_poll_of_its_own() -> None:
    made = brought_up()
    made.change_timers(BfdTimers(200_000, 50_000, 3), 0)
    made.tick(0)
    made.change_timers(BfdTimers(300_000, 50_000, 3), 1)
    made.receive(said(UP, final=True), 2)  # may be the answer to the first
    assert made.transmit_interval_us == 50_000
    between = made.tick(made.due_us or 0)
    after = made.tick(made.due_us or 0)
    assert between is not None
    assert after is not None
    assert (between.poll, after.poll) == (False, True)
    made.receive(said(UP, final=True), 110 * MS)
    assert made.transmit_interval_us == 300_000


def test_an_unasked_final_changes_nothing() -> None:
    made = brought_up()
    before = (made.transmit_interval_us, made.detection_us, made.state)
    made.receive(said(UP, final=True), 3)
    assert (made.transmit_interval_us, made.detection_us, made.state) == before


def test_another_multiplier_is_said_at_once() -> None:
    made = brought_up()
    made.tick(50 * MS)
    made.change_timers(BfdTimers(50_000, 50_000, 7), 51 * MS)
    packet = made.tick(51 * MS)
    assert packet is not None
    assert (packet.multiplier, packet.poll) == (7, False)


def test_admin_down_and_back() -> None:
    made = brought_up()
    made.admin_down(10)
    packet = made.tick(10)
    assert packet is not None
    assert (packet.state, packet.diagnostic) == (ADMIN, Diagnostic.ADMINISTRATIVELY_DOWN)
    made.tick(10**9)
    assert made.state is ADMIN
    made.admin_up(10**9)
    assert (made.state, made.remote_discriminator) == (DOWN, 0)
    made.receive(said(DOWN), 10**9 + 1)
    made.receive(said(UP), 10**9 + 2)
    assert made.state is UP


def test_the_passive_side_waits_to_be_spoken_to() -> None:
    made = session(passive=True)
    assert made.tick(0) is None
    assert made.due_us is None
    made.receive(said(DOWN), 5)
    packet = made.tick(5)
    assert packet is not None
    assert packet.state is INIT


def test_demand_mode_of_the_other_silences_us_while_both_are_up() -> None:
    made = brought_up()
    made.receive(said(UP, demand=True), 10)
    assert made.tick(60 * MS) is None
    made.change_timers(BfdTimers(70_000, 50_000, 3), 61 * MS)  # but a poll is sent
    packet = made.tick(61 * MS)
    assert packet is not None
    assert packet.poll


@pytest.mark.parametrize(
    ("multiplier", "drawn", "part"), [(3, 0.0, 0.75), (3, 1.0, 1.0), (1, 0.0, 0.75), (1, 1.0, 0.9)]
)
def test_jitter(multiplier: int, drawn: float, part: float) -> None:
    assert jitter(multiplier, lambda: drawn) == pytest.approx(part)


@pytest.mark.parametrize("wrong", [(9_999, 50_000, 3), (50_000, 60_000_001, 3), (50_000, 50_000, 0), (1, 1, 256)])
def test_timers_out_of_bounds_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="outside"):
        BfdTimers(*wrong)
