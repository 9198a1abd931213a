"""Which prefixes are the kernel's: metric against metric, what table local hides, columns as scalars."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib.foreign import NEVER_FORWARDED, ForeignTable, rules_elsewhere
from bgpbridge.fib.lpm import PrefixMap
from bgpbridge.fib.observed import TABLE_LOCAL, TABLE_MAIN, ForeignRoute, PuntChange, RouteType, Rule
from bgpbridge.types import Family, Prefix

P = Prefix.parse
OURS = 200


def route(prefix, metric=0, table=TABLE_MAIN, **more):
    return ForeignRoute(P(prefix), table, 3, metric, RouteType.UNICAST, **more)


def table_of(*routes):
    table = ForeignTable()
    for one in routes:
        table.put(one.prefix, one.table, (*table.at(one.prefix, one.table), one))
    return table


@pytest.mark.parametrize(("metric", "punted"), [(0, True), (199, True), (200, True), (201, False), (1024, False)])
def test_the_lower_metric_wins_and_a_tie_is_the_kernels(metric, punted):
    assert table_of(route("10.0.0.0/8", metric)).punts(P("10.0.0.0/8"), OURS) is punted


def test_only_the_same_prefix_is_compared():
    table = table_of(route("10.0.0.0/8"))
    assert not table.punts(P("10.1.0.0/16"), OURS)
    assert not table.punts(P("0.0.0.0/0"), OURS)


def test_the_best_of_several_metrics_counts():
    assert table_of(route("10.0.0.0/8", 300), route("10.0.0.0/8", 20)).punts(P("10.0.0.0/8"), OURS)


def test_a_local_prefix_hides_all_inside_it():
    table = table_of(route("10.0.0.0/16", table=TABLE_LOCAL))
    assert table.punts(P("10.0.3.0/24"), OURS)
    assert not table.punts(P("10.1.0.0/24"), OURS)
    assert not table.punts(P("10.0.0.0/8"), OURS)


def test_a_route_for_one_tos_or_one_source_is_the_kernels_whatever_its_metric():
    assert table_of(route("10.0.0.0/8", 9999, tos=8)).punts(P("10.0.0.0/8"), OURS)
    assert table_of(route("2001:db8::/32", 9999, source_length=48)).punts(P("2001:db8::/32"), OURS)


@pytest.mark.parametrize("prefix", ["224.0.0.0/4", "239.1.2.0/24", "127.0.0.0/16", "fe80::/64", "ff02::/16", "::1/128"])
def test_what_is_never_forwarded_is_always_the_kernels(prefix):
    assert ForeignTable().punts(P(prefix), OURS)
    assert set(ForeignTable().prefixes()) == NEVER_FORWARDED


def test_changes_say_what_the_overlay_has_to_do():
    table, ten, own = ForeignTable(), P("10.0.0.0/8"), P("10.0.0.1/32")
    first = table.put(ten, TABLE_MAIN, (route("10.0.0.0/8", 20),))
    assert first == PuntChange(ten, 20)
    assert (first.punt, first.beats(19), first.beats(20)) == (True, False, True)
    again = (route("10.0.0.0/8", 20), route("10.0.0.0/8", 30))
    assert table.put(ten, TABLE_MAIN, again) is None, "another hop or a worse route: nothing to do"
    assert table.put(ten, TABLE_MAIN, again[1:]) == PuntChange(ten, 30)
    local = (route("10.0.0.0/8", table=TABLE_LOCAL),)
    assert table.put(ten, TABLE_LOCAL, local) == PuntChange(ten, -1, subtree=True)
    assert table.put(ten, TABLE_LOCAL, ()) == PuntChange(ten, 30, subtree=True)
    assert table.put(ten, TABLE_MAIN, ()) == PuntChange(ten, None)
    assert table.put(own, TABLE_LOCAL, (route("10.0.0.1/32", table=TABLE_LOCAL),)) == PuntChange(own, -1)
    loopback = (route("127.0.0.0/8", table=TABLE_LOCAL),)
    assert table.put(P("127.0.0.0/8"), TABLE_LOCAL, loopback) is None, "it stands there already"
    assert table.put(P("127.0.0.0/8"), TABLE_LOCAL, ()) is None


def test_the_overlay_names_each_prefix_once():
    table = table_of(
        route("10.0.0.0/8"), route("10.0.0.0/8", table=TABLE_LOCAL), route("127.0.0.0/8", table=TABLE_LOCAL)
    )
    assert sorted(table.prefixes()) == sorted([P("10.0.0.0/8"), *NEVER_FORWARDED])


def test_rules_that_lead_elsewhere():
    usual = [Rule(2, 0, 255, 1), Rule(2, 32766, 254, 1), Rule(2, 32767, 253, 1), Rule(10, 0, 255, 1)]
    odd = [Rule(2, 100, 77, 1), Rule(2, 101, 254, 8)]
    assert rules_elsewhere([*usual, *odd]) == odd


def test_local_match_is_the_longest():
    table = table_of(route("10.0.0.0/8", table=TABLE_LOCAL), route("10.0.0.1/32", table=TABLE_LOCAL))
    assert table.local_match(ip_address("10.0.0.1")).prefix == P("10.0.0.1/32")
    assert table.local_match(ip_address("11.0.0.1")) is None


@st.composite
def prefixes(draw, family):
    length = draw(
        st.one_of(st.integers(0, 8), st.integers(family.bits - 70 if family is Family.IPV6 else 0, family.bits))
    )
    top = draw(st.sampled_from([0x00, 0x0A, 0x7F, 0xE1, 0xFE, 0xFF])) << (family.bits - 8)
    middle = draw(st.integers(0, 3)) << (family.bits // 2 - 1)
    return Prefix.make(family, top | middle | draw(st.integers(0, 3)), length)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(list(Family)))
def test_columns_and_scalars_agree(data, family):
    table = ForeignTable()
    for prefix in data.draw(st.lists(prefixes(family), max_size=8)):
        which = data.draw(st.sampled_from([TABLE_MAIN, TABLE_MAIN, TABLE_LOCAL]))
        metric = data.draw(st.sampled_from([0, 200, 300]))
        table.put(prefix, which, (ForeignRoute(prefix, which, 3, metric, RouteType.UNICAST),))
    asked = data.draw(st.lists(prefixes(family), max_size=8)) + [p for p, _ in table.main]
    hi = np.array([p.value >> 64 for p in asked], np.uint64)
    lo = np.array([p.value & (1 << 64) - 1 for p in asked], np.uint64)
    length = np.array([p.length for p in asked], np.uint8)
    assert table.mask(family, hi, lo, length, OURS).tolist() == [table.punts(p, OURS) for p in asked]


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(list(Family)))
def test_a_prefix_map_is_a_dict_with_covers(data, family):
    found, wanted = PrefixMap(), {}
    for number, prefix in enumerate(data.draw(st.lists(prefixes(family), max_size=20))):
        if data.draw(st.integers(0, 3)):
            found.set(prefix, number)
            wanted[prefix] = number
        else:
            found.remove(prefix)
            wanted.pop(prefix, None)
    assert dict(found) == wanted
    assert len(found) == len(wanted)
    for asked in data.draw(st.lists(prefixes(family), max_size=5)):
        assert found.get(asked) == wanted.get(asked)
        covers = sorted((p for p in wanted if p.covers(asked)), key=lambda p: -p.length)
        assert [p for p, _ in found.covering(asked)] == covers
