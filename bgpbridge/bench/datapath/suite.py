"""`make bench-datapath`: a million IPv4 routes and 220,000 IPv6 ones in XDP and in the kernel, every subject in turn.

Small tables come first, then the tables are filled and stay so to the end. Rows come in the order of the issue that
asked for them, not in that of measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from bgpbridge.bench.datapath.audit import audits
from bgpbridge.bench.datapath.churn import under_churn
from bgpbridge.bench.datapath.features import features
from bgpbridge.bench.datapath.forwarding import FEW, few_routes, forwarding
from bgpbridge.bench.datapath.group_store import group_stores
from bgpbridge.bench.datapath.latency import latency
from bgpbridge.bench.datapath.lookups import engines, lookups
from bgpbridge.bench.datapath.stand import Stand, stand
from bgpbridge.bench.datapath.table import DRAWS
from bgpbridge.bench.datapath.upgrades import upgrades
from bgpbridge.bench.plan import Plan, Tell
from bgpbridge.bench.records import Row
from bgpbridge.bench.results import Figure, Results
from bgpbridge.types import Family

__all__ = ["NOTE", "measure"]

V4, V6 = Family.IPV4, Family.IPV6
Part = Callable[[Stand], Iterator[tuple[str, Figure]]]
ORDER: Final = ("lookup_v4", "lookup_v6", "forward", "under_churn", "latency", "group", "upgrade", "features", "audit")
NOTE = (
    "1,000,000 made IPv4 routes and 220,000 IPv6 ones with the lengths and clusters of real tables, 16 next hops, the"
    " same in XDP and in the kernel; 1,048,576 destinations, drawn evenly over all prefixes (`random`) or the n-th "
    "prefix with a weight of 1/n (`zipf`), each an address drawn inside its prefix. **Lookups (ns, less is better):**"
    " the datapath's own lookup.h in a program that walks the list, each lookup waiting for the last one, the second "
    "of two walks minus the same without lookups; fib_lookup is bpf_fib_lookup() with the neighbour's address, as a "
    "router needs it. **Forwarding (Mpps, more is better):** a packet is counted when a program on the last veth has "
    "seen it, and only then; it was sent as a live frame (BPF_F_TEST_XDP_LIVE_FRAMES, 60 octets, IPv6 78) by a "
    "program that writes each frame anew. Sender, router and sink share one CPU and their work is in every figure: "
    "`forward_nothing` is sender and sink alone. `bgpbridge` has the index, `lpm` is the same program with the trie "
    "alone, `fib_lookup` an XDP program of the bench that asks the kernel and checks and counts less than ours, "
    "`kernel` is ip_forward without XDP (GRO on, as a veth needs it). `_N_cpus`: a sender on each CPU. xdp-forward is"
    " not among the subjects, for Debian 12's xdp-tools (1.3.1) has no such program yet; `fib_lookup` asks the same "
    "helper. **under_churn:** routes withdrawn, announced and moved one at a time from another CPU. **latency:** from"
    " the moment at which a packet was due, at random, to the sink, at half of what each router can do. "
    "**group_store:** from the store in Python to the first packet by the other uplink at full rate; `group_members` "
    "with the choice of slots before it. **upgrade:** `datapath upgrade` at full rate, from the command until the new "
    "program stays (a second of looking before it and a turn after it included), the longest that the bridge's event "
    "loop was held, and packets lost; `other maps` are filled beside those in force first. **features_cost:** ns a "
    "packet with ten routes; differences under 2 ns are noise. **audit_1m:** XDP and kernel compared with the tables "
    "for every address of both families, in a thread."
)


def _small(made: Stand) -> Iterator[tuple[str, Figure]]:
    """What wants a small table; XDP has more routes afterwards than the kernel."""
    few = min(FEW, len(made.table(V4)))
    yield from engines(made, V4, below=FEW)
    made.planes.fill_xdp(V4, few)
    made.planes.fill_kernel(V4, few)
    yield from few_routes(made)
    yield from features(made)
    yield from engines(made, V4)
    yield from engines(made, V6)


def _whole(family: Family) -> Part:
    def part(made: Stand) -> Iterator[tuple[str, Figure]]:
        made.planes.fill_xdp(family, len(made.table(family)))
        made.planes.fill_kernel(family, len(made.table(family)))
        yield from lookups(made, family)
        yield from forwarding(made, family, DRAWS if family is V4 else DRAWS[:1])

    return part


PARTS: Final[tuple[Part, ...]] = (_small, _whole(V4), under_churn, latency, group_stores, upgrades, _whole(V6), audits)


def measure(plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """All parts, over one place."""
    results = Results()
    with stand(plan) as made:
        for part in PARTS:
            for subject, figure in part(made):
                results.add(subject, figure)
                tell(f"datapath: {subject} {figure}")
    return tuple(sorted(results.rows(), key=_place))


def _place(row: Row) -> int:
    return next(number for number, name in enumerate(ORDER) if row.metric.startswith(name))
