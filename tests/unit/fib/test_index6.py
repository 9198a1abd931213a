"""What the IPv6 index does when something does not fit, and how it comes back."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest

from bgpbridge.datapath import abi
from bgpbridge.errors import DatapathError
from bgpbridge.fib.index6 import Index6
from bgpbridge.fib.index6_single import Node
from bgpbridge.fib.keys import Keys
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family, Prefix

MASK64 = (1 << 64) - 1
DEEP = [Prefix(Family.IPV6, 0x20010DB8 << 96 | number << 80 | 1, 128) for number in range(60)]
SOME = [Prefix.parse(text) for text in ("::/0", "2001:db8::/32", "2001:db8:1::/48", "fc00:1::/32")]


class Refusing:
    """Grace periods that cannot be had, or can."""

    refusal: DatapathError | None = None

    def begin(self) -> Future[None]:
        period: Future[None] = Future()
        if self.refusal is None:
            period.set_result(None)
        else:
            period.set_exception(self.refusal)
        return period

    def wait(self) -> None:
        self.begin().result()


def new_index(lines: int, capacity: int = 1000) -> Index6:
    slots, words = zeros(abi.INDEX6_SLOTS, np.uint32), zeros(lines * abi.INDEX6_WORDS, np.uint32)
    return Index6(slots, words, capacity=capacity, grace=Refusing(), asked=SimpleNamespace(on=True))


def store(index: Index6, prefixes: list[Prefix], group: int = 7) -> None:
    index.store(Keys.of(Family.IPV6, prefixes), np.full(len(prefixes), group, np.uint32))


def store_each(index: Index6, prefixes: list[Prefix]) -> None:
    for prefix in prefixes:
        index.store_one(prefix.value >> 64, prefix.value & MASK64, prefix.length, 7)


def rebuild(index: Index6, prefixes: list[Prefix]) -> int:
    return index.rebuild(Keys.of(Family.IPV6, prefixes), np.full(len(prefixes), 7, np.uint32))


@pytest.mark.parametrize("write", [store, store_each])
def test_when_lines_run_out_packets_ask_the_trie_from_that_moment(write) -> None:
    index = new_index(300)
    write(index, SOME)
    assert index.lookup(0x20010DB8 << 32, 0) == 7
    write(index, DEEP)
    assert not index._asked.on
    assert "no room" in index.trouble
    assert index.lookup(0x20010DB8 << 32, 0) is None
    assert index.lookup_many(np.array([1], np.uint64), np.array([1], np.uint64)).tolist() == [-1]


def test_while_it_is_in_trouble_nothing_is_written() -> None:
    index = new_index(300)
    store(index, DEEP)
    before = index.nodes.words.copy()
    store(index, SOME, 9)
    store_each(index, SOME)
    index.remove(Keys.of(Family.IPV6, DEEP))
    index.remove_one(DEEP[0].value >> 64, 1, 128)
    assert np.array_equal(before, index.nodes.words)


def test_a_rebuild_ends_the_trouble_when_the_routes_fit_again() -> None:
    index = new_index(300)
    store(index, DEEP)
    assert index.trouble
    assert rebuild(index, SOME) > 0
    assert not index.trouble
    assert not index._asked.on  # whoever decides on engines turns it on again
    assert index.lookup(0x20010DB8 << 32, 0) == 7
    assert index.lines.used == 5


def test_a_rebuild_without_room_for_two_is_made_from_nothing_and_packets_come_back() -> None:
    index = new_index(300)
    some = [*SOME, *DEEP[:18]]
    store(index, some)
    assert not index.trouble
    assert index.lines.used > 150
    index.nodes.slots[np.flatnonzero(index.nodes.slots)[-1]] = 0
    assert rebuild(index, some) > 0
    assert (index.trouble, index._asked.on) == ("", True)
    assert index.lookup(DEEP[17].value >> 64, 1) == 7


@pytest.mark.parametrize("again", [Index6.clear, lambda index: rebuild(index, [*SOME, *DEEP[:18]])])
def test_before_anything_is_taken_away_packets_ask_the_trie_and_those_on_their_way_are_waited_for(again) -> None:
    index, seen = new_index(300), []
    store(index, [*SOME, *DEEP[:18]])
    index._grace.wait = lambda: seen.append((index._asked.on, np.count_nonzero(index.nodes.slots) > 0))
    again(index)
    assert seen[-1] == (False, True)
    assert index._asked.on


def test_lines_that_mending_took_out_of_use_are_used_again_and_those_that_may_be_read_are_not() -> None:
    index = new_index(400)
    store(index, DEEP[:10])
    used = index.lines.used
    keys, groups = Keys.of(Family.IPV6, DEEP[:10]), np.full(10, 7, np.uint32)
    for _ in range(6):
        index.nodes.slots[np.flatnonzero(index.nodes.slots)[-1]] = 0
        index.mend(index.compared(keys, groups))
        index.remove_one(DEEP[9].value >> 64, 1, 128)
        index.store_one(DEEP[9].value >> 64, 1, 128, 7)
        parked = index.lines.parked
        assert parked
        index.recount()
        assert (index.trouble, index.lines.used, index.lines.parked) == ("", used, parked)
    assert index.lookup(DEEP[9].value >> 64, 1) == 7


def test_routes_that_are_not_there_are_no_reason_for_anything() -> None:
    index = new_index(300)
    store(index, SOME)
    index.remove(Keys.of(Family.IPV6, DEEP))
    index.remove_one(DEEP[0].value >> 64, 1, 128)
    assert index.lookup(0x20010DB8 << 32, 0) == 7


def test_more_routes_than_there_is_room_for_are_told() -> None:
    index = new_index(3000, capacity=20)
    store(index, DEEP[:41])
    assert "do not fit" in index.trouble


def test_prefixes_that_went_for_good_are_forgotten() -> None:
    index = new_index(3000, capacity=20)
    for prefix in [*DEEP, *SOME]:
        store_each(index, [prefix])
        index.remove_one(prefix.value >> 64, prefix.value & MASK64, prefix.length)
    store(index, DEEP[:20])
    assert not index.trouble
    assert index.lookup(DEEP[19].value >> 64, 1) == 7


def test_a_group_of_more_than_24_bits_is_the_tries() -> None:
    index = new_index(300)
    store(index, SOME, 1 << 24)
    assert "group 16777216" in index.trouble


def test_what_somebody_else_wrote_there_is_no_crash() -> None:
    index = new_index(300)
    store(index, SOME)
    slot = np.flatnonzero(index.nodes.slots & abi.INDEX6_POINTER)
    index.nodes.slots[slot] = 0xFFFFFF00
    assert index.lookup(0x20010DB8 << 32, 0) is None
    store_each(index, SOME)
    assert "somebody else" in index.trouble


def test_where_no_grace_period_can_be_had_the_trouble_names_it() -> None:
    index = new_index(300)
    Refusing.refusal = DatapathError("this kernel does not wait")
    try:
        assert rebuild(index, SOME) == 0
        assert index.trouble == "this kernel does not wait"
        index.clear()
        assert index.trouble == "this kernel does not wait"
    finally:
        Refusing.refusal = None
    index.clear()
    assert not index.trouble


def test_an_index_that_was_left_behind_is_not_written_over_before_its_routes_are_known() -> None:
    old = new_index(300)
    store(old, SOME)
    new = Index6(old.nodes.slots, old.nodes.words, capacity=100, grace=Refusing(), asked=SimpleNamespace(on=True))
    assert new.lines.used == old.lines.used
    store(new, DEEP[:2], 9)
    assert new.lookup(0xFC000001 << 32, 0) == 7
    assert rebuild(new, SOME) == 1
    assert rebuild(new, SOME) == 0


def test_a_node_joins_runs_that_say_the_same() -> None:
    node = Node()
    words = memoryview(np.zeros(16, np.uint32))
    node.paint(0x40, 2, 5, words, gone=False)
    assert (node.run(0x3F), node.run(0x40), node.run(0x7F), node.run(0x80)) == (0, 1, 1, 2)
    node.paint(0x80, 2, 5, words, gone=False)
    assert (node.entries, node.starts) == ([0, 5, 0], 1 | 1 << 0x40 | 1 << 0xC0)
    node.set(0x41, 0x80000009)
    assert node.entries == [0, 5, 0x80000009, 5, 0]
    node.set(0x41, 5)
    assert node.entries == [0, 5, 0]
