"""Room for prefixes: what a peer has left is given back, more is made, and where it cannot be that is said."""

from __future__ import annotations

import pytest

from bgpbridge.feed.control import Hold
from bgpbridge.feed.frames import DownReason
from bgpbridge.pipeline import room as rooms
from bgpbridge.types import Family

V4 = Family.IPV4
ROOM = 1024


@pytest.fixture
def up(world):
    """All three are up, and next hops answer."""
    for name in "abc":
        world.up(name)
    for address, ifindex in (("10.0.1.2", 11), ("10.0.2.2", 12), ("10.0.1.3", 11)):
        world.neighbour(address, ifindex)
    world.commands()
    return world


def many(up, name, count, start=0):
    return [up.route(name, f"100.{64 + n // 256}.{n % 256}.0/24") for n in range(start, start + count)]


def look(up, times=1):
    """What the room does every second, and the jobs that come of it."""
    for _ in range(times):
        with up.running():
            coroutine = up.bridge.room.look(V4)
            with pytest.raises(StopIteration):
                coroutine.send(None)
        up.finish()
        up.wait(1)


@pytest.fixture
def fixed(up, monkeypatch):
    """A bridge that may not grow."""
    datapath = up.bridge.config.datapath.model_copy(update={"grow": False})
    up.bridge.config = up.bridge.config.model_copy(update={"datapath": datapath})
    monkeypatch.setattr(up.bridge.room, "steady", up.loop.time)
    return up


@pytest.mark.parametrize("bulk", [False, True])
def test_what_a_peer_has_left_makes_room_for_another(fixed, bulk):
    fixed.says("b", *many(fixed, "b", 1000), bulk=bulk)
    fixed.down("b", DownReason.TCP_CLOSED)
    fixed.finish()
    assert fixed.bridge.rib.known(V4) == 1000
    look(fixed)
    assert fixed.bridge.rib.known(V4) == 0
    fixed.says("a", *many(fixed, "a", 1000, start=3000), bulk=bulk)
    assert fixed.bridge.rib.families[V4].top == 1000
    assert len(fixed.ways()) == 1000
    fixed.assert_in_step()


def test_rows_in_use_stay_where_they_are(fixed):
    fixed.says("a", *many(fixed, "a", 500))
    fixed.says("b", *many(fixed, "b", 900, start=100))
    fixed.down("b", DownReason.TCP_CLOSED)
    fixed.finish()
    look(fixed)
    assert fixed.bridge.rib.known(V4) == 500
    fixed.says("c", *many(fixed, "c", 500, start=2000))
    assert len(fixed.ways()) == 1000
    fixed.assert_in_step()


def test_where_it_may_not_grow_it_says_so_until_all_is_well(fixed):
    fixed.says("a", *many(fixed, "a", 100))
    fixed.says("b", *many(fixed, "b", ROOM, start=200), bulk=True)
    assert fixed.bridge.sessions.refused_room == {"b": 1}
    fixed.down("b", DownReason.NOTIFICATION_SENT)
    fixed.finish()
    look(fixed, 2)
    (told,) = fixed.bridge.room.troubles()
    assert told == ("ipv4: 100 of 1,024 prefixes are in use; datapath.grow is off; sent away for want of room: b")
    (event,) = fixed.events("room-short")
    assert "mend: raise datapath.max_ipv4 and run `bgpbridge datapath upgrade`, or set max_prefix at the peers" in event
    fixed.up("b")
    look(fixed, 2)
    assert list(fixed.bridge.room.troubles()) == []
    assert fixed.events("room-again") == ["100 of 1,024 prefixes are in use"]


def test_it_grows_as_far_as_it_must_and_lets_them_in_again(up, monkeypatch):
    monkeypatch.setattr(up.bridge.room, "steady", up.loop.time)
    up.says("a", *many(up, "a", 100))
    up.says("b", *many(up, "b", 4000, start=200), bulk=True)
    up.down("b", DownReason.NOTIFICATION_SENT)
    up.finish()
    up.commands()
    look(up, 2)
    assert up.bridge.rib.room(V4) == 8 * ROOM
    assert up.events("room-grown")
    (order,) = [order for order in up.commands() if isinstance(order, Hold)]
    assert (order.peer, order.seconds) == (up.peer("b").index, 0)
    up.up("b")
    up.says("b", *many(up, "b", 4000, start=200), bulk=True)
    assert len(up.ways()) == 4100
    up.assert_in_step()


def test_it_grows_before_it_is_full_and_nobody_is_sent_away(up, monkeypatch):
    monkeypatch.setattr(up.bridge.room, "steady", up.loop.time)
    up.says("a", *many(up, "a", 950))
    look(up, 2)
    assert up.bridge.rib.room(V4) == 2 * ROOM
    assert not up.bridge.sessions.refused_room


def test_too_little_memory_is_a_reason(up, monkeypatch):
    monkeypatch.setattr(up.bridge.room, "steady", up.loop.time)
    monkeypatch.setattr(rooms, "memory_available", lambda: 1 << 20)
    up.says("a", *many(up, "a", 950))
    look(up, 2)
    assert up.bridge.rib.room(V4) == ROOM
    assert "half of the 1 MiB there are has to stay" in up.events("room-short")[0]


def test_maps_that_cannot_be_made_are_tried_again_later(up, monkeypatch):
    tried = []

    class Broken:
        async def run(self, settings, watch_s):
            tried.append(settings.max_ipv4)
            raise rooms.BridgeError("no compiler")

    monkeypatch.setattr(up.bridge.room, "steady", up.loop.time)
    up.bridge.room.upgrade = Broken()
    up.says("a", *many(up, "a", 950))
    look(up, 60)
    assert tried == [2 * ROOM] * len(tried)
    assert len(tried) == 2  # at once and after half a minute; then after a whole one
    assert "larger maps could not be made: no compiler" in next(iter(up.bridge.room.troubles()))
    assert len(up.events("room-short")) == 1
    assert len(up.ways()) == 950
