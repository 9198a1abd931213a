"""What a loaded router costs while nothing happens: processor time over some seconds, and memory."""

from __future__ import annotations

from bgpbridge.bench.feeds import made
from bgpbridge.bench.plan import Plan, Results, Tell
from bgpbridge.bench.probe import Prober
from bgpbridge.bench.records import Row
from bgpbridge.bench.rig import Rig, uplink
from bgpbridge.bench.subjects import running

__all__ = ["NOTE", "measure"]

WINDOW_S = 5.0
SETTLE_S = 60.0
NOTE = (
    "All processes of the subject, {prefixes:,} prefixes loaded, over 5 s with one session and no traffic. Memory is "
    "PSS of the processes; the kernel's own (routes, BPF maps) is not in it."
)


def measure(place: Rig, plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """Share of one core in percent, memory in MiB."""
    feed = made(plan.prefixes, uplink("a").origin())
    samples = feed.alone(plan.samples)
    results = Results(plan.timeout_s)
    for run, daemon in plan.turns():
        with running(place, daemon) as subject, Prober(place) as prober, place.tester("a", table=feed.octets) as a:
            a.until_up()
            loaded = prober.all_of(samples, "eth1", plan.timeout_s, round_s=0.02)
            subject.settle(SETTLE_S)
            share = subject.cpu_share(WINDOW_S) * 100
            memory = subject.pss_octets() / 2**20
        results.add("idle, processor", daemon, share if loaded else None, "% of a core")
        results.add("memory", daemon, memory if loaded else None, "MiB")
        tell(f"idle, run {run + 1}: {daemon} {share:.2f}% of a core, {memory:.0f} MiB")
    return results.rows()
