"""The IPv6 index as a program sees it: what it is told of every address, and what while the table changes. The reader
is readers/index6.c over bpf/lookup6.h, in a process of its own: a thread of
this one would wait where the writer does."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import grace, loader_libbpf
from bgpbridge.datapath.grace import Grace
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.sources import AHEAD_FLAGS, Sources
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.syscalls import MapFlag, MapType, map_create
from bgpbridge.datapath.testrun import run_raw
from bgpbridge.fib.index6 import Index6
from bgpbridge.fib.keys import Keys
from bgpbridge.fib.table import Table, tables
from bgpbridge.types import Family, Prefix

pytestmark = pytest.mark.root
PROBES = 8192
PROBE = np.dtype([("hi", ">u8"), ("lo", ">u8"), ("group", "<u4"), ("other", "<u4")])
TALLY = np.dtype([(name, "<u8") for name in ("begun", "ended", "lookups", "by_trie", "wrong", "last")])
MASK64 = (1 << 64) - 1
RUNS = 100_000  # of a reader that nobody stops
Routes = dict[Prefix, int]


@dataclass
class Reader:
    """A program that looks up `probes`, and what it found."""

    program: int
    probes: np.ndarray
    tally: np.ndarray

    def run(self) -> None:
        run_raw(self.program, bytes(64))

    @contextmanager
    def running(self) -> Iterator[None]:
        """It runs again and again meanwhile, in a child."""
        stop = mmap.mmap(-1, 1)
        child = os.fork()
        if not child:
            for _ in range(RUNS):
                self.run()
                if stop[0]:
                    break
            os._exit(0)
        try:
            while not self.tally["ended"]:
                pass
            yield
        finally:
            stop[0] = 1
            assert os.waitpid(child, 0)[1] == 0


def mapped(entries: int, dtype: np.dtype) -> tuple[int, np.ndarray]:
    fd = map_create(MapType.ARRAY, 4, dtype.itemsize, entries, MapFlag.MMAPABLE)
    return fd, np.frombuffer(mmap.mmap(fd, dtype.itemsize * entries), dtype, entries)


@pytest.fixture(scope="module")
def object_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, made = Path(__file__).parent / "readers" / "index6.c", tmp_path_factory.mktemp("reader") / "index6.o"
    flags = (*AHEAD_FLAGS, *Sources.ours().include_flags)
    subprocess.run(["clang", *flags, "-c", str(source), "-o", str(made)], check=True)
    return made


@pytest.fixture
def maps() -> Iterator[Maps]:
    made = Maps.create(Sizes(100, 4000))
    yield made
    made.close()


@pytest.fixture
def reader(maps: Maps, object_file: Path) -> Iterator[Reader]:
    probes, tally = mapped(PROBES, PROBE), mapped(1, TALLY)
    program = loader_libbpf.load(object_file, {**maps.fds, "probes": probes[0], "tallies": tally[0]})
    yield Reader(program, probes[1], tally[1][0])
    for fd in (program, probes[0], tally[0]):
        os.close(fd)


@pytest.fixture
def table(maps: Maps) -> Table:
    return tables(maps)[Family.IPV6]


def longest(routes: Routes, address: int) -> int:
    for length in range(128, -1, -1):
        found = routes.get(Prefix(Family.IPV6, address >> (128 - length) << (128 - length), length))
        if found is not None:
            return found
    return 0


def random_routes(random: np.random.Generator, count: int) -> Routes:
    """Under few /24s and outside of 2000::/3, of all kinds of lengths, so that they nest and share nodes."""
    length = random.choice(
        np.array([3, 16, 22, 24, 26, 29, 31, 32, 33, 36, 40, 44, 47, 48, 48, 48, 52, 64, 100, 128]), count
    )
    top = random.choice(np.array([0x20010D, 0x2A0001, 0xFC0000, 0x2A0002], np.uint64), count)
    middle = random.choice(1 << 24, count) & random.choice(np.array([0xF, 0xFFF, 0xFF0F0, 0xFF00FF]), count)
    rest = random.choice(1 << 62, count)
    columns = zip(top.tolist(), middle.tolist(), rest.tolist(), length.tolist(), strict=True)
    found = [Prefix(Family.IPV6, (a << 104 | b << 80 | c) >> (128 - n) << (128 - n), n) for a, b, c, n in columns]
    return dict(zip(found, random.integers(16, 30000, count).tolist(), strict=True))


def store(table: Table, routes: Routes) -> None:
    table.store(Keys.of(Family.IPV6, routes), np.array(list(routes.values()), np.uint32))


def fill_probes(reader: Reader, probes: list[tuple[int, int, int]]) -> None:
    """Address and the groups that it may be told; fewer than there is room for are there several times."""
    for at in range(PROBES):
        address, group, other = probes[at % len(probes)]
        reader.probes[at] = address >> 64, address & MASK64, group, other


def edges(routes: Routes) -> list[int]:
    found = {0, (1 << 128) - 1}
    for p in routes:
        last = p.value | (1 << (128 - p.length)) - 1
        found |= {p.value, last, max(p.value - 1, 0), min(last + 1, (1 << 128) - 1)}
    return sorted(found)


def test_the_program_is_told_what_the_oracle_says_of_every_edge(reader: Reader, table: Table) -> None:
    routes = random_routes(np.random.default_rng(1), 2000)
    store(table, routes)
    addresses = edges(routes)
    assert len(addresses) <= PROBES
    for gone in (0, 700):
        left = dict(list(routes.items())[gone:])
        table.remove(Keys.of(Family.IPV6, list(routes)[:gone]))
        fill_probes(reader, [(address, longest(left, address), longest(left, address)) for address in addresses])
        reader.run()
        assert (reader.tally["wrong"], reader.tally["by_trie"]) == (0, 0), hex(int(reader.tally["last"]))
    assert reader.tally["lookups"] == 2 * PROBES


def test_a_pointer_out_of_the_lines_asks_the_trie(reader: Reader, table: Table, maps: Maps) -> None:
    address = 0x20010DB8 << 96
    store(table, {Prefix(Family.IPV6, address, 48): 7})
    index = maps.index6_slots
    assert index is not None
    index[index != 0] = 0xFFFFFFF0
    fill_probes(reader, [(address, 7, 7)])
    reader.run()
    assert reader.tally["by_trie"] == PROBES
    assert table.lookup(address >> 64, 0, indexed=True) == 7


class Churn:
    """Routes that come and go, or change their group, under a reader: each address may be told one of two groups."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.random = table, np.random.default_rng(seed)
        routes = list(random_routes(self.random, 1500).items())
        self.base = dict(routes[: len(routes) * 2 // 3])
        # two states each: 0 is not there
        self.loose = {
            p: (index % 3 and group + 1, group) for index, (p, group) in enumerate(routes) if p not in self.base
        }
        self.state = dict.fromkeys(self.loose, 0)
        store(table, self.base | self.now())

    def now(self) -> Routes:
        return {p: self.loose[p][state] for p, state in self.state.items() if self.loose[p][state]}

    def probes(self) -> list[tuple[int, int, int]]:
        """Addresses under at most one loose route, in either state of it."""
        found = []
        for address in edges(self.base | self.loose):
            over = [p for p in self.loose if p.value >> (128 - p.length) == address >> (128 - p.length)]
            if len(over) < 2:
                states = [{p: self.loose[p][state] for p in over if self.loose[p][state]} for state in (0, 1)]
                found.append((address, *(longest(self.base | state, address) for state in states)))
        return found[:PROBES]

    def step(self) -> None:
        """One route, or some."""
        count = self.random.choice([1, 1, 1, 1, 1, 50])
        some = [list(self.loose)[index] for index in self.random.choice(len(self.loose), count, replace=False)]
        for prefix in some:
            self.state[prefix] ^= 1
        there = {p: self.loose[p][self.state[p]] for p in some}
        come, go = {p: group for p, group in there.items() if group}, [p for p, group in there.items() if not group]
        if count > 1:
            store(self.table, come)
            self.table.remove(Keys.of(Family.IPV6, go))
            return
        for prefix, group in come.items():
            self.table.store_one(prefix.value >> 64, prefix.value & MASK64, prefix.length, group)
        for prefix in go:
            self.table.remove_one(prefix.value >> 64, prefix.value & MASK64, prefix.length)


def test_a_reader_on_another_cpu_sees_the_old_answer_or_the_new_one(reader: Reader, table: Table) -> None:
    churn = Churn(table, 2)
    fill_probes(reader, churn.probes())
    with reader.running():
        for _ in range(500):
            churn.step()
    index = table.index
    assert isinstance(index, Index6)
    assert (index.trouble, index.lines.stuck) == ("", "")
    assert reader.tally["by_trie"] == 0
    assert reader.tally["wrong"] == 0, hex(int(reader.tally["last"]))
    routes = churn.base | churn.now()
    fresh = index.lines.used
    assert index.rebuild(Keys.of(Family.IPV6, routes), np.array(list(routes.values()), np.uint32)) == 0
    assert index.lines.used == fresh


def test_a_rebuild_under_a_reader_mends_what_was_broken_and_no_more(reader: Reader, table: Table) -> None:
    churn = Churn(table, 3)
    fill_probes(reader, churn.probes())
    index, routes = table.index, churn.base | churn.now()
    assert isinstance(index, Index6)
    with reader.running():
        for _ in range(3):
            assert table.rebuild_index() == 0
    assert (reader.tally["wrong"], reader.tally["by_trie"]) == (0, 0)
    slots = np.flatnonzero(index.nodes.slots & 0x80000000)[:3]
    index.nodes.slots[slots] = (0, 0x80000000 | 1, 0x02000009)
    assert table.rebuild_index() == 3
    fill_probes(
        reader, [(address, longest(routes, address), longest(routes, address)) for address in edges(routes)][:PROBES]
    )
    reader.run()
    assert reader.tally["wrong"] == 0


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def runs_under_way(reader: Reader) -> int:
    """Wait until a run has begun and not ended; its number."""
    while (begun := int(reader.tally["begun"])) == int(reader.tally["ended"]):
        pass
    return begun


@pytest.mark.parametrize("wait", [Grace().wait, grace.map_in_map], ids=["membarrier", "map in map"])
def test_a_grace_period_ends_after_every_run_that_it_met(
    reader: Reader, table: Table, wait: Callable[[], None]
) -> None:
    fill_probes(reader, [(0x20010DB8 << 96, 0, 0)])
    files = open_files()
    with reader.running():
        for _ in range(10):
            begun = runs_under_way(reader)
            wait()
            assert reader.tally["ended"] >= begun
    assert open_files() == files


def test_where_membarrier_is_refused_a_map_in_map_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(grace, "membarrier", lambda: False)
    monkeypatch.setattr(grace, "map_in_map", lambda: called.append(True))
    Grace().wait()
    assert called == [True]
