"""The entry point of the lab's container image, in a container made by hand: own network, mounts and pids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgpbridge.lab import processes

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
ENTER = """
set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc
mkdir -p "$2"
mount --bind "$1" "$2"
shift 2
exec "$@"
"""
NODES = [
    ("frr", "lab/quickstart/isp-a", "/etc/frr", ["vtysh", "-c", "show bgp summary"], "203.0.113.10"),
    ("bird", "lab/quickstart/isp-b", "/etc/bird", ["birdc", "show", "protocols"], "internet6"),
    ("gobgp", "lab/route-server/member-c", "/etc/gobgp", ["gobgp", "neighbor"], "10.0.0.100"),
    ("bgpbridge", "lab/quickstart/edge", "/etc/bgpbridge", [sys.executable, "-m", "bgpbridge", "peers"], "isp-a-v6"),
]


@contextmanager
def container(word: str, source: str, target: str, log: Path) -> Iterator[int]:
    """The entry point as process 1 of a container; gives its pid as we see it."""
    flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    argv = ["unshare", *flags, "bash", "-c", ENTER, "enter", str(ROOT / source), target]
    environment = {**os.environ, "BGPBRIDGE_NODE": word, "CLAB_INTFS": "0", "PYTHONPATH": str(ROOT)}
    with log.open("w") as output:
        child = subprocess.Popen(
            [*argv, sys.executable, "-P", "-m", "bgpbridge", "lab", "node"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield first_inside(child.pid)
    finally:
        child.kill()
        child.wait(10)


def first_inside(parent: int) -> int:
    """The one child of unshare(1)."""
    deadline = time.monotonic() + 10
    children = Path(f"/proc/{parent}/task/{parent}/children")
    while not (found := children.read_text().split()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(found[0])


def says(pid: int, command: list[str]) -> str:
    """What a command says inside."""
    argv = ["nsenter", "-t", str(pid), "--net", "--mount", "--pid", "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("word", "source", "target", "command", "said"), NODES, ids=[node[0] for node in NODES])
def test_the_entry_point_starts_each_daemon_where_its_own_tool_finds_it(
    tmp_path: Path, word: str, source: str, target: str, command: list[str], said: str
) -> None:
    log = tmp_path / "log"
    with container(word, source, target, log) as pid:
        deadline = time.monotonic() + 30
        while said not in (text := says(pid, command)) and time.monotonic() < deadline:
            assert processes.started_at(pid), log.read_text()
            time.sleep(0.2)
        assert said in text, log.read_text()
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while processes.started_at(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert processes.started_at(pid) is None, f"it does not end when the container is stopped\n{log.read_text()}"


def test_an_unknown_word_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with container("frrr", "lab/quickstart/isp-a", "/etc/frr", log) as pid:
        deadline = time.monotonic() + 10
        while processes.started_at(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "BGPBRIDGE_NODE is `frrr`" in log.read_text()
    assert "Traceback" not in log.read_text()
