"""One datapath a loader and engine, with the routes of bgpbridge/fib/rig.py, for every packet test of this folder."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bgpbridge.datapath.bpffs import ensure_bpffs
from bgpbridge.datapath.loader import Loader, Program, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.testrun import Outcome, run
from bgpbridge.fib.rig import lay, route
from bgpbridge.fib.table import Table
from bgpbridge.types import Family

NUMBERS = itertools.count()
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SIZES = Sizes(max_ipv4=10_000, max_ipv6=10_000)


@dataclass(frozen=True)
class Rig:
    """A loaded program over maps that hold the rig's routes."""

    maps: Maps
    program: Program
    tables: dict[Family, Table]

    def run(self, frame: bytes, metadata: int = 0) -> Outcome:
        return run(self.program.fd, self.maps, frame, metadata=metadata)

    def route(self, text: str, group: int) -> None:
        route(self.tables, text, group)


RIGS = [(Loader.BCC, False), (Loader.BCC, True), (Loader.LIBBPF, True)]


@pytest.fixture(scope="session", params=RIGS, ids=["bcc-lpm", "bcc-index", "libbpf-index"])
def rig(request: pytest.FixtureRequest, compiled: Path) -> Iterator[Rig]:
    """The rig, by each loader and with each engine."""
    loader, indexed = request.param
    maps = Maps.create(SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(compiled))
        program = load(maps.fds, loader)
    made = Rig(maps, program, lay(maps))
    for family in Family:
        maps.use_index(family, indexed)
    yield made
    program.close()
    maps.close()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs that were compiled ahead of time are kept, for the session."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def pin_path(tmp_path: Path) -> Iterator[Path]:
    """A bpffs of the test's own."""
    from bgpbridge.datapath import bpffs

    path = tmp_path / "pins"
    assert ensure_bpffs(path)
    yield path
    bpffs._libc.umount2(str(path).encode(), 2)


class Namespace:
    """A network namespace of the test's own, which the test's thread is in meanwhile."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, arguments: str) -> None:
        subprocess.run(["ip", "-n", self.name, *arguments.split()], check=True)

    @contextmanager
    def inside(self) -> Iterator[None]:
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            assert LIBC.setns(there, CLONE_NEWNET) == 0
            yield
        finally:
            assert LIBC.setns(before, CLONE_NEWNET) == 0
            os.close(before)
            os.close(there)

    def index(self, interface: str) -> int:
        with self.inside():
            return socket.if_nametoindex(interface)


@pytest.fixture
def namespaces() -> Iterator[Callable[[str], Namespace]]:
    """Makes namespaces by a short name; all of them go at the end."""
    with ExitStack() as last:

        def make(short: str) -> Namespace:
            name = f"bb{os.getpid()}p{next(NUMBERS)}{short}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            last.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
            return Namespace(name)

        yield make


@pytest.fixture
def namespace(namespaces: Callable[[str], Namespace]) -> Iterator[Namespace]:
    """One namespace, entered for the length of the test."""
    made = namespaces("t")
    with made.inside():
        yield made
