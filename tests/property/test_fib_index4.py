"""The IPv4 index against the slowest longest-prefix match there is: after every step of any story of adds, changes
and withdrawals, by the vector way and the scalar way, every address at an edge has the oracle's answer."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.fib.index4 import Index4
from bgpbridge.fib.keys import Keys
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family, Prefix
from tests.property.longest_match import Routes, answer, edges


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    length = draw(st.sampled_from([0, 1, 7, 8, 9, 12, 13, 15, 16, 18, 19, 20, 21, 22, 23, 24, 24, 24, 25, 26, 31, 32]))
    # few networks, so that prefixes nest and meet
    value = draw(st.sampled_from([0x0A000000, 0x0A000100, 0x0A00FF00, 0x0AFFFF80, 0x0B000000, 0xC6336400, 0xFFFFFFFF]))
    value ^= draw(st.integers(0, 0x1FF))
    return Prefix(Family.IPV4, value >> (32 - length) << (32 - length) if length else 0, length)


ROUTES = st.lists(st.tuples(prefixes(), st.integers(1, 32767)), max_size=12)
STEP = st.tuples(st.sampled_from(["store", "remove", "rebuild"]), st.booleans(), ROUTES)


class Story:
    def __init__(self) -> None:
        self.routes: Routes = {}
        self.index = Index4(zeros(1 << 24, np.uint16))

    def value_of(self, hi: int, lo: int, length: int) -> int:
        return self.routes[Prefix(Family.IPV4, lo, length)]

    def store(self, some: Routes, *, bulk: bool) -> None:
        self.routes |= some
        if bulk:
            self.index.store(Keys.of(Family.IPV4, some), np.array(list(some.values()), np.uint32))
            return
        for prefix, group in some.items():
            self.index.store_one(0, prefix.value, prefix.length, group)

    def remove(self, some: list[Prefix], *, bulk: bool) -> None:
        some = [prefix for prefix in dict.fromkeys(some) if prefix in self.routes]
        if bulk:
            self.index.remove(Keys.of(Family.IPV4, some), self.value_of)
        for prefix in some:
            if not bulk:
                self.index.remove_one(0, prefix.value, prefix.length, self.value_of)
            del self.routes[prefix]

    def rebuild(self, broken: list[Prefix]) -> None:
        """Somebody wrote into the array behind our back."""
        for prefix in broken:
            self.index.slots[prefix.value >> 8] ^= 0x55
        keys = Keys.of(Family.IPV4, self.routes)
        assert self.index.rebuild(keys, np.array(list(self.routes.values()), np.uint32)) <= len(broken)

    def check(self, seen: list[Prefix]) -> None:
        for address in edges(Family.IPV4, seen):
            said = self.index.lookup(0, address)
            deep = [p for p in self.routes if p.length > 24 and p.value >> 8 == address >> 8]
            assert (said is None) == bool(deep), f"{address:#x}: DEEP where {deep}"
            if said is not None:
                assert said == answer(self.routes, address), f"{address:#x}"


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=8))
def test_every_address_has_the_oracles_answer(steps: list) -> None:
    story, seen = Story(), []
    for what, bulk, pairs in steps:
        some = dict(pairs)
        seen += some
        if what == "store":
            story.store(some, bulk=bulk)
        elif what == "remove":
            story.remove([*some, *list(story.routes)[: len(some)]], bulk=bulk)
        else:
            story.rebuild(list(some))
        story.check(seen)


def test_a_whole_table_by_columns_is_the_table_one_by_one() -> None:
    random = np.random.default_rng(7)
    length = random.choice(np.array([8, 11, 13, 16, 19, 20, 21, 22, 23, 24, 28, 32]), 4000)
    value = random.integers(0x0A000000, 0x0A200000, 4000) >> (32 - length) << (32 - length)
    columns = zip(value.tolist(), length.tolist(), random.integers(1, 32767, 4000).tolist(), strict=True)
    routes = {Prefix(Family.IPV4, value, length): group for value, length, group in columns}
    bulk, single = Story(), Story()
    bulk.store(routes, bulk=True)
    single.store(routes, bulk=False)
    assert np.array_equal(bulk.index.slots, single.index.slots)
    gone = list(routes)[::3]
    bulk.remove(gone, bulk=True)
    single.remove(gone, bulk=False)
    assert np.array_equal(bulk.index.slots, single.index.slots)
    bulk.remove(list(routes), bulk=True)
    assert not bulk.index.slots.any()
