"""The reader: order among the lanes, the end of a speaker, the first record of a fresh bridge."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import time
from collections.abc import Callable, Iterator

import pytest

from bgpbridge.errors import LaneError
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind, Record, SessionDown, SessionUp, Updates, encode
from bgpbridge.feed.lane import LaneMemory, Layout
from bgpbridge.feed.reader import BULK_OCTETS, SHARED_OCTETS, SHORT, LaneReader, Pump
from bgpbridge.types import Session

LAYOUT = Layout(4, 1 << 20)
UP = SessionUp(
    Session(
        peer=1,
        local_as=1,
        peer_as=2,
        local_address=ipaddress.ip_address("192.0.2.1"),
        peer_address=ipaddress.ip_address("192.0.2.2"),
        router_id=ipaddress.IPv4Address("192.0.2.2"),
    )
)
RESYNC = SessionUp(UP.session, resync=True)


class Feed:
    """A producer and what readers need."""

    def __init__(self) -> None:
        self.fd = LaneMemory.create(LAYOUT)
        self.memory = LaneMemory(self.fd, LAYOUT)
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.space = os.eventfd(0, os.EFD_NONBLOCK)
        self.readers: list[LaneReader] = []

    def put(self, lane: int, record: Record) -> None:
        assert self.memory.lanes[lane].put(*encode(record))
        os.eventfd_write(self.bell, 1)

    def reader(self, *, from_tail: bool = False) -> LaneReader:
        reader = LaneReader(self.fd, LAYOUT, self.bell, self.space, from_tail=from_tail)
        self.readers.append(reader)
        return reader

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        self.memory.close()
        for fd in (self.fd, self.bell, self.space):
            os.close(fd)


@pytest.fixture
def feed() -> Iterator[Feed]:
    feed = Feed()
    yield feed
    feed.close()


def taken(reader: LaneReader, lane: int = 1, limit: int = 1 << 20) -> list[Record]:
    records = reader.lanes[lane].take(limit)
    reader.lanes[lane].done()
    return records


def test_a_fresh_bridge_leaves_out_what_it_cannot_read(feed: Feed) -> None:
    feed.put(1, Updates(b"x" * 30))
    reader = feed.reader()
    feed.put(1, SessionDown(DownReason.TCP_CLOSED))
    feed.put(1, RESYNC)
    feed.put(1, Updates(b"y" * 30))
    assert taken(reader) == [RESYNC, Updates(b"y" * 30)]
    assert reader.lanes[1].up


def test_notices_are_for_every_bridge(feed: Feed) -> None:
    notice = Notice(NoticeKind.STARTED, "hello")
    feed.put(0, notice)
    assert taken(feed.reader(), 0) == [notice]


def test_a_bridge_that_goes_on_gets_everything_from_the_tail(feed: Feed) -> None:
    feed.put(1, UP)
    assert taken(feed.reader()) == [UP]
    feed.put(1, Updates(b"x" * 30))
    assert taken(feed.reader(from_tail=True)) == [Updates(b"x" * 30)]


def test_the_end_of_a_speaker_comes_after_what_it_had_written(feed: Feed) -> None:
    reader = feed.reader()
    feed.put(1, UP)
    assert taken(reader) == [UP]
    feed.put(1, Updates(b"x" * 30))
    feed.memory.close_generation()
    feed.put(1, UP)
    feed.put(1, Updates(b"y" * 30))
    first, second = taken(reader), taken(reader)
    assert first[0] == Updates(b"x" * 30)
    assert isinstance(first[1], SessionDown)
    assert (first[1].reason, first[1].graceful) == (DownReason.SPEAKER_DIED, True)
    assert second == [UP, Updates(b"y" * 30)]
    assert reader.epoch == 1


def test_the_end_of_a_speaker_is_told_though_nothing_waits(feed: Feed) -> None:
    reader = feed.reader()
    feed.put(1, UP)
    taken(reader)
    feed.memory.close_generation()
    assert reader.pending()
    assert [type(record) for record in taken(reader)] == [SessionDown]
    assert not reader.pending()
    feed.memory.close_generation()
    assert not reader.pending()


def test_two_deaths_in_a_row_are_told_as_one_per_session(feed: Feed) -> None:
    reader = feed.reader()
    feed.put(1, UP)
    taken(reader)
    feed.memory.close_generation()
    feed.put(1, UP)
    feed.memory.close_generation()
    kinds = [type(record) for record in taken(reader)]
    assert kinds == [SessionDown, SessionUp, SessionDown]


def test_the_producer_is_rung_when_there_is_room_again(feed: Feed) -> None:
    reader = feed.reader(from_tail=True)
    lane = feed.memory.lanes[1]
    while lane.put(1, b"x" * 50_000):
        pass
    assert lane.full(100_000)
    taken(reader, limit=1 << 21)
    assert os.eventfd_read(feed.space) == 1


class Recorder:
    """A consumer whose bulk run has points, at which it lets somebody write."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.log: list[tuple[str, int, int]] = []
        self.enough = 0
        self.done = asyncio.Event()
        self.at_point: dict[int, tuple[int, Record]] = {}
        self.since_s: list[float] = []
        self.rehearsed = False
        self.paces: list[bool] = []

    def pace(self, *, hurried: bool) -> None:
        self.paces.append(hurried)

    def begin(self, since_s: float) -> None:
        self.since_s.append(since_s)

    def one(self, lane: int, record: Record) -> None:
        self.note("one", lane, len(record.data) if isinstance(record, Updates) else 0)

    def few(self, lane: int, data: bytes) -> None:
        self.one(lane, Updates(data))

    def rehearse(self) -> Iterator[object]:
        self.rehearsed = True
        yield None

    def run(self, lane: int, data: bytes) -> Iterator[None]:
        self.note("run", lane, len(data))
        for point in range(3):
            if point in self.at_point:
                self.feed.put(*self.at_point.pop(point))
            yield
        self.note("ran", lane, len(data))

    def note(self, what: str, lane: int, octets: int) -> None:
        self.log.append((what, lane, octets))
        if len(self.log) == self.enough:
            self.done.set()


