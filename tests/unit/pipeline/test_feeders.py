"""Feeders on a real socket: whose routes they may bring, what becomes of them when one leaves or is held off."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.errors import LaneError, UsageError
from bgpbridge.feed.control import Hold, Resync, Teardown
from bgpbridge.feed.frames import DownReason, Record, SessionDown, SessionUp, Updates
from bgpbridge.feed.lane import LaneMemory, Layout
from bgpbridge.feed.reader import LaneReader
from bgpbridge.feed.ways import COMPLAINT, DONE, HEADER, Hello, complaint, frame, pieces, record_of
from bgpbridge.pipeline.feeders import Feeders
from bgpbridge.wire.message import build_update
from tests.unit.pipeline.conftest import World

EMPTY = build_update()


class Feeder:
    """A feeder under the test's control."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def hear(self) -> Any:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 10))


class Place:
    """Ways between a socket and the lanes of a story's peers: b comes by pipe, c by replay."""

    def __init__(self, folder: Path) -> None:
        self.story = World(folder, {"a": "", "b": ", source: pipe", "c": ", source: replay"})
        self.bridge = self.story.bridge
        assert self.bridge._reader is not None
        self.reader: LaneReader = self.bridge._reader
        self.feeders = self.bridge.feeders
        self.writers: list[asyncio.StreamWriter] = []

    def session(self, name: str, **changes: Any) -> SessionUp:
        return SessionUp(dataclasses.replace(self.story.session(name), **changes))

    async def feeder(self, way: str, *, keep: bool = False) -> Feeder:
        reader, writer = await asyncio.open_unix_connection(str(self.bridge.files.feed_socket))
        writer.write(Hello(way, keep).line())
        self.writers.append(writer)
        return Feeder(reader, writer)

    async def came(self, name: str, count: int) -> list[Record]:
        lane = self.reader.lanes[self.story.peer(name).index]
        found: list[Record] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                found += lane.take(1 << 20)
                lane.done()
                await asyncio.sleep(0.001)
        return found

    async def told(self, kind: str) -> str:
        async with asyncio.timeout(10):
            while not (found := [event for event in self.bridge.events.tail() if event.kind == kind]):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return found[-1].text


def played(folder: Path, scene: Callable[[Place], Awaitable[None]]) -> None:
    """A scene in a running loop."""
    place = Place(folder)
    place.feeders.open(place.reader)
    for peer in place.bridge.peers:
        place.feeders.add(peer)

    async def play() -> None:
        serving = asyncio.create_task(place.feeders.serve())
        try:
            await scene(place)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            for writer in place.writers:
                writer.close()
            for _ in range(3):  # for transports to say goodbye
                await asyncio.sleep(0)

    try:
        asyncio.run(play())
    finally:
        place.feeders.close()
        place.story.close()


