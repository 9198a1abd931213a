"""A lost path: how long until packets leave by the other uplink, with a small and with a large table.

Both providers announce the same prefixes, `a` with the shorter path. Sampled addresses are probed in rounds from the
moment of the loss; the first and the last of them to arrive by `b` are told. A lost session counts from the close of
TCP, a lost uplink from the kernel's own word (RTM_NEWLINK) that the carrier has gone.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from bgpbridge.bench.feeds import made
from bgpbridge.bench.plan import Plan, Results, Tell
from bgpbridge.bench.probe import Prober
from bgpbridge.bench.records import Row
from bgpbridge.bench.rig import Rig, uplink
from bgpbridge.bench.subjects import Subject, running
from bgpbridge.bench.tester import Tester
from bgpbridge.bench.watch import LinkWatch
from bgpbridge.errors import LabError
from bgpbridge.lab.topology import Daemon
from bgpbridge.types import IPAddress

__all__ = ["NOTE", "measure"]

SAMPLES = 64
SETTLE_S = 60.0
LATE_S = 30.0
NOTE = (
    "Packets to 64 prefixes spread over the table, in rounds of about 0.6 ms: the last of them to arrive by the other "
    "uplink. Session: from the close of TCP. Uplink: from the kernel's link event in the router's namespace."
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Ms from the loss to the first and to the last sampled prefix on the other uplink."""

    first_ms: float
    last_ms: float


@dataclass(slots=True)
class Trial:
    """One subject with one table, ready to lose a path."""

    subject: Subject
    prober: Prober
    samples: list[IPAddress]
    timeout_s: float

    def ready(self) -> None:
        """Wait until all sampled prefixes go by `a` and the subject is at rest. Raises LabError."""
        if self.prober.all_of(self.samples, "eth1", self.timeout_s, round_s=0.02) is None:
            raise LabError(f"{self.subject.daemon}: not all prefixes go by uplink a within {self.timeout_s:.0f} s")
        self.subject.settle(SETTLE_S)

    def session(self, a: Tester) -> Loss | None:
        """Provider `a` closes TCP, and does not come back."""
        began = time.monotonic_ns()
        a.drop()
        return _loss(began, self.prober.all_of(self.samples, "eth2", self.timeout_s))

    def uplink(self) -> Loss | None:
        """The cable to `a` is pulled; it is put back once all is measured."""
        place = self.subject.place
        with LinkWatch(place.inside("edge"), "eth1") as watch:
            pulling = threading.Thread(target=place.set_uplink, args=("a",), kwargs={"up": False})
            pulling.start()
            arrived = self.prober.all_of(self.samples, "eth2", self.timeout_s, look=watch.look)
            pulling.join()
            watch.look()
        place.set_uplink("a", up=True)
        return _loss(watch.down_ns, arrived)


def _loss(began_ns: int | None, arrived: list[int] | None) -> Loss | None:
    if not began_ns or not arrived:
        return None
    return Loss((arrived[0] - began_ns) / 1e6, (arrived[-1] - began_ns) / 1e6)


def measure(place: Rig, plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """Metrics in milliseconds."""
    results = Results(LATE_S)
    for prefixes in (plan.small, plan.prefixes):
        feeds = {letter: made(prefixes, uplink(letter).origin("ab".index(letter))) for letter in "ab"}
        samples = feeds["a"].alone(SAMPLES)
        for run, daemon in plan.turns():
            found = _one(place, daemon, {letter: feed.octets for letter, feed in feeds.items()}, samples)
            for what, loss in found.items():
                metric = f"{what} lost, {prefixes:,} prefixes"
                results.add(f"{metric}: last", daemon, loss.last_ms if loss else None, "ms")
                words = f"{loss.first_ms:.2f} to {loss.last_ms:.2f} ms" if loss else "too late"
                tell(f"failover, run {run + 1}: {daemon} {metric}: {words}")
    return results.rows()


def _one(place: Rig, daemon: Daemon, octets: dict[str, bytes], samples: list[IPAddress]) -> dict[str, Loss | None]:
    with (
        running(place, daemon) as subject,
        Prober(place) as prober,
        place.tester("b", table=octets["b"]) as b,
    ):
        b.until_up()
        trial = Trial(subject, prober, samples, LATE_S)
        with place.tester("a", table=octets["a"]) as a:
            a.until_up()
            trial.ready()
            session = trial.session(a)
        subject.settle(SETTLE_S)
        with place.tester("a", table=octets["a"]) as a:
            a.until_up(LATE_S)
            trial.ready()
            return {"session": session, "uplink": trial.uplink()}