def pumped(feed: Feed, recorder: Recorder, entries: int, woken: Callable[[], float] = time.monotonic) -> None:
    recorder.enough = entries

    async def main() -> None:
        task = asyncio.create_task(Pump(feed.reader(from_tail=True), recorder, woken).serve())
        await asyncio.wait_for(recorder.done.wait(), 10)
        task.cancel()

    asyncio.run(main())


def test_a_single_message_goes_in_between_a_bulk_run(feed: Feed) -> None:
    recorder = Recorder(feed)
    recorder.at_point[1] = (2, Updates(b"s" * 50))
    feed.put(1, Updates(b"b" * 100_000))
    pumped(feed, recorder, 3)
    assert recorder.log == [("run", 1, 100_000), ("one", 2, 50), ("ran", 1, 100_000)]


def test_what_comes_in_between_may_have_waited_since_the_look_before(feed: Feed) -> None:
    recorder = Recorder(feed)
    recorder.at_point[1] = (2, Updates(b"s" * 50))
    feed.put(1, Updates(b"b" * 100_000))
    began_s = time.monotonic()
    pumped(feed, recorder, 3, woken=lambda: began_s)
    assert recorder.since_s == sorted(recorder.since_s)
    assert recorder.since_s[0] == began_s < recorder.since_s[-1] < time.monotonic()


def test_short_lanes_come_first_and_bulk_ones_in_turn(feed: Feed) -> None:
    for _ in range(8):
        feed.put(1, Updates(b"a" * 100_000))
        feed.put(2, Updates(b"b" * 100_000))
    feed.put(3, Updates(b"c" * (SHORT - 8)))
    recorder = Recorder(feed)
    pumped(feed, recorder, 9)
    runs = [lane for what, lane, _ in recorder.log if what == "run"]
    assert recorder.log[0] == ("one", 3, SHORT - 8)
    assert runs[:4] == [1, 2, 1, 2]


