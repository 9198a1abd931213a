"""What has to leave in time whatever else goes on: probes and KEEPALIVEs, as a neighbour sees them come.

A probe that is late puts off the next one (`enrich.schedule`): how late each is shows in the pause before it.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Final, Self

from bgpbridge.bench.records import percentile
from bgpbridge.bench.tester import Tester
from bgpbridge.bench.whole.turn import Late
from bgpbridge.enrich.sockets import drain, stamp_received
from bgpbridge.lab import namespaces
from bgpbridge.types import IPAddress

__all__ = ["HOLD_S", "LATENCY", "OnTime", "late_s", "longest_s"]

INTERVAL_S: Final = 0.05
LATENCY: Final = {"mode": "observe", "interval_s": INTERVAL_S, "budget_pps": 200}
HOLD_S: Final = 3  # RFC 4271 s4.2: the shortest; a KEEPALIVE is due every second
ECHO_REQUEST: Final = 8
STEADY: Final = 20  # probes before anything is measured


def late_s(arrivals_s: Sequence[float], share: float) -> float:
    """How late that share of the probes was at most; too early is not late."""
    return percentile(
        [max(0.0, there - before - INTERVAL_S) for before, there in itertools.pairwise(arrivals_s)], share
    )


def longest_s(arrivals_s: Iterable[float], began_s: float, ended_s: float) -> float:
    """The longest pause between two of them that reaches into the time between the two moments. The last one goes on
    until the end where nothing has come since."""
    times = list(arrivals_s)
    pauses = [
        there - before for before, there in itertools.pairwise([*times, max([ended_s, *times])]) if there > began_s
    ]
    return max(pauses, default=ended_s - began_s)


class OnTime:
    """Echo requests to a neighbour, and the KEEPALIVEs that it gets in its session, from `begin` on."""

    def __init__(self, namespace: str, address: IPAddress, tester: Tester) -> None:
        self._tester, self._began_s = tester, 0.0
        self._probes: list[float] = []

        def opened() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
            made.bind((str(address), 0))
            return stamp_received(made)

        self._socket = namespaces.inside(namespace, opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def begin(self, timeout_s: float) -> None:
        """As soon as probes come steadily. Raises Late."""
        deadline = time.monotonic() + timeout_s
        while len(self._probes) < STEADY:
            if not select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Late("probes", timeout_s)
            self.look()
        self._probes, self._began_s = self._probes[-1:], time.monotonic()

    def look(self) -> None:
        """Take what has come."""
        while found := list(drain(self._socket)):
            kind_at = [(one.octets[0] & 15) * 4 for one in found]
            stamps = [one.stamp_ns for one, at in zip(found, kind_at, strict=True) if one.octets[at] == ECHO_REQUEST]
            self._probes += [stamp / 1e9 for stamp in stamps if stamp is not None]

    def probes_late_s(self, share: float) -> float | None:
        """Since `begin`; None where none came."""
        self.look()
        return late_s(self._probes, share) if len(self._probes) > 1 else None

    def keepalive_gap_s(self) -> float:
        """The longest pause since `begin`."""
        return longest_s(tuple(self._tester.alive), self._began_s, time.monotonic())
