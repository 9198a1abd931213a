"""Asks the kernel about neighbours: the `Prober` that adjacencies use.

A neighbour request takes the kernel's rtnl lock, and a kernel FIB in full load, or a group replace, may hold that
for half a second. So requests are gathered for one turn of the event loop and sent by a thread of their own. The
answer is not the reply but the neighbour event that follows; a refusal is counted, and the adjacency asks again.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bgpbridge.fib import rtnetlink
from bgpbridge.fib.pyroute import NLMSG_ERROR, AsyncNetlinkSocket
from bgpbridge.types import IPAddress

__all__ = ["NeighbourProber"]

REQUESTS_A_SEND = 64  # a refusal of each fits the receive buffer many times over


class NeighbourProber:
    """Made inside the event loop, in the network namespace it is to work in."""

    def __init__(self) -> None:
        self.sent = 0
        self.refused: Counter[str] = Counter()  # by errno's name
        self._loop = asyncio.get_running_loop()
        self._opened = AsyncNetlinkSocket(family=0)
        self._socket: socket.socket = self._opened.socket
        self._thread = ThreadPoolExecutor(1, "neighbours")
        self._gathered: dict[tuple[IPAddress, int], bool] = {}
        self._sequence = 0
        self._closed = False

    def resolve(self, address: IPAddress, ifindex: int) -> None:
        """Find the MAC of a neighbour that is not known."""
        self._gather(address, ifindex, probe=False)

    def confirm(self, address: IPAddress, ifindex: int) -> None:
        """Ask a known neighbour whether it is still there."""
        self._gather(address, ifindex, probe=True)

    def close(self) -> None:
        """Wait for the request under way, forget the others, and whatever is asked from now on."""
        self._closed = True
        self._gathered.clear()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._opened.close()

    def _gather(self, address: IPAddress, ifindex: int, *, probe: bool) -> None:
        if self._closed:
            return
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered[address, ifindex] = probe

    def _flush(self) -> None:
        requests, self._gathered = list(self._gathered.items()), {}
        for start in range(0, len(requests), REQUESTS_A_SEND):
            self._thread.submit(self._send, requests[start : start + REQUESTS_A_SEND])

    def _send(self, requests: list[tuple[tuple[IPAddress, int], bool]]) -> None:
        """In the thread. When send returns, the kernel is done and its refusals are there to read."""
        octets = bytearray()
        for (address, ifindex), probe in requests:
            self._sequence += 1
            octets += rtnetlink.neighbour_request(address, ifindex, probe=probe, sequence=self._sequence)
        self._socket.send(octets)
        self.sent += len(requests)
        while True:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for message in rtnetlink.messages(data):
                if message.type == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", data, message.start)
                    self.refused[errno.errorcode.get(-code, str(-code))] += 1
