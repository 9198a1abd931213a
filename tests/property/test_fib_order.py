"""Tables in order, and the stretches of two in which they differ, against sorted lists and sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib import order, sweep
from bgpbridge.fib.audit_prefixes import differences
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.order import Entries, in_order, unlike
from bgpbridge.fib.ranges import ranges_of
from bgpbridge.fib.sweep import Compared
from bgpbridge.types import Family, Prefix

LENGTHS = {Family.IPV4: [0, 1, 8, 24, 31, 32], Family.IPV6: [0, 3, 32, 64, 65, 127, 128]}
Routes = dict[Prefix, int]


def routes(family: Family, most: int = 12) -> st.SearchStrategy[Routes]:
    def prefix(value: int, length: int) -> Prefix:
        shift = family.bits - length
        return Prefix(family, value >> shift << shift, length)

    few = st.integers(0, 3).flatmap(lambda low: st.integers(0, 7).map(lambda top: top << (family.bits - 3) | low))
    values = few | st.integers(0, (1 << family.bits) - 1)
    prefixes = st.builds(prefix, values, st.sampled_from(LENGTHS[family]))
    return st.dictionaries(prefixes, st.sampled_from([1, 2, 16, 0xFFFFFFFF]), max_size=most)


def table(family: Family, some: Routes) -> Entries:
    return Keys.of(family, some), np.array(list(some.values()), np.uint32)


def rows(entries: Entries) -> list[tuple[int, int, int]]:
    keys, groups = entries
    assert len(keys) == len(groups)
    prefixes = [keys.prefix(number) for number in range(len(keys))]
    return [(p.value, p.length, group) for p, group in zip(prefixes, groups.tolist(), strict=True)]


both = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.label)


@both
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_table_is_put_in_order_with_its_groups(family: Family, data: st.DataObject) -> None:
    some = data.draw(routes(family))
    found = in_order(table(family, some))
    assert rows(found) == sorted((p.value, p.length, group) for p, group in some.items())
    assert in_order(found) is found


@both
@settings(max_examples=80, deadline=None)
@given(data=st.data(), stretch=st.integers(1, 4))
def test_what_two_tables_have_in_common_may_be_left_out_and_nothing_else(
    family: Family, data: st.DataObject, stretch: int
) -> None:
    common = data.draw(routes(family))
    have, want = ({**common, **data.draw(routes(family, 3))} for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "STRETCH", stretch)
        mine, its = unlike(in_order(table(family, have)), in_order(table(family, want)))
        found = differences(table(family, have), table(family, want))
    odd = set(have.items()) ^ set(want.items())
    assert {*rows(mine)} ^ {*rows(its)} == {(p.value, p.length, group) for p, group in odd}
    assert not odd or len(mine[0]) + len(its[0])
    told = {found.keys.prefix(i): (int(found.have[i]), int(found.want[i])) for i in range(len(found))}
    assert told == {p: (have.get(p, 0), want.get(p, 0)) for p, _ in odd}


@both
@settings(max_examples=80, deadline=None)
@given(data=st.data(), stretch=st.integers(1, 4))
def test_addresses_compared_in_stretches_are_compared_as_a_whole(
    family: Family, data: st.DataObject, stretch: int
) -> None:
    common = data.draw(routes(family))
    have, want = (ranges_of(*table(family, {**common, **data.draw(routes(family, 2))})) for _ in range(2))
    whole = Compared.of(have, want)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "STRETCH", stretch)
        parts = Compared.of(have, want)
    for one, other in ((whole.pieces.hi, parts.pieces.hi), (whole.pieces.lo, parts.pieces.lo)):
        assert one.tolist() == other.tolist()
    assert whole.pieces.value.tolist() == parts.pieces.value.tolist()
    wrong = whole.wrong()
    assert (whole.have[wrong].tolist(), whole.want[wrong].tolist()) == (
        parts.have[wrong].tolist(),
        parts.want[wrong].tolist(),
    )


def test_two_equal_tables_of_any_size_leave_nothing() -> None:
    random = np.random.default_rng(3)
    lo = np.unique(random.integers(0, 1 << 24, 40_000).astype(np.uint64)) << np.uint64(8)
    keys = Keys(Family.IPV4, np.zeros(len(lo), np.uint64), lo, np.full(len(lo), 24, np.uint8))
    groups = random.integers(1, 9, len(lo)).astype(np.uint32)
    shuffled = random.permutation(len(lo))
    other = in_order((keys.take(shuffled), groups[shuffled]))
    assert [len(part[0]) for part in unlike((keys, groups), other)] == [0, 0]
    other[1][len(lo) // 2] += np.uint32(1)
    assert [len(part[0]) for part in unlike((keys, groups), other)] == [order.STRETCH, order.STRETCH]
