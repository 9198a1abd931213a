"""Whatever is put, in whatever sizes, comes out whole and in order, with any reader restarts in between."""

from __future__ import annotations

import os
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.feed.lane import LaneMemory, Layout

LAYOUT = Layout(2, 1 << 20)

step = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 5), st.one_of(st.integers(0, 300), st.integers(0, 300_000))),
    st.tuples(st.just("take"), st.integers(1, 700_000), st.booleans()),
    st.just(("restart", 0, 0)),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(step, max_size=60))
def test_a_lane_is_a_bounded_queue_of_whole_records(steps: list[tuple[str, int, int]]) -> None:
    fd = LaneMemory.create(LAYOUT)
    producer, consumer = LaneMemory(fd, LAYOUT), LaneMemory(fd, LAYOUT)
    expected: deque[tuple[int, bytes]] = deque()
    count = 0
    for what, first, second in steps:
        if what == "put":
            count += 1
            payload = count.to_bytes(4, "big") * (1 + second // 4)
            if producer.lanes[1].put(first, payload):
                expected.append((first, payload))
            else:  # refused for want of room only: what waits, rounded up, plus at most one skipped end
                waiting = sum(8 + (len(octets) + 7 & ~7) for _, octets in expected)
                assert waiting + 2 * (8 + (len(payload) + 7 & ~7)) + 300_016 > LAYOUT.lane_octets
        elif what == "take":
            found = consumer.lanes[1].take(first)
            assert bool(found) == bool(expected)
            if second:
                consumer.lanes[1].done()
                for kind, octets in found:
                    while octets:
                        was, payload = expected.popleft()
                        assert was == kind
                        assert octets.startswith(payload)
                        octets = octets[len(payload) :]  # noqa: PLW2901 - eaten up
        else:
            consumer.close()
            consumer = LaneMemory(fd, LAYOUT)
    producer.close()
    consumer.close()
    os.close(fd)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, (1 << 20) - 256), st.integers(0, 1 << 64), st.integers(0, 1 << 64))
def test_no_content_of_the_memory_crashes_a_reader(octets: bytes, place: int, head: int, tail: int) -> None:
    from bgpbridge.errors import LaneError
    from bgpbridge.feed.reader import LaneReader

    fd = LaneMemory.create(LAYOUT)
    bell = os.eventfd(0)
    start = LAYOUT.lane_start(1)
    os.pwrite(fd, octets, start + 4096 + place % 64)
    os.pwrite(fd, (head % (1 << 21) // 8 * 8).to_bytes(8, "little"), start)
    os.pwrite(fd, (tail % (1 << 21) // 8 * 8).to_bytes(8, "little"), start + 64)
    reader = LaneReader(fd, LAYOUT, bell, bell, from_tail=True)
    try:
        reader.lanes[1].take(1 << 20)
    except LaneError:
        pass
    finally:
        reader.close()
        os.close(fd)
        os.close(bell)
