"""Framing: runs of whole UPDATEs out of whatever pieces TCP gives, and nothing else."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from exabgp.reactor.network.error import LostConnection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgpbridge.speaker.connection import TapConnection

MARKER = b"\xff" * 16


class Base:
    def __init__(self, io: socket.socket) -> None:
        self.io: socket.socket | None = io
        self.msg_size = 4096

    def close(self) -> None:
        if self.io is not None:
            self.io.close()
        self.io = None


class Tapped(TapConnection, Base):
    """The mixin without ExaBGP under it."""


def message(kind: int, length: int = 23) -> bytes:
    return MARKER + struct.pack("!HB", length, kind) + bytes([kind]) * (length - 19)


@pytest.fixture
def ends() -> Iterator[tuple[Tapped, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    tapped = Tapped(ours)
    yield tapped, theirs
    tapped.close()
    theirs.close()


def test_a_run_ends_before_what_is_not_an_update(ends: tuple[Tapped, socket.socket]) -> None:
    tapped, peer = ends
    peer.sendall(message(2) + message(2, 100) + message(4, 19) + message(2, 30))
    assert tapped.updates() == message(2) + message(2, 100)
    assert tapped.updates() is None
    assert tapped.front() == (4, message(4, 19))
    tapped.skip(19)
    assert tapped.updates() == message(2, 30)
    assert tapped.updates() == b""


@pytest.mark.parametrize(
    ("behind", "drained"),
    [(b"", True), (message(2)[:20], True), (MARKER[:5], True), (message(4, 19), False), (MARKER + bytes(3), False)],
)
def test_only_the_beginning_of_a_message_may_be_left(
    ends: tuple[Tapped, socket.socket], behind: bytes, drained: bool
) -> None:
    tapped, peer = ends
    peer.sendall(message(2) + behind)
    assert tapped.updates() == message(2)
    assert tapped.drained is drained


@pytest.mark.parametrize(
    "damaged",
    [b"\xfe" + message(2)[1:], message(2, 22), MARKER + b"\x10\x01\x02", MARKER + b"\x00\x05\x02"],
)
def test_a_damaged_header_stays_for_exabgp(ends: tuple[Tapped, socket.socket], damaged: bytes) -> None:
    tapped, peer = ends
    peer.sendall(message(2) + damaged.ljust(40, b"\0"))
    assert tapped.updates() == message(2)
    assert tapped.updates() is None
    assert b"".join(next(tapped._reader(5)) for _ in range(1)) == damaged[:5]


def test_the_end_of_tcp_is_raised_after_the_last_message(ends: tuple[Tapped, socket.socket]) -> None:
    tapped, peer = ends
    peer.sendall(message(2) + message(2)[:10])
    peer.close()
    assert tapped.updates() == message(2)
    with pytest.raises(LostConnection):
        tapped.updates()
    assert tapped.io is None


def test_a_message_longer_than_negotiated_is_damage(ends: tuple[Tapped, socket.socket]) -> None:
    tapped, peer = ends
    peer.sendall(message(2, 5000))
    assert tapped.updates() is None
    tapped.msg_size = 65535
    assert tapped.updates() == message(2, 5000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(23, 400), max_size=30), st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_pieces_of_any_size_give_the_same_octets(lengths: list[int], pieces: list[int]) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    tapped = Tapped(ours)
    stream = b"".join(message(2, length) for length in lengths)
    found, offset, turn = b"", 0, 0
    while offset < len(stream):
        size = pieces[turn % len(pieces)]
        theirs.sendall(stream[offset : offset + size])
        offset, turn = offset + size, turn + 1
        while run := tapped.updates():
            assert run[:16] == MARKER
            found += run
    assert found == stream
    tapped.close()
    theirs.close()
