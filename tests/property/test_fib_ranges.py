"""Tables as ranges of addresses, and two of them compared, against the slowest longest-prefix match there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath import abi
from bgpbridge.fib import breakpoints, ranges
from bgpbridge.fib.index4 import Index4
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.ranges import DEFER, Ranges, ranges_of, together
from bgpbridge.fib.sweep import DIVERGENT, PENDING, REFUSED, RIGHT, Compared, clipped, excuses
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family, Prefix
from tests.property.longest_match import Routes, answer, edges, longest

V4, V6 = Family.IPV4, Family.IPV6
MASK = (1 << 64) - 1
LENGTHS = {V4: [0, 1, 8, 9, 16, 23, 24, 25, 31, 32], V6: [0, 1, 3, 16, 32, 48, 63, 64, 65, 96, 127, 128]}
NETWORKS = {
    V4: [0, 0x0A000000, 0x0A0000FF, 0x0A00FF00, 0x0A010000, 0xFFFFFFFF],
    V6: [0, 0x2001_0DB8 << 96, 0x2001_0DB8 << 96 | MASK, 0x2001_0DB9 << 96, (1 << 128) - 1],
}


def cut(family: Family, value: int, length: int) -> Prefix:
    shift = family.bits - length
    return Prefix(family, value >> shift << shift, length)


def routes(family: Family, most: int = 10) -> st.SearchStrategy[Routes]:
    # few networks, so that prefixes nest and meet
    prefix = st.builds(
        lambda value, other, length: cut(family, value ^ other, length),
        st.sampled_from(NETWORKS[family]),
        st.integers(0, 3),
        st.sampled_from(LENGTHS[family]),
    )
    return st.dictionaries(prefix, st.integers(1, 4), max_size=most)


def table(family: Family, some: Routes) -> tuple[Keys, np.ndarray]:
    return Keys.of(family, some), np.array(list(some.values()), np.uint32)


def starts(cuts: Ranges) -> list[int]:
    return [hi << 64 | lo for hi, lo in zip(cuts.hi.tolist(), cuts.lo.tolist(), strict=True)]


def value_at(cuts: Ranges, address: int) -> int:
    return int(cuts.value[max(i for i, first in enumerate(starts(cuts)) if first <= address)])


def counted(family: Family, tables: list[Iterable[Prefix]], holds: Callable[[int], bool]) -> int:
    """How many addresses `holds` is true of: pieces between edges, each asked once."""
    begins = edges(family, *tables)
    ends = [*begins[1:], 1 << family.bits]
    return sum(end - begin for begin, end in zip(begins, ends, strict=True) if holds(begin))


both = pytest.mark.parametrize("family", list(Family), ids=lambda family: family.label)


@both
@settings(max_examples=settings.default.max_examples * 3 // 5, deadline=None)
@given(data=st.data())
def test_every_address_has_its_longest_match(family: Family, data: st.DataObject) -> None:
    some = data.draw(routes(family))
    found = ranges_of(*table(family, some))
    assert starts(found) == sorted(set(starts(found)))
    assert starts(found)[0] == 0
    assert (found.value[1:] != found.value[:-1]).all()
    for address in edges(family, some):
        assert value_at(found, address) == answer(some, address), hex(address)


@both
@settings(max_examples=settings.default.max_examples * 3 // 5, deadline=None)
@given(data=st.data())
def test_differences_are_counted_to_the_address(family: Family, data: st.DataObject) -> None:
    have, want = data.draw(routes(family)), data.draw(routes(family))
    compared = Compared.of(ranges_of(*table(family, have)), ranges_of(*table(family, want)))
    differs = counted(family, [have, want], lambda address: answer(have, address) != answer(want, address))
    assert compared.addresses() == differs
    for index in compared.wrong().tolist():
        prefix = compared.pieces.prefix(index)
        last = prefix.value | (1 << (family.bits - prefix.length)) - 1
        for address in (prefix.value, last):
            assert answer(have, address) == compared.have[index] != compared.want[index] == answer(want, address)


@both
@settings(max_examples=settings.default.max_examples * 3 // 5, deadline=None)
@given(data=st.data())
def test_an_address_is_excused_by_the_route_that_decides_or_would(family: Family, data: st.DataObject) -> None:
    wanted, moving, refused = (data.draw(routes(family, 6)) for _ in range(3))
    why = excuses(*(Keys.of(family, some) for some in (wanted, moving, refused)))
    for address in edges(family, wanted, moving, refused):
        decides = longest({**wanted, **moving, **refused}, address)
        reason = PENDING if decides in moving else REFUSED if decides in refused else RIGHT
        assert value_at(why, address) == reason, hex(address)
    have = data.draw(routes(family))
    compared = Compared.of(ranges_of(*table(family, have)), ranges_of(*table(family, wanted))).excused(why)
    tables = [wanted, moving, refused, have]
    for state in (DIVERGENT, PENDING, REFUSED):
        told = counted(
            family,
            tables,
            lambda a, state=state: answer(have, a) != answer(wanted, a) and (value_at(why, a) or DIVERGENT) == state,
        )
        assert compared.pieces.count(compared.pieces.value == state) == told


@both
def test_a_piece_of_all_addresses_is_all_of_them(family: Family) -> None:
    nothing, everything = Ranges.whole(family, 0), ranges_of(*table(family, {cut(family, 0, 0): 7}))
    compared = Compared.of(everything, nothing)
    assert compared.addresses() == 1 << family.bits
    assert compared.pieces.prefix(0) == cut(family, 0, 0)
    assert Compared.same(family).addresses() == 0


@both
def test_much_is_painted_in_parts(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    length = random.choice(np.array([4, 9, 12, 15, 16, 17, 20]), 600)
    value = [int(v) << (family.bits - 20) for v in random.integers(0, 1 << 20, 600)]
    some = {cut(family, v, int(n)): int(g) for v, n, g in zip(value, length, random.integers(1, 9, 600), strict=True)}
    whole = ranges_of(*table(family, some))
    monkeypatch.setattr(ranges, "AT_ONCE", 7)
    monkeypatch.setattr(breakpoints, "AT_ONCE", 7)
    parts = ranges_of(*table(family, some))
    assert (starts(whole), whole.value.tolist()) == (starts(parts), parts.value.tolist())
    for address in edges(family, list(some)[:50]):
        assert value_at(parts, address) == answer(some, address)


# -- the IPv4 index -------------------------------------------------------------------------------------


def index_of(some: Routes) -> Index4:
    index = Index4(zeros(abi.INDEX4_LINES * 4, np.uint16))
    index.store(*table(V4, some))
    return index


def test_a_whole_index_that_is_gone_comes_back() -> None:
    some = {cut(V4, 0x0A000000 + (n << 16), 16 + n % 9): 1 + n % 3 for n in range(100)}
    some[cut(V4, 0x0A000001, 32)] = 4
    index = index_of(some)
    right = index.slots.copy()
    index.slots[: abi.INDEX4_SLOTS] = 9
    compared = index.compared(*table(V4, some))
    wrong = compared.wrong()
    for start in range(0, len(wrong), 7):
        index.mend(compared.only(wrong[start : start + 7]))
    assert np.array_equal(index.slots, right)


@pytest.mark.parametrize(
    ("text", "length", "holds"),
    [
        ("10.1.2.128/25", 24, "10.1.2.0/24"),
        ("10.1.2.0/23", 24, "10.1.2.0/23"),
        ("2001:db8:1::1/128", 24, "2001:d00::/24"),
        ("2000::/3", 24, "2000::/3"),
    ],
)
def test_a_prefix_is_clipped_to_the_one_that_holds_it(text: str, length: int, holds: str) -> None:
    prefix = Prefix.parse(text)
    assert clipped(Keys.of(prefix.family, [prefix]), length).prefix(0) == Prefix.parse(holds)


def test_where_the_index_defers_the_trie_answers() -> None:
    some = {cut(V4, 0x0A000000, 24): 1, cut(V4, 0x0A000040, 26): 2, cut(V4, 0, 0): 3}
    keys, groups = table(V4, some)
    wanted = ranges_of(keys, groups)
    whole = index_of(some).ranges()
    assert (starts(whole), whole.value.tolist()) == (starts(wanted), wanted.value.tolist())
    index = Index4(zeros(abi.INDEX4_SLOTS, np.uint16))  # no pages
    index.store(keys, groups)
    pieces, (said, trie) = together([index.ranges(), wanted])
    told = pieces.valued(np.where(said & DEFER, trie, said)).joined()
    assert (starts(told), told.value.tolist()) == (starts(wanted), wanted.value.tolist())
    assert value_at(index.ranges(), 0x0A000099) == int(DEFER)
    assert not len(index.compared(keys, groups).wrong())
