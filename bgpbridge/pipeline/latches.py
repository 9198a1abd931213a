"""Peers that are not let in again before an operator says so, remembered over a restart of the bridge.

The file stands beside the memory of groups. It holds names and reasons; what cannot be read is no latch: a peer that
still sends too much trips again, so nothing is lost but the wait.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["read_latches", "write_latches"]


def write_latches(path: Path, latches: Mapping[str, str]) -> None:
    """Replace the file in one step: reason by name of the peer. Raises OSError."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"version": 1, "latched": dict(latches)}), encoding="utf-8")
    os.replace(beside, path)  # noqa: PTH105 - rename over, atomically


def read_latches(path: Path) -> dict[str, str]:
    """Reason by name; empty when there is no such file, or none that makes sense."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = data["latched"] if data["version"] == 1 else {}
        return {str(name): str(why) for name, why in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
