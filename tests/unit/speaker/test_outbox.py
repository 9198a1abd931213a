"""The speaker's end of the lanes: events are never lost, notices may be, and a peer without room waits."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator

import pytest

from bgpbridge.feed.frames import DownReason, Notice, NoticeKind, Record, SessionDown, SessionUp, Updates, decode
from bgpbridge.feed.lane import LaneMemory, Layout
from bgpbridge.speaker.outbox import Outbox
from bgpbridge.types import Session

LAYOUT = Layout(3, 1 << 20)
DOWN = SessionDown(DownReason.TCP_CLOSED)


def up(hold_time_s: int = 90) -> SessionUp:
    address = ipaddress.IPv4Address("192.0.2.1")
    return SessionUp(
        Session(
            peer=1, local_as=1, peer_as=2, local_address=address, peer_address=address, router_id=address,
            hold_time_s=hold_time_s,
        )
    )  # fmt: skip


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.fd = LaneMemory.create(LAYOUT)
        self.memory = LaneMemory(self.fd, LAYOUT)
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.outbox = Outbox(self.memory, self.bell, clock=lambda: self.now)

    def taken(self, lane: int = 1) -> list[Record]:
        records = [decode(*raw) for raw in self.memory.lanes[lane].take(1 << 21)]
        self.memory.lanes[lane].done()
        return records

    def fill(self, lane: int = 1, octets: int = 1000) -> None:
        while self.memory.lanes[lane].put(1, b"x" * octets):
            pass


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.memory.close()
    os.close(bench.fd)
    os.close(bench.bell)


def test_records_go_out_and_the_bell_rings(bench: Bench) -> None:
    bench.outbox.event(1, up())
    bench.outbox.updates(1, b"u" * 23)
    bench.outbox.refresh(1, b"\xff" * 16 + bytes([0, 23, 5, 0, 1, 1, 1]))
    assert [type(record).__name__ for record in bench.taken()] == ["SessionUp", "Updates", "Refresh"]
    assert os.eventfd_read(bench.bell) == 3


def test_one_read_always_fits_when_the_lane_is_not_full(bench: Bench) -> None:
    largest = b"u" * (bench.outbox.read_octets + 65535)
    written = 0
    while not bench.outbox.full(1):
        bench.outbox.updates(1, largest)
        written += 1
    assert written >= 3
    assert bench.taken() == [Updates(largest * written)]
    assert not bench.outbox.full(1)


def test_an_event_without_room_waits_and_keeps_its_peer_unread(bench: Bench) -> None:
    bench.fill(octets=10)
    bench.outbox.event(1, DOWN)
    bench.outbox.event(1, up())
    assert bench.outbox.full(1)
    assert not bench.outbox.full(2)
    bench.taken()
    bench.outbox.retry()
    assert bench.taken() == [DOWN, up()]
    assert not bench.outbox.full(1)


def test_of_many_waiting_events_only_the_last_end_and_beginning_are_kept(bench: Bench) -> None:
    bench.fill(octets=10)
    for number in range(3, 1000):
        bench.outbox.event(1, DOWN)
        bench.outbox.event(1, up(number))
    bench.taken()
    bench.outbox.retry()
    assert bench.taken() == [DOWN, up(999)]
    bench.fill(octets=10)
    bench.outbox.event(1, up())
    bench.outbox.event(1, DOWN)
    bench.taken()
    bench.outbox.retry()
    assert bench.taken() == [DOWN]


def test_the_same_notice_is_told_once_in_ten_seconds_and_counted(bench: Bench) -> None:
    for _ in range(5):
        bench.outbox.notice(NoticeKind.CONNECT_FAILED, "no", peer=1)
    bench.outbox.notice(NoticeKind.CONNECT_FAILED, "no", peer=2)
    assert [(n.peer, n.repeated) for n in bench.taken(0) if isinstance(n, Notice)] == [(1, 0), (2, 0)]
    bench.now = 10.5
    bench.outbox.notice(NoticeKind.CONNECT_FAILED, "no", peer=1)
    assert bench.taken(0) == [Notice(NoticeKind.CONNECT_FAILED, "no", 1, 0, 4)]


def test_an_answer_is_never_held_back(bench: Bench) -> None:
    for token in (1, 2):
        bench.outbox.notice(NoticeKind.RELOADED, "1 peer", token=token)
    bench.outbox.notice(NoticeKind.RELOADED, "1 peer", always=True)
    assert len(bench.taken(0)) == 3


def test_a_notice_without_room_is_counted(bench: Bench) -> None:
    bench.fill(0, 10)
    bench.outbox.notice(NoticeKind.STARTED, "hello")
    assert bench.memory.lanes[0].dropped == 1


def test_a_flood_of_strangers_takes_bounded_memory(bench: Bench) -> None:
    for number in range(5000):
        bench.outbox.notice(NoticeKind.CONNECTION_REFUSED, "stranger", subject=str(number))
    assert len(bench.outbox._said) <= 1024


def test_lanes_are_there_for_their_numbers_only(bench: Bench) -> None:
    assert [number for number in range(-1, 5) if bench.outbox.has_lane(number)] == [1, 2]


def test_the_memory_of_a_lane_goes_back_when_a_table_has_gone_through(bench: Bench) -> None:
    def held() -> int:
        return os.fstat(bench.fd).st_blocks * 512

    bench.fill()
    bench.now = 2.0
    bench.outbox.give_back()
    full = held()
    bench.now = 4.0
    bench.outbox.give_back()  # nobody has read it
    assert held() == full
    bench.taken()
    bench.now = 4.5
    bench.outbox.give_back()  # too soon after the last look
    assert held() == full
    bench.now = 6.0
    bench.outbox.give_back()
    assert held() < full // 4
    bench.outbox.updates(1, b"y" * 100)
    assert bench.taken() == [Updates(b"y" * 100)]
    again = held()
    for bench.now in (8.0, 10.0):
        bench.outbox.give_back()  # not worth it for a single UPDATE
    assert held() == again
