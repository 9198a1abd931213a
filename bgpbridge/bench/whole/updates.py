"""Single UPDATEs with a whole table loaded: at random times and 60 a second, 1,000 a second from the same neighbour,
and in two storms: another neighbour sends 1,000 UPDATE/s, a third one loads a whole table."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from bgpbridge.bench.results import Figure, spread
from bgpbridge.bench.tester import Tester
from bgpbridge.bench.update import Flip, moved_ms, paced
from bgpbridge.bench.whole import histogram
from bgpbridge.bench.whole.movers import Movers
from bgpbridge.bench.whole.tables import Table
from bgpbridge.bench.whole.turn import Late, Turn

__all__ = ["METRICS", "OWN", "STORMS", "storms", "updates"]

METRICS: Final = {"update_p50": "ms", "update_p99": "ms", "update_p50_1000": "ms", "update_p99_1000": "ms"}
OWN: Final = {"bridge_p50": "ms", "bridge_p99": "ms"}
STORMS: Final = {"storm_p99": "ms", "storm_p99_load": "ms"}
PAUSE_S: Final = (0.005, 0.04)
STEADY_S: Final = 1 / 60
LATE_S: Final = 10.0
RATE_PPS: Final = 1000
LOOK_S: Final = 0.02
QUICKEST_S: Final = 2.0  # a storm goes on for as long at least
CHANCE: Final = random.Random(1)  # noqa: S311 -- pauses, not secrets


def updates(turn: Turn, moving: Movers) -> Iterator[Figure]:
    """Half of them at random times, half at 60 a second; then at 1,000 a second. Neighbours 0 and 1 are up."""
    a, flips = turn.testers[0], moving.probed()
    half = turn.scale.updates // 2
    before = histogram.read(turn.place) if turn.contender.ours else []
    found: list[float] = []
    for number in range(2 * half):
        time.sleep(CHANCE.uniform(*PAUSE_S) if number < half else STEADY_S)
        found.append(_moved(turn, a, flips[number % len(flips)]))
    yield from _named("update", found)
    if turn.contender.ours:
        after = histogram.read(turn.place)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            seconds = histogram.quantile(before, after, share)
            yield Figure(f"bridge_{name}", "ms", None if seconds is None else 1e3 * seconds)
    turn.rest()
    busy = paced(a, turn.prober, flips, moving.noise(0), turn.scale.busy_s)
    if not busy:
        raise Late("one of 1,000 UPDATE/s", LATE_S)
    yield from (Figure(f"{figure.metric}_1000", "ms", figure.value) for figure in _named("update", busy))
    for flip in [*flips, *moving.noise(0)]:
        a.send(flip.by_port["eth1"])
    turn.rest()


def storms(turn: Turn, moving: Movers, second: Table) -> Iterator[Figure]:
    """99th percentiles in ms. `second` is the table of neighbour 3, whose session is up."""
    b, noise = turn.testers[1], moving.noise(1)
    yield _storm(turn, moving, "storm_p99", lambda over: _sends(b, noise, turn.scale.storm_s, over))
    for flip in noise:
        b.send(flip.by_port["eth1"])
    turn.rest()
    yield _storm(turn, moving, "storm_p99_load", lambda over: _loads(turn, second, over))


def _storm(turn: Turn, moving: Movers, metric: str, work: Callable[[threading.Event], None]) -> Figure:
    """What a neighbour does until told that it is `over`, and single UPDATEs meanwhile; it may set `over` itself."""
    over, began = threading.Event(), time.monotonic()
    found: list[float] = []
    flips = moving.probed()
    storm = threading.Thread(target=work, args=(over,), daemon=True)
    storm.start()
    try:
        while not over.is_set() or time.monotonic() < began + QUICKEST_S:
            time.sleep(CHANCE.uniform(*PAUSE_S))
            found.append(_moved(turn, turn.testers[0], flips[len(found) % len(flips)]))
    finally:
        over.set()
        storm.join()
    for flip in flips:
        turn.testers[0].send(flip.by_port["eth1"])
    return Figure(metric, "ms", spread("", "ms", found)[1].value)


def _sends(b: Tester, noise: list[Flip], lasts_s: float, over: threading.Event) -> None:
    """1,000 UPDATE/s for so long; ticks that are late are made up for."""
    start, number = time.monotonic(), 0
    while number < lasts_s * RATE_PPS and not over.is_set():
        b.send(noise[number % len(noise)].move())
        number += 1
        rest = start + number / RATE_PPS - time.monotonic()
        if rest > 0:
            time.sleep(rest)
    over.set()


def _loads(turn: Turn, second: Table, over: threading.Event) -> None:
    """A whole table as quickly as it is taken; over once the mark behind it is in the kernel."""
    turn.testers[3].send(second.octets)
    ends = time.monotonic() + turn.limit_s
    while not turn.kernel.holds(second.samples[-1]) and not over.is_set() and time.monotonic() < ends:
        time.sleep(LOOK_S)
    over.set()


def _moved(turn: Turn, a: Tester, flip: Flip) -> float:
    found = moved_ms(a, turn.prober, flip, min(LATE_S, turn.left_s("one UPDATE")))
    if found is None:
        raise Late("one UPDATE", LATE_S)
    return found


def _named(metric: str, found: list[float]) -> Iterator[Figure]:
    for name, figure in zip(("p50", "p99"), spread(metric, "ms", found), strict=True):
        yield Figure(f"{metric}_{name}", "ms", figure.value)
