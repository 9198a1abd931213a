"""How a load grows with prefixes and with neighbours: from the records of whole tables alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bgpbridge.bench.records import Row

__all__ = ["Grown", "grown"]

SIZES = {"k": 1_000, "m": 1_000_000}
BY_PREFIXES = re.compile(r"(load_v[46])_(\d+)([km]?)(_xdp)?")
BY_PEERS = re.compile(r"peers_(\d+)x(\d+)([km]?)(_xdp)?")


@dataclass(frozen=True, slots=True)
class Grown:
    """A load of so many routes that neighbours have sent together, in seconds."""

    subject: str
    plane: str
    neighbours: int
    routes: int
    seconds: float

    @property
    def each_us(self) -> float:
        """Microseconds a route."""
        return 1e6 * self.seconds / self.routes


def grown(rows: Iterable[Row]) -> list[Grown]:
    """All IPv4 loads that ended, in order of neighbours and routes."""
    found = [one for row in rows if row.median for one in _of(row.metric, row.subject, row.median)]
    return sorted(found, key=lambda one: (one.subject, one.plane, one.neighbours, one.routes))


def _of(metric: str, subject: str, seconds: float) -> Iterator[Grown]:
    if alone := BY_PREFIXES.fullmatch(metric):
        family, number, letter, xdp = alone.groups()
        if family == "load_v4":
            yield Grown(subject, _plane(xdp), 1, int(number) * SIZES.get(letter, 1), seconds)
    elif together := BY_PEERS.fullmatch(metric):
        count, number, letter, xdp = together.groups()
        yield Grown(subject, _plane(xdp), int(count), int(count) * int(number) * SIZES.get(letter, 1), seconds)


def _plane(xdp: str | None) -> str:
    return "XDP" if xdp else "kernel"
