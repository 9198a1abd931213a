"""A table that is filled beside a live one says the same in the end, whatever changes meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.errors import CapacityError
from bgpbridge.fib import mirror
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.mirror import Mirrors
from bgpbridge.fib.table import Table
from bgpbridge.fib.xdp_map import NOBODY, Refused
from bgpbridge.fib.xdp_trie import Trie
from bgpbridge.rib.changes import Changes
from bgpbridge.types import Family, Prefix

ROWS = 12
NOW = 0.0


class Dictionary:
    """A table of `room` prefixes, as a trie without a kernel."""

    index = None
    name = "lpm4"
    family = Family.IPV4

    def __init__(self, room: int = 1000) -> None:
        self.max_entries, self.routes = room, {}  # type: ignore[var-annotated]

    def store(self, keys: Keys, groups: Any) -> Refused:
        failed = []
        for at, group in enumerate(groups.tolist()):
            prefix = keys.prefix(at)
            if prefix not in self.routes and len(self.routes) >= self.max_entries:
                failed.append(at)
            else:
                self.routes[prefix] = group
        return Refused(np.array(failed), 28, "full") if failed else Refused(NOBODY)

    def remove(self, keys: Keys) -> Refused:
        for at in range(len(keys)):
            self.routes.pop(keys.prefix(at), None)
        return Refused(NOBODY)

    def store_one(self, hi: int, lo: int, length: int, group: int) -> None:
        self.routes[Prefix(Family.IPV4, lo, length)] = group

    def remove_one(self, hi: int, lo: int, length: int) -> None:
        self.routes.pop(Prefix(Family.IPV4, lo, length), None)


def prefix(number: int) -> Prefix:
    return Prefix(Family.IPV4, (10 << 24) + (number << 8), 24)


def move(number: int, group: int) -> tuple[int, int, int, int, int, int]:
    return number, 0, prefix(number).value, 24, 0, group


NUMBER, GROUP = st.integers(1, ROWS), st.integers(0, 5)
STEP = st.one_of(
    st.tuples(st.just("apply"), st.dictionaries(NUMBER, GROUP, min_size=1).map(lambda d: list(d.items()))),
    st.tuples(st.just("one"), st.tuples(NUMBER, GROUP)),
    st.tuples(st.just("punt"), st.integers(1, ROWS + 4)),
    st.tuples(st.just("unpunt"), st.integers(1, ROWS + 4)),
    st.tuples(st.just("slice"), st.none()),
)


def act(trie: Trie, what: str, value: Any) -> None:
    if what == "apply":
        trie.apply(Changes.of(Family.IPV4, [move(*pair) for pair in value]), NOW)
    elif what == "one" and not trie.apply_one(move(*value)):
        trie.apply(Changes.of(Family.IPV4, [move(*value)]), NOW)
    elif what == "punt":
        trie.punt([prefix(value)], NOW)
    elif what == "unpunt":
        trie.unpunt([prefix(value)], NOW)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=10), st.lists(STEP, max_size=25), st.lists(STEP, max_size=5))
def test_both_tables_are_equal_when_the_slices_are_through(before: Any, meanwhile: Any, after: Any) -> None:
    first, second = Dictionary(), Dictionary()
    trie = Trie(cast("Table", first))
    for step in before:
        act(trie, *step)
    mirrors = Mirrors(cast("Any", SimpleNamespace(tries={Family.IPV4: trie})), cast("Any", {Family.IPV4: second}))
    with patch.object(mirror, "SLICE", 4):
        slices = mirrors.copy()
        for what, value in meanwhile:
            if what == "slice":
                next(slices, None)
            else:
                act(trie, what, value)
        for _ in slices:
            pass
    for step in after:
        act(trie, *step)
    assert mirrors.in_line
    assert first.routes == second.routes
    mirrors.end()
    assert trie.table is cast("Table", first)


def test_a_second_table_without_room_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(mirror, "SLICE", 4)
    first, second = Dictionary(), Dictionary(room=6)
    trie = Trie(cast("Table", first))
    trie.apply(Changes.of(Family.IPV4, [move(number, 1) for number in range(1, 11)]), NOW)
    mirrors = Mirrors(cast("Any", SimpleNamespace(tries={Family.IPV4: trie})), cast("Any", {Family.IPV4: second}))
    with pytest.raises(CapacityError, match="the new lpm4 would not take a route: full"):
        list(mirrors.copy())
    assert not mirrors.in_line
