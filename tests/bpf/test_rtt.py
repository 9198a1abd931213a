"""Round-trip times of TCP handshakes: which packets are a sample, and that measuring changes no packet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from bgpbridge.datapath.abi import RTT_SAMPLES
from bgpbridge.datapath.frames import ethernet, ipv4, ipv6, tcp
from bgpbridge.datapath.rtt import HandshakeTimes
from tests.bpf.conftest import Rig

pytestmark = pytest.mark.root
TCP, SYN, ACK = 6, 0x02, 0x10
CLIENT4, CLIENT6 = "203.0.113.9", "2001:db8:2::9"  # group 17, adjacencies 1 and 2
SERVER4, SERVER6 = "198.51.100.7", "2001:db8:1::7"  # group 16, adjacency 1
Packet = Callable[..., bytes]


def packet4(segment: bytes, *, back: bool = False, fragment: int = 0) -> bytes:
    src, dst = (SERVER4, CLIENT4) if back else (CLIENT4, SERVER4)
    return ethernet(ipv4(segment, src=src, dst=dst, protocol=TCP, fragment=fragment))


def packet6(segment: bytes, *, back: bool = False) -> bytes:
    src, dst = (SERVER6, CLIENT6) if back else (CLIENT6, SERVER6)
    label = 0x12345 if back else 0xFEDCB  # each side chooses its own
    return ethernet(ipv6(segment, src=src, dst=dst, next_header=TCP, flow=label), 0x86DD)


def there(port: int, flags: int = SYN, sequence: int = 1000, acked: int = 0, data: bytes = b"") -> bytes:
    return tcp(port, 443, flags, data, sequence=sequence, acked=acked)


def back(port: int, flags: int = SYN | ACK, sequence: int = 7000, acked: int = 1001) -> bytes:
    return tcp(443, port, flags, sequence=sequence, acked=acked)


@pytest.fixture
def measured(rig: Rig) -> Iterator[HandshakeTimes]:
    """Every flow is measured for the length of a test."""
    rig.maps.measure_handshakes(1)
    yield HandshakeTimes(rig.maps.rtt_rings)
    rig.maps.measure_handshakes(0)


@pytest.mark.parametrize("packet", [packet4, packet6])
def test_both_halves_of_a_handshake_are_measured(rig: Rig, measured: HandshakeTimes, packet: Packet) -> None:
    begun = time.monotonic()
    rig.run(packet(there(40001)))
    time.sleep(0.02)  # the round trip
    rig.run(packet(back(40001), back=True))
    outward = measured.take()
    rig.run(packet(there(40001, ACK, 1001, 7001)))
    inward = measured.take()
    assert outward.adjacency.tolist() == [1]
    assert 0.02 <= outward.rtt_s[0] <= time.monotonic() - begun
    assert inward.adjacency.tolist() in ([1], [2])
    assert inward.rtt_s[0] <= time.monotonic() - begun
    rig.run(packet(there(40001, ACK, 1001, 7001)))
    assert len(measured.take().adjacency) == 0, "once a handshake"


def test_flow_labels_hide_no_handshake(rig: Rig, measured: HandshakeTimes) -> None:
    rig.maps.use_flow_label(True)
    try:
        rig.run(packet6(there(40009)))
        rig.run(packet6(back(40009), back=True))
    finally:
        rig.maps.use_flow_label(False)
    assert len(measured.take().adjacency) == 1


@pytest.mark.parametrize("packet", [packet4, packet6])
def test_the_sequence_number_wraps(rig: Rig, measured: HandshakeTimes, packet: Packet) -> None:
    rig.run(packet(there(40002, sequence=0xFFFFFFFF)))
    rig.run(packet(back(40002, acked=0), back=True))
    assert len(measured.take().adjacency) == 1


def no_answer(port: int) -> list[bytes]:
    return [packet4(there(port)), packet4(back(port, acked=1002), back=True)]


def sent_twice(port: int) -> list[bytes]:
    return [packet4(there(port)), packet4(there(port)), packet4(back(port, ACK), back=True)]


def another_port(port: int) -> list[bytes]:
    return [packet4(there(port)), packet4(back(port + 1000, ACK), back=True)]


def not_forwarded(port: int) -> list[bytes]:
    lost = ethernet(ipv4(there(port), src=SERVER4, dst="198.18.1.1", protocol=TCP))  # its adjacency is down
    return [lost, ethernet(ipv4(back(port, ACK), src="198.18.1.1", dst=SERVER4, protocol=TCP))]


def fragments(port: int) -> list[bytes]:
    return [packet4(there(port), fragment=0x2000), packet4(back(port, ACK), back=True)]


def cut_header(port: int) -> list[bytes]:
    return [packet4(there(port)[:16]), packet4(back(port, ACK), back=True)]


def refused(port: int) -> list[bytes]:
    return [packet4(there(port)), packet4(back(port, 0x04), back=True)]


CASES = [no_answer, sent_twice, another_port, not_forwarded, fragments, cut_header, refused]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_is_no_sample(rig: Rig, measured: HandshakeTimes, case: Callable[[int], list[bytes]]) -> None:
    for frame in case(41_000 + CASES.index(case)):
        rig.run(frame)
    assert len(measured.take().adjacency) == 0


def test_a_new_connection_by_the_same_ports_is_a_sample_again(rig: Rig, measured: HandshakeTimes) -> None:
    rig.run(packet4(there(41500)))
    rig.run(packet4(there(41500, sequence=5000)))
    rig.run(packet4(back(41500, ACK, acked=5001), back=True))
    assert measured.take().adjacency.tolist() == [1]


def test_off_is_the_default_and_nothing_is_kept(rig: Rig) -> None:
    times = HandshakeTimes(rig.maps.rtt_rings)
    rig.run(packet4(there(42000)))
    rig.maps.measure_handshakes(1)
    rig.run(packet4(back(42000, ACK), back=True))
    rig.maps.measure_handshakes(0)
    assert len(times.take().adjacency) == 0


def test_one_in_so_many_flows(rig: Rig) -> None:
    rig.maps.measure_handshakes(8)
    times, found = HandshakeTimes(rig.maps.rtt_rings), 0
    for port in range(20_000, 20_800):
        rig.run(packet4(there(port)))
        rig.run(packet4(back(port, ACK), back=True))
        found += len(times.take().adjacency)
    rig.maps.measure_handshakes(0)
    assert 50 < found < 150, "a hundred, more or less"


def test_a_reader_that_comes_late_gets_the_newest(rig: Rig, measured: HandshakeTimes) -> None:
    for port in range(30_000, 30_000 + RTT_SAMPLES + 40):
        rig.run(packet4(there(port)))
        rig.run(packet4(back(port, ACK), back=True))
    assert RTT_SAMPLES <= len(measured.take().adjacency) <= RTT_SAMPLES + 40
    assert len(measured.take().adjacency) == 0


def test_measuring_changes_no_packet(rig: Rig) -> None:
    rng = np.random.default_rng(5)
    frames = []
    for port in rng.integers(1024, 65536, 60).tolist():
        flags = int(rng.choice([SYN, ACK, SYN | ACK, 0]))
        segment = tcp(port, 443, flags, bytes(int(rng.integers(0, 9))), sequence=7, acked=8)
        frames += [packet4(segment), packet4(segment, back=True), packet6(segment), packet6(segment, back=True)]
    plain = [rig.run(frame) for frame in frames]
    rig.maps.measure_handshakes(1)
    assert [rig.run(frame) for frame in frames] == plain
    rig.maps.measure_handshakes(0)
