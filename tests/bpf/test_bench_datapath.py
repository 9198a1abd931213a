"""Every part of `make bench-datapath`, with tables of a few thousand routes and turns of a few hundredths of a second:
that each gives its rows. How quick anything is, is nobody's business here."""

from __future__ import annotations

import math

import pytest

from bgpbridge.bench.datapath.suite import measure
from bgpbridge.bench.plan import Plan
from bgpbridge.datapath.abi import ControlFlag

pytestmark = pytest.mark.root
PLAN = Plan(runs=1, ipv4=3000, ipv6=2000, walked=1 << 12, turn_s=0.02, trials=2)
V4_ENGINES, ROUTERS = {"index", "lpm"}, {"bgpbridge", "lpm", "fib_lookup", "kernel"}
# What of IPv6 is there depends on whether this build has an index for it.
V6_ENGINES = {"index", "lpm"} if "INDEX6" in ControlFlag.__members__ else {"lpm"}
V6_ROUTERS = ROUTERS if len(V6_ENGINES) == 2 else ROUTERS - {"bgpbridge"}
CHURN = {"bgpbridge at 0/s", "bgpbridge at 100/s", "bgpbridge at 1,000/s", "bgpbridge at 10,000/s"}
EXPECTED = {
    **{f"lookup_v4_{size}_random": V4_ENGINES for size in ("1", "10", "100", "1k")},
    **{f"lookup_v6_{size}_random": V6_ENGINES for size in ("1", "10", "100", "1k")},
    **{f"lookup_v4_3k_{draw}": V4_ENGINES | {"fib_lookup"} for draw in ("random", "zipf")},
    **{f"lookup_v6_2k_{draw}": V6_ENGINES | {"fib_lookup"} for draw in ("random", "zipf")},
    "forward_nothing": {"sender and sink"},
    **{f"forward_{which}": ROUTERS for which in ("10_random", "3k_random", "3k_zipf")},
    "forward_v6_2k_random": V6_ROUTERS,
    "under_churn_3k": CHURN,
    **{f"latency_{share}": {"bgpbridge", "kernel"} for share in ("p50", "p99")},
    **{f"upgrade_3k{what}": {"same maps", "other maps"} for what in ("", "_held", "_lost")},
    **{f"audit_3k{what}": {"bgpbridge"} for what in ("", "_cpu", "_memory", "_turn")},
    **{f"group_{what}_{share}": {"bgpbridge"} for what in ("store", "members") for share in ("p50", "p99")},
}


def test_every_part_gives_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgpbridge.pipeline.upgrade.BEFORE_S", 0)
    told: list[str] = []
    rows = measure(PLAN, told.append)
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.metric, set()).add(row.subject)
        assert row.runs == 1
        assert row.median is None or math.isfinite(row.median), row
        assert row.median is not None or row.metric.startswith("under_churn"), row
    assert {"counters", "trace, off", "trace, on", "handshakes timed"} <= found.pop("features_cost")
    several = {metric for metric in found if metric.endswith("_cpus")}
    assert all(found.pop(metric) == {"bgpbridge", "kernel"} for metric in several)
    assert found == EXPECTED
    assert len(told) == len(rows)
