"""How a dump is read from its socket: whatever datagrams it comes in, every message once, and its end."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from bgpbridge.errors import NetlinkError
from bgpbridge.fib import kernel_socket
from bgpbridge.fib.kernel_socket import RouteSocket
from bgpbridge.fib.rtnetlink import HEADER, messages

ROUTE, OTHER, DONE, ERROR, INTERRUPTED = 24, 104, 3, 2, 0x10


def message(kind: int = ROUTE, size: int = 60, mark: int = 0, flags: int = 2) -> bytes:
    return HEADER.pack(size, kind, flags, 7, 99) + struct.pack("=I", mark) + bytes(size - 20)


def done(flags: int = 2) -> bytes:
    return message(DONE, 20, flags=flags)


@pytest.fixture
def ends() -> Iterator[tuple[RouteSocket, socket.socket]]:
    """A RouteSocket whose kernel is the test."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made = RouteSocket.__new__(RouteSocket)
    made.socket = ours
    yield made, kernel
    ours.close()
    kernel.close()


def marks(parts: list[bytes]) -> list[int]:
    return [int.from_bytes(m.data[m.start : m.start + 4], "little") for part in parts for m in messages(part)]


DATAGRAMS = {
    "nothing": [done()],
    "the end by itself": [message(mark=0) + message(mark=1), message(mark=2), done()],
    "the end behind a route": [message(mark=0), message(mark=1) + done()],
    "the end behind one of its length": [message(mark=0, size=20) + done()],
    "a shorter one in between": [message(mark=0), message(mark=1, size=52) + message(mark=2), message(mark=3), done()],
    "one length, then another": [message(mark=0), message(mark=1, size=72), message(mark=2, size=72), done()],
    "objects": [message(OTHER, 36, 0) + message(OTHER, 44, 1), message(OTHER, 44, 2) + message(OTHER, 44, 3), done()],
}


@pytest.mark.parametrize("what", DATAGRAMS)
@pytest.mark.parametrize("gathered", [1 << 16, 1 << 20])
def test_every_message_of_a_dump_is_read_once_and_in_order(ends, monkeypatch, what: str, gathered: int) -> None:
    monkeypatch.setattr(kernel_socket, "GATHERED", gathered)  # with the smaller one each datagram is read by itself
    ours, kernel = ends
    for datagram in DATAGRAMS[what]:
        kernel.send(datagram)
    sent = [m for datagram in DATAGRAMS[what] for m in messages(datagram) if m.type != DONE]
    assert marks(ours.dump(26, b"")) == list(range(len(sent)))


def test_routes_of_one_length_are_gathered(ends) -> None:
    ours, kernel = ends
    for number in range(5):
        kernel.send(message(mark=number) * 3)
    kernel.send(done())
    assert [len(part) for part in ours.dump(26, b"")] == [15 * 60]


def test_a_dump_of_a_table_that_changed_is_asked_for_again(ends) -> None:
    ours, kernel = ends
    for flags in (INTERRUPTED, 2):
        kernel.send(message(mark=flags, flags=flags))
        kernel.send(done(flags))
    assert marks(ours.dump(26, b"")) == [2]


def test_a_refusal_is_an_error(ends) -> None:
    ours, kernel = ends
    kernel.send(HEADER.pack(36, ERROR, 0, 7, 99) + struct.pack("=i", -1) + bytes(16))
    with pytest.raises(NetlinkError):
        ours.dump(26, b"")
