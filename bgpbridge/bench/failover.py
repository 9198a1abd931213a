"""A lost path: how long until packets leave by the other uplink, with a small and with a large table.

Both providers announce the same prefixes, `a` with the shorter path. Sampled addresses are probed in rounds from the
moment of the loss; the last of them to arrive by `b` is told. A lost session counts from the close of
TCP, a lost uplink from the kernel's own word (RTM_NEWLINK) that the carrier has gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.bench.driver import SETTLE_S, Bench, Stand
from bgpbridge.bench.feeds import made
from bgpbridge.bench.plan import Plan
from bgpbridge.bench.results import Figure
from bgpbridge.bench.rig import uplink
from bgpbridge.bench.tester import Tester
from bgpbridge.bench.watch import LinkWatch
from bgpbridge.types import IPAddress

__all__ = ["BENCH"]

SAMPLES = 64
LATE_S = 30.0


@dataclass(frozen=True, slots=True)
class Table:
    """What both providers announce, in octets by letter, and the addresses that are probed."""

    prefixes: int
    octets: dict[str, bytes]
    samples: list[IPAddress]

    @classmethod
    def of(cls, prefixes: int) -> Table:
        """The same prefixes from both, with the shorter path from `a`."""
        feeds = {letter: made(prefixes, uplink(letter).origin("ab".index(letter))) for letter in "ab"}
        return cls(prefixes, {letter: feed.octets for letter, feed in feeds.items()}, feeds["a"].alone(SAMPLES))


def _cases(plan: Plan) -> Iterator[Table]:
    return map(Table.of, (plan.small, plan.prefixes))


def _one(stand: Stand, table: Table) -> list[Figure]:
    """Milliseconds until the last sampled prefix has moved."""
    with stand.place.tester("b", table=table.octets["b"]) as b:
        b.until_up()
        with stand.place.tester("a", table=table.octets["a"]) as a:
            a.until_up()
            session = _lose_session(stand, a, table.samples) if stand.loaded(table.samples) else None
        stand.subject.settle(SETTLE_S)
        with stand.place.tester("a", table=table.octets["a"]) as a:
            a.until_up(LATE_S)
            link = _lose_uplink(stand, table.samples) if stand.loaded(table.samples) else None
    lost = {"session": session, "uplink": link}
    return [Figure(f"{what} lost, {table.prefixes:,} prefixes: last", "ms", last_ms) for what, last_ms in lost.items()]


def _lose_session(stand: Stand, a: Tester, samples: list[IPAddress]) -> float | None:
    """Provider `a` closes TCP, and does not come back."""
    began = time.monotonic_ns()
    a.drop()
    return _last_ms(began, stand.prober.all_of(samples, "eth2", LATE_S))


def _lose_uplink(stand: Stand, samples: list[IPAddress]) -> float | None:
    """The cable to `a` is pulled; it is put back once all is measured."""
    place = stand.place
    with LinkWatch(place.inside("edge"), "eth1") as watch:
        pulling = threading.Thread(target=place.set_uplink, args=("a",), kwargs={"up": False})
        pulling.start()
        arrived = stand.prober.all_of(samples, "eth2", LATE_S, look=watch.look)
        pulling.join()
        watch.look()
    place.set_uplink("a", up=True)
    return _last_ms(watch.down_ns, arrived)


def _last_ms(began_ns: int | None, arrived: list[int] | None) -> float | None:
    return (arrived[-1] - began_ns) / 1e6 if began_ns and arrived else None


def _note(_: Plan) -> str:
    return (
        f"Packets to {SAMPLES} prefixes spread over the table, in rounds of about 0.6 ms: the last of them to arrive "
        "by the other uplink. Session: from the close of TCP. Uplink: from the kernel's link event in the router's "
        "namespace."
    )


BENCH = Bench("failover", LATE_S, _cases, _one, _note)
