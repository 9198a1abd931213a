"""Peers that went beyond their max-prefix and are not let in again yet, remembered over a restart of the bridge.

The file stands beside the memory of groups. It holds names, reasons and, where a timer runs, when it ends: by the wall
clock, for the monotonic one is another one after a reboot of the machine. A wall clock that jumped meanwhile makes the
wait neither longer than what was left of it, nor negative. What cannot be read is no latch: a peer that still sends too
much trips again, so nothing is lost but the wait.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Latch", "read_latches", "write_latches"]

LONGEST_S = 86_400.0  # what `restart_s` may be


@dataclass(frozen=True, slots=True)
class Latch:
    """Why a peer is kept out, and for how many seconds more: None until an operator lets it in, 0 when its one timer
    is over and no second one will be granted."""

    why: str
    left_s: float | None = None


def write_latches(path: Path, latches: Mapping[str, Latch], now: float) -> None:
    """Replace the file in one step; `now` by the wall clock. Raises OSError."""
    latched = {name: one.why for name, one in latches.items() if one.left_s is None}
    timed = {
        name: {"why": one.why, "left_s": one.left_s, "ends": now + one.left_s}
        for name, one in latches.items()
        if one.left_s is not None
    }
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"version": 1, "latched": latched, "timed": timed}), encoding="utf-8")
    os.replace(beside, path)  # noqa: PTH105 - rename over, atomically


def read_latches(path: Path, now: float) -> dict[str, Latch]:
    """By name of the peer; `now` by the wall clock. Empty when there is no such file, or none that makes sense."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != 1:
            return {}
        timed = {str(name): _timed(one, now) for name, one in data.get("timed", {}).items()}
        return timed | {str(name): Latch(str(why)) for name, why in data["latched"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def _timed(one: dict[str, Any], now: float) -> Latch:
    """What is left of a timer: no more than was left when it was written."""
    left_s, ends = float(one["left_s"]), float(one["ends"])
    if not math.isfinite(left_s + ends):
        raise ValueError
    return Latch(str(one["why"]), max(0.0, min(ends - now, left_s, LONGEST_S)))
