"""Lanes: whole records in order, bounded room, and memory that is not believed."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest

from bgpbridge.errors import LaneError
from bgpbridge.feed.lane import LANE_VERSION, LaneMemory, Layout

MIB = 1 << 20
PAGE = 4096
FIRST_LANE = PAGE + 2 * (128 << 10)


@pytest.fixture
def fd() -> Iterator[int]:
    fd = LaneMemory.create(Layout(3, MIB))
    yield fd
    os.close(fd)


@pytest.fixture
def memory(fd: int) -> Iterator[LaneMemory]:
    memory = LaneMemory(fd, Layout(3, MIB))
    yield memory
    memory.close()


def test_records_come_out_as_they_went_in(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    assert lane.put(2, b"up")
    assert lane.put(1, b"one")
    assert lane.put(1, b"two")
    assert lane.put(4, b"")
    assert lane.take(MIB) == [(2, b"up"), (1, b"onetwo"), (4, b"")]


def test_what_was_not_given_back_is_there_for_the_next_reader(fd: int, memory: LaneMemory) -> None:
    memory.lanes[1].put(1, b"abc")
    memory.lanes[1].take(MIB)
    again = LaneMemory(fd, Layout(3, MIB))
    assert again.lanes[1].take(MIB) == [(1, b"abc")]
    again.lanes[1].done()
    assert memory.lanes[1].backlog() == 0
    again.close()


def test_one_short_record_of_updates_is_taken_the_short_way(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    assert lane.lone(100) is None
    lane.put(1, b"abcde")
    assert lane.lone(100) == b"abcde"
    assert lane.lone(4) is None
    lane.done()
    assert (lane.backlog(), lane.take(MIB)) == (0, [])


@pytest.mark.parametrize("kinds", [[2], [1, 1], [1, 2], [2, 1]])
def test_other_records_are_not(memory: LaneMemory, kinds: list[int]) -> None:
    lane = memory.lanes[1]
    for kind in kinds:
        lane.put(kind, b"x")
    assert lane.lone(100) is None
    assert lane.backlog() == 16 * len(kinds)


def test_a_record_behind_the_end_of_the_ring_is_taken_all_the_same(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    for _ in range(3):
        assert lane.put(1, b"x" * (MIB // 2 - 16))
        assert lane.lone(MIB) in (b"x" * (MIB // 2 - 16), None)
        assert lane.take(MIB) == [(1, b"x" * (MIB // 2 - 16))]
        lane.done()


@pytest.mark.parametrize(("at", "value"), [(0, 4), (0, 12), (8, 3), (16, 5), (16, 9000), (0, 1 << 40)])
def test_a_ring_that_makes_no_sense_is_left_to_take(memory: LaneMemory, at: int, value: int) -> None:
    """The head, the tail and the record's length, as a speaker gone mad may leave them."""
    lane = memory.lanes[1]
    lane.put(1, b"abcde")
    if at == 16:
        struct.pack_into("=I", lane._data, 0, value)
    else:
        lane._words[at] = value
    found = lane.lone(100)
    assert found is None or (at, value, found) == (16, 5, b"abcde")


