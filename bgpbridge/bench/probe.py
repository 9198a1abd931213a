"""Probes: numbered packets from the source's namespace, and sockets at the far end, one an uplink, that tell which
way each came. All from one thread, which sends and looks in turn: the time of an arrival is at most one turn late
(some 50 us for one address; a round over all addresses that are still awaited for many). Between two probes it rests:
a prober that spins would hold the processor that the daemon is woken on."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, Self

from bgpbridge.bench.rig import FAR_PORTS, Rig
from bgpbridge.lab import namespaces
from bgpbridge.types import Family, IPAddress

__all__ = ["REST_S", "Prober"]

PORT: Final = 7001
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h
PROBE = struct.Struct("!II")  # trial, number of the address
REST_S = 0.00002
PR_SET_TIMERSLACK = 29  # linux/prctl.h
LOOK_EVERY = 8  # probes between two looks at what came
LAST_S: Final = 0.2  # for the last packets of a stream to arrive


class Prober:
    """Use as a context. Every trial has its own number, so that a packet of an earlier one counts for nothing. All
    addresses are of one `family`."""

    def __init__(self, place: Rig, family: Family = Family.IPV4) -> None:
        self._trial = 0
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)  # this thread's naps end within 1 us, not 50
        self._out = namespaces.inside(place.inside("source"), partial(_datagrams, family))
        far = place.inside("far")
        self._in = {port: namespaces.inside(far, partial(_listener, port, family)) for port in FAR_PORTS}

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
        most: int = 0,
        eager_s: float = 0.0,
    ) -> list[int] | None:
        """Probe all addresses in rounds of `round_s` until each has come by this uplink: the times of their first
        arrivals, in ns, in order of time; None after the timeout. `look` is called every few probes. With `most` a
        round has so many of them, in turn, for what costs the processor least; but for the first `eager_s` all are
        probed without a rest."""
        trial, listener = self._begin(), self._in[port]
        waiting = {number: (str(address), PORT) for number, address in enumerate(addresses)}
        arrived: list[int] = []
        start = time.monotonic_ns()
        deadline, eager = start + int(timeout_s * 1e9), start + int(eager_s * 1e9)
        while waiting and (began := time.monotonic_ns()) < deadline:
            together = len(waiting) if began < eager or not most else most
            for turn, number in enumerate(list(islice(waiting, together))):
                if number not in waiting:
                    continue
                target = waiting[number] = waiting.pop(number)  # to the end: the others are next
                with contextlib.suppress(OSError):
                    self._out.sendto(PROBE.pack(trial, number), target)
                if turn % LOOK_EVERY == 0:
                    if look is not None:
                        look()
                    _gather(listener, trial, waiting, arrived)
            _gather(listener, trial, waiting, arrived)
            rest = round_s - (time.monotonic_ns() - began) / 1e9
            if waiting and rest > 0 and began >= eager:
                time.sleep(rest)
        return None if waiting else arrived

    def which(self, addresses: Sequence[IPAddress], port: str, wait_s: float) -> list[IPAddress]:
        """Those of which a packet comes by this uplink, of one each; what is on its way gets `wait_s` to arrive."""
        trial, listener = self._begin(), self._in[port]
        waiting = {number: (str(address), PORT) for number, address in enumerate(addresses)}
        for number, target in list(waiting.items()):
            with contextlib.suppress(OSError):
                self._out.sendto(PROBE.pack(trial, number), target)
        time.sleep(wait_s)
        _gather(listener, trial, waiting, [])
        return [address for number, address in enumerate(addresses) if number not in waiting]

    def stream(self, addresses: Sequence[IPAddress], port: str, rate_pps: int, until: threading.Event) -> int:
        """Packets to all of them in turn, so many a second, until told: how many were lost on the way."""
        trial, listener, sent = self._begin(), self._in[port], 0
        targets = [(str(address), PORT) for address in addresses]
        waiting: dict[int, tuple[str, int]] = {}
        start = time.monotonic()
        while not until.is_set():
            waiting[sent] = targets[sent % len(targets)]
            try:
                self._out.sendto(PROBE.pack(trial, sent), waiting[sent])
            except BlockingIOError:
                del waiting[sent]
            sent += 1
            _gather(listener, trial, waiting, [])
            rest = start + sent / rate_pps - time.monotonic()
            if rest > 0:
                time.sleep(rest)
        time.sleep(LAST_S)
        _gather(listener, trial, waiting, [])
        return len(waiting)

    def gone(self, addresses: Sequence[IPAddress], port: str, timeout_s: float, round_s: float) -> int | None:
        """Probe all in rounds until none of them comes by this uplink any more: when the last one came, in ns (at
        most a round too early); None when some still come after the timeout."""
        listener, last = self._in[port], time.monotonic_ns()
        deadline = last + int(timeout_s * 1e9)
        while (began := time.monotonic_ns()) < deadline:
            trial = self._begin()
            for number, address in enumerate(addresses):
                with contextlib.suppress(OSError):
                    self._out.sendto(PROBE.pack(trial, number), (str(address), PORT))
            time.sleep(max(0.0, round_s - (time.monotonic_ns() - began) / 1e9))
            waiting = dict.fromkeys(range(len(addresses)), ("", PORT))
            came: list[int] = []
            _gather(listener, trial, waiting, came)
            if not came:
                return last
            last = began
        return None


def _gather(listener: socket.socket, trial: int, waiting: dict[int, tuple[str, int]], arrived: list[int]) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            of, number = PROBE.unpack(listener.recv(64))
            if of == trial and waiting.pop(number, None):
                arrived.append(time.monotonic_ns())


def _datagrams(family: Family) -> socket.socket:
    domain = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
    made = socket.socket(domain, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    return made


def _listener(port: str, family: Family) -> socket.socket:
    made = _datagrams(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, port.encode())
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    every = "0.0.0.0" if family is Family.IPV4 else "::"  # noqa: S104 -- all are at home there, in a namespace of ours
    made.bind((every, PORT))
    return made
