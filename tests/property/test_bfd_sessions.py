"""Two BFD sessions over a pure channel that loses and delays: they end Up, and a cut is detected in time."""

from __future__ import annotations

import heapq
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.health.bfd_packet import BfdState, ControlPacket, decode, encode
from bgpbridge.health.bfd_session import BfdSession
from bgpbridge.health.bfd_timers import BfdTimers

intervals = st.integers(50_000, 400_000)
timers = st.builds(BfdTimers, tx_us=intervals, rx_us=intervals, multiplier=st.integers(3, 10))
DELAY_US = 5_000


class Channel:
    """Both ends, and what is on its way between them. `now_us` goes on from event to event."""

    def __init__(self, one: BfdTimers, other: BfdTimers, seed: int) -> None:
        self.random = random.Random(seed)
        self.ends = [
            BfdSession(number + 1, asked, 0, draw=self.random.random) for number, asked in enumerate((one, other))
        ]
        self.now_us = 0
        self.loss = 0.0
        self.under_way: list[tuple[int, int, int, bytes]] = []
        self.count = 0
        self.last_us = [0, 0]

    def send(self, to: int, packet: ControlPacket | None) -> None:
        if packet is None or self.random.random() < self.loss:
            return
        self.count += 1
        arrives = max(self.last_us[to], self.now_us + self.random.randrange(1, DELAY_US))  # a link keeps the order
        self.last_us[to] = arrives
        heapq.heappush(self.under_way, (arrives, self.count, to, encode(packet)))

    def run_until(self, end_us: int, *, both: BfdState | None = None) -> bool:
        """To `end_us`, or until both ends are in a state; whether they are."""
        while True:
            due = [session.due_us for session in self.ends]
            times = [time for time in due if time is not None] + [item[0] for item in self.under_way[:1]]
            if not times or min(times) > end_us:
                self.now_us = end_us
                return False
            self.now_us = max(self.now_us, min(times))
            while self.under_way and self.under_way[0][0] <= self.now_us:
                _, _, to, octets = heapq.heappop(self.under_way)
                packet = decode(octets)
                assert isinstance(packet, ControlPacket)
                assert not (packet.poll and packet.final)
                self.send(1 - to, self.ends[to].receive(packet, self.now_us))
            for number, session in enumerate(self.ends):
                due_us = session.due_us
                if due_us is not None and due_us <= self.now_us:
                    self.send(1 - number, session.tick(self.now_us))
            if both is not None and all(session.state is both for session in self.ends):
                return True


@settings(max_examples=20, deadline=None)
@given(timers, timers, st.integers(0, 2**32), st.floats(0, 0.3))
def test_they_come_up_whatever_is_lost_and_stay_up_when_nothing_is(
    one: BfdTimers, other: BfdTimers, seed: int, loss: float
) -> None:
    channel = Channel(one, other, seed)
    channel.loss = loss
    channel.run_until(5_000_000)
    channel.loss = 0.0
    assert channel.run_until(25_000_000, both=BfdState.UP)
    for session in channel.ends:
        session.take_changes()
    channel.run_until(channel.now_us + 6_000_000)
    assert all(session.state is BfdState.UP and not session.take_changes() for session in channel.ends)
    assert not any(session.poll.active for session in channel.ends)


@settings(max_examples=20, deadline=None)
@given(timers, timers, st.integers(0, 2**32))
def test_a_cut_is_found_within_the_detection_time(one: BfdTimers, other: BfdTimers, seed: int) -> None:
    channel = Channel(one, other, seed)
    assert channel.run_until(20_000_000, both=BfdState.UP)
    channel.run_until(channel.now_us + 2_000_000)
    channel.loss = 1.0
    cut_us = channel.now_us
    detection = [session.detection_us for session in channel.ends]
    assert detection == [
        other.multiplier * max(one.rx_us, other.tx_us),
        one.multiplier * max(other.rx_us, one.tx_us),
    ]
    channel.run_until(cut_us + max(detection) + DELAY_US)
    assert all(session.state is BfdState.DOWN for session in channel.ends)
    found = [session.take_changes()[-1].at_us for session in channel.ends]
    assert all(at - cut_us <= within + DELAY_US for at, within in zip(found, detection, strict=True))


@settings(max_examples=20, deadline=None)
@given(timers, timers, timers, timers, st.integers(0, 2**32))
def test_a_change_of_timers_on_both_sides_loses_nothing(
    one: BfdTimers, other: BfdTimers, later: BfdTimers, last: BfdTimers, seed: int
) -> None:
    channel = Channel(one, other, seed)
    assert channel.run_until(20_000_000, both=BfdState.UP)
    for session in channel.ends:
        session.take_changes()
    channel.ends[0].change_timers(later, channel.now_us)
    channel.run_until(channel.now_us + 7_000)
    channel.ends[1].change_timers(later, channel.now_us)
    channel.ends[0].change_timers(last, channel.now_us)
    channel.run_until(channel.now_us + 6_000_000)
    assert not any(session.take_changes() for session in channel.ends)
    assert channel.ends[0].detection_us == later.multiplier * max(last.rx_us, later.tx_us)
    assert channel.ends[1].detection_us == last.multiplier * max(later.rx_us, last.tx_us)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=24, max_size=24), st.integers(0, 500_000)), max_size=60), timers)
def test_no_packet_that_decodes_breaks_a_session(came: list[tuple[bytes, int]], asked: BfdTimers) -> None:
    session = BfdSession(1, asked, 0)
    now_us = 0
    for octets, later_us in came:
        now_us += later_us
        fixed = bytes([octets[0] & 0x1F | 0x20, octets[1] & 0xFA, octets[2], 24]) + octets[4:]
        packet = decode(fixed)
        if isinstance(packet, ControlPacket):
            session.receive(packet, now_us)
        session.tick(now_us)
        assert session.due_us is None or session.due_us > now_us