def test_take_cuts_after_the_limit(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    for _ in range(4):
        lane.put(1, b"x" * 100)
    assert lane.take(150) == [(1, b"x" * 200)]


def test_a_full_lane_takes_nothing_and_harms_nothing(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    big = b"x" * (MIB // 2)
    assert lane.put(1, big)
    assert not lane.put(1, big)
    assert lane.take(4 * MIB) == [(1, big)]
    lane.done()
    assert lane.put(1, big)


def test_records_wrap_around_the_end_whole(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    for number in range(100):
        payload = bytes([number]) * (100_000 + number)
        assert lane.put(1, payload)
        assert lane.take(MIB) == [(1, payload)]
        lane.done()


def test_the_bell_is_asked_for_once_and_rung_when_half_is_free(memory: LaneMemory) -> None:
    lane = memory.lanes[1]
    for _ in range(9):
        lane.put(1, b"x" * 100_000)
    assert not lane.full(1000)
    assert lane.full(300_000)
    lane.take(200_000)
    assert not lane.done()
    lane.take(MIB)
    assert lane.done()
    assert not lane.done()


def test_lanes_do_not_touch_one_another(memory: LaneMemory) -> None:
    memory.lanes[0].put(5, b"a" * 1000)
    memory.lanes[2].put(5, b"b" * 1000)
    assert memory.lanes[1].backlog() == 0
    assert memory.lanes[0].take(MIB) == [(5, b"a" * 1000)]
    assert memory.lanes[2].take(MIB) == [(5, b"b" * 1000)]


def test_the_memory_cannot_be_taken_away_from_under_a_reader(fd: int) -> None:
    with pytest.raises(OSError):
        os.ftruncate(fd, PAGE)
    with pytest.raises(OSError):
        os.ftruncate(fd, 1 << 40)


@pytest.mark.parametrize(
    ("place", "octets"),
    [
        (FIRST_LANE, struct.pack("=Q", 2 * MIB)),  # head beyond the ring
        (FIRST_LANE + 64, struct.pack("=Q", 1 << 63)),  # tail ahead of head
        (FIRST_LANE, struct.pack("=Q", 12)),  # not on a boundary
        (FIRST_LANE + PAGE, struct.pack("=I", 0x7FFFFFFF)),  # a record longer than all
        (FIRST_LANE + PAGE, struct.pack("=I", 24)),  # a record longer than what was written
    ],
)
def test_a_damaged_lane_is_an_error_and_no_crash(fd: int, memory: LaneMemory, place: int, octets: bytes) -> None:
    memory.lanes[0].put(1, b"hello")
    os.pwrite(fd, octets, place)
    with pytest.raises(LaneError, match="lane 0 is damaged"):
        memory.lanes[0].take(MIB)


@pytest.mark.parametrize(
    ("place", "octets", "said"),
    [
        (0, b"NONSENSE", "something else"),
        (8, struct.pack("=I", LANE_VERSION + 1), f"laid out as version {LANE_VERSION + 1}"),
        (12, struct.pack("=I", 7), "7 lanes"),
    ],
)
def test_another_layout_is_refused_in_words(fd: int, place: int, octets: bytes, said: str) -> None:
    os.pwrite(fd, octets, place)
    with pytest.raises(LaneError, match=said):
        LaneMemory(fd, Layout(3, MIB))


def test_a_memory_of_another_size_is_refused(fd: int) -> None:
    with pytest.raises(LaneError, match="octets"):
        LaneMemory(fd, Layout(4, MIB))


@pytest.mark.parametrize("lanes_octets", [(0, MIB), (3, 4096), (3, MIB + 1)])
def test_an_impossible_layout_is_refused(lanes_octets: tuple[int, int]) -> None:
    with pytest.raises(LaneError, match="no layout"):
        Layout(*lanes_octets)


def test_a_layout_survives_a_command_line() -> None:
    assert Layout.from_json(Layout(9, 2 * MIB).to_json()) == Layout(9, 2 * MIB)
    with pytest.raises(LaneError, match="version 99"):
        Layout.from_json('{"version": 99, "lanes": 1, "lane_octets": 1048576}')
    with pytest.raises(LaneError, match="no lane layout"):
        Layout.from_json("{")


def test_the_table_of_peers_outlives_its_writer(fd: int, memory: LaneMemory) -> None:
    assert memory.read_peers() == {}
    memory.write_peers({"a": 1})
    memory.write_peers({"a": 1, "b": 2})
    again = LaneMemory(fd, Layout(3, MIB))
    assert again.read_peers() == {"a": 1, "b": 2}
    again.close()


def test_a_damaged_table_of_peers_is_an_error(fd: int, memory: LaneMemory) -> None:
    memory.write_peers({"a": 1})
    os.pwrite(fd, b"}" * 8, PAGE + (128 << 10) + 8)
    with pytest.raises(LaneError, match="table of peers"):
        memory.read_peers()


def test_an_unused_lane_costs_no_memory() -> None:
    fd = LaneMemory.create(Layout(1000, 4 * MIB))
    assert os.fstat(fd).st_blocks * 512 < MIB
    os.close(fd)


def test_a_ring_that_is_empty_gives_its_memory_back_and_goes_on(fd: int, memory: LaneMemory) -> None:
    lane, record = memory.lanes[1], b"x" * 100_000
    for _ in range(25):  # more than once around
        lane.put(1, record)
        assert lane.take(MIB) == [(1, record)]
        lane.done()
    lane.put(1, b"waits")
    before = os.fstat(fd).st_blocks
    assert not memory.give_back(1)
    assert lane.take(MIB) == [(1, b"waits")]
    lane.done()
    assert memory.give_back(1)
    assert os.fstat(fd).st_blocks * 512 < before * 512 // 8
    lane.put(1, record)
    lane.put(2, b"up")
    assert lane.take(MIB) == [(1, record), (2, b"up")]
