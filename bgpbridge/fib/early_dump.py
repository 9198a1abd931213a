"""The kernel's state, read while a bridge that starts still imports itself: octets only, which `dump` reads later.

To write out a million routes takes the kernel a second, in which it needs neither the interpreter nor to be waited for.
So this imports next to nothing and is made first. Many datagrams are taken by one system call: the interpreter, which
others import with, is asked for once in a mebibyte.

The event sockets are opened before the first question: what changes from then on is told to whoever takes them over.
What fails here is asked again by him.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from queue import SimpleQueue

from bgpbridge.fib.dump_requests import ALL, HEADER, LINK_GROUPS, ROUTE_GROUPS, Ask

__all__ = ["RECEIVE_BUFFER", "SEQUENCE", "EarlyDump", "event_socket"]

SEQUENCE = 1
DATAGRAMS, ROOM = 32, 1 << 16  # taken at a time; the kernel fills up to 32 KiB of each
RECEIVE_BUFFER = 4 << 20
SILENCE_S = 10
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NETLINK_GET_STRICT_CHK, SO_RCVBUFFORCE, SO_RCVTIMEO = 270, 1, 12, 33, 20
MSG_WAITFORONE = 0x10000
NLMSG_ERROR, NLMSG_DONE = 2, 3

Datagrams = list[memoryview]


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vectors_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    _fields_ = (("message", _Message), ("size", ctypes.c_uint))


_libc = ctypes.CDLL(None, use_errno=True)


def event_socket(
    groups: Collection[int],
    receive_buffer_octets: int = RECEIVE_BUFFER,
    prepare: Callable[[socket.socket], None] = lambda _: None,
) -> socket.socket:
    """A socket that hears what the kernel tells of these groups from now on. Buffer and filter (`prepare`) come first,
    so that nothing comes in unfiltered. Raises OSError."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer_octets)
        except PermissionError:  # no CAP_NET_ADMIN here: net.core.rmem_max bounds it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_octets)
        sock.bind((0, 0))  # without a port of its own a socket hears nothing that the kernel says
        prepare(sock)
        for group in groups:
            sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    except BaseException:
        sock.close()
        raise
    return sock


class EarlyDump:
    """Reads in a thread, from the moment on that it is made, in the network namespace of whoever makes it. `events` are
    sockets for LINK_GROUPS and ROUTE_GROUPS, or none; they are the taker's."""

    def __init__(self) -> None:
        self.events: tuple[socket.socket, ...] = ()
        self._answers: dict[Ask, SimpleQueue[Datagrams | None]] = {ask: SimpleQueue() for ask in ALL}
        self._queues = tuple(self._answers.items())
        with suppress(OSError):  # who takes over finds out for himself what is wrong
            self.events = event_socket(LINK_GROUPS), event_socket(ROUTE_GROUPS)
        threading.Thread(target=self._run, name="kernel-dump", daemon=True).start()

    def answer(self, ask: Ask) -> Iterator[memoryview]:
        """The datagrams of one dump as they come, once; they end in its midst where it failed."""
        queue = self._answers.pop(ask, None)
        while queue is not None and (batch := queue.get()) is not None:
            yield from batch

    def _run(self) -> None:
        try:
            if len(self.events) == len((LINK_GROUPS, ROUTE_GROUPS)):
                self._ask_all()
        except OSError:
            pass  # what is missing is asked again
        finally:
            for _, queue in self._queues:
                queue.put(None)

    def _ask_all(self) -> None:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
            sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVTIMEO, struct.pack("@ll", SILENCE_S, 0))
            for ask, queue in self._queues:
                sock.send(ask.request(SEQUENCE))
                ended = False
                while not ended:
                    batch = _receive(sock.fileno())
                    ended = _ends(batch[-1])
                    queue.put(batch)
                queue.put(None)


def _receive(fd: int) -> Datagrams:
    """What is there, up to DATAGRAMS: one at least. Raises OSError."""
    octets = mmap.mmap(-1, DATAGRAMS * ROOM)  # pages that nobody has touched yet, and that go when nobody looks at them
    first = ctypes.addressof(ctypes.c_char.from_buffer(octets))
    vectors = (_Vector * DATAGRAMS)(*[_Vector(first + number * ROOM, ROOM) for number in range(DATAGRAMS)])
    headers = (_Header * DATAGRAMS)()
    for header, vector in zip(headers, vectors, strict=True):
        header.message.vectors, header.message.vectors_length = ctypes.pointer(vector), 1
    count = _libc.recvmmsg(fd, headers, DATAGRAMS, MSG_WAITFORONE, None)
    if count <= 0:
        raise OSError(ctypes.get_errno(), "recvmmsg")
    room = memoryview(octets)
    if any(header.message.flags & socket.MSG_TRUNC for header in headers[:count]):
        raise OSError("a datagram is longer than expected")
    return [room[number * ROOM : number * ROOM + headers[number].size] for number in range(count)]


def _ends(data: memoryview) -> bool:
    """Whether a dump ends with this datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, at)
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return True
        at += (max(length, HEADER.size) + 3) & ~3
    return False
