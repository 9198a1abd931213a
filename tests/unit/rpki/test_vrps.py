"""RFC 6811 over columns: known cases, and the same as a slow and obvious oracle whatever the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.rpki.vrps import States, Validity, Vrp, VrpColumns, VrpTable
from bgpbridge.types import Family, Prefix

LOW64 = (1 << 64) - 1
Route = tuple[Prefix, int]


def vrp(text: str, max_length: int, asn: int) -> Vrp:
    return Vrp(Prefix.parse(text), max_length, asn)


def oracle(vrps: list[Vrp], prefix: Prefix, origin: int) -> Validity:
    """RFC 6811 s2 as it is written; origin 0 is NONE."""
    covering = [entry for entry in vrps if entry.prefix.covers(prefix)]
    if not covering:
        return Validity.NOT_FOUND
    for entry in covering:
        if prefix.length <= entry.max_length and origin != 0 and entry.asn == origin:
            return Validity.VALID
    return Validity.INVALID


def in_bulk(table: VrpTable, family: Family, routes: list[Route]) -> States:
    return table.validate(family, *columns([prefix for prefix, _ in routes]), np.array([r[1] for r in routes], "u4"))


def columns(prefixes: list[Prefix]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([prefix.value >> 64 for prefix in prefixes], np.uint64),
        np.array([prefix.value & LOW64 for prefix in prefixes], np.uint64),
        np.array([prefix.length for prefix in prefixes], np.uint8),
    )


def prefix_values(family: Family) -> st.SearchStrategy[Prefix]:
    """Prefixes that often nest; the long IPv6 ones within few /64."""
    bits = family.bits
    high = st.integers(0, 3).map(lambda v: v << bits - 2)
    middle = st.integers(0, 7).map(lambda v: v << bits - 11)
    edge = st.sampled_from([0, (1 << bits - 11) - 1, 1 << bits // 2])
    length = st.sampled_from([0, 1, 2, 8, 9, 10, 11, bits // 2, bits // 2 + 1, bits - 3, bits - 1, bits])
    return st.builds(
        lambda a, b, e, c, n: Prefix.make(family, a | b | e | c, n), high, middle, edge, st.integers(0, 7), length
    )


@st.composite
def vrp_values(draw: st.DrawFn, family: Family) -> Vrp:
    prefix = draw(prefix_values(family))
    return Vrp(prefix, draw(st.integers(prefix.length, family.bits)), draw(st.integers(0, 3)))


def tables(family: Family) -> st.SearchStrategy[list[Vrp]]:
    return st.lists(vrp_values(family), max_size=25)


def routes_of(family: Family) -> st.SearchStrategy[list[Route]]:
    return st.lists(st.tuples(prefix_values(family), st.integers(0, 3)), max_size=25)


@given(st.sampled_from(Family).flatmap(lambda f: st.tuples(st.just(f), tables(f), routes_of(f))))
def test_bulk_and_single_validation_are_the_oracles(case: tuple[Family, list[Vrp], list[Route]]) -> None:
    family, vrps, routes = case
    table = VrpTable.of(vrps)
    expected = [oracle(vrps, *route) for route in routes]
    assert in_bulk(table, family, routes).tolist() == expected
    assert [table.validate_one(*route) for route in routes] == expected


@given(st.sampled_from(Family).flatmap(lambda f: st.tuples(st.just(f), tables(f), prefix_values(f))))
def test_covering_names_the_payloads_that_cover_most_specific_first(case: tuple[Family, list[Vrp], Prefix]) -> None:
    _, vrps, prefix = case
    covering = VrpTable.of(vrps).covering(prefix)
    assert sorted(covering) == sorted({entry for entry in vrps if entry.prefix.covers(prefix)})
    lengths = [entry.prefix.length for entry in covering]
    assert lengths == sorted(lengths, reverse=True)


@given(st.sampled_from(Family).flatmap(lambda f: st.tuples(st.just(f), tables(f), tables(f), routes_of(f))))
def test_no_route_outside_the_changed_prefixes_has_another_state(
    case: tuple[Family, list[Vrp], list[Vrp], list[Route]],
) -> None:
    family, before, after, routes = case
    old, new = VrpTable.of(before), VrpTable.of(after)
    changed = new.changed_since(old, family)
    expected = {entry.prefix for entry in set(before) ^ set(after)}
    rows = zip(changed.hi.tolist(), changed.lo.tolist(), changed.length.tolist(), strict=True)
    assert {Prefix(family, hi << 64 | lo, length) for hi, lo, length in rows} == expected
    outside = ~changed.covers(*columns([prefix for prefix, _ in routes]))
    assert (in_bulk(old, family, routes)[outside] == in_bulk(new, family, routes)[outside]).all()


@pytest.mark.parametrize(
    ("route", "origin", "state"),
    [
        ("192.0.2.0/24", 65001, "valid"),
        ("192.0.2.0/25", 65001, "invalid"),  # longer than allowed
        ("192.0.2.0/24", 65002, "invalid"),  # another origin
        ("192.0.2.0/24", 0, "invalid"),  # AS_SET at the end: NONE (RFC 6811 s2)
        ("192.0.0.0/16", 65001, "not-found"),  # covers the VRP, is not covered by it
        ("198.51.100.0/24", 65001, "not-found"),
        ("203.0.113.0/24", 0, "invalid"),  # AS 0 and NONE do not meet (RFC 6483 s4)
        ("203.0.113.0/24", 65003, "valid"),  # one VRP that names it outweighs AS 0
        ("2001:db8:1::/48", 65001, "valid"),
        ("2001:db8:1:8000::/49", 65001, "invalid"),
    ],
)
def test_known_states(route: str, origin: int, state: str) -> None:
    table = VrpTable.of(
        [
            vrp("192.0.2.0/24", 24, 65001),
            vrp("203.0.113.0/24", 32, 0),
            vrp("203.0.112.0/23", 24, 65003),
            vrp("2001:db8::/32", 48, 65001),
        ]
    )
    prefix = Prefix.parse(route)
    assert table.validate_one(prefix, origin).label == state
    assert Validity(in_bulk(table, prefix.family, [(prefix, origin)])[0]).label == state


def test_an_empty_table_finds_nothing() -> None:
    assert in_bulk(VrpTable(), Family.IPV6, [(Prefix.parse("::/0"), 1)]).tolist() == [Validity.NOT_FOUND]
    assert len(VrpTable()) == 0


def test_sources_are_joined_without_copies() -> None:
    one = VrpColumns.of(Family.IPV4, [vrp("192.0.2.0/24", 24, 1), vrp("192.0.2.0/24", 25, 1)])
    other = VrpColumns.of(Family.IPV4, [vrp("192.0.2.0/24", 25, 1), vrp("10.0.0.0/8", 8, 2)])
    table = VrpTable({Family.IPV4: VrpColumns.union(Family.IPV4, [one, other])})
    assert len(table) == 3
    assert str(table.covering(Prefix.parse("10.1.0.0/16"))[0]) == "10.0.0.0/8 max 8 AS2"


@pytest.mark.parametrize("family", list(Family))
def test_many_routes_in_any_order_get_the_states_that_each_gets_alone(family: Family) -> None:
    random = np.random.default_rng(1)

    def made(count: int) -> list[Prefix]:
        lengths = random.integers(4, 20, count).tolist()
        return [Prefix.make(family, int(random.integers(1 << 16)) << family.bits - 16, n) for n in lengths]

    table = VrpTable.of([Vrp(p, min(p.length + 4, family.bits), int(random.integers(1, 4))) for p in made(300)])
    routes = [(prefix, int(random.integers(4))) for prefix in made(3000)]
    states = in_bulk(table, family, routes).tolist()
    assert states == [table.validate_one(*route) for route in routes]
    assert len(set(states)) == len(Validity)
