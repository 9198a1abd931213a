from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bgpbridge.rib import growing, tables
from bgpbridge.rib.prefixes import PrefixTable
from bgpbridge.rib.tables import ID_BITS, ID_MASK, ExactIndex, HashIndex, IdPool, trim_malloc, tune_malloc, zeros
from bgpbridge.types import Family


class Squares:
    """Keys are numbers; the hash is made bad on purpose where `spread` is small."""

    def __init__(self, spread: int = 1 << 62) -> None:
        self.keys = np.zeros(100_000, np.uint64)
        self.alive = np.zeros(100_000, np.bool_)
        self.count = 0
        self.spread = spread
        self.index = HashIndex(self.live, lambda: self.count, bits=3)

    def hash(self, keys):
        return keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) % np.uint64(self.spread)

    def live(self, first, last):
        ids = np.flatnonzero(self.alive[first:last]) + first
        return self.hash(self.keys.take(ids)), ids

    def create(self, keys):
        ids = np.arange(self.count + 1, self.count + 1 + len(keys))
        self.count += len(keys)
        self.keys[ids], self.alive[ids] = keys, True
        return ids

    def intern(self, keys):
        keys = np.array(keys, np.uint64)
        same = lambda ids, at: self.keys.take(ids) == keys.take(at)  # noqa: E731
        return self.index.intern(self.hash(keys), same, lambda at: self.create(keys.take(at)))

    def find(self, keys):
        keys = np.array(keys, np.uint64)
        return self.index.find(self.hash(keys), lambda ids, at: self.keys.take(ids) == keys.take(at))

    def find_one(self, key):
        return self.index.find_one(int(self.hash(np.array([key], np.uint64))[0]), lambda n: self.keys[n] == key)

    def remove(self, keys):
        ids = self.find(keys)
        self.alive[ids] = False
        self.index.remove(self.hash(self.keys.take(ids)), ids)


@pytest.mark.parametrize("spread", [1 << 62, 50, 1], ids=["spread", "clustered", "all collide"])
def test_equal_keys_get_one_id_however_they_collide(spread: int) -> None:
    table = Squares(spread)
    keys = np.random.default_rng(1).integers(0, 150, 600)
    ids = table.intern(keys)
    assert len(set(zip(keys.tolist(), ids.tolist(), strict=True))) == len(set(keys.tolist())) == table.count
    assert (table.intern(keys) == ids).all()
    assert (table.find(keys) == ids).all()
    assert [table.find_one(int(key)) for key in keys] == ids.tolist()


def test_unknown_keys_are_zero_and_not_added() -> None:
    table = Squares()
    table.intern([1, 2, 3])
    assert table.find([4, 2, 5]).tolist() == [0, 2, 0]
    assert table.find_one(4) == 0
    assert table.count == 3


@pytest.mark.parametrize("spread", [1 << 62, 20])
def test_removed_entries_are_gone_and_others_stay(spread: int) -> None:
    table = Squares(spread)
    kept, gone = list(range(100)), list(range(100, 300))
    ids = table.intern(kept + gone)[:100]
    table.remove(gone)
    assert not table.find(gone).any()
    assert (table.find(kept) == ids).all()
    again = table.intern(gone)
    assert again.min() > 300
    assert (table.find(kept + gone) == np.concatenate([ids, again])).all()


def test_an_index_full_of_removed_entries_is_rebuilt() -> None:
    table = Squares()
    for turn in range(60):
        keys = list(range(turn * 10, turn * 10 + 10))
        table.intern(keys)
        table.remove(keys)
    assert table.index.bits < 8
    assert table.index.count == 0


def test_one_by_one_and_in_bulk_share_one_index() -> None:
    table = Squares()
    for key in range(50):
        table.index.reserve(1)
        number = int(table.create([key])[0])
        table.index.add_one(int(table.hash(np.array([key], np.uint64))[0]), number)
    assert table.find(range(50)).tolist() == list(range(1, 51))


def test_ids_are_given_out_again() -> None:
    pool = IdPool(5)
    assert pool.take(3).tolist() == [1, 2, 3]
    assert pool.take_one() == 4
    pool.give(np.array([2, 3]))
    assert (pool.room(), pool.used()) == (3, 2)
    assert sorted(pool.take(3).tolist()) == [2, 3, 5]
    assert pool.room() == 0


def test_a_column_is_zero_and_writable() -> None:
    column = zeros(1000, np.uint16)
    assert not column.any()
    column[999] = 7
    assert column.data[999] == 7
    assert len(zeros(0, np.uint8)) == 1


def test_malloc_is_tuned_where_there_is_a_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tune_malloc() in {True, False}
    monkeypatch.setattr(tables.ctypes, "CDLL", lambda _: object())
    assert tune_malloc() is False


