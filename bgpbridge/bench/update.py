"""One UPDATE that moves a prefix to the other uplink: its first octet sent to the first packet on the new path, with
the large table loaded, when nothing else happens and at 1,000 UPDATE a second.

Provider `a` has the whole table, `b` a part of it with a path of middle length; an UPDATE from `a` with a longer or a
shorter path moves the prefix to `b` or back. From the moment it is sent one address is probed as quickly as can be.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.bench.driver import SETTLE_S, Bench, Stand
from bgpbridge.bench.feeds import Feed, made, update
from bgpbridge.bench.plan import Plan
from bgpbridge.bench.probe import REST_S, Prober
from bgpbridge.bench.results import Figure, spread
from bgpbridge.bench.rig import uplink
from bgpbridge.bench.tester import Tester
from bgpbridge.errors import LabError
from bgpbridge.types import Family, IPAddress, Prefix
from bgpbridge.wire.nlri import encode_nlri

__all__ = ["BENCH", "Flip", "covering", "moved_ms", "paced"]

RATE_PPS = 1000
MEASURED_EVERY = 20
MOVING = 1000  # prefixes that both providers have
TARGETS = 40  # of them, those that are probed
PAUSE_S = (0.005, 0.04)
LATE_S = 2.0


@dataclass(slots=True)
class Flip:
    """A prefix that moves: its two UPDATEs, and where it is."""

    address: IPAddress
    by_port: dict[str, bytes]
    port: str = "eth1"

    @classmethod
    def of(cls, prefix: Prefix, address: IPAddress) -> Flip:
        """The path of `a` is 1 AS, of `b` 4, or of `a` 7."""
        nlri = _nlri(prefix)
        path = tuple(range(65001, 65007))
        near, far = (update(Family.IPV4, nlri, uplink("a").origin(), path[:hops]) for hops in (0, 6))
        return cls(address, {"eth1": near, "eth2": far})

    def move(self) -> bytes:
        """The UPDATE that moves it; `port` is where it will be."""
        self.port = "eth2" if self.port == "eth1" else "eth1"
        return self.by_port[self.port]


@dataclass(frozen=True, slots=True)
class Table:
    """What is announced before: by `a` the feed and then the near path of all that move, by `b` these."""

    octets_a: bytes
    octets_b: bytes
    samples: list[IPAddress]
    targets: list[tuple[Prefix, IPAddress]]
    others: list[Prefix]

    @classmethod
    def of(cls, plan: Plan) -> Table:
        """A table of the plan's size."""
        feed = made(plan.prefixes, uplink("a").origin())
        targets = [(covering(feed, address), address) for address in feed.alone(TARGETS)]
        chosen = {prefix for prefix, _ in targets}
        some = [feed.prefix(row) for row in range(0, len(feed), max(1, len(feed) // (MOVING + TARGETS)))]
        others = [prefix for prefix in some if prefix not in chosen][:MOVING]
        moving = [*chosen, *others]
        near = b"".join(Flip.of(prefix, prefix.address).by_port["eth1"] for prefix in moving)
        path = (65001, 65002, 65003)
        other = b"".join(update(Family.IPV4, _nlri(prefix), uplink("b").origin(), path) for prefix in moving)
        return cls(feed.octets + near, other, feed.alone(plan.samples), targets, others)


def _nlri(prefix: Prefix) -> bytes:
    return encode_nlri([(prefix, 0)])


def covering(feed: Feed, address: IPAddress) -> Prefix:
    """The one prefix of the feed that an address of `alone` lies in."""
    for length in sorted({int(length) for length in feed.length}):
        value = int(address) >> 32 - length << 32 - length
        if ((feed.value == value) & (feed.length == length)).any():
            return Prefix(Family.IPV4, value, length)
    raise LabError(f"{address} lies in no prefix of the feed")


def _cases(plan: Plan) -> Iterator[Table]:
    yield Table.of(plan)


def _one(stand: Stand, table: Table) -> list[Figure]:
    """Milliseconds."""
    idle, busy = [], []
    flips = [Flip.of(prefix, address) for prefix, address in table.targets]
    others = [Flip.of(prefix, prefix.address) for prefix in table.others]
    place, prober = stand.place, stand.prober
    with place.tester("b", table=table.octets_b) as b, place.tester("a", table=table.octets_a) as a:
        b.until_up()
        a.until_up()
        if stand.loaded(table.samples):
            idle = _idle(a, prober, flips, stand.plan.updates)
            stand.subject.settle(SETTLE_S)
            busy = paced(a, prober, flips, others, stand.plan.busy_s)
    return [*spread("one UPDATE, idle", "ms", idle), *spread(f"one UPDATE at {RATE_PPS:,}/s", "ms", busy)]


def _idle(a: Tester, prober: Prober, flips: list[Flip], count: int) -> list[float]:
    """Latencies in ms; empty when one was too late."""
    chance = random.Random(1)  # noqa: S311 -- pauses, not secrets
    found = []
    for number in range(count):
        time.sleep(chance.uniform(*PAUSE_S))
        moved = moved_ms(a, prober, flips[number % len(flips)], LATE_S)
        if moved is None:
            return []
        found.append(moved)
    return found


def moved_ms(a: Tester, prober: Prober, flip: Flip, late_s: float) -> float | None:
    """Move it: from the first octet sent to the first packet on the new path; None when that takes too long."""
    octets = flip.move()
    began = time.monotonic_ns()
    a.send(octets)
    moved = prober.first(flip.address, flip.port, late_s)
    return None if moved is None else (moved - began) / 1e6


def paced(a: Tester, prober: Prober, flips: list[Flip], others: list[Flip], lasts_s: float) -> list[float]:
    """The same while every tick of 1 ms sends an UPDATE, every MEASURED_EVERYth of them a measured one (the next,
    where the last has not arrived yet). Ticks that are late are made up for."""
    found: list[float] = []
    shot, began, number, waited = None, 0, 0, 0
    start = time.monotonic_ns()
    while number < lasts_s * RATE_PPS or shot:
        now = time.monotonic_ns()
        if number < lasts_s * RATE_PPS and now >= start + number * 1_000_000_000 // RATE_PPS:
            number += 1
            if shot is None and number >= waited:
                flip = flips[len(found) % len(flips)]
                octets, waited = flip.move(), number + MEASURED_EVERY
                shot, began = prober.shot(flip.address, flip.port), time.monotonic_ns()
                a.send(octets)
            else:
                a.send(others[number % len(others)].move())
        elif shot is None:
            time.sleep(0.0001)
        if shot and shot():
            found.append((time.monotonic_ns() - began) / 1e6)
            shot = None
        elif shot and now - began > LATE_S * 1e9:
            return []
        elif shot:
            time.sleep(REST_S)
    return found


def _note(plan: Plan) -> str:
    return (
        f"{plan.prefixes:,} prefixes loaded; a quick prober tells when the path has moved (resolution about 50 us). "
        f"Idle: random pauses of 5 to 40 ms. Busy: {RATE_PPS:,} UPDATE/s, each moves a prefix, every "
        f"{MEASURED_EVERY}th is measured, unless one is still awaited. {plan.updates} and at most "
        f"{plan.busy_s * RATE_PPS / MEASURED_EVERY:.0f} measurements a run."
    )


BENCH = Bench("update", LATE_S, _cases, _one, _note)
