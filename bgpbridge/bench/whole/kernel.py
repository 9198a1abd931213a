"""When the last route is in the kernel of the edge, or out of it, without hindering those who write it.

/proc/net/fib_triestat walks the whole trie at each look and would eat a core at a million routes. So a look is a few
RTM_GETROUTE for samples that are still awaited (RTM_F_FIB_MATCH: the entry itself, no lock that writers need, some
microseconds each), and only when all are as they should be the kernel is asked to count, until the very last is there.
IPv6 needs none of that: its count in /proc/net/rt6_stats is kept, not made.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Self

from bgpbridge.bench.rig import Rig
from bgpbridge.lab import namespaces
from bgpbridge.types import Family, IPAddress

__all__ = ["KernelTable", "counted_ipv4", "counted_ipv6", "question"]

LOOK_S: Final = 0.01
COUNT_S: Final = 0.05  # between two counts of a full trie
HEAD: Final = struct.Struct("=IHHII")  # struct nlmsghdr
ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg
ATTRIBUTE: Final = struct.Struct("=HH")
RTM_GETROUTE, RTM_NEWROUTE = 26, 24  # linux/rtnetlink.h
NLM_F_REQUEST, RTA_DST = 1, 1
RTM_F_FIB_MATCH = 0x2000


class KernelTable:
    """Use as a context. `number` counts routes as the kernel does, its own among them."""

    def __init__(self, place: Rig, family: Family) -> None:
        edge, path = place.inside("edge"), "fib_triestat" if family is Family.IPV4 else "rt6_stats"
        self.family = family
        self._socket = namespaces.inside(edge, _asker)
        opened = partial(os.open, f"/proc/thread-self/net/{path}", os.O_RDONLY | os.O_CLOEXEC)
        self._file = namespaces.inside(edge, opened)
        self.before = self.number()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.close(self._file)

    def number(self) -> int:
        """All routes now."""
        octets = b""
        while chunk := os.pread(self._file, 1 << 16, len(octets)):
            octets += chunk
        return counted_ipv4(octets) if self.family is Family.IPV4 else counted_ipv6(octets)

    def holds(self, address: IPAddress) -> bool:
        """Whether an entry of the table covers an address."""
        self._socket.send(question(address))
        return bool(HEAD.unpack_from(self._socket.recv(1 << 14))[1] == RTM_NEWROUTE)

    def filled(self, samples: Sequence[IPAddress], more: int, timeout_s: float) -> Watch:
        """Watch until `more` routes than before stand there."""
        return Watch(self, samples, True, lambda: self.number() >= self.before + more, timeout_s)

    def emptied(self, samples: Sequence[IPAddress], timeout_s: float) -> Watch:
        """Watch until all that came since `before` is out."""
        return Watch(self, samples, False, lambda: self.number() <= self.before, timeout_s)


class Watch:
    """A thread that looks; `reached_ns` is when it was so, None when it was not in time."""

    def __init__(
        self,
        table: KernelTable,
        samples: Sequence[IPAddress],
        wanted: bool,
        counted: Callable[[], bool],
        timeout_s: float,
    ) -> None:
        self.reached_ns: int | None = None
        self._table, self._wanted, self._counted = table, wanted, counted
        self._waiting = list(reversed(samples)) if table.family is Family.IPV4 else []
        self._deadline = time.monotonic() + timeout_s
        self._thread = threading.Thread(target=self._run, name="kernel table", daemon=True)
        self._thread.start()

    def done_ns(self) -> int | None:
        """Wait for the end of it."""
        self._thread.join()
        return self.reached_ns

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the turn is over, and with it what we look through
            self._look()

    def _look(self) -> None:
        while time.monotonic() < self._deadline:
            if self._samples_are_so():
                began = time.monotonic_ns()
                if self._counted():
                    self.reached_ns = began
                    return
                time.sleep(COUNT_S)
            else:
                time.sleep(LOOK_S)

    def _samples_are_so(self) -> bool:
        """Those that are awaited are asked for, the one that is sent last first, until one is not as it should be; it
        goes to the end, so that all are looked at in turn. What is as it should be is asked for no more."""
        while self._waiting:
            if self._table.holds(self._waiting[0]) != self._wanted:
                self._waiting.append(self._waiting.pop(0))
                return False
            del self._waiting[0]
        return True


def question(address: IPAddress) -> bytes:
    """RTM_GETROUTE for the entry that an address matches."""
    destination = ATTRIBUTE.pack(4 + len(address.packed), RTA_DST) + address.packed
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = ROUTE.pack(family, 8 * len(address.packed), 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH) + destination
    return HEAD.pack(HEAD.size + len(body), RTM_GETROUTE, NLM_F_REQUEST, 0, 0) + body


def counted_ipv4(octets: bytes) -> int:
    """Routes of the main table in /proc/net/fib_triestat; it shares its trie with the local table, and the kernel
    tells of that trie under both names."""
    found = re.search(rb"Main:.*?Prefixes:\s+(\d+)", octets, re.DOTALL)
    return int(found.group(1)) if found else 0


def counted_ipv6(octets: bytes) -> int:
    """Routes in /proc/net/rt6_stats: the fourth of its hexadecimal figures is fib_rt_entries (net/ipv6/route.c)."""
    return int(octets.split()[3], 16)


def _asker() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    made.bind((0, 0))
    return made
