"""Everything of a namespace is ended, also who forks, does not listen, or is not in there yet; nobody else is."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bgpbridge.lab import namespaces, processes
from bgpbridge.lab.sweep import sweep

pytestmark = [pytest.mark.root, pytest.mark.alone]

NUMBERS = itertools.count()
DEAF = "trap '' TERM HUP INT; echo ready; while :; do sleep 1; done"
# Each lives for a moment and leaves a child of its own session: whoever looks is always a little late. For a minute at
# most, should the test itself be killed.
FORKING = """
import os, time
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    if os.fork():
        time.sleep(0.002)
        os._exit(0)
    os.setsid()
"""


@pytest.fixture
def name() -> Iterator[str]:
    name = f"bb{os.getpid()}sw{next(NUMBERS)}"
    namespaces.create(name)
    try:
        yield name
    finally:
        sweep([name])
        namespaces.delete(name)


@contextlib.contextmanager
def running(argv: list[str], **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that says when it is ready."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, **more) as child:  # type: ignore[call-overload]
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield child
        child.kill()


def inside(name: str, *argv: str) -> list[str]:
    return ["nsenter", f"--net={namespaces.where(name)}", "--", *argv]


def test_a_process_that_does_not_listen_is_killed(name: str) -> None:
    with running(inside(name, "bash", "-c", DEAF)) as child:
        sweep([name])
        assert processes.started_at(child.pid) is None
    assert processes.in_namespace(name) == []


def test_those_who_fork_meanwhile_are_caught(name: str) -> None:
    with running(inside(name, sys.executable, "-c", FORKING)):
        sweep([name])
        assert processes.in_namespace(name) == []


def test_who_was_started_for_it_and_has_not_arrived_is_ended(name: str) -> None:
    with running(["bash", "-c", DEAF], env=namespaces.marked(name)) as child:
        assert child.pid not in processes.in_namespace(name)
        sweep([name])
        assert processes.started_at(child.pid) is None


def test_others_are_left_alone(name: str) -> None:
    with running(["bash", "-c", f"echo ready; sleep 100 # {namespaces.where(name)}"]) as child:
        sweep([name])
        assert processes.started_at(child.pid)


def test_a_namespace_that_is_gone_is_nothing_to_sweep() -> None:
    sweep(["bb-no-such-namespace"])
