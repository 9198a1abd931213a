"""Read the whole kernel state once: a `Snapshot`, without our own routes. Blocking; runs in a worker thread.

A dump of the main table may hold a million routes of ours and twenty of others, and the kernel has no filter for
"not ours". So a datagram whose messages are all of one length and all of our protocol is passed over by two
numpy comparisons; 1M own routes cost about as long as the kernel takes to write them out.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from bgpbridge.errors import NetlinkError
from bgpbridge.fib import rtnetlink
from bgpbridge.fib.kernel_state import Snapshot
from bgpbridge.fib.observed import TABLE_LOCAL, TABLE_MAIN, ForeignRoute
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.pyroute import (
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_NEWRULE,
)
from bgpbridge.fib.rtnetlink import AF_INET, AF_INET6, HEADER, IFADDR, IFINFO, NDMSG, NHMSG, RTMSG
from bgpbridge.types import Family

__all__ = ["take_snapshot"]

T = TypeVar("T")
Decode = Callable[[rtnetlink.Message], T | None]
GULP = 1 << 18
ATTEMPTS = 3
SILENCE_S = 10.0
PROTOCOL = 5  # octet of struct rtmsg
NOTHING_THERE = {2, 93, 95}  # ENOENT, EPROTONOSUPPORT, EOPNOTSUPP: no such table, or no such thing in this kernel


def take_snapshot(sock: socket.socket, own_protocol: int, ours: OwnDump | None = None) -> Snapshot:
    """Everything, over a socket of its own that asks strictly (NETLINK_GET_STRICT_CHK). Closes nothing. `ours` gets our
    own routes of its table. Raises NetlinkError when the kernel refuses or falls silent."""
    sock.settimeout(SILENCE_S)
    reader = _Reader(sock, own_protocol, ours)
    out = Snapshot(
        links=reader.dump("links", RTM_GETLINK, RTM_NEWLINK, IFINFO.pack(0, 0, 0, 0, 0), rtnetlink.decode_link),
        addresses=reader.dump(
            "addresses", RTM_GETADDR, RTM_NEWADDR, IFADDR.pack(0, 0, 0, 0, 0), rtnetlink.decode_address
        ),
        neighbours=reader.dump(
            "neighbours", RTM_GETNEIGH, RTM_NEWNEIGH, NDMSG.pack(0, 0, 0, 0, 0), rtnetlink.decode_neighbour
        ),
        nexthops=reader.dump(
            "nexthops",
            rtnetlink.RTM_GETNEXTHOP,
            rtnetlink.RTM_NEWNEXTHOP,
            NHMSG.pack(0, 0, 0, 0, 0),
            rtnetlink.decode_nexthop,
        ),
        rules=reader.dump(
            "rules", RTM_GETRULE, RTM_NEWRULE, RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), rtnetlink.decode_rule
        ),
    )
    out.nexthops = [nexthop for nexthop in out.nexthops if nexthop.protocol != own_protocol]
    for family in (AF_INET, AF_INET6):
        for table in (TABLE_LOCAL, TABLE_MAIN):
            for route in reader.routes(family, table):
                key = (route.prefix, route.table)
                out.routes[key] = (*out.routes.get(key, ()), route)  # in the kernel's order
    out.interrupted = reader.interrupted
    return out


class _Reader:
    def __init__(self, sock: socket.socket, own_protocol: int, ours: OwnDump | None) -> None:
        self._sock, self._own, self._ours = sock, own_protocol, ours
        self._kept: tuple[OwnDump, Family] | None = None  # who gets our routes of the dump that runs
        self._sequence = int.from_bytes(os.urandom(3), "big")
        self._buffer = bytearray(GULP)
        self.interrupted = False

    def routes(self, family: int, table: int) -> list[ForeignRoute]:
        payload = RTMSG.pack(family, 0, 0, 0, table, 0, 0, 0, 0) + struct.pack("=HHI", 8, 15, table)
        ours = self._ours if self._ours is not None and self._ours.table == table else None
        self._kept = None if ours is None else (ours, Family.IPV4 if family == AF_INET else Family.IPV6)
        found = self.dump(f"routes of table {table}", RTM_GETROUTE, RTM_NEWROUTE, payload, rtnetlink.decode_route)
        if ours is not None:
            ours.end()
        self._kept = None
        return [route for route in found if route.table == table and route.protocol != self._own]

    def dump(self, what: str, ask: int, answer: int, payload: bytes, decode: Decode[T]) -> list[T]:
        """One dump, asked again when the kernel says that it changed meanwhile (NLM_F_DUMP_INTR). What is still
        inconsistent after a few attempts is taken as it is: events and the next dump put it right."""
        for _ in range(ATTEMPTS):
            found, consistent = self._once(what, ask, answer, payload, decode)
            if consistent:
                return found
        self.interrupted = True
        return found

    def _once(self, what: str, ask: int, answer: int, payload: bytes, decode: Decode[T]) -> tuple[list[T], bool]:
        self._sequence += 1
        self._sock.send(rtnetlink.dump_request(ask, payload, self._sequence))
        found: list[T] = []
        consistent = True
        if self._kept is not None:
            self._kept[0].begin(self._kept[1])
        while True:
            data = self._receive(what)
            if answer == RTM_NEWROUTE and self._all_ours(data):
                self._keep(data, int.from_bytes(data[:4], "little"))
                continue
            for message in rtnetlink.messages(data):
                if message.sequence != self._sequence:
                    continue
                consistent &= not message.flags & NLM_F_DUMP_INTR
                if message.type in (NLMSG_DONE, NLMSG_ERROR):
                    _check(what, message)
                    return found, consistent
                if message.type == RTM_NEWROUTE and data[message.start + PROTOCOL] == self._own:
                    octets = data[message.start - HEADER.size : message.end]
                    self._keep(octets, len(octets))
                value = decode(message) if message.type == answer else None
                if value is not None:
                    found.append(value)

    def _keep(self, octets: bytes, length: int) -> None:
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

    def _all_ours(self, data: bytes) -> bool:
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
