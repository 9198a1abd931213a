"""The IPv6 index against the slowest longest-prefix match there is: after every step of any story of adds, changes
and withdrawals, in bulk, in chunks and one by one, every address at an edge has the oracle's answer; and the same
routes have the same form, whichever way they came."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpbridge.datapath import abi
from bgpbridge.fib.index6 import Index6
from bgpbridge.fib.index6_lines import lines_of
from bgpbridge.fib.index6_reader import differing, look_up, nodes_under
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.ranges import DEFER, Ranges
from bgpbridge.fib.sweep import DIVERGENT
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family, Prefix
from tests.property.longest_match import Routes, answer, edges

LAST = (1 << 128) - 1
MASK64 = (1 << 64) - 1
ROOM = 1 << 14
WINDOW = [Prefix(Family.IPV6, 0x2000 << 112, 3)]  # has a first level of its own


class Instant:
    """Grace periods of a machine where nothing runs."""

    def begin(self) -> Future[None]:
        period: Future[None] = Future()
        period.set_result(None)
        return period

    def wait(self) -> None:
        pass


def new_index(lines: int = ROOM) -> Index6:
    slots, words = zeros(abi.INDEX6_SLOTS, np.uint32), zeros(lines * abi.INDEX6_WORDS, np.uint32)
    return Index6(slots, words, capacity=5000, grace=Instant(), asked=SimpleNamespace(on=True))


def halves(addresses: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([a >> 64 for a in addresses], np.uint64), np.array([a & MASK64 for a in addresses], np.uint64)


# few networks, so that prefixes nest and meet: both sides of 2000::/3, of octets and of the middle
ROOTS = (*(top << 112 for top in (0x1FFF, 0x3FFF, 0x4000, 0xFC00)), 0x20010DB8 << 96, 0x20010DB800FFFF00 << 64, 0, LAST)
LENGTHS = st.integers(0, 128) | st.sampled_from([0, 1, 2, 3, 16, 17, 23, 24, 25, 28, 31, 32, 33, 48, 64, 128])


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    length = draw(LENGTHS)
    value = draw(st.sampled_from(ROOTS))
    for shift in (96, 88, 64, 0):
        value ^= draw(st.integers(0, 3)) << shift
    value ^= draw(st.integers(0, 7)) << max(125 - length, 0)
    return Prefix(Family.IPV6, value >> (128 - length) << (128 - length), length)


ROUTES = st.lists(st.tuples(prefixes(), st.sampled_from([0, 1, 2, 3, 40000, abi.INDEX6_GROUP])), max_size=14)
STEP = st.tuples(st.sampled_from(["store", "store", "remove", "rebuild"]), st.booleans(), ROUTES)


class Story:
    def __init__(self) -> None:
        self.routes: Routes = {}
        self.index = new_index()

    def store(self, some: Routes, *, bulk: bool) -> None:
        self.routes |= some
        if bulk:
            self.index.store(Keys.of(Family.IPV6, some), np.array(list(some.values()), np.uint32))
            return
        for prefix, group in some.items():
            self.index.store_one(prefix.value >> 64, prefix.value & MASK64, prefix.length, group)

    def remove(self, some: list[Prefix], *, bulk: bool) -> None:
        """Some may not be there."""
        some = list(dict.fromkeys(some))
        if bulk:
            self.index.remove(Keys.of(Family.IPV6, some))
        for prefix in some:
            if not bulk:
                self.index.remove_one(prefix.value >> 64, prefix.value & MASK64, prefix.length)
            self.routes.pop(prefix, None)

    def rebuild(self, broken: list[Prefix]) -> None:
        """Somebody wrote into the arrays behind our back."""
        nodes = self.index.nodes
        lines = nodes_under(nodes, nodes.slots)[0]
        for at, prefix in enumerate(broken):
            flipped = (0x5A, 0x80000000, 1 << prefix.length % 32)[at % 3]
            if len(lines):
                nodes.lines[lines[at % len(lines)], prefix.value % 13] ^= flipped
            nodes.slots[(prefix.value >> 104) % abi.INDEX6_SLOTS] ^= 0x80000055
        self.index.rebuild(Keys.of(Family.IPV6, self.routes), np.array(list(self.routes.values()), np.uint32))

    def check(self, seen: list[Prefix]) -> None:
        assert not self.index.trouble
        addresses = edges(Family.IPV6, WINDOW, seen)
        wanted = [answer(self.routes, address) for address in addresses]
        assert self.index.lookup_many(*halves(addresses)).tolist() == wanted
        assert [self.index.lookup(a >> 64, a & MASK64) for a in addresses[:20]] == wanted[:20]

    def check_form(self) -> None:
        """As one that was built at once."""
        fresh = new_index()
        fresh.store(Keys.of(Family.IPV6, self.routes), np.array(list(self.routes.values()), np.uint32))
        assert same_form(self.index, fresh)
        assert fresh.lines.used == self.index.lines.used


def same_form(one: Index6, other: Index6) -> bool:
    return not len(differing(one.nodes, other.nodes))


@settings(max_examples=settings.default.max_examples * 2 // 5, deadline=None)
@given(st.lists(STEP, max_size=8))
def test_every_address_has_the_oracles_answer(steps: list) -> None:
    story, seen = Story(), []
    for what, bulk, pairs in steps:
        some = dict(pairs)
        seen += some
        if what == "store":
            story.store(some, bulk=bulk)
        elif what == "remove":
            story.remove([*list(some)[:2], *list(story.routes)[: len(some)]], bulk=bulk)
        else:
            story.rebuild(list(some))
        story.check(seen)
    story.check_form()
    story.remove(list(story.routes), bulk=len(steps) % 2 == 0)
    assert not story.index.nodes.slots.any()
    assert story.index.lines.used == 0


def random_routes(count: int, seed: int) -> Routes:
    random = np.random.default_rng(seed)
    length = random.choice(np.array([0, 2, 11, 16, 20, 24, 28, 29, 32, 36, 40, 44, 48, 48, 48, 56, 64, 128]), count)
    top = random.integers(0x2001_0000_0000, 0x2001_0040_0000, count, dtype=np.uint64)
    columns = zip(top.tolist(), random.integers(0, 1 << 62, count).tolist(), length.tolist(), strict=True)
    found = [Prefix(Family.IPV6, (a << 80 | b) >> (128 - n) << (128 - n), n) for a, b, n in columns]
    return dict(zip(found, random.integers(1, 32767, count).tolist(), strict=True))


def test_a_table_in_bulk_in_chunks_and_one_by_one_has_one_form_and_leaves_nothing_behind() -> None:
    routes = random_routes(3000, 7)
    bulk, chunks, single = Story(), Story(), Story()
    bulk.store(routes, bulk=True)
    single.store(routes, bulk=False)
    for start in range(0, len(routes), 271):
        chunks.store(dict(list(routes.items())[start : start + 271]), bulk=True)
    assert same_form(bulk.index, chunks.index)
    assert same_form(bulk.index, single.index)
    gone = list(routes)[::3]
    for story, at_once in ((bulk, True), (chunks, True), (single, False)):
        for start in range(0, len(gone), 300):
            story.remove(gone[start : start + 300], bulk=at_once)
        story.check(list(routes)[:200])
    assert same_form(bulk.index, chunks.index)
    assert same_form(bulk.index, single.index)
    for story, at_once in ((bulk, True), (chunks, False), (single, False)):
        story.remove(list(story.routes), bulk=at_once)
        assert not story.index.nodes.slots.any()
        assert story.index.lines.used == 0


@pytest.mark.parametrize("seed", range(4))
def test_nodes_that_fill_up_a_little_at_a_time_have_one_form(seed: int) -> None:
    """Lone changes: runs are cut, stored over, joined; routes meet nodes below them; no line is lost."""
    random = np.random.default_rng(seed)
    lengths = random.choice([25, 28, 29, 31, 32, 32, 33, 36, 40, 40, 44, 48], 400).tolist()
    values = (0x20010D << 104 | random.integers(0, 1 << 24, 400).astype(object) << 80) & -1 << 84
    found = [Prefix(Family.IPV6, v >> 128 - n << 128 - n, n) for v, n in zip(values.tolist(), lengths, strict=True)]
    routes = list(zip(found, random.integers(1, 3, 400).tolist(), strict=True))
    story, at = Story(), 0
    while at < len(routes):
        some = dict(routes[at : (at := at + int(random.integers(1, 12)))])
        story.store(some, bulk=True)
        if at % 5 == 0:
            story.remove(list(story.routes)[:: int(random.integers(5, 40))], bulk=bool(at % 2))
    story.check(list(story.routes))
    story.check_form()
    _, runs = nodes_under(story.index.nodes, story.index.nodes.slots)
    assert story.index.lines.used == int(lines_of(runs).sum())


# -- for an audit ---------------------------------------------------------------------------------------

FLIPS = st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 20), st.integers(0, 31)), min_size=1, max_size=4)


def told(ranges: Ranges, address: int) -> int:
    """-1: the trie is asked."""
    value = int(ranges.value[np.searchsorted(begins(ranges), address, "right") - 1])
    return -1 if value & int(DEFER) else value


def begins(ranges: Ranges) -> np.ndarray:
    columns = zip(ranges.hi.tolist(), ranges.lo.tolist(), strict=True)
    return np.array([hi << 64 | lo for hi, lo in columns], object)


@settings(max_examples=12, deadline=None)
@example([], [(True, 0x2001, 3)])
@given(ROUTES, FLIPS)
def test_what_somebody_flips_is_found_and_put_right(pairs: list, flips: list) -> None:
    routes = {prefix: group or 7 for prefix, group in pairs}
    index, keys = new_index(), Keys.of(Family.IPV6, routes)
    groups = np.array(list(routes.values()), np.uint32)
    index.store(keys, groups)
    assert not len(index.compared(keys, groups).wrong())
    fresh = new_index()
    fresh.store(keys, groups)
    used = np.flatnonzero(index.nodes.slots)
    lines, _ = nodes_under(index.nodes, index.nodes.slots)
    for in_slots, place, bit in flips:
        if in_slots or not len(lines):
            slot = used[place % len(used)] if len(used) else place
            index.nodes.slots[slot] ^= np.uint32(1 << bit)
        else:
            index.nodes.words[16 * int(lines[(place >> 4) % len(lines)]) + place % 16] ^= np.uint32(1 << bit)
    compared = index.compared(keys, groups)
    assert bool(len(compared.wrong())) == (not same_form(index, fresh))
    ranges, state = index.ranges(), compared.pieces
    for address in edges(Family.IPV6, WINDOW, routes):
        said = look_up(index.nodes, address >> 64, address & MASK64)
        assert told(ranges, address) == (-1 if said is None else said), hex(address)
        if told(ranges, address) != answer(routes, address):
            assert told(state, address) == DIVERGENT, hex(address)
    index.mend(compared)
    index.recount()
    assert index.lines.used == fresh.lines.used
    assert same_form(index, fresh)
    assert not len(index.compared(keys, groups).wrong())


def test_a_change_shows_in_the_slot_of_a_prefix() -> None:
    wide = {"2001:db8:1::/48": "2001:d00::/24", "fc00:1:2::/48": "fc00::/16", "2000::/3": "2000::/3", "::/0": "::/0"}
    for text, slot in wide.items():
        keys = Keys.of(Family.IPV6, [Prefix.parse(text)])
        assert new_index().widened(keys).prefix(0) == Prefix.parse(slot)
