"""A whole table: first octet sent to the last of the sampled prefixes forwarding, and to all routes in the kernel.

Probes go to addresses that lie in one prefix each, spread over the feed; those that have not arrived are sent again
every few milliseconds. Against bgpbridge the kernel is told not to forward what comes in there, so a packet that
arrives has gone through XDP.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from bgpbridge.bench.feeds import made
from bgpbridge.bench.plan import Plan, Results, Tell
from bgpbridge.bench.probe import Prober
from bgpbridge.bench.records import Row
from bgpbridge.bench.rig import Rig, uplink
from bgpbridge.bench.subjects import running
from bgpbridge.bench.watch import KernelRoutes
from bgpbridge.lab import namespaces
from bgpbridge.lab.topology import Daemon

__all__ = ["NOTE", "measure"]

ROUND_S = 0.02
NOTE = (
    "Seen by packets to {samples} of {prefixes:,} prefixes (resolution 20 ms) and by the kernel's own count of routes "
    "(20 ms). Against bgpbridge the kernel's forwarding is off on the way in: only XDP can deliver."
)


def measure(place: Rig, plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """Metrics in seconds."""
    feed = made(plan.prefixes, uplink("a").origin())
    samples = feed.alone(plan.samples)
    results = Results(plan.timeout_s)
    count = f"{plan.prefixes:,} prefixes"
    for run, daemon in plan.turns():
        with (
            running(place, daemon) as subject,
            _only_xdp(place, daemon),
            Prober(place) as prober,
            place.tester("a") as tester,
            contextlib.closing(KernelRoutes(place.inside("edge"))) as kernel,
        ):
            tester.until_up()
            subject.settle()
            counted = kernel.until(kernel.count() + len(feed), plan.timeout_s)
            began = time.monotonic_ns()
            sending = threading.Thread(target=tester.send, args=(feed.octets,), daemon=True)
            sending.start()
            arrived = prober.all_of(samples, "eth1", plan.timeout_s, round_s=ROUND_S)
            counted.join()
            sending.join()
        seen = (arrived[-1] - began) / 1e9 if arrived else None
        held = (kernel.reached_ns - began) / 1e9 if kernel.reached_ns else None
        results.add(f"{count}: wire to forwarding", daemon, seen, "s")
        results.add(f"{count}: wire to kernel", daemon, held, "s")
        tell(f"load, run {run + 1}: {daemon} {_words(seen)} forwarding, {_words(held)} kernel")
    return results.rows()


@contextlib.contextmanager
def _only_xdp(place: Rig, daemon: Daemon) -> Iterator[None]:
    """The kernel forwards nothing that comes from the source, if it is bgpbridge's turn."""
    key = "net.ipv4.conf.eth3.forwarding"
    namespaces.set_sysctls(place.inside("edge"), {key: "0" if daemon is Daemon.BGPBRIDGE else "1"})
    try:
        yield
    finally:
        namespaces.set_sysctls(place.inside("edge"), {key: "1"})


def _words(value: float | None) -> str:
    return "too late" if value is None else f"{value:.2f} s"
