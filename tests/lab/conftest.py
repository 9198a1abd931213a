"""Namespaces for tests of the kernel's doings: a pair joined by a veth, and code that runs inside one. Names for labs.

Every name is used once, and what a test has left in its namespaces ends with it: a failure stays its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.lab import namespaces, runner, state
from bgpbridge.lab.sweep import sweep

NUMBERS = itertools.count()
CLONE_NEWNET = 0x40000000


def enter(namespace: str) -> None:
    """Put the calling thread into a namespace. Sub-processes and threads that it starts follow it."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", namespace)
    finally:
        os.close(descriptor)


class Pair:
    """`near`, where the code under test runs, and `far`: veth near0 <-> far0, 192.0.2.1/24 and 2001:db8::1/64
    on the near side, .2 and ::2 on the far side."""

    def __init__(self) -> None:
        stem = f"bb{os.getpid()}x{next(NUMBERS)}"
        self.near, self.far = f"{stem}n", f"{stem}f"

    def build(self) -> None:
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "add", name], check=True)
        # Different ifindexes: the kernel tells of a veth's carrier at once only where they differ, else it may wait
        # for a second (net/core/link_watch.c, linkwatch_urgent_event).
        self.ip(f"link add near0 index 101 type veth peer name far0 index 202 netns {self.far}")
        for where, link, last in ((self.near, "near0", 1), (self.far, "far0", 2)):
            self.ip("link set lo up", where)
            self.ip(f"addr add 192.0.2.{last}/24 dev {link}", where)
            self.ip(f"addr add 2001:db8::{last}/64 dev {link} nodad", where)
            self.ip(f"addr add fe80::{last}/64 dev {link} nodad", where)
            self.ip(f"link set {link} addrgenmode none up", where)

    def ip(self, command: str, where: str = "") -> str:
        """Run `ip COMMAND` in a namespace (near if not told)."""
        words = ["ip", "-n", where or self.near, *command.split()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"ip {command}: {done.stderr}"
        return done.stdout

    def batch(self, lines: list[str]) -> None:
        """Many `ip` commands in near, in one process."""
        words = ["ip", "-n", self.near, "-batch", "-"]
        subprocess.run(words, input="\n".join(lines), text=True, timeout=60, check=True)

    def inside(self, scenario: Callable[[], Coroutine[Any, Any, None]], where: str = "") -> None:
        """Run a coroutine to its end in a thread of its own inside a namespace."""

        def body() -> None:
            enter(where or self.near)
            asyncio.run(asyncio.wait_for(scenario(), 60))

        with ThreadPoolExecutor(1) as thread:
            thread.submit(body).result()

    def remove(self) -> None:
        sweep([self.near, self.far])
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def joined() -> Iterator[Pair]:
    made = Pair()
    try:
        made.build()
        yield made
    finally:
        made.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two joined namespaces of this test's own."""
    with joined() as made:
        yield made


@pytest.fixture(scope="module")
def lasting_pair() -> Iterator[Pair]:
    """Two joined namespaces that several tests of a file use."""
    with joined() as made:
        yield made


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A lab's name that no other test has. Whatever bears it afterwards is cleared, known to a state or not."""
    name = f"bb{os.getpid()}n{next(NUMBERS)}"
    yield name
    if state.read(name):
        runner.down(name)
    left = [path.name for path in Path("/run/netns").glob(f"bb-{name}-*")]
    sweep(left)
    for namespace in left:
        namespaces.delete(namespace)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(lab_name: str) -> Iterator[Start]:
    """Starts runners in processes of their own, with pipes; those that still run at the end are ended, and get the
    time to clear what they have made."""
    del lab_name  # is cleared after them
    children: list[subprocess.Popen[str]] = []

    def begin(argv: list[str], **more: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        children.append(subprocess.Popen(argv, **{**pipes, **more}))
        return children[-1]

    yield begin
    for child in children:
        if child.poll() is None:
            child.terminate()
            try:
                child.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                child.kill()
        child.communicate()
