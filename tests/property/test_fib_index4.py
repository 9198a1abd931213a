"""The IPv4 index against the slowest longest-prefix match there is: after every step of any story of adds, changes
and withdrawals, by the vector way and the scalar way, every address at an edge has the oracle's answer; also where
there are not enough pages."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.datapath import abi
from bgpbridge.fib import index4
from bgpbridge.fib.index4 import Index4
from bgpbridge.fib.index4_level import Level
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.ranges import DEFER
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


class Nobody:
    """Reads: so no period takes any time."""

    def begin(self) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def wait(self) -> None:
        pass


class Story:
    def __init__(self, pages: int = 64) -> None:
        self.routes: Routes = {}
        self.index = Index4(zeros(abi.INDEX4_SLOTS + pages * abi.INDEX4_PAGE, np.uint16), Nobody())
        self.enough = pages == 64

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
            self.index.remove(Keys.of(Family.IPV4, some))
        for prefix in some:
            if not bulk:
                self.index.remove_one(0, prefix.value, prefix.length)
            del self.routes[prefix]

    def rebuild(self, broken: list[Prefix]) -> None:
        """Somebody wrote into the array behind our back."""
        without = int(np.count_nonzero(self.index.slots[: abi.INDEX4_SLOTS] == abi.INDEX4_DEEP))
        for prefix in broken:
            self.index.slots[prefix.value >> 8] ^= 0x55  # another group, another page, or none that there is
        # those without may find a page now, which another had
        assert self.index.rebuild(*self.table()) <= len(broken) + 2 * without

    def check(self, seen: list[Prefix]) -> None:
        ranges = self.index.ranges()
        for address in edges(Family.IPV4, seen):
            said = self.index.lookup(0, address)
            piece = int(np.searchsorted(ranges.lo, np.uint64(address), "right")) - 1
            assert int(ranges.value[piece]) == (DEFER if said is None else said)
            if said is None:
                assert not self.enough
                assert any(p.length > 24 and p.value >> 8 == address >> 8 for p in self.routes)
            else:
                assert said == answer(self.routes, address), f"{address:#x}"
        assert not len(self.index.compared(*self.table()).wrong())

    def table(self) -> tuple[Keys, np.ndarray]:
        return Keys.of(Family.IPV4, self.routes), np.array(list(self.routes.values()), np.uint32)


@settings(max_examples=settings.default.max_examples * 2 // 5, deadline=None)
@given(st.sampled_from([1, 3, 64]), st.lists(STEP, max_size=8))
def test_every_address_has_the_oracles_answer(pages: int, steps: list) -> None:
    story, seen = Story(pages), []
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


@pytest.mark.parametrize("together", [0, 1 << 20])  # slots of several lengths that are painted in one pass
def test_a_whole_table_by_columns_is_the_table_one_by_one(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index4, "MIXED", together)
    random = np.random.default_rng(7)
    length = random.choice(np.array([8, 11, 13, 16, 19, 20, 21, 22, 23, 24, 28, 32]), 4000)
    value = random.integers(0x0A000000, 0x0A200000, 4000) >> (32 - length) << (32 - length)
    columns = zip(value.tolist(), length.tolist(), random.integers(1, 32767, 4000).tolist(), strict=True)
    routes = {Prefix(Family.IPV4, value, length): group for value, length, group in columns}
    bulk, single = Story(4096), Story(4096)
    bulk.store(routes, bulk=True)
    single.store(routes, bulk=False)
    assert alike(bulk, single)
    gone = list(routes)[::3]
    bulk.remove(gone, bulk=True)
    single.remove(gone, bulk=False)
    assert alike(bulk, single)
    bulk.remove(list(routes), bulk=True)
    assert not bulk.index.slots[: abi.INDEX4_SLOTS].any()


def alike(one: Story, other: Story) -> bool:
    """Whatever number a page has."""
    mine, its = one.index.ranges(), other.index.ranges()
    return np.array_equal(mine.lo, its.lo) and np.array_equal(mine.value, its.value)


@settings(max_examples=settings.default.max_examples * 3 // 10, deadline=None)
@given(ROUTES, st.lists(st.tuples(prefixes(), st.integers(0, 0xFFFF), st.booleans()), max_size=6))
def test_what_somebody_else_wrote_is_found_and_mended_where_it_changes_an_answer(pairs: list, flips: list) -> None:
    story = Story()
    story.store(dict(pairs), bulk=True)
    for prefix, value, in_a_page in flips:
        at = abi.INDEX4_SLOTS + prefix.value % (64 * abi.INDEX4_PAGE) if in_a_page else prefix.value >> 8
        story.index.slots[at] = value & 0x7FFF if in_a_page else value
    for _ in range(2):  # a slot's page is seen when the slot points at it again
        story.index.mend(story.index.compared(*story.table()))
    story.check([*story.routes, *(prefix for prefix, _, _ in flips)])


def test_a_change_of_many_that_fails_midway_leaves_the_next_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    story, paint, painted = Story(), Level.paint, []
    deep, wide = Prefix.parse("10.0.0.128/25"), Prefix.parse("10.0.0.0/16")
    story.store({deep: 7}, bulk=True)

    def fails(self: Level, *arguments: Any, **more: Any) -> None:
        painted.append(arguments)
        if len(painted) == 2:
            raise MemoryError
        paint(self, *arguments, **more)

    keys, groups = Keys.of(Family.IPV4, [Prefix.parse("10.0.0.0/8"), wide]), np.array([1, 2], np.uint32)
    with monkeypatch.context() as patch:
        patch.setattr(Level, "paint", fails)
        with pytest.raises(MemoryError):
            story.index.store(keys, groups)
    story.store({Prefix.parse("10.0.0.0/8"): 3, wide: 4}, bulk=False)
    story.check([])


def test_no_page_is_used_again_before_a_grace_period_is_over() -> None:
    periods: list[Future[None]] = []

    class Held(Nobody):
        def begin(self) -> Future[None]:
            periods.append(Future())
            return periods[-1]

    story = Story()
    story.index = Index4(zeros(abi.INDEX4_LINES * 4, np.uint16), Held())
    some = {Prefix(Family.IPV4, 0x0A000001 + (n << 8), 32): 7 for n in range(300)}
    story.store(some, bulk=True)
    used = set(story.index.slots[0x0A0000 : 0x0A0000 + 300].tolist())
    story.remove(list(some), bulk=True)
    story.store(some, bulk=True)  # begins the period
    story.remove(list(some), bulk=True)
    assert not used & set(story.index.slots.tolist()[0x0A0000 : 0x0A0000 + 300])
    periods[0].set_result(None)
    story.store(some, bulk=True)
    assert used == set(story.index.slots[0x0A0000 : 0x0A0000 + 300].tolist())
    story.check(list(some)[:9])