def test_malloc_is_trimmed_where_there_is_a_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trim_malloc() in {True, False}
    monkeypatch.setattr(tables.ctypes, "CDLL", lambda _: object())
    assert trim_malloc() is False


THREADS = """
import os, threading
import numpy as np
from bgpbridge.rib.tables import trim_malloc, tune_malloc

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def work():
    kept = [np.ones(1 << 20, np.uint8) for _ in range(48)]
    kept.clear()

tune_malloc()
before = resident()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
trim_malloc()
print(resident() - before)
"""


def test_what_threads_took_for_a_moment_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 16  # MiB, of 144


def test_an_exact_index_tells_neighbours_in_one_slot_apart() -> None:
    """All keys want the same few slots, and the first of all is 0."""
    keys = np.arange(300, dtype=np.uint64) << np.uint64(20)
    hashes = keys << np.uint64(ID_BITS) | keys & ID_MASK >> np.uint64(20)
    made: list[int] = []

    def live(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array([number + 1 for number in made if first <= number + 1 < last], np.int64)
        return hashes.take(ids - 1), ids

    index = ExactIndex(live, lambda: max(made, default=-1) + 1, bits=4, large=12)

    def create(at: np.ndarray) -> np.ndarray:
        made.extend(at.tolist())
        return at + 1

    same = lambda ids, at: np.ones(len(ids), np.bool_)  # noqa: E731
    assert (index.intern(hashes[:5], same, create) == np.arange(1, 6)).all()
    assert (index.intern(hashes[:200], same, create) == np.arange(1, 201)).all()
    assert sorted(made) == list(range(200))
    assert index.bits == 12
    assert (index.find(hashes[:200], same) == np.arange(1, 201)).all()
    assert not index.find(hashes[200:], same).any()
    assert (index.intern(hashes[:200], same, create) == np.arange(1, 201)).all()
    assert len(made) == 200


def test_an_index_that_outgrows_its_first_slots_has_all_of_them_at_once() -> None:
    table = Squares()
    table.index = HashIndex(table.live, lambda: table.count, bits=4, large=10)
    assert table.intern(range(8)).tolist() == list(range(1, 9))
    assert table.index.bits == 4
    assert table.intern([*range(9)]).tolist() == list(range(1, 10))
    assert table.index.bits == 10


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger index takes more than one step even where there is little."""
    monkeypatch.setattr(growing, "PAGE", 1024)
    monkeypatch.setattr(growing, "LEAST", 8)


@pytest.mark.parametrize("spread", [1 << 62, 50], ids=["spread", "clustered"])
@pytest.mark.usefixtures("small_steps")
def test_a_larger_index_is_made_beside_the_first_before_that_is_full(
    monkeypatch: pytest.MonkeyPatch, spread: int
) -> None:
    """Whatever comes by one or by many meanwhile, and whatever goes, is in it once it takes over."""
    table, chance = Squares(spread), np.random.default_rng(4)
    table.index = HashIndex(table.live, lambda: table.count, bits=8, large=10, most=13)
    known: dict[int, int] = {}
    sizes, rebuilt = {8}, []
    monkeypatch.setattr(table.index, "_allocate", rebuilt.append)
    for turn in range(400):
        keys = np.unique(chance.integers(0, 6000, 5 if spread > 50 else 2)).tolist()
        known.update(zip(keys, table.intern(keys).tolist(), strict=True))
        if turn in (3, 11):
            gone = list(known)[::5]
            table.remove(gone)
            for key in gone:
                del known[key]
        sizes.add(table.index.bits)
        assert table.index.count == len(known)
        if turn % 8 == 0:
            assert table.find(list(known)).tolist() == list(known.values())
    assert table.find(list(known)).tolist() == list(known.values())
    assert not rebuilt
    assert sizes == ({8, 10, 11, 12} if spread > 50 else {8, 10, 11})
    held = table.index.slots[table.index.slots != 0]
    assert len(held) - table.index.removed == len(known) == len(np.unique(held))


@pytest.mark.usefixtures("small_steps")
def test_prefixes_that_come_alone_are_found_while_their_index_grows() -> None:
    table = PrefixTable(Family.IPV6, 10_000)
    rows = [table.intern_one(number << 32, 0, 64) for number in range(1, 4000)]
    assert rows == list(range(1, 4000))
    assert table.find(np.arange(1, 4000, dtype=np.uint64) << np.uint64(32), *_rest(3999)).tolist() == rows
    held = table._index.slots[table._index.slots != 0]
    assert len(held) == len(np.unique(held)) == 3999
    assert table._index.bits > 12


def _rest(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(count, np.uint64), np.full(count, 64, np.uint8)
