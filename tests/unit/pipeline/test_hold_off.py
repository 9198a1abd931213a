"""After a reset of our own making a peer is left alone, longer each time, until somebody mends the reason."""

from __future__ import annotations

import pytest

from bgpbridge.feed.control import Hold, Reload, Teardown
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind
from bgpbridge.pipeline.hold_off import FIRST_S, LONGEST_S, STEADY_S, HoldOff
from bgpbridge.types import Verdict
from bgpbridge.view.peers import peer as view_of
from bgpbridge.view.peers import state_of
from bgpbridge.view.status import _waiting
from bgpbridge.wire.verdicts import Finding

FULL = Finding(Verdict.SESSION_RESET, 0, "1024 ipv4 prefixes are known, 7 more do not fit in 1024", (6, 8))


def reset(world):
    with world.running():
        world.bridge.sessions.reset(world.peer("a"), FULL)
    world.down("a", DownReason.NOTIFICATION_SENT)
    (order,) = [command for command in world.commands() if isinstance(command, Teardown)]
    return order


def test_it_doubles_up_to_ten_minutes_and_begins_anew_after_a_steady_session():
    hold_off = HoldOff()
    assert [hold_off.begin("x", 1) for _ in range(7)] == [30, 60, 120, 240, 480, LONGEST_S, LONGEST_S]
    assert hold_off.begin("x", STEADY_S) == FIRST_S
    assert hold_off.begin("x", 0) == 2 * FIRST_S


def test_the_order_to_end_the_session_says_how_long_none_begins(world):
    world.up("a")
    assert (reset(world).subcode, reset_again(world).hold_s) == (8, 60)


def reset_again(world):
    world.up("a")
    return reset(world)


def test_a_peer_that_is_held_off_is_idle_and_says_for_how_long_and_why(world):
    world.up("a")
    reset(world)
    seen = view_of(world.bridge, "a")
    assert (seen.state, seen.hold_off.left_s, seen.hold_off.why) == ("idle", 30.0, FULL.reason)
    assert [one.why for one in _waiting(world.bridge) if one.name == "a"] == [
        f"held off for 30 s more after a reset: {FULL.reason}"
    ]
    world.wait(31)
    assert (state_of(world.bridge, world.peer("a")), view_of(world.bridge, "a").hold_off) == ("down", None)


def test_an_operator_ends_it_and_a_further_reset_begins_with_the_shortest(world):
    world.up("a")
    reset(world)
    reset_again(world)
    with world.running():
        assert world.bridge.sessions.end_hold_off(world.peer("a"), "by an operator")
        assert not world.bridge.sessions.end_hold_off(world.peer("a"), "by an operator")
    assert world.commands() == [Hold(world.peer("a").index, 0, token=3)]
    assert world.events("hold-off-ended") == ["by an operator"]
    assert reset_again(world).hold_s == FIRST_S


def test_a_reload_that_changes_the_peer_ends_it_and_another_does_not(world):
    world.up("a")
    reset(world)
    world.reload({"a": "", "b": ", weight: 7", "c": ""})
    assert not [command for command in world.commands() if isinstance(command, Hold)]
    world.reload({"a": ", hold_time_s: 30", "b": ", weight: 7", "c": ""})
    assert [type(command) for command in world.commands()] == [Hold, Reload]
    assert state_of(world.bridge, world.peer("a")) == "down"


def test_a_new_speaker_is_told_what_is_left_of_it(world):
    world.up("a")
    reset(world)
    world.wait(10.5)
    with world.running():
        world.bridge.ingest.one(0, Notice(NoticeKind.STARTED, "the speaker runs"))
    assert [(order.peer, order.seconds) for order in world.commands()] == [(world.peer("a").index, 20)]


def test_a_session_that_is_told_of_again_while_it_is_being_reset_does_not_come_back(world):
    world.up("a")
    with world.running():
        world.bridge.sessions.reset(world.peer("a"), FULL)
    world.up("a", resync=True)
    world.says("a", world.route("a", "198.51.100.0/24"))
    world.down("a", DownReason.NOTIFICATION_SENT)
    assert view_of(world.bridge, "a").hold_off.left_s == FIRST_S
    assert len([command for command in world.commands() if isinstance(command, Teardown)]) == 1


def test_what_the_peer_does_is_not_held_against_it(world):
    for reason in (DownReason.HOLD_TIMER, DownReason.NOTIFICATION_RECEIVED, DownReason.TCP_CLOSED):
        world.up("a")
        world.down("a", reason)
        assert state_of(world.bridge, world.peer("a")) == "down"


# -- what last went wrong ---------------------------------------------------------------------------------------


def notice(world, kind, text):
    with world.running():
        world.bridge.ingest.one(0, Notice(kind, text, world.peer("a").index))


def test_an_error_is_past_when_a_session_came_up_after_it(world):
    notice(world, NoticeKind.CONNECT_FAILED, "no connection")
    assert (view_of(world.bridge, "a").last_error.text, view_of(world.bridge, "a").last_error.past) == (
        "no connection",
        False,
    )
    world.wait(1)
    world.up("a")
    assert view_of(world.bridge, "a").last_error.past
    world.wait(1)
    world.down("a")
    assert view_of(world.bridge, "a").last_error.past
    world.wait(1)
    notice(world, NoticeKind.FLAPPING, "its session ended 5 times in 9 s")
    notice(world, NoticeKind.OPEN_REFUSED, "its AS is 1")
    notice(world, NoticeKind.FLAPPING, "its session ended 5 times in 8 s")
    seen = view_of(world.bridge, "a")
    assert (seen.last_error.text, seen.last_error.past) == ("its AS is 1", False)
    assert [one.past for one in seen.notices] == [True, False, False, False]
    assert [one.why for one in _waiting(world.bridge) if one.name == "a"] == ["its AS is 1"]


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_ends_no_hold_off_and_prolongs_none(world, jump_s):
    """The speaker holds by its monotonic clock, and is told when an operator ends it."""
    world.up("a")
    reset(world)
    before = world.bridge.peers.clock
    world.bridge.peers.clock = lambda: before() + jump_s
    assert view_of(world.bridge, "a").hold_off.left_s == FIRST_S
    with world.running():
        assert world.bridge.sessions.end_hold_off(world.peer("a"), "by an operator")
    assert [(type(order), order.seconds) for order in world.commands()] == [(Hold, 0)]


def test_a_session_lasts_as_long_as_it_does_whatever_the_wall_clock_says(world):
    world.up("a")
    reset(world)
    before = world.bridge.peers.clock
    world.up("a")
    world.bridge.peers.clock = lambda: before() + 10 * STEADY_S
    assert reset(world).hold_s == 2 * FIRST_S
    world.bridge.peers.clock = before
    world.up("a")
    world.wait(STEADY_S + 1)
    world.bridge.peers.clock = lambda: before() - STEADY_S
    assert reset(world).hold_s == FIRST_S
