from __future__ import annotations

import random

import numpy as np
import pytest

from bgpbridge.errors import CapacityError
from bgpbridge.rib.blocks import BlockStore
from bgpbridge.rib.tables import IdPool
from bgpbridge.wire.bulk_blocks import Blocks


def run_of(blocks: list[bytes]) -> Blocks:
    data = b"\xaa" + b"".join(blocks)
    padded = data + bytes(32 + -len(data) % 8)
    length = np.array([len(block) for block in blocks], np.int64)
    start = 1 + np.cumsum(length) - length
    return Blocks(np.frombuffer(padded, np.uint8), start, length, np.zeros(len(blocks), np.bool_))


def some_blocks(seed: int, count: int, longest: int = 700) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(source.choice([0, 1, 7, 8, 9, 60, 127, 128, 129, 500, longest])) for _ in range(count)]


def tags(blocks: list[bytes], tag: int = 3) -> np.ndarray:
    return np.full(len(blocks), tag, np.int64)


def test_the_octets_come_back_as_they_went_in() -> None:
    store = BlockStore(IdPool(1000), words=100_000)
    blocks = some_blocks(1, 200)
    ids, new = store.intern(run_of(blocks), tags(blocks))
    assert [store.octets(number) for number in ids.tolist()] == blocks
    assert sorted(blocks[at] for at in new.tolist()) == sorted(set(blocks))


def test_bulk_and_single_interning_agree() -> None:
    store = BlockStore(IdPool(1000), words=100_000)
    blocks = some_blocks(2, 100)
    ones = [store.intern_one(block, 3)[0] for block in blocks]
    ids, new = store.intern(run_of(blocks), tags(blocks))
    assert ids.tolist() == ones
    assert not len(new)
    more = some_blocks(3, 100)
    ids, _ = store.intern(run_of(more), tags(more))
    assert [store.intern_one(block, 3) for block in more] == [(number, False) for number in ids.tolist()]


def test_the_same_octets_of_another_kind_are_another_block() -> None:
    store = BlockStore(IdPool(100), words=1000)
    assert store.intern_one(b"abc", 1)[0] != store.intern_one(b"abc", 2)[0]
    assert store.intern_one(b"abc", 1)[0] != store.intern_one(b"abc\0", 1)[0]


def test_a_block_as_long_as_an_extended_message() -> None:
    store = BlockStore(IdPool(100), words=40_000)
    long = random.Random(4).randbytes(65_000)
    ids, _ = store.intern(run_of([long, b"x", long]), tags([b""] * 3))
    assert ids[0] == ids[2]
    assert store.octets(int(ids[0])) == long


def test_what_does_not_fit_is_refused_before_anything_changes() -> None:
    store = BlockStore(IdPool(5), words=100)
    store.intern_one(b"kept", 1)
    blocks = [bytes([n]) for n in range(5)]
    with pytest.raises(CapacityError, match="attribute blocks are in use"):
        store.intern(run_of(blocks), tags(blocks))
    with pytest.raises(CapacityError):
        store.intern_one(bytes(801), 1)
    assert store.pool.used() == 1
    assert store.intern_one(b"kept", 1) == (1, False)


def test_compaction_closes_holes_while_blocks_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgpbridge.rib.blocks.SLICE", 7)
    pool = IdPool(1000)
    store = BlockStore(pool, words=5000)
    blocks = sorted({bytes([n]) * n for n in range(1, 120)})
    ids, _ = store.intern(run_of(blocks), tags(blocks))
    kept = {int(number): block for number, block in zip(ids, blocks, strict=True) if number % 5 == 0}
    gone = np.array([number for number in ids.tolist() if number not in kept])
    store.forget(gone)
    pool.give(gone)
    before = store.words_free()
    for turn, _ in enumerate(store.compact()):
        fresh = bytes([200 + turn]) * 33
        kept[store.intern_one(fresh, 3)[0]] = fresh
        if turn == 1:
            number = next(iter(kept))
            del kept[number]
            store.forget(np.array([number]))
        assert {number: store.octets(number) for number in kept} == kept
    assert store.words_free() > before
    assert {number: store.octets(number) for number in kept} == kept
    assert all(store.intern_one(block, 3) == (number, False) for number, block in kept.items())
