"""`make demo` tells its story in in eight scenes, and leaves nothing, also when it is interrupted."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpbridge.lab import state

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(start: Callable[..., subprocess.Popen[str]], lab_name: str) -> Callable[[], subprocess.Popen[str]]:
    """A demo in a lab of the test's own."""
    argv = [sys.executable, "-m", "bgpbridge.lab.demo", "--name", lab_name]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return lambda: start(argv, cwd=ROOT, stdin=None, stderr=subprocess.STDOUT, env=environment)


def left(name: str) -> list[str]:
    """Namespaces, mounts, folders and processes of the demo's lab."""
    mark = f"{state.RUN}/{name}"
    found = [path.name for path in Path("/run/netns").glob(f"bb-{name}-*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if mark in line]
    found += [mark] if Path(mark).exists() else []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [words] if mark in words else []
    return found


def figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, f"nothing like {pattern} in:\n{text}"
    return float(found[1].replace(",", ""))


@pytest.mark.alone
def test_the_demo_tells_its_story_and_leaves_nothing(started, lab_name: str) -> None:
    told = started().communicate(timeout=180)[0]
    assert "Taken down again" in told, told
    scenes = [int(line[0]) for line in told.splitlines() if re.match(r"\d\. ", line)]
    assert scenes == list(range(1, 9))
    assert told.count("established") == 4
    assert "0 differences" in told
    in_xdp = figure(r"forwarded ([\d,]+) packets in XDP", told)
    in_kernel = figure(r"and ([\d,]+) in the kernel", told)
    assert in_xdp > 5000 > in_kernel
    ours = figure(r"bgpbridge +([\d,.]+) ms", told)
    theirs = figure(r"FRR +([\d,.]+) ms", told)
    assert ours < 100
    assert theirs > 3000
    assert figure(r"`act` it moved them ([\d,]+) ms", told) > 0
    assert "pin to peer isp-b" in told
    assert re.search(r"Pinned: .* by provider B. Lifted: .* by provider A", told)
    assert "\x1b[" not in told, "no colours where there is no terminal"
    assert left(lab_name) == []


@pytest.mark.parametrize(
    ("number", "scene"), [(signal.SIGINT, "bgpbridge demo"), (signal.SIGINT, "2. "), (signal.SIGTERM, "4. ")]
)
def test_an_interrupted_demo_leaves_nothing(started, lab_name: str, number: signal.Signals, scene: str) -> None:
    child = started()
    assert child.stdout is not None
    assert any(line.startswith(scene) for line in child.stdout)
    time.sleep(0.3)  # into the scene, wherever that is
    child.send_signal(number)
    said = child.communicate(timeout=60)[0]
    assert child.returncode == 130, said
    assert "nothing is left" in said
    assert "Traceback" not in said
    assert left(lab_name) == []
