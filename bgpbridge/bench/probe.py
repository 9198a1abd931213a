"""Probes: numbered packets from the source's namespace, and sockets at the far end, one an uplink, that tell which
way each came. All from one thread, which sends and looks in turn: the time of an arrival is at most one turn late
(some 50 us for one address; a round over all addresses that are still awaited for many). Between two probes it rests:
a prober that spins would hold the processor that the daemon is woken on."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Self

from bgpbridge.bench.rig import FAR_PORTS, Rig
from bgpbridge.lab import namespaces
from bgpbridge.types import IPAddress

__all__ = ["REST_S", "Prober"]

PORT: Final = 7001
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h
PROBE = struct.Struct("!II")  # trial, number of the address
REST_S = 0.00002
PR_SET_TIMERSLACK = 29  # linux/prctl.h
LOOK_EVERY = 8  # probes between two looks at what came


class Prober:
    """Use as a context. Every trial has its own number, so that a packet of an earlier one counts for nothing."""

    def __init__(self, place: Rig) -> None:
        self._trial = 0
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)  # this thread's naps end within 1 us, not 50
        self._out = namespaces.inside(place.inside("source"), _datagrams)
        self._in = {port: namespaces.inside(place.inside("far"), partial(_listener, port)) for port in FAR_PORTS}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for held in (self._out, *self._in.values()):
            held.close()

    def _begin(self) -> int:
        """A new trial; what lies in the sockets is thrown away."""
        self._trial += 1
        for listener in self._in.values():
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.recv(64)
        return self._trial

    def first(self, address: IPAddress, port: str, timeout_s: float) -> int | None:
        """Every REST_S or so to one address, until one comes by this uplink: when, in ns; None after the timeout."""
        probe = PROBE.pack(self._begin(), 0)
        target, listener = (str(address), PORT), self._in[port]
        deadline = time.monotonic_ns() + int(timeout_s * 1e9)
        while time.monotonic_ns() < deadline:
            if self.once(probe, target, listener):
                return time.monotonic_ns()
            time.sleep(REST_S)
        return None

    def shot(self, address: IPAddress, port: str) -> Callable[[], bool]:
        """A trial whose probes the caller paces: each call sends one and says whether any has come by `port`."""
        probe = PROBE.pack(self._begin(), 0)
        return partial(self.once, probe, (str(address), PORT), self._in[port])

    def once(self, probe: bytes, target: tuple[str, int], listener: socket.socket) -> bool:
        """One probe; whether one of its trial has arrived."""
        with contextlib.suppress(OSError):
            self._out.sendto(probe, target)
        with contextlib.suppress(BlockingIOError):
            while True:
                if listener.recv(64) == probe:
                    return True
        return False

    def all_of(
        self,
        addresses: Sequence[IPAddress],
        port: str,
        timeout_s: float,
        *,
        look: Callable[[], object] | None = None,
        round_s: float = 0.0,
    ) -> list[int] | None:
        """Probe all addresses in rounds of `round_s` until each has come by this uplink: the times of their first
        arrivals, in ns, in order of time; None after the timeout. `look` is called every few probes."""
        trial, listener = self._begin(), self._in[port]
        waiting = {number: (str(address), PORT) for number, address in enumerate(addresses)}
        arrived: list[int] = []
        deadline = time.monotonic_ns() + int(timeout_s * 1e9)
        while waiting and (began := time.monotonic_ns()) < deadline:
            for turn, (number, target) in enumerate(list(waiting.items())):
                with contextlib.suppress(OSError):
                    self._out.sendto(PROBE.pack(trial, number), target)
                if turn % LOOK_EVERY == 0:
                    if look is not None:
                        look()
                    _gather(listener, trial, waiting, arrived)
            _gather(listener, trial, waiting, arrived)
            rest = round_s - (time.monotonic_ns() - began) / 1e9
            if waiting and rest > 0:
                time.sleep(rest)
        return None if waiting else arrived


def _gather(listener: socket.socket, trial: int, waiting: dict[int, tuple[str, int]], arrived: list[int]) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            of, number = PROBE.unpack(listener.recv(64))
            if of == trial and waiting.pop(number, None):
                arrived.append(time.monotonic_ns())


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    return made


def _listener(port: str) -> socket.socket:
    made = _datagrams()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, port.encode())
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    made.bind(("0.0.0.0", PORT))  # noqa: S104 -- every address is at home there, in a namespace of ours
    return made
