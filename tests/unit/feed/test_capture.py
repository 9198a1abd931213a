"""Queues of those who listen: order, bounds, gaps that are told; and the MRT that comes of it."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from bgpbridge.feed.capture import Captured, Lost, Tap, read_frames
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.feed.recording import Recording
from bgpbridge.types import Family
from bgpbridge.wire.attributes import Code, encode_attribute
from bgpbridge.wire.message import build_update
from bgpbridge.wire.mrt import MessageRecord, StateChange, read_mrt
from bgpbridge.wire.opening import RefreshKind, build_route_refresh

ONE, TWO = (build_update(withdrawn=bytes([24, 10, 0, number])) for number in (1, 2))
SIX = build_update(encode_attribute(Code.MP_UNREACH, b"\0\2\1" + b"\x20\x20\x01\x0d\xb8"))
V4 = frozenset({Family.IPV4})


def taken(tap: Tap) -> list[Captured | Lost]:
    return list(read_frames([asyncio.run(tap.take())]))


def test_records_come_in_order_with_time_and_lane():
    tap = Tap(clock=lambda: 7.5)
    tap.offer(3, Updates(ONE))
    tap.offer(4, SessionDown(DownReason.HOLD_TIMER))
    assert taken(tap) == [Captured(7.5, 3, Updates(ONE)), Captured(7.5, 4, SessionDown(DownReason.HOLD_TIMER))]


def test_a_tap_of_one_lane_hears_that_alone():
    tap = Tap(lane=4, clock=lambda: 0)
    tap.offer(3, Updates(ONE))
    tap.offer(4, Updates(TWO))
    assert taken(tap) == [Captured(0, 4, Updates(TWO))]


def test_what_does_not_fit_is_counted_in_its_place():
    """After the first that is lost all are, until the listener has taken: the gap is one, and where it is told."""
    tap = Tap(room=len(ONE) + 40, clock=lambda: 1)
    for message in (ONE, ONE + ONE, b"", ONE):
        tap.offer(1, Updates(message))
    assert taken(tap) == [Captured(1, 1, Updates(ONE)), Lost(1, 3)]
    tap.offer(1, Updates(TWO))
    assert taken(tap) == [Captured(1, 1, Updates(TWO))]


@pytest.fixture
def mrt(tmp_path, make_session):
    """The MRT records of captured ones, the first of which is a session."""

    def made(*records, **session):
        recording, path = Recording(), tmp_path / "made.mrt"
        up = SessionUp(make_session(local_as=65000, peer_as=65001, **session))
        captured = [Captured(5.25, 1, one) for one in (up, *records)]
        path.write_bytes(b"".join(octets for one in captured for octets in recording.records(one)))
        return list(read_mrt(path)), recording

    return made


def test_sessions_and_updates_become_records(mrt):
    refresh = build_route_refresh(Family.IPV4, RefreshKind.BEGIN)
    (up, first, second, third, down), _ = mrt(Updates(ONE + TWO), Refresh(refresh), SessionDown(DownReason.TCP_CLOSED))
    assert [type(one) for one in (up, down)] == [StateChange] * 2
    assert (up.old, up.new, down.old, down.new) == (5, 6, 6, 1)
    assert [one.message for one in (first, second, third)] == [ONE, TWO, refresh]
    assert (first.time_s, first.peer.asn, first.peer.local_as, first.asn4, first.add_path) == (
        5.25,
        65001,
        65000,
        True,
        False,
    )


def test_path_ids_are_told_by_message(mrt):
    def kinds(found):
        return [one.add_path for one in found if isinstance(one, MessageRecord)]

    one = build_update(withdrawn=b"\0\0\0\1\x18\x0a\0\1")
    both = build_update(encode_attribute(Code.MP_UNREACH, b"\0\2\1" + b"\x20\x20\x01\x0d\xb8"), withdrawn=one[21:29])
    assert kinds(mrt(Updates(one), add_path=frozenset(Family))[0]) == [True]
    found, recording = mrt(Updates(one + SIX + both), add_path=V4)
    assert (kinds(found), recording.left_out) == ([True, False], 1)


def test_sessions_that_were_up_already_change_no_state(mrt, make_session):
    session = make_session(local_as=65000, peer_as=65001)
    recording = Recording()
    assert list(recording.records(Captured(1, 1, Updates(ONE)))) == []
    assert list(recording.records(Captured(1, 1, SessionUp(session, resync=True)))) == []
    assert len(list(recording.records(Captured(1, 1, Updates(ONE))))) == 1
    assert list(recording.records(Captured(1, 1, Notice(NoticeKind.STARTED, "")))) == []


def test_wide_as_numbers_on_a_narrow_session_are_as_trans(mrt, make_session):
    session = dataclasses.replace(make_session(local_as=70_000, peer_as=65001), asn4=False)
    (up, update), _ = mrt(SessionUp(session, resync=True), Updates(ONE))
    assert (up.peer.local_as, update.peer.local_as, update.asn4) == (65000, 23456, False)
