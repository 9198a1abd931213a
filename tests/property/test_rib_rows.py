"""Rows of prefixes that are given back and given out again, beside a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.errors import CapacityError
from bgpbridge.rib.prefixes import PrefixTable, prefix_table
from bgpbridge.types import Family, Prefix

MASK64 = (1 << 64) - 1
ROOM = 12
V4 = [Prefix.parse(text) for text in ("0.0.0.0/0", "10.0.0.0/8", *(f"192.0.{n}.0/24" for n in range(18)))]
V6 = [Prefix.parse(text) for text in ("::/0", "::/16", *(f"2001:db8:{n:x}::/48" for n in range(18)))]
WHICH = st.lists(st.integers(0, len(V4) - 1), min_size=1, max_size=6, unique=True)
STEP = st.tuples(st.sampled_from(["one", "many", "give back"]), WHICH)


def columns(prefixes: list[Prefix]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([one.value >> 64 for one in prefixes], np.uint64),
        np.array([one.value & MASK64 for one in prefixes], np.uint64),
        np.array([one.length for one in prefixes], np.uint8),
    )


def act(table: PrefixTable, known: dict[Prefix, int], what: str, chosen: list[Prefix]) -> None:
    if what == "give back":
        gone = [known.pop(prefix) for prefix in chosen if prefix in known]
        table.give_back(np.array(gone, np.int64))
        return
    new = [prefix for prefix in chosen if prefix not in known]
    if len(known) + len(new) > ROOM:
        if what == "many":
            with pytest.raises(CapacityError):
                table.intern(*columns(chosen))
            assert table.beyond >= len(known) + len(new)
        return
    if what == "many":
        rows = table.intern(*columns(chosen)).tolist()
    else:
        rows = [table.intern_one(one.value >> 64, one.value & MASK64, one.length) for one in chosen]
    for prefix, row in zip(chosen, rows, strict=True):
        assert known.setdefault(prefix, row) == row


@pytest.mark.parametrize("prefixes", [V4, V6])
@given(steps=st.lists(STEP, max_size=40))
def test_rows_are_given_out_again_and_never_twice(prefixes: list[Prefix], steps: list[tuple[str, list[int]]]) -> None:
    table, known = prefix_table(prefixes[0].family, ROOM), dict[Prefix, int]()
    for what, numbers in steps:
        act(table, known, what, [prefixes[number] for number in numbers])
        assert len(set(known.values())) == len(known) == table.used
        assert table.count <= ROOM
        assert table.find(*columns(prefixes)).tolist() == [known.get(prefix, 0) for prefix in prefixes]
        assert [table.row(prefix) for prefix in prefixes] == [known.get(prefix, 0) for prefix in prefixes]
        for prefix, row in known.items():
            assert table.prefix(row) == prefix


def test_an_index_that_is_built_anew_leaves_out_what_was_given_back() -> None:
    table = prefix_table(Family.IPV6, 10_000)
    number = np.arange(4000, dtype=np.uint64)
    zeros, length = np.zeros(4000, np.uint64), np.full(4000, 64, np.uint8)
    rows = table.intern(number, zeros, length)
    table.give_back(rows[1000:])
    more = table.intern(number + np.uint64(5000), zeros, length)
    assert table.count == 5000
    assert set(more.tolist()).isdisjoint(rows[:1000].tolist())
    assert table.find(number, zeros, length).tolist() == [*rows[:1000].tolist(), *[0] * 3000]
