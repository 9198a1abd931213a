"""The netlink socket of the kernel FIB: blocking requests, batches of routes, dumps. For the worker thread.

pyroute2 opens, sizes and binds the socket; the octets are ours (`kernel_wire`), because packed hundreds to a
send they go a hundred times as fast as one by one. `send` returns when the kernel has done the whole batch;
errors come without being asked for, and an ACK of the batch's last message says that all of them are there.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from bgpbridge.errors import NetlinkError
from bgpbridge.fib.kernel_wire import Reply, parse_replies
from bgpbridge.fib.pyroute import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_NEWROUTE,
    NetlinkSocket,
)
from bgpbridge.fib.rtnetlink import HEADER
from bgpbridge.scheduling import breathe

__all__ = ["Outcome", "RouteSocket"]

T = TypeVar("T")
NETLINK_ROUTE = 0
SOL_NETLINK, NETLINK_CAP_ACK = 270, 10
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 1 << 20  # 832 octets for each error: a whole batch of them must fit
BATCH = 1000  # a fifth less CPU than 250
GULP = 1 << 16
GATHERED = 1 << 20  # octets of a dump that are read at a time
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a packed array: errors by index. `lost` when the kernel dropped answers (ENOBUFS): then
    nothing is known of what is not among the errors, and a dump must tell."""

    errors: tuple[tuple[int, Reply], ...]
    lost: bool = False


class RouteSocket:
    """One netlink socket. Made and used by one thread, in that thread's network namespace."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(family=NETLINK_ROUTE, ext_ack=True, strict_check=True)
        self._netlink.bind()
        self.socket: socket.socket = self._netlink.asyncore.socket
        self.socket.setblocking(True)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        # without CAP_NET_ADMIN the size that pyroute2 has set stays: then there are dumps, and no routes to write
        with contextlib.suppress(PermissionError):
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.port: int = self.socket.getsockname()[0]
        self._sequence = 1 << 31

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()

    def request(self, kind: int, flags: int, body: bytes) -> Reply:
        """One message, and the kernel's answer to it."""
        self._sequence = self._sequence + 1 & 0xFFFFFFFF or 1 << 31
        head = HEADER.pack(16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, self._sequence, 0)
        self.socket.send(head + body)
        for reply in self._replies():
            if reply is not None and reply.sequence == self._sequence:
                return reply
        return Reply(self._sequence, errno.ENOBUFS, "the answer was lost")

    def send(self, packed: npt.NDArray[Any]) -> Outcome:
        """Messages whose sequence numbers count up from the first one's."""
        first, size = int(packed["seq"][0]), packed.itemsize
        packed["flags"][BATCH - 1 :: BATCH] |= NLM_F_ACK
        packed["flags"][-1] |= NLM_F_ACK
        octets = memoryview(packed.view(np.uint8).data)
        errors: list[tuple[int, Reply]] = []
        lost = False
        for start in range(0, len(packed), BATCH):
            end = min(len(packed), start + BATCH)
            self.socket.send(octets[start * size : end * size])
            lost |= self._answered(first, end, errors)
        return Outcome(tuple(errors), lost)

    def send_few(self, octets: bytes, count: int) -> Outcome:
        """The same of so many messages with sequence numbers from 1 on, the last of which asks for an ACK."""
        errors: list[tuple[int, Reply]] = []
        self.socket.send(octets)
        lost = self._answered(1, count, errors)
        return Outcome(tuple(errors), lost)

    def _answered(self, first: int, end: int, errors: list[tuple[int, Reply]]) -> bool:
        """Note refusals, until the answer to message `end` (counted from 1) is there. True when answers were lost."""
        lost = False
        for reply in self._replies():
            if reply is None:
                lost = True
                continue
            index = reply.sequence - first
            if reply.errno and 0 <= index < end:
                errors.append((index, reply))
            if index == end - 1:
                return lost
        return True

    def _replies(self) -> Iterator[Reply | None]:
        """What the kernel has answered so far; None where answers were dropped."""
        while True:
            try:
                data = self.socket.recv(GULP, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None
                continue
            yield from parse_replies(data)

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The messages of a dump, without its end. Dumped again when the kernel says that the table changed
        under it, up to three times; after that as it is. Raises NetlinkError when the kernel refuses."""
        return self.dump_by(kind, body, bytes)

    def dump_by(self, kind: int, body: bytes, read: Callable[[memoryview], T]) -> list[T]:
        """The same, as what `read` makes of the messages, of a good many at a time: those of a million routes would
        take 60 MiB. Their octets are gone when it returns."""
        for _ in range(ATTEMPTS):
            found, interrupted = self._dump_once(kind, body, read)
            if not interrupted:
                break
        return found

    def _dump_once(self, kind: int, body: bytes, read: Callable[[memoryview], T]) -> tuple[list[T], bool]:
        self.socket.send(HEADER.pack(16 + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 7, 0) + body)
        room, held, form = memoryview(bytearray(GATHERED)), 0, 0
        found: list[T] = []
        interrupted = False
        while True:
            size = self.socket.recv_into(room[held:], GULP)
            data = room[held : held + size]
            length, first, flags, _, _ = HEADER.unpack_from(data)
            interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if first == NLMSG_ERROR:
                raise NetlinkError(f"dump {kind}", -int.from_bytes(data[16:20], "little", signed=True))
            end, its_form = _end_of_dump(data), _form(data, length)
            # messages of one length together: they are read as columns
            if held and (end is not None or form != its_form):
                found.append(read(room[:held]))
                room[:size], held = bytes(data), 0
            held, form = held + (size if end is None else end), its_form
            if held and (end is not None or not form or held + GULP > GATHERED):
                found.append(read(room[:held]))
                held = 0
            breathe()
            if end is not None:
                return found, interrupted


def _form(data: memoryview, length: int) -> int:
    """The length of the messages of a datagram, 0 where they may differ. By the first and the last of them: whoever
    reads them looks at all."""
    return length if not len(data) % length and data[-length:][:4] == data[:4] else 0


def _end_of_dump(data: memoryview) -> int | None:
    """Where in a datagram NLMSG_DONE or an error stands; None when the dump goes on. The kernel ends a dump by the last
    message of a datagram: where that is like the first one, and that is a route, nothing has ended."""
    length, kind, _, _, _ = HEADER.unpack_from(data)
    if kind == RTM_NEWROUTE and not len(data) % length and data[-length:][:16] == data[:16]:
        return None
    at = 0
    while at + 16 <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, at)
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return at
        at += (max(length, 16) + 3) & ~3
    return None
