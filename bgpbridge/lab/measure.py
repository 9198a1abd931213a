"""What became of a stream of numbered packets: lost, for how long, by which way. Pure arithmetic.

Times are CLOCK_MONOTONIC nanoseconds, which all namespaces of a machine share, so what is sent in one and
received in another compares directly. Loss is told by the sender's clock: the receiver's scheduling does not
blur it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARRIVAL", "Outage", "Report", "measure"]

ARRIVAL = np.dtype([("sequence", "u8"), ("sent_ns", "u8"), ("received_ns", "u8"), ("interface", "u4")])
# Losses that are further apart than this are two outages.
APART_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Outage:
    """Packets lost one after the other. `began_ns` is when the first of them was sent; `lasted_ms` reaches to
    the last one plus one interval between packets."""

    began_ns: int
    lasted_ms: float
    packets: int


@dataclass(frozen=True, slots=True)
class Report:
    """The whole stream. `longest_gap_ms` is the longest time in which the receiver saw nothing; `ways` counts
    packets by the interface of arrival, `last_way` is that of most of the last hundred."""

    sent: int
    received: int
    lost: int
    duplicated: int
    longest_gap_ms: float
    delay_us_p50: float
    delay_us_p99: float
    ways: Mapping[str, int]
    outages: tuple[Outage, ...]
    last_way: str

    def lost_within(self, began_ns: int, ended_ns: int) -> tuple[int, float]:
        """Packets lost in outages that began in this time, and how long they lasted together, in ms."""
        found = [outage for outage in self.outages if began_ns <= outage.began_ns < ended_ns]
        return sum(outage.packets for outage in found), sum(outage.lasted_ms for outage in found)


def measure(sent_ns: NDArray[np.uint64], arrivals: NDArray[np.void], names: Mapping[int, str]) -> Report:
    """`sent_ns[n]` is when packet n was sent (0: the sender's kernel refused it), `arrivals` are of ARRIVAL,
    `names` the receiver's interfaces by index."""
    seen = np.zeros(len(sent_ns), bool)
    seen[arrivals["sequence"][arrivals["sequence"] < len(sent_ns)]] = True
    lost = np.flatnonzero(~seen & (sent_ns > 0))
    received_ns = np.sort(arrivals["received_ns"]).astype(np.int64)
    delays_us = (arrivals["received_ns"].astype(np.int64) - arrivals["sent_ns"].astype(np.int64)) / 1e3
    indices, counts = np.unique(arrivals["interface"], return_counts=True)
    ways = {names.get(int(i), str(i)): int(n) for i, n in zip(indices, counts, strict=True)}
    last = arrivals["interface"][np.argsort(arrivals["sent_ns"])[-100:]]
    return Report(
        sent=int(np.count_nonzero(sent_ns)),
        received=int(np.count_nonzero(seen)),
        lost=len(lost),
        duplicated=len(arrivals) - int(np.count_nonzero(seen)),
        longest_gap_ms=float(np.diff(received_ns).max() / 1e6) if len(received_ns) > 1 else 0.0,
        delay_us_p50=float(np.percentile(delays_us, 50)) if len(arrivals) else 0.0,
        delay_us_p99=float(np.percentile(delays_us, 99)) if len(arrivals) else 0.0,
        ways=ways,
        outages=_outages(sent_ns[lost].astype(np.int64), _interval_ns(sent_ns)),
        last_way=names.get(int(np.bincount(last).argmax()), "") if len(last) else "",
    )


def _interval_ns(sent_ns: NDArray[np.uint64]) -> int:
    times = sent_ns[sent_ns > 0].astype(np.int64)
    return int(np.median(np.diff(times))) if len(times) > 1 else 0


def _outages(lost_ns: NDArray[np.int64], interval_ns: int) -> tuple[Outage, ...]:
    """Lost packets in the order they were sent, cut where more than APART_NS lie between two."""
    if not len(lost_ns):
        return ()
    lost_ns = np.sort(lost_ns)
    cuts = np.flatnonzero(np.diff(lost_ns) > APART_NS) + 1
    return tuple(
        Outage(int(part[0]), float(part[-1] - part[0] + interval_ns) / 1e6, len(part))
        for part in np.split(lost_ns, cuts)
    )
