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

from bgpbridge.bench.driver import LOAD_S, ROUND_S, Bench, Stand, whole_table
from bgpbridge.bench.feeds import Feed
from bgpbridge.bench.plan import Plan
from bgpbridge.bench.results import Figure
from bgpbridge.bench.watch import KernelRoutes
from bgpbridge.lab import namespaces
from bgpbridge.lab.topology import Daemon

__all__ = ["BENCH"]


def _one(stand: Stand, feed: Feed) -> list[Figure]:
    """Seconds."""
    edge = stand.place.inside("edge")
    with (
        _only_xdp(edge, stand.daemon),
        stand.place.tester("a") as tester,
        contextlib.closing(KernelRoutes(edge)) as kernel,
    ):
        tester.until_up()
        stand.subject.settle()
        counted = kernel.until(kernel.count() + len(feed), LOAD_S)
        began = time.monotonic_ns()
        sending = threading.Thread(target=tester.send, args=(feed.octets,), daemon=True)
        sending.start()
        arrived = stand.prober.all_of(feed.alone(stand.plan.samples), "eth1", LOAD_S, round_s=ROUND_S)
        counted.join()
        sending.join()
    seen = (arrived[-1] - began) / 1e9 if arrived else None
    held = (kernel.reached_ns - began) / 1e9 if kernel.reached_ns else None
    count = f"{stand.plan.prefixes:,} prefixes"
    return [Figure(f"{count}: wire to forwarding", "s", seen), Figure(f"{count}: wire to kernel", "s", held)]


@contextlib.contextmanager
def _only_xdp(edge: str, daemon: Daemon) -> Iterator[None]:
    """The kernel forwards nothing that comes from the source, if it is bgpbridge's turn."""
    key = "net.ipv4.conf.eth3.forwarding"
    namespaces.set_sysctls(edge, {key: "0" if daemon is Daemon.BGPBRIDGE else "1"})
    try:
        yield
    finally:
        namespaces.set_sysctls(edge, {key: "1"})


def _note(plan: Plan) -> str:
    return (
        f"Seen by packets to {plan.samples} of {plan.prefixes:,} prefixes (resolution 20 ms) and by the kernel's own "
        "count of routes (20 ms). Against bgpbridge the kernel's forwarding is off on the way in: only XDP can deliver."
    )


BENCH = Bench("load", LOAD_S, whole_table, _one, _note)
