"""Prefixes that move between two uplinks by single UPDATEs, one at a time, with a whole table behind them.

Neighbour 0 has the table by paths of 3 to 6 AS numbers. A single UPDATE of its own with a path of 1 takes a prefix to
uplink a, one with a path of 13 leaves it to whoever else has it behind uplink b: neighbour 1 has those that move by a
path of 4 (more than 1, less than 13), neighbour 3, where it feeds too, the whole table by paths of 4 to 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bgpbridge.bench.feeds import Feed, update
from bgpbridge.bench.update import Flip, covering
from bgpbridge.bench.whole.tables import neighbour
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.nlri import encode_nlri

__all__ = ["Movers", "movers"]

TARGETS: Final = 40
OTHERS: Final = 1000
FAR: Final = tuple(range(65001, 65013))


@dataclass(frozen=True, slots=True)
class Movers:
    """`targets` are probed, `others` make traffic; `octets` is what neighbour 1 announces of both."""

    targets: tuple[tuple[Prefix, IPAddress], ...]
    others: tuple[Prefix, ...]
    octets: bytes

    def probed(self) -> list[Flip]:
        """Those that are measured, each by uplink a."""
        return [_flip(prefix, address, 0) for prefix, address in self.targets]

    def noise(self, number: int) -> list[Flip]:
        """Those that neighbour 0 or 1 moves to and fro meanwhile."""
        return [_flip(prefix, prefix.address, number) for prefix in self.others]


def _flip(prefix: Prefix, address: IPAddress, number: int) -> Flip:
    """By neighbour 0 a near path is uplink a's, by 1 uplink b's."""
    near, far = (_update(prefix, number, path) for path in ((), FAR))
    ports = ("eth1", "eth2") if number == 0 else ("eth2", "eth1")
    return Flip(address, dict(zip(ports, (near, far), strict=True)))


def _update(prefix: Prefix, number: int, path: tuple[int, ...]) -> bytes:
    return update(Family.IPV4, encode_nlri([(prefix, 0)]), neighbour(number).origin(), path)


def movers(feed: Feed) -> Movers:
    """Those of a made IPv4 table."""
    targets = tuple((covering(feed, address), address) for address in feed.alone(TARGETS))
    others = tuple(_others(feed, {prefix for prefix, _ in targets}))
    both = [*(prefix for prefix, _ in targets), *others]
    return Movers(targets, others, b"".join(_update(prefix, 1, FAR[:3]) for prefix in both))


def _others(feed: Feed, targets: set[Prefix]) -> Iterator[Prefix]:
    for row in range(0, len(feed), max(1, len(feed) // OTHERS)):
        prefix = feed.prefix(row)
        if prefix not in targets:
            yield prefix
