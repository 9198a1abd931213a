"""Waiting for what the demo is about to tell."""

from __future__ import annotations

import time
from collections.abc import Callable

from bgpbridge.errors import LabError

__all__ = ["until"]

LOOK_S = 0.1


def until(so: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until it is so. Raises LabError when it is not within the time."""
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:.0f} s", mend="see the logs below /run/bgpbridge-lab")
        time.sleep(LOOK_S)
