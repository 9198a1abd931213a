"""Lanes under load and under kill -9: nothing torn, nothing lost, no session suffers."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.feed.frames import DownReason, SessionDown, SessionUp
from bgpbridge.feed.lane import LaneMemory

pytestmark = pytest.mark.root

ATTRIBUTES = bytes.fromhex("40010100" + "4002060201" + "0000fde9" + "400304" + "0a090102")


def updates(count: int) -> bytes:
    """So many UPDATEs of one prefix each, every one different."""
    out = []
    for number in range(count):
        nlri = b"\x20" + struct.pack("!I", 0x0B000000 + number)
        body = b"\0\0" + struct.pack("!H", len(ATTRIBUTES)) + ATTRIBUTES + nlri
        out.append(b"\xff" * 16 + struct.pack("!HB", 19 + len(body), 2) + body)
    return b"".join(out)


def peers(*numbers: int, **options: Any) -> dict[str, Any]:
    return {
        "peers": [
            {"name": f"p{n}", "address": f"10.9.{n}.2", "asn": 65001, "passive": True, "hold_time_s": 3, **options}
            for n in numbers
        ]
    }


def sending(router: Any, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=router.sock.sendall, args=(data,))
    router.sock.settimeout(60)
    thread.start()
    return thread


def read_until_killed(handles: Any, path: Path) -> None:
    """A bridge that writes down what it takes, with the position, and only then gives the room back."""
    reader = handles.reader(from_tail=True)
    lane = reader.lanes[1]
    raw = reader.memory.lanes[1]
    with path.open("xb", buffering=0) as file:
        while True:
            os.eventfd_write(handles.bell, 1)
            position = raw.position
            data = b"".join(getattr(record, "data", b"") for record in lane.take(64 << 10))
            file.write(struct.pack("<QQ", position, len(data)) + data)
            lane.done()


def chunks(written: bytes) -> Iterator[tuple[int, bytes]]:
    """What a killed reader has written down whole: the last one may be torn."""
    offset = 0
    while offset + 16 <= len(written):
        position, length = struct.unpack_from("<QQ", written, offset)
        if length and offset + 16 + length <= len(written):
            yield position, written[offset + 16 : offset + 16 + length]
        offset += 16 + length


def test_a_reader_killed_in_mid_load_is_followed_by_one_that_goes_on_from_the_tail(rig: Any, tmp_path: Path) -> None:
    name, n = rig.router()
    rig.speaker(peers(n, hold_time_s=90))
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    data = updates(300_000)
    thread = sending(router, data)
    taken: dict[int, bytes] = {}
    for turn in range(3):
        path = tmp_path / f"taken-{turn}"
        child = os.fork()
        if child == 0:
            read_until_killed(rig.process.handles, path)
            os._exit(0)
        try:
            rig.wait_for(lambda path=path: path.exists() and path.stat().st_size > 1 << 20)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        taken.update(chunks(path.read_bytes()))
    # what follows the last tail is the next reader's; a chunk written and not given back comes again
    tail = LaneMemory(rig.process.handles.lanes, rig.process.handles.layout)
    first = tail.lanes[1].position
    tail.close()
    head = b"".join(chunk for position, chunk in sorted(taken.items()) if position < first)
    rig.until(lambda: len(head) + len(rig.octets(f"p{n}")) >= len(data), 30)
    thread.join()
    assert head + rig.octets(f"p{n}") == data
    assert rig.events(f"p{n}", SessionDown) == []


@pytest.mark.alone
def test_a_reader_stopped_for_longer_than_the_hold_time_costs_no_session_and_no_other_peer(rig: Any) -> None:
    first, a = rig.router()
    second, b = rig.router()
    rig.speaker(peers(a, b), lane_mib=1)
    flood, quiet = (rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1") for name, n in ((first, a), (second, b)))
    flood.open(65001, 3)
    quiet.open(65001, 3)
    rig.up(f"p{a}")
    rig.up(f"p{b}")
    data = updates(400_000)
    thread = sending(flood, data)
    flood.sock.settimeout(20)
    until, keepalives = time.monotonic() + 8, 0
    skip = frozenset({a})
    while time.monotonic() < until:  # neither lane nor socket of `flood` moves; it gets our keepalives all the same
        kind, _ = flood.receive()
        assert kind in (2, 4)  # End-of-RIB first
        keepalives += kind == 4
        quiet.send(4)
        rig.collect(skip=skip)
    assert keepalives >= 7
    started = time.monotonic()
    quiet.sock.sendall(updates(1))
    rig.until(lambda: rig.octets(f"p{b}"), skip=skip)
    assert time.monotonic() - started < 0.5
    rig.until(lambda: len(rig.octets(f"p{a}")) >= len(data), 30)
    thread.join()
    assert rig.octets(f"p{a}") == data
    assert rig.events(f"p{a}", SessionDown) == rig.events(f"p{b}", SessionDown) == []


def test_the_end_of_a_killed_speaker_is_told_and_the_next_one_takes_the_same_lanes(rig: Any) -> None:
    name, n = rig.router()
    rig.speaker(peers(n, hold_time_s=90))
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    router.sock.sendall(updates(1000))
    rig.until(lambda: len(rig.octets(f"p{n}")) == len(updates(1000)))
    epoch = rig.reader.epoch
    os.kill(rig.process.pid, signal.SIGKILL)
    rig.wait_for(lambda: rig.process.poll() is not None)
    rig.process.ended()
    down = rig.down(f"p{n}")
    assert (down.reason, down.graceful) == (DownReason.SPEAKER_DIED, True)
    assert rig.reader.epoch == epoch + 1
    rig.start_speaker()
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    assert len(rig.events(f"p{n}", SessionUp)) == 2
    assert len(rig.events(f"p{n}", SessionDown)) == 1


def test_a_fresh_bridge_starts_each_lane_with_the_session_that_it_asked_for(rig: Any) -> None:
    from bgpbridge.feed.control import Resync

    name, n = rig.router()
    rig.speaker(peers(n, hold_time_s=90))
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001)
    rig.up(f"p{n}")
    rig.told.clear()
    router.sock.sendall(updates(1000))
    rig.wait_for(lambda: rig.reader.lanes[n].backlog() > 40_000)
    rig.reader.close()
    rig.reader = rig.process.handles.reader()  # as a bridge that was killed and comes back with empty tables
    rig.sender.send(Resync())
    up = rig.up(f"p{n}")
    assert up.resync
    assert rig.octets(f"p{n}") == b""
    assert router.expect(5) == bytes.fromhex("00010001")
    router.sock.sendall(updates(2))
    rig.until(lambda: rig.octets(f"p{n}") == updates(2))


def test_a_peer_without_route_refresh_is_reset_by_a_resync(rig: Any) -> None:
    from bgpbridge.feed.control import Resync

    name, n = rig.router()
    rig.speaker(peers(n))
    router = rig.raw(name, f"10.9.{n}.2", f"10.9.{n}.1")
    router.open(65001, capabilities=bytes.fromhex("010400010001") + b"\x41\x04" + struct.pack("!I", 65001))
    assert not rig.up(f"p{n}").session.route_refresh
    rig.sender.send(Resync())
    assert router.expect(3)[:2] == b"\x06\x04"
    assert rig.down(f"p{n}").reason is DownReason.NOTIFICATION_SENT


def test_a_speaker_that_nobody_can_command_any_more_goes(rig: Any) -> None:
    _, n = rig.router()
    rig.speaker(peers(n))
    rig.until(rig.notices)
    rig.sender.close()
    rig.process._bridge_end.close()
    rig.process._speaker_end.close()
    rig.wait_for(lambda: rig.process.poll() is not None)
    assert rig.process.poll() == 0
