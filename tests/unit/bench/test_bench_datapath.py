from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from bgpbridge.bench.datapath.aims import AIMS, reached
from bgpbridge.bench.datapath.latency import bounds_ns, share_of
from bgpbridge.bench.datapath.lookups import words
from bgpbridge.bench.datapath.suite import ORDER
from bgpbridge.bench.datapath.table import DRAWS, GROUPS, Addresses, first_group, made_table
from bgpbridge.bench.page import block, page
from bgpbridge.bench.records import Suite, summarise
from bgpbridge.bench.terminal import tables_of
from bgpbridge.types import Family

COUNT = 3000


def networks(family: Family) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    table = made_table(family, COUNT)
    rows = zip(table.hi.tolist(), table.lo.tolist(), table.length.tolist(), strict=True)
    return [ipaddress.ip_network(((hi << 64 | lo).to_bytes(family.octets, "big"), length)) for hi, lo, length in rows]


def spelled(addresses: Addresses) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    octets = np.frombuffer(addresses.tobytes(), np.uint8).reshape(len(addresses), -1)
    return [ipaddress.ip_address(row.tobytes()) for row in octets]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("draw", DRAWS)
def test_every_destination_lies_in_a_prefix_that_stands(family: Family, draw: str) -> None:
    first = networks(family)[:10]
    found = made_table(family, COUNT).destinations(256, draw, among=10)
    assert all(any(address in network for network in first) for address in spelled(found))


@pytest.mark.parametrize("family", Family)
def test_zipf_favours_the_first_prefixes(family: Family) -> None:
    table = made_table(family, COUNT)
    top = networks(family)[0]
    hits = sum(address in top for address in spelled(table.destinations(4096, "zipf", among=COUNT)))
    assert 4096 * 0.05 < hits < 4096 * 0.3  # 1 / (ln 3000 + 0.58) = 0.116


def test_prefixes_are_distinct_and_groups_go_round() -> None:
    for family in Family:
        assert len(set(networks(family))) == COUNT
        groups = made_table(family, COUNT).group
        assert sorted(set(groups.tolist())) == list(range(first_group(family), first_group(family) + GROUPS))
    assert first_group(Family.IPV6) >= first_group(Family.IPV4) + GROUPS


def test_rows_of_the_rib_begin_with_one() -> None:
    table = made_table(Family.IPV4, 20)
    changes = table.changes(np.arange(5, 8))
    assert changes.rows.tolist() == [6, 7, 8]
    assert changes.new.tolist() == table.group[5:8].tolist()
    assert table.changes(np.arange(2), old=3, new=0).old.tolist() == [3, 3]


@pytest.mark.parametrize(("count", "expected"), [(10, "10"), (1000, "1k"), (220_000, "220k"), (1_000_000, "1m")])
def test_sizes_are_spelled_as_in_metrics(count: int, expected: str) -> None:
    assert words(count) == expected


def bucket_of(ns: int) -> int:
    """As bpf/bench/traffic.c has it, by the definition instead of by halving."""
    power = 0
    while ns >> power >= 64:
        power += 1
    return (power << 5) + (ns >> power)


@pytest.mark.parametrize("ns", [0, 1, 63, 64, 65, 127, 128, 1000, 4095, 4096, 1_000_000, 2**33])
def test_a_bucket_ends_behind_what_falls_into_it(ns: int) -> None:
    bounds = bounds_ns()
    bucket = bucket_of(ns)
    assert ns < bounds[bucket] <= max(ns * 1.04, ns + 1)
    assert bucket == 0 or bounds[bucket - 1] <= ns


def test_a_share_of_packets_is_told_by_its_bucket() -> None:
    delays = np.zeros(2048, np.uint64)
    delays[bucket_of(10)], delays[bucket_of(1000)] = 98, 2
    assert share_of(delays, 0.5) == 11
    assert 1000 < share_of(delays, 0.99) < 1040


def made_suite() -> Suite:
    rows = (
        summarise("lookup_v4_1m_random", "index", [60, 50, 70], "ns"),
        summarise("lookup_v4_1m_random", "lpm", [1500], "ns"),
        summarise("lookup_v4_1m_random", "fib_lookup", [540], "ns"),
        summarise("forward_10_random", "bgpbridge", [4], "Mpps"),
        summarise("forward_10_random", "kernel", [1.1], "Mpps"),
        summarise("forward_1m_random", "bgpbridge", [3], "Mpps"),
        summarise("forward_1m_random", "kernel", [0.5], "Mpps"),
        summarise("group_store_p99", "bgpbridge", [48], "us"),
    )
    return Suite("datapath", "2026-01-01 00:00 UTC", {"processors": "2 x a CPU"}, (0.0, 1.0), rows, "How.", True)


def test_aims_are_judged_by_medians_and_only_where_there_are_figures() -> None:
    found = {one.aim.words: (round(one.value, 2), one.met) for one in reached(made_suite().rows)}
    assert found == {
        "lookup_v4_1m_random: index quicker than fib_lookup, times": (9.0, False),
        "lookup_v4_1m_random: index quicker than lpm, times": (25.0, True),
        "forward_1m_random: bgpbridge to kernel, times": (6.0, True),
        "forward_1m_random: share of forward_10_random, bgpbridge": (0.75, False),
        "group_store_p99, us": (48.0, True),
    }


def test_metrics_with_the_same_subjects_make_a_table() -> None:
    tables = tables_of(made_suite())
    assert [head for head, _ in tables] == [
        ["metric", "unit", "index", "lpm", "fib_lookup"],
        ["metric", "unit", "bgpbridge", "kernel"],
        ["metric", "unit", "bgpbridge"],
        ["aim", "wanted", "reached", "met"],
    ]
    assert tables[0][1] == [["lookup_v4_1m_random", "ns", "60.0 (50.0 to 70.0)", "1,500", "540"]]
    assert [line[0] for line in tables[1][1]] == ["forward_10_random", "forward_1m_random"]
    assert ["group_store_p99, us", "< 50.0", "48.0", "yes"] in tables[3][1]


def test_the_page_and_the_block_have_the_datapath() -> None:
    lines = page([made_suite()]).splitlines()
    assert "## The datapath" in lines
    assert "| forward_1m_random | Mpps | 3.00 | 0.50 |" in lines
    assert block([made_suite()]).splitlines() == [
        "| measured by `make bench-datapath`, one core | bgpbridge | XDP, bpf_fib_lookup | kernel |",
        "| --- | ---: | ---: | ---: |",
        "| forwarding, 10 routes | 4.00 Mpps |  | 1.10 Mpps |",
        "| forwarding, 1,000,000 IPv4 routes, random destinations | 3.00 Mpps |  | 0.50 Mpps |",
        "",
        "(2 x a CPU; load average up to 1.0 while it was measured; more in [docs/benchmarks.md](docs/benchmarks.md))",
    ]


def test_every_aim_is_about_a_metric_that_is_measured() -> None:
    assert all(aim.upper[0].startswith(ORDER) for aim in AIMS)
