"""What a loaded router costs while nothing happens: processor time over some seconds, and memory."""

from __future__ import annotations

from bgpbridge.bench.driver import LOAD_S, Bench, Stand, whole_table
from bgpbridge.bench.feeds import Feed
from bgpbridge.bench.plan import Plan
from bgpbridge.bench.results import Figure

__all__ = ["BENCH"]


def _one(stand: Stand, feed: Feed) -> list[Figure]:
    """Share of one core in percent, memory in MiB."""
    with stand.place.tester("a", table=feed.octets) as a:
        a.until_up()
        loaded = stand.loaded(feed.alone(stand.plan.samples))
        share = stand.subject.cpu_share(stand.plan.idle_s) * 100 if loaded else None
        memory = stand.subject.pss_octets() / 2**20 if loaded else None
        mapped = stand.subject.mapped_octets() / 2**20 if loaded else None
    return [
        Figure("idle, processor", "% of a core", share),
        Figure("memory", "MiB", memory),
        Figure("memory, mapped BPF arrays among it", "MiB", mapped),
    ]


def _note(plan: Plan) -> str:
    return (
        f"All processes of the subject, {plan.prefixes:,} prefixes loaded, over {plan.idle_s:.0f} s with one session "
        "and no traffic. Memory is PSS of the processes; the kernel's own (routes, tries) is not in it, but the arrays "
        "behind the XDP program are, which the bridge has mapped and which stay when it ends: their own line."
    )


BENCH = Bench("idle", LOAD_S, whole_table, _one, _note)
