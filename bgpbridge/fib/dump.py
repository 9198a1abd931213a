"""Read the whole kernel state once: a `Snapshot`, without our own routes. Blocking; runs in a worker thread.

A dump of the main table may hold a million routes of ours and twenty of others, and the kernel has no filter for
"not ours". So a datagram whose messages are all of one length and all of our protocol is passed over by two
numpy comparisons; 1M own routes cost about as long as the kernel takes to write them out.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from bgpbridge.errors import NetlinkError
from bgpbridge.fib import dump_requests, rtnetlink
from bgpbridge.fib.dump_requests import Ask
from bgpbridge.fib.early_dump import SEQUENCE, EarlyDump
from bgpbridge.fib.kernel_state import Snapshot
from bgpbridge.fib.observed import ForeignRoute
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.pyroute import NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, RTM_NEWROUTE
from bgpbridge.fib.rtnetlink import HEADER
from bgpbridge.types import Family

__all__ = ["take_snapshot"]

T = TypeVar("T")
Decode = Callable[[rtnetlink.Message], T | None]
GULP = 1 << 18
ATTEMPTS = 3
SILENCE_S = 10.0
FIRST_SEQUENCE = 1 << 24
PROTOCOL = 5  # octet of struct rtmsg
NOTHING_THERE = {2, 93, 95}  # ENOENT, EPROTONOSUPPORT, EOPNOTSUPP: no such table, or no such thing in this kernel


def take_snapshot(
    sock: socket.socket, own_protocol: int, ours: OwnDump | None = None, early: EarlyDump | None = None
) -> Snapshot:
    """Everything, over a socket of its own that asks strictly (NETLINK_GET_STRICT_CHK), or from what has been read
    `early`. Closes nothing. `ours` gets our own routes of its table. Raises NetlinkError when the kernel refuses or
    falls silent."""
    sock.settimeout(SILENCE_S)
    reader = _Reader(sock, own_protocol, ours, early)
    out = Snapshot(
        links=reader.dump(dump_requests.LINKS, rtnetlink.decode_link),
        addresses=reader.dump(dump_requests.ADDRESSES, rtnetlink.decode_address),
        neighbours=reader.dump(dump_requests.NEIGHBOURS, rtnetlink.decode_neighbour),
        nexthops=reader.dump(dump_requests.NEXTHOPS, rtnetlink.decode_nexthop),
        rules=reader.dump(dump_requests.RULES, rtnetlink.decode_rule),
    )
    out.nexthops = [nexthop for nexthop in out.nexthops if nexthop.protocol != own_protocol]
    for ask in dump_requests.ROUTES:
        for route in reader.routes(ask):
            key = (route.prefix, route.table)
            out.routes[key] = (*out.routes.get(key, ()), route)  # in the kernel's order
    out.interrupted = reader.interrupted
    return out


class _Reader:
    def __init__(
        self, sock: socket.socket, own_protocol: int, ours: OwnDump | None, early: EarlyDump | None = None
    ) -> None:
        self._sock, self._own, self._ours, self._early = sock, own_protocol, ours, early
        self._kept: tuple[OwnDump, Family] | None = None  # who gets our routes of the dump that runs
        self._sequence = int.from_bytes(os.urandom(3), "big") | FIRST_SEQUENCE
        self._buffer = bytearray(GULP)
        self.interrupted = False

    def routes(self, ask: Ask) -> list[ForeignRoute]:
        ours = self._ours if self._ours is not None and self._ours.table == ask.table else None
        self._kept = None if ours is None else (ours, rtnetlink.FAMILIES[ask.family])
        found = self.dump(ask, rtnetlink.decode_route)
        if ours is not None:
            ours.end()
        self._kept = None
        return [route for route in found if route.table == ask.table and route.protocol != self._own]

    def dump(self, ask: Ask, decode: Decode[T]) -> list[T]:
        """One dump, asked again when the kernel says that it changed meanwhile (NLM_F_DUMP_INTR). What is still
        inconsistent after a few attempts is taken as it is: events and the next dump put it right."""
        if self._early is not None:
            found, good = self._read(ask, SEQUENCE, self._early.answer(ask), decode)
            if good:
                return found
        for _ in range(ATTEMPTS):
            found, good = self._read(ask, self._sequence + 1, self._asked(ask), decode)
            if good:
                return found
        self.interrupted = True
        return found

    def _asked(self, ask: Ask) -> Iterator[bytes]:
        self._sequence += 1
        self._sock.send(ask.request(self._sequence))
        while True:
            yield self._receive(ask.what)

    def _read(
        self, ask: Ask, sequence: int, answers: Iterator[bytes | memoryview], decode: Decode[T]
    ) -> tuple[list[T], bool]:
        """What the datagrams of one dump say, and whether they are all there and say the same."""
        found: list[T] = []
        consistent = True
        if self._kept is not None:
            self._kept[0].begin(self._kept[1])
        for octets in answers:
            if ask.answer == RTM_NEWROUTE and self._all_ours(octets):
                self._keep(octets, int.from_bytes(octets[:4], "little"))
                continue
            data = bytes(octets)
            for message in rtnetlink.messages(data):
                if message.sequence != sequence:
                    continue
                consistent &= not message.flags & NLM_F_DUMP_INTR
                if message.type in (NLMSG_DONE, NLMSG_ERROR):
                    _check(ask.what, message)
                    return found, consistent
                if message.type == RTM_NEWROUTE and data[message.start + PROTOCOL] == self._own:
                    own = data[message.start - HEADER.size : message.end]
                    self._keep(own, len(own))
                value = decode(message) if message.type == ask.answer else None
                if value is not None:
                    found.append(value)
        return found, False

    def _keep(self, octets: bytes | memoryview, length: int) -> None:
        if self._kept is not None:
            self._kept[0].add(octets, length)

    def _receive(self, what: str) -> bytes:
        try:
            size = self._sock.recv_into(self._buffer)
        except TimeoutError as error:
            raise NetlinkError(f"dump of {what}", 110, said=f"no answer for {SILENCE_S:.0f} s") from error
        except OSError as error:
            raise NetlinkError(f"dump of {what}", error.errno or 5) from error
        return bytes(memoryview(self._buffer)[:size])

    def _all_ours(self, data: bytes | memoryview) -> bool:
        """True for a datagram of equally long RTM_NEWROUTE messages, all of our protocol, none interrupted."""
        (length,) = struct.unpack_from("=I", data)
        if length < 28 or length % 4 or len(data) % length:
            return False
        rows = np.frombuffer(data, np.uint8).reshape(-1, length)
        same = rows[:, :8] == np.frombuffer(data, np.uint8, 8)
        return bool(
            data[4] == RTM_NEWROUTE
            and not data[6] & NLM_F_DUMP_INTR
            and same.all()
            and (rows[:, 21] == self._own).all()
        )


def _check(what: str, message: rtnetlink.Message) -> None:
    """The number in NLMSG_DONE or NLMSG_ERROR: 0, or the negative errno that ended the dump."""
    if message.end - message.start < 4:
        return
    (code,) = struct.unpack_from("=i", message.data, message.start)
    if code < 0 and -code not in NOTHING_THERE:
        raise NetlinkError(f"dump of {what}", -code)
