"""What the kernel of the edge shows from outside: how many routes it holds, and when a link has gone."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
from functools import partial
from pathlib import Path
from typing import Self

from bgpbridge.lab import namespaces

__all__ = ["KernelRoutes", "LinkWatch"]

LOOK_S = 0.02  # a look at a full trie costs some ms
RTMGRP_LINK = 1  # linux/rtnetlink.h
RTM_NEWLINK = 16
IFF_RUNNING = 0x40
LINK_HEAD = struct.Struct("=IHHIIBBHiII")  # struct nlmsghdr, struct ifinfomsg


class KernelRoutes:
    """Counts the IPv4 routes of a namespace by /proc/net/fib_triestat, which the kernel counts itself by walking its
    trie: no dump, no notifications, and a time that is at most LOOK_S and one such walk late."""

    def __init__(self, namespace: str) -> None:
        path = Path("/proc/thread-self/net/fib_triestat")
        self._file = namespaces.inside(namespace, partial(os.open, path, os.O_RDONLY | os.O_CLOEXEC))
        self.reached_ns: int | None = None

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    def count(self) -> int:
        """All routes of the main table, addresses of our own included: it shares its trie with the local table, and
        the kernel tells of that trie under both names."""
        octets = b""
        while chunk := os.pread(self._file, 1 << 16, len(octets)):
            octets += chunk
        found = re.search(rb"Main:.*?Prefixes:\s+(\d+)", octets, re.DOTALL)
        return int(found.group(1)) if found else 0

    def until(self, number: int, timeout_s: float) -> threading.Thread:
        """A thread that looks until there are so many, and notes in `reached_ns` when it was."""
        self.reached_ns = None

        def look() -> None:
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                if self.count() >= number:
                    self.reached_ns = time.monotonic_ns()
                    return
                time.sleep(LOOK_S)

        thread = threading.Thread(target=look, name="kernel routes", daemon=True)
        thread.start()
        return thread


class LinkWatch:
    """Hears the kernel's own word (RTM_NEWLINK) that a link of a namespace has lost its carrier: the same that every
    daemon there hears. `look` is called often; the event is dated to the look before, so what is measured from it
    is never too short."""

    def __init__(self, namespace: str, interface: str) -> None:
        self._socket = namespaces.inside(namespace, _link_socket)
        self._index = namespaces.inside(namespace, partial(socket.if_nametoindex, interface))
        self._before_ns = time.monotonic_ns()
        self.down_ns: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def look(self) -> None:
        """Note it when it has been said by now."""
        now = time.monotonic_ns()
        with contextlib.suppress(BlockingIOError):
            while self.down_ns is None:
                octets = self._socket.recv(1 << 16)
                _, kind, _, _, _, _, _, _, index, flags, _ = LINK_HEAD.unpack_from(octets)
                if kind == RTM_NEWLINK and index == self._index and not flags & IFF_RUNNING:
                    self.down_ns = self._before_ns
        self._before_ns = now


def _link_socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    made.bind((0, RTMGRP_LINK))
    return made
