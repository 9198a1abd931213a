"""A large VRP file read in a process of its own: Python's JSON parser lets nobody else run while it works, half a
second for all of the internet's VRPs. `offered_beside` is the caller's side, for a thread."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from bgpbridge.rpki.vrp_source import offered_by
from bgpbridge.rpki.vrps import VrpTable

__all__ = ["SMALL_OCTETS", "main", "offered_beside"]

SMALL_OCTETS = 1 << 19  # JSON that takes some 5 ms
LIMIT_S = 120


def offered_beside(path: Path, now_s: float) -> VrpTable | str:
    """The same as `offered_by`; a large file is read by a child."""
    try:
        if path.stat().st_size <= SMALL_OCTETS:
            return offered_by(path, now_s)
    except OSError:
        return offered_by(path, now_s)  # it says what is wrong
    words = [sys.executable, "-m", "bgpbridge.rpki.vrp_child", str(path), repr(now_s)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=True)
    except subprocess.TimeoutExpired:
        return f"{path}: took more than {LIMIT_S} s to read"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"{path}: cannot be read: {error}\n  mend: is there memory enough for it?"
    found: VrpTable | str = pickle.loads(done.stdout)  # noqa: S301 - our own child wrote it
    return found


def main(words: list[str]) -> None:
    """The child: a file's name and the time, what it offers on stdout."""
    sys.stdout.buffer.write(pickle.dumps(offered_by(Path(words[0]), float(words[1])), pickle.HIGHEST_PROTOCOL))


if __name__ == "__main__":
    main(sys.argv[1:])
