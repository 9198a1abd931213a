"""The machine that the figures are from, in words."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

__all__ = ["describe", "load_average"]


def describe() -> dict[str, str]:
    """Processors, memory, kernel, and the versions of all subjects."""
    return {
        "processors": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "BIRD": _version(("bird", "--version")),
        "FRR": _version(("/usr/lib/frr/zebra", "--version")),
    }


def load_average() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _version(words: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "absent"
    found = re.search(r"\d+\.\d[\d.]*", done.stdout + done.stderr)
    return found.group() if found else "unknown"