@pytest.mark.parametrize(("other", "octets"), [(None, BULK_OCTETS), (2, SHARED_OCTETS)])
def test_runs_are_shorter_while_others_send(feed: Feed, other: int | None, octets: int) -> None:
    piece = 64 << 10
    for _ in range(BULK_OCTETS // piece - 1):
        feed.put(1, Updates(b"a" * (piece - 8)))
    if other is not None:
        feed.put(other, Updates(b"s"))
    recorder = Recorder(feed)
    pumped(feed, recorder, 1 + 2 * (other is not None))
    [first, *_] = [size for what, _, size in recorder.log if what == "run"]
    assert first <= octets < first + 2 * piece


def test_steps_get_shorter_as_soon_as_somebody_else_sends_a_little(feed: Feed) -> None:
    recorder = Recorder(feed)
    recorder.at_point[1] = (2, Updates(b"s" * 50))
    feed.put(1, Updates(b"b" * 100_000))
    pumped(feed, recorder, 3)
    assert recorder.paces == [False, False, True, True]


def test_those_who_load_beside_each_other_do_not_hurry(feed: Feed) -> None:
    class Rest(Recorder):
        def run(self, lane: int, data: bytes) -> Iterator[None]:
            if lane == 2:
                feed.put(1, Updates(b"a" * 50))
            yield from super().run(lane, data)

    recorder = Rest(feed)
    for lane in (1, 2):
        feed.put(lane, Updates(b"b" * 100_000))
    pumped(feed, recorder, 5)
    assert [entry[:2] for entry in recorder.log] == [("run", 1), ("ran", 1), ("run", 2), ("one", 1), ("ran", 2)]
    assert set(recorder.paces) == {False}


def test_session_events_keep_their_place_among_runs(feed: Feed) -> None:
    feed.put(1, UP)
    feed.put(1, Updates(b"a" * 10_000))
    feed.put(1, SessionDown(DownReason.TCP_CLOSED))
    recorder = Recorder(feed)
    pumped(feed, recorder, 4)
    assert [what for what, _, _ in recorder.log] == ["one", "run", "ran", "one"]


def test_what_waits_before_the_bell_is_heard_is_served(feed: Feed) -> None:
    feed.put(1, UP)
    os.eventfd_read(feed.bell)
    recorder = Recorder(feed)
    pumped(feed, recorder, 1)
    assert recorder.log == [("one", 1, 0)]


def test_the_next_speaker_is_heard_at_once_behind_the_end_of_the_last(feed: Feed) -> None:
    feed.put(1, UP)
    feed.memory.close_generation()
    feed.put(1, UP)
    feed.put(1, Updates(b"u" * 30))
    recorder = Recorder(feed)
    pumped(feed, recorder, 4)  # up, died, up, UPDATE
    assert recorder.log == [("one", 1, 0), ("one", 1, 0), ("one", 1, 0), ("one", 1, 30)]


def test_a_rehearsal_serves_what_has_come_and_takes_nothing_else(feed: Feed) -> None:
    recorder = Recorder(feed)
    pump = Pump(feed.reader(from_tail=True), recorder)
    pump.rehearse()
    assert (recorder.log, recorder.rehearsed) == ([], True)
    feed.put(1, UP)
    feed.put(2, Updates(b"u" * 30))
    pump.rehearse()
    pump.rehearse()
    assert recorder.log == [("one", 1, 0), ("one", 2, 30)]


def test_what_comes_during_a_rehearsal_is_served_at_its_next_point(feed: Feed) -> None:
    served: list[int] = []

    class Slow(Recorder):
        def rehearse(self) -> Iterator[object]:
            feed.put(2, Updates(b"u" * 30))
            yield None
            served.append(len(self.log))

    recorder = Slow(feed)
    feed.put(2, UP)
    pump = Pump(feed.reader(from_tail=True), recorder)
    pump.rehearse()
    assert served == [2]


def test_a_bell_that_others_hear_for_the_pump_is_not_the_loops(feed: Feed) -> None:
    recorder, heard = Recorder(feed), []

    def first(fd: int, serve: Callable[[], None] | None) -> bool:
        heard.append((fd, serve))
        return True

    async def main() -> None:
        task = asyncio.create_task(Pump(feed.reader(from_tail=True), recorder, first=first).serve())
        await asyncio.sleep(0)
        feed.put(2, Updates(b"u" * 30))
        await asyncio.sleep(0.01)
        assert recorder.log == []
        heard[0][1]()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert recorder.log == [("one", 2, 30)]
    assert [fd for fd, _ in heard] == [feed.bell, feed.bell]
    assert heard[-1][1] is None


def test_a_failing_consumer_ends_the_pump(feed: Feed) -> None:
    class Failing(Recorder):
        def one(self, lane: int, record: Record) -> None:
            raise LaneError("as if")

    async def main() -> None:
        task = asyncio.create_task(Pump(feed.reader(from_tail=True), Failing(feed)).serve())
        await asyncio.sleep(0)
        feed.put(1, UP)
        with pytest.raises(LaneError, match="as if"):
            await asyncio.wait_for(task, 10)

    asyncio.run(main())


def test_a_lane_is_named_once_for_all_that_was_put_into_it(feed: Feed) -> None:
    for lane in (3, 1, 3):
        feed.put(lane, UP)
    reader = feed.reader()
    assert [lane.index for lane in reader.rung()] == [1, 3]
    assert reader.rung() == []
    feed.memory.close_generation()
    assert [lane.index for lane in reader.rung()] == [lane.index for lane in reader.lanes]
