"""A trie that follows its index: whatever is stored and removed, in any pieces, both end with the oracle's routes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.fib import xdp_map
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.table import Table, tables
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
ROOM = 3000


@pytest.fixture
def maps() -> Iterator[Maps]:
    made = Maps.create(Sizes(ROOM, ROOM))
    yield made
    made.close()


def table_of(maps: Maps, family: Family) -> Table:
    table = tables(maps)[family]
    table.asked.on = True
    return table


def keys_of(family: Family, some: list[tuple[int, int]]) -> Keys:
    return Keys.of(family, [Prefix(family, value, length) for value, length in some])


def standing(table: Table) -> dict[tuple[int, int], int]:
    keys, groups = table.dump()
    rows = zip(keys.hi.tolist(), keys.lo.tolist(), keys.length.tolist(), groups.tolist(), strict=True)
    return {(hi << 64 | lo, length): group for hi, lo, length, group in rows}


@pytest.mark.parametrize("family", Family, ids=str)
def test_index_and_trie_end_alike_whatever_comes(maps: Maps, family: Family) -> None:
    random, table, oracle = np.random.default_rng(7), table_of(maps, family), {}
    base, shift = (0x0A000000, 8) if family is Family.IPV4 else (0x20010DB8 << 96, 80)
    lengths = [16, 20, 23, 24, 25, 30, 32] if family is Family.IPV4 else [32, 40, 44, 48, 56, 64]
    for _ in range(60):
        count = int(random.choice([1, 1, 3, 40, 400]))
        some = {}
        numbers, drawn = random.integers(0, 600, count).tolist(), random.choice(lengths, count).tolist()
        for number, length in zip(numbers, drawn, strict=True):
            value = base + (number << shift) + (number % 7 << shift - 3)
            some[value >> family.bits - length << family.bits - length, length] = int(random.integers(16, 99))
        if random.random() < 0.6:
            if len(some) == 1:
                ((value, length), group), *_ = some.items()
                table.store_one(value >> 64, value & (1 << 64) - 1, length, group)
            else:
                table.store(keys_of(family, list(some)), np.array(list(some.values()), np.uint32))
            oracle |= some
            continue
        gone = [prefix for prefix in some if prefix in oracle]
        if len(gone) == 1:
            table.remove_one(gone[0][0] >> 64, gone[0][0] & (1 << 64) - 1, gone[0][1])
        else:
            table.remove(keys_of(family, gone))
        for prefix in gone:
            del oracle[prefix]
    assert standing(table) == oracle
    assert not table.take_late()
    assert table.index is not None
    keys, groups = table.dump()
    assert not len(table.index.compared(keys, groups).wrong())


def test_packets_turn_to_the_trie_when_it_has_caught_up(maps: Maps) -> None:
    table = table_of(maps, Family.IPV4)
    some = [(0x0A000000 + (n << 8), 24) for n in range(ROOM)]
    for at in range(0, ROOM, 100):
        table.store(keys_of(Family.IPV4, some[at : at + 100]), np.full(100, 16, np.uint32))
    assert table.follower.behind
    table.asked.on = False
    assert not table.follower.behind
    assert standing(table) == dict.fromkeys(some, 16)


def test_what_the_trie_refuses_later_leaves_the_index(maps: Maps) -> None:
    table = table_of(maps, Family.IPV4)
    some = [(0x0A000000 + (n << 8), 24) for n in range(ROOM + 5)]
    table.store(keys_of(Family.IPV4, some), np.full(len(some), 16, np.uint32))
    table.follower.flush()
    assert table.follower.refused
    (late,) = table.take_late()
    assert len(late.refused.index) == 5
    refused = [late.keys.prefix(index) for index in late.refused.index.tolist()]
    assert [table.lookup(0, prefix.value, indexed=True) for prefix in refused] == [0] * 5
    assert len(standing(table)) == ROOM


def test_closing_the_map_waits_for_what_is_to_follow() -> None:
    maps = Maps.create(Sizes(ROOM, ROOM))
    table = table_of(maps, Family.IPV4)
    table.store(keys_of(Family.IPV4, [(0x0A000000, 8)]), np.full(1, 16, np.uint32))
    maps.close()
    assert not table.follower.behind


def test_a_thread_that_ends_leaves_the_rest_to_who_waits(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    table, store, failed = table_of(maps, Family.IPV4), xdp_map.store, []

    def once(*arguments: object) -> xdp_map.Refused:
        if not failed:
            failed.append(True)
            raise MemoryError
        return store(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(xdp_map, "store", once)
    some = [(0x0A000000 + (n << 8), 24) for n in range(100)]
    table.store(keys_of(Family.IPV4, some[:60]), np.full(60, 16, np.uint32))
    table.follower.flush()
    assert isinstance(table.follower.failure, MemoryError)
    assert standing(table) == dict.fromkeys(some[:60], 16)
    table.store(keys_of(Family.IPV4, some[60:]), np.full(40, 17, np.uint32))
    assert not table.follower.behind, "the trie goes first from then on"
    table.remove_one(0, some[0][0], 24)
    assert standing(table) == dict.fromkeys(some[1:60], 16) | dict.fromkeys(some[60:], 17)


def test_a_failure_that_lasts_is_for_who_waits_to_hear(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(maps, Family.IPV4)

    def never(*_: object) -> xdp_map.Refused:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(xdp_map, "store", never)
        table.store(keys_of(Family.IPV4, [(0x0A000000, 8)]), np.full(1, 16, np.uint32))
        with pytest.raises(MemoryError):
            table.follower.flush()
    assert table.follower.behind
    assert standing(table) == {(0x0A000000, 8): 16}
