"""Finding columns of prefixes in one another, and what adoption makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from bgpbridge.fib import keys as keys_module
from bgpbridge.fib.columns import RouteColumns
from bgpbridge.fib.keys import Keys, KeyTable
from bgpbridge.fib.leftovers import Leftovers
from bgpbridge.fib.refusals import Refusals
from bgpbridge.types import Family, Prefix

V4 = ["10.0.0.0/8", "10.0.0.0/9", "0.0.0.0/0", "192.0.2.1/32"]
V6 = ["2001:db8::/32", "2001:db8::/33", "::/0", "2001:db8::1/128"]


def keys(texts: list[str]) -> Keys:
    prefixes = [Prefix.parse(text) for text in texts]
    return Keys.of(prefixes[0].family, prefixes)


@pytest.mark.parametrize("texts", [V4, V6], ids=["ipv4", "ipv6"])
def test_prefixes_survive_the_columns(texts: list[str]) -> None:
    table = keys(texts)
    assert [str(table.prefix(i)) for i in range(len(table))] == texts
    again = Keys.from_octets(table.family, table.octets(), table.length)
    assert [str(again.prefix(i)) for i in range(len(again))] == texts


@pytest.mark.parametrize("texts", [V4, V6], ids=["ipv4", "ipv6"])
def test_find_tells_where_each_stands(texts: list[str]) -> None:
    other = "172.16.0.0/12" if texts is V4 else "2001:db8:1::/48"
    assert KeyTable(keys(texts)).find(keys([texts[3], other, texts[0]])).tolist() == [3, -1, 0]
    assert KeyTable(Keys.of(keys(texts).family, [])).find(keys(texts)).tolist() == [-1] * 4


def test_equal_tokens_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "_SECRET", (np.uint64(0),) * 3)  # every token is 0: the worst there can be
    assert KeyTable(keys(V6)).find(keys([*reversed(V6), "2001:db8:1::/48"])).tolist() == [3, 2, 1, 0, -1]


def test_a_leftover_is_given_out_once() -> None:
    left = Leftovers(keys(V4), np.array([16, 17, 18, 19], np.uint32))
    assert left.take(keys(["10.0.0.0/9", "10.1.0.0/16"])).tolist() == [17, 0]
    assert left.take(keys(["10.0.0.0/9"])).tolist() == [0]
    assert left.unconfirmed == 3
    assert len(left.rest()[0]) == 3
    assert left.values_in_use() == {16, 18, 19}


def test_a_row_given_to_another_prefix_is_noticed() -> None:
    columns = RouteColumns(Family.IPV4)
    rows = np.array([1, 2], np.int64)
    new, other = columns.put(rows, keys(V4[:2]))
    assert (new.tolist(), other.tolist()) == ([1, 2], [])
    assert columns.rekeyed(rows, keys(V4[:2])).tolist() == []
    assert columns.rekeyed(rows, keys([V4[0], V4[3]])).tolist() == [2]
    assert columns.find([Prefix.parse(text) for text in V4]) == [1, 2, 0, 0]


def test_columns_grow_past_their_first_size() -> None:
    columns = RouteColumns(Family.IPV6)
    rows = np.array([5, 3_000_000], np.int64)
    columns.put(rows, keys(V6[:2]))
    assert columns.find([Prefix.parse(V6[1])]) == [3_000_000]
    assert columns.known().tolist() == [5, 3_000_000]


def test_pauses_between_retries_double() -> None:
    refusals, row = Refusals(), np.array([4], np.int64)
    waits = []
    for _ in range(8):
        refusals.refuse(row, 28, "full", now_s=100.0)
        waits.append(refusals.next_due() - 100.0)
        assert refusals.take_due(99.0).tolist() == []
        assert refusals.take_due(100.0 + waits[-1]).tolist() == [4]
        assert refusals.next_due() is None, "a row that is being retried is not due again"
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert refusals.by_reason() == {(28, "full"): 1}
    refusals.settle(row)
    assert refusals.count == 0
    assert refusals.next_due() is None
