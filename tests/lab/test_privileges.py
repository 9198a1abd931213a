"""The bridge keeps the capabilities that it names and nothing else; told by the kernel of a real child."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bgpbridge.daemon.privileges import KEPT

pytestmark = pytest.mark.root

CHILD = """
from pathlib import Path
from bgpbridge.daemon.privileges import drop
drop()
lines = Path("/proc/self/status").read_text().splitlines()
print(" ".join(line.split()[1] for line in lines if line.startswith(("CapPrm", "CapEff", "CapBnd", "CapInh"))))
"""


def test_the_bridge_gives_up_all_but_what_it_names() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    inheritable, permitted, effective, bounding = (int(word, 16) for word in done.stdout.split())
    named = sum(1 << bit for bit in KEPT)
    assert inheritable == 0
    assert permitted == effective == named
    assert bounding == named, "what it starts (BCC's child) has no more either"
