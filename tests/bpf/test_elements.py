"""Single elements, batches and dumps on real maps."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from bgpbridge.datapath import abi, forbid
from bgpbridge.datapath.elements import BpfMap, Update
from bgpbridge.datapath.pen import Pen
from bgpbridge.datapath.specs import possible_cpus
from bgpbridge.datapath.syscalls import MapFlag, MapType, map_create, map_info
from bgpbridge.errors import BpfSyscallError

pytestmark = pytest.mark.root
U32 = np.dtype("<u4")
WORD = np.dtype([("word", "<u8")])
ROOM = 1000


@pytest.fixture
def trie():
    made = BpfMap(
        map_create(MapType.LPM_TRIE, 8, 4, ROOM, MapFlag.NO_PREALLOC, "trie"), "trie", abi.LPM4_KEY, U32, ROOM
    )
    yield made
    made.close()


@pytest.fixture
def table():
    made = BpfMap(map_create(MapType.HASH, 4, 8, ROOM, 0, "table"), "table", U32, WORD, ROOM)
    yield made
    made.close()


def keys(count: int, start: int = 0) -> np.ndarray:
    return abi.lpm4_keys(np.arange(start, start + count) << 8, np.full(count, 24))


def test_an_element_is_found_until_it_is_taken_out(trie: BpfMap) -> None:
    key = keys(1)[0]
    assert trie.lookup(key) is None
    trie.update(key, 7)
    assert trie.lookup(key) == 7
    trie.update(key, 8, Update.EXIST)
    with pytest.raises(BpfSyscallError) as caught:
        trie.update(key, 9, Update.NOEXIST)
    assert caught.value.errno == errno.EEXIST
    assert trie.lookup(key) == 8
    assert trie.delete(key)
    assert not trie.delete(key)


def test_a_batch_into_a_full_map_tells_how_far_it_came(trie: BpfMap) -> None:
    assert trie.update_batch(keys(ROOM - 3), np.arange(ROOM - 3)).error is None
    batch = trie.update_batch(keys(10, start=ROOM - 3), np.arange(10))
    assert batch.done == 3
    assert batch.error is not None
    assert batch.error.errno == errno.ENOSPC
    assert "the map is full" in str(batch.error)
    assert len(trie.dump()[0]) == ROOM


def test_a_full_map_still_takes_new_values_for_old_keys(trie: BpfMap) -> None:
    trie.update_batch(keys(ROOM), np.zeros(ROOM))
    assert trie.update_batch(keys(ROOM), np.ones(ROOM)) == type(trie.update_batch(keys(0), np.zeros(0)))(ROOM)
    assert trie.dump()[1].tolist() == [1] * ROOM


def test_taking_out_what_is_not_there_stops_nothing(trie: BpfMap) -> None:
    trie.update_batch(keys(100)[::2], np.arange(50))
    batch = trie.delete_batch(keys(100))
    assert (batch.done, batch.error) == (100, None)
    assert len(trie.dump()[0]) == 0


@pytest.mark.parametrize("chunk", [1, 7, 256, 4096])
def test_a_dump_holds_every_element_whatever_its_chunks(trie: BpfMap, chunk: int) -> None:
    trie.update_batch(keys(300), np.arange(300))
    found_keys, found_values = trie.dump(chunk)
    assert sorted(found_values.tolist()) == list(range(300))
    assert (found_keys["addr"][:, 2] | found_keys["addr"][:, 1].astype(int) << 8).tolist() == found_values.tolist()
    assert len(trie.keys()) == 300


@pytest.mark.parametrize("chunk", [1, 5, 4096])
def test_a_dump_of_a_hash_grows_its_chunk_for_long_buckets(table: BpfMap, chunk: int) -> None:
    values = np.zeros(ROOM, WORD)
    values["word"] = np.arange(ROOM) * 3
    assert table.update_batch(np.arange(ROOM), values).done == ROOM
    found_keys, found_values = table.dump(chunk)
    assert np.array_equal(found_values["word"], found_keys.astype(np.uint64) * 3)
    assert sorted(found_keys.tolist()) == list(range(ROOM))


def test_an_empty_batch_and_an_empty_map_are_fine(trie: BpfMap) -> None:
    assert trie.update_batch(keys(0), np.zeros(0)).done == 0
    assert trie.delete_batch(keys(0)).done == 0
    assert len(trie.dump()[0]) == len(trie.keys()) == 0


def test_keys_that_are_not_contiguous_are_written_right(trie: BpfMap) -> None:
    trie.update_batch(keys(20)[::3], np.arange(20, dtype=np.int64)[::3])
    assert sorted(trie.dump()[1].tolist()) == list(range(0, 20, 3))


def test_per_cpu_values_come_as_one_row_a_key() -> None:
    fd = map_create(MapType.PERCPU_ARRAY, 4, 16, 5, 0, "cells")
    cells = BpfMap(fd, "cells", U32, abi.COUNTER, 5, possible_cpus())
    found_keys, values = cells.dump()
    cells.close()
    assert found_keys.tolist() == list(range(5))
    assert values.shape == (5, possible_cpus())


@pytest.mark.parametrize("words", ["", "batch"])
@pytest.mark.parametrize("kind", [MapType.ARRAY, MapType.PERCPU_ARRAY])
def test_an_array_comes_whole_and_in_order(monkeypatch, words: str, kind: MapType) -> None:
    monkeypatch.setattr(forbid, "active", forbid.read(words))
    each = possible_cpus() if kind is MapType.PERCPU_ARRAY else 0
    cells = BpfMap(map_create(kind, 4, 16, 5000, 0, "cells"), "cells", U32, abi.COUNTER, 5000, each)
    wanted = np.zeros((5000, each) if each else 5000, abi.COUNTER)
    wanted["packets"] = np.arange(wanted.size).reshape(wanted.shape)
    cells.update_batch(np.arange(5000), wanted)
    assert np.array_equal(cells.array(), wanted)
    found_keys, values = cells.dump()
    assert found_keys.tolist() == list(range(5000))
    assert np.array_equal(values, wanted)
    cells.close()


def test_map_info_is_what_was_asked_for(trie: BpfMap) -> None:
    info = map_info(trie.fd)
    assert (info.type, info.key_size, info.value_size, info.max_entries, info.flags) == (11, 8, 4, ROOM, 1)
    assert info.name == "trie"


def test_a_request_that_the_kernel_does_not_know_is_told_in_words() -> None:
    with pytest.raises(BpfSyscallError, match=r"bpf\(MAP_CREATE\): Invalid argument: this kernel does not know"):
        map_create(MapType.LPM_TRIE, 8, 4, 10, 0, "bad")


def test_a_pen_writes_reads_and_takes_out_single_elements(trie: BpfMap) -> None:
    pen, wide, narrow = Pen(trie), bytes.fromhex("180000000a010200"), bytes.fromhex("200000000a010203")
    pen.update(wide, 7)
    assert (pen.lookup(wide), pen.lookup(narrow)) == (7, 7)
    pen.update(narrow, 8)
    pen.delete(wide)
    pen.delete(wide)  # gone already
    assert (pen.lookup(wide), pen.lookup(narrow)) == (0, 8)
    with pytest.raises(BpfSyscallError, match="MAP_DELETE_ELEM"):
        pen.delete(bytes.fromhex("210000000a010203"))