def test_a_pipe_feeds_the_peer_of_its_address_and_is_missed(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        feeder = await place.feeder("pipe")
        feeder.say(frame(7, place.session("b")), frame(7, Updates(EMPTY * 3)))
        assert [type(record) for record in await place.came("b", 2)] == [SessionUp, Updates]
        feeder.writer.close()
        (down,) = await place.came("b", 1)
        assert isinstance(down, SessionDown)
        assert (down.reason, down.graceful) == (DownReason.SPEAKER_DIED, True)

    played(tmp_path, scene)


@pytest.mark.parametrize(
    ("name", "way", "changes", "why"),
    [
        ("a", "pipe", {}, "no peer with `source: pipe`"),
        ("b", "replay", {}, "no peer with `source: replay`"),
        ("b", "pipe", {"peer_as": 4711}, "configured with AS"),
    ],
)
def test_neighbours_that_are_not_configured_so_are_told_with_the_mend(
    tmp_path: Path, name: str, way: str, changes: dict[str, Any], why: str
) -> None:
    async def scene(place: Place) -> None:
        feeder = await place.feeder(way)
        feeder.say(frame(1, place.session(name, **changes)), frame(1, Updates(EMPTY)))
        assert why in await place.told("feed-neighbour-refused")
        assert why in (await feeder.hear())["refused"]
        assert not any(lane.backlog() for lane in place.reader.lanes)

    played(tmp_path, scene)


def test_a_replay_takes_its_routes_along_unless_it_is_to_keep_them(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        for keep in (False, True):
            feeder = await place.feeder("replay", keep=keep)
            feeder.say(frame(1, place.session("c", local_as=0)), frame(1, Updates(EMPTY)))
            up, _ = await place.came("c", 2)
            assert isinstance(up, SessionUp)
            assert up.session.local_as == place.story.peer("c").local_asn
            feeder.writer.close()
            if not keep:
                (down,) = await place.came("c", 1)
                assert isinstance(down, SessionDown)
                assert (down.text, down.graceful) == ("the replay ended", False)
        lane = place.reader.lanes[place.story.peer("c").index]
        for _ in range(100):
            await asyncio.sleep(0)
        assert not lane.backlog()
        (await place.feeder("replay")).say(frame(1, place.session("c")))
        down, up = await place.came("c", 2)
        assert isinstance(down, SessionDown)
        assert down.reason is DownReason.REPLACED
        assert isinstance(up, SessionUp)

    played(tmp_path, scene)


def test_a_second_feeder_does_not_mix_in(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        first, second = await place.feeder("pipe"), await place.feeder("pipe")
        first.say(frame(1, place.session("b")))
        await place.came("b", 1)
        second.say(frame(1, place.session("b")), frame(1, Updates(EMPTY)))
        assert "another feeder" in (await second.hear())["refused"]
        assert not place.reader.lanes[place.story.peer("b").index].backlog()

    played(tmp_path, scene)


def test_a_reset_of_ours_ends_it_here_until_the_hold_is_over(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        peer = place.story.peer("b")
        feeder = await place.feeder("pipe")
        feeder.say(frame(1, place.session("b")))
        await place.came("b", 1)
        assert not place.feeders.order(Teardown(place.story.peer("a").index, 6, 1))
        assert not place.feeders.order(Resync())
        assert place.feeders.order(Teardown(peer.index, 6, 1, "too many", hold_s=60))
        (down,) = await place.came("b", 1)
        assert isinstance(down, SessionDown)
        assert (down.reason, down.code) == (DownReason.NOTIFICATION_SENT, 6)
        feeder.say(frame(1, Updates(EMPTY)), HEADER.pack(0, DONE, 0))
        assert await feeder.hear() == {"done": True}
        assert not place.reader.lanes[peer.index].backlog()
        assert place.feeders.order(Hold(peer.index, 0))
        assert await feeder.hear() == {"resync": [1]}

    played(tmp_path, scene)


def test_a_full_lane_leaves_the_feeder_unread_and_nothing_is_lost(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        feeder = await place.feeder("pipe")
        feeder.say(frame(1, place.session("b")))
        await place.came("b", 1)
        run = pieces([EMPTY] * 10_000)
        feeder.say(*(frame(1, one) for one in run * 20))
        got = 0
        async with asyncio.timeout(20):
            while got < 200_000 * len(EMPTY):
                got += sum(len(record.data) for record in await place.came("b", 1) if isinstance(record, Updates))
        assert got == 200_000 * len(EMPTY)

    played(tmp_path, scene)


WRONG = {
    "no hello": b"GET / HTTP/1.1\r\n\r\n",
    "another version": Hello("pipe").line().replace(b'"bgpbridge": 1', b'"bgpbridge": 9'),
    "an unknown kind": Hello("pipe").line() + HEADER.pack(0, 77, 1),
    "a notice": Hello("pipe").line() + HEADER.pack(0, 5, 1),
    "no JSON": Hello("pipe").line() + HEADER.pack(3, 2, 1) + b"abc",
    "half an UPDATE": Hello("pipe").line() + HEADER.pack(20, 1, 1) + EMPTY[:20],
    "too long": Hello("pipe").line() + HEADER.pack(1 << 31, 1, 1),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_feeder_that_talks_nonsense_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    async def scene(place: Place) -> None:
        reader, writer = await asyncio.open_unix_connection(str(place.bridge.files.feed_socket))
        place.writers.append(writer)
        writer.write(WRONG[name])
        said = json.loads(await asyncio.wait_for(reader.readline(), 10))
        assert said["refused"]
        assert said["mend"]
        assert await reader.read() == b""
        assert said["refused"] in await place.told("feed-refused")
        good = await place.feeder("pipe")
        good.say(frame(1, place.session("b")))
        await place.came("b", 1)

    played(tmp_path, scene)


def test_what_an_earlier_feed_left_in_the_lane_goes(tmp_path: Path) -> None:
    """A bridge that starts again: the feeder will say everything anew."""
    layout = Layout(2, 1 << 20)
    memory = LaneMemory.create(layout)
    lanes = LaneMemory(memory, layout)
    assert lanes.lanes[1].put(1, EMPTY)
    reader = LaneReader(memory, layout, 0, 0)
    reader.lanes[1].feed_from_here(lambda: None)
    assert not reader.lanes[1].backlog()
    lanes.close_generation()  # a speaker that dies has nothing to do with this lane
    assert not reader.lanes[1].backlog()
    reader.close()
    lanes.close()


def test_the_socket_is_for_root_or_the_user_that_is_named(tmp_path: Path) -> None:
    story = World(tmp_path, {"b": ", source: pipe"})
    path, reader = tmp_path / "feed.sock", story.bridge._reader
    assert reader is not None
    with pytest.raises(UsageError, match="there is no user nobody-of-that-name"):
        Feeders(path, "nobody-of-that-name", story.bridge.peers, story.bridge.events).open(reader)
    ways = Feeders(path, None, story.bridge.peers, story.bridge.events)
    ways.open(reader)
    assert path.stat().st_mode & 0o777 == 0o600
    ways.close()
    assert not path.exists()
    story.close()


def test_records_that_no_feeder_has_to_say() -> None:
    with pytest.raises(LaneError, match="no UPDATE messages"):
        record_of(1, EMPTY + b"\0")
    with pytest.raises(LaneError, match="no UPDATE messages"):
        record_of(1, b"")


def test_what_a_pipe_cannot_read_is_an_event_and_ends_nothing(tmp_path: Path) -> None:
    async def scene(place: Place) -> None:
        feeder = await place.feeder("pipe")
        feeder.say(*(complaint(f"no line {number}", "upgrade") for number in range(100)))
        feeder.say(frame(7, place.session("b")), frame(7, Updates(EMPTY)))
        await place.came("b", 2)
        told = [event.text for event in place.bridge.events.tail(1000) if event.kind == "feed-line-refused"]
        assert told[0] == "no line 0\n  mend: upgrade"
        assert len(told) == 20

    played(tmp_path, scene)


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff" * 20 + b"\n",
        b'{"bgpbridge": 1, "way": [], "keep": {}}\n',
        Hello("pipe").line() + HEADER.pack(3, COMPLAINT, 0) + b"???",
        Hello("pipe").line() + HEADER.pack(0xFFFFFFFF, 1, 0),
        Hello("pipe").line()
        + HEADER.pack(60, 3, 0)
        + b'{"reason": "tcp closed", "code": Infinity, "subcode": 0}'.ljust(60),
    ],
)
def test_nonsense_is_an_event_and_the_next_feeder_is_served(tmp_path: Path, octets: bytes) -> None:
    async def scene(place: Place) -> None:
        _, writer = await asyncio.open_unix_connection(str(place.bridge.files.feed_socket))
        place.writers.append(writer)
        writer.write(octets)
        assert "mend: " in await place.told("feed-refused")
        feeder = await place.feeder("pipe")
        feeder.say(frame(7, place.session("b")))
        await place.came("b", 1)

    played(tmp_path, scene)
