"""What the supervisor needs of the configuration file, read by a process that ends as soon as it has said it.

To read the file takes the models and the tables that they know of, some 40 MiB. The supervisor lives as long as the
daemon does and never asks again, so it does not load them: the words come as JSON (`needs_reader`).
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bgpbridge import resources

__all__ = ["Needs", "gives_commands", "read_needs"]

READER: Final = "bgpbridge.daemon.needs_reader"


@dataclass(frozen=True, slots=True)
class Needs:
    """Where the daemon works, what it locks, and what its speaker is started with. `protocol` is None without a kernel
    plane, `pin_path` without interfaces; `numbers` are the peers' by name, `speaker_text` is ExaBGP's file."""

    directory: Path
    log_level: str
    protocol: int | None
    pin_path: Path | None
    user: str
    lanes: int
    lane_octets: int
    numbers: dict[str, int]
    speaker_text: str


def read_needs(path: Path) -> Needs:
    """What a configuration file says. Raises what `load_config` does, and BridgeError for a password that cannot be
    read."""
    words = _ask("needs", path)
    pins = words.pop("pin_path")
    return Needs(directory=Path(words.pop("directory")), pin_path=None if pins is None else Path(pins), **words)


def gives_commands(path: Path) -> bool:
    """Whether the file has a check that runs a command. Raises what `load_config` does."""
    return bool(_ask("commands", path))


def _ask(question: str, path: Path) -> Any:
    """The answer of a process of its own; one that fails is read here again, and raises here what is wrong."""
    command = [sys.executable, "-m", READER, question, str(path)]
    environment = {**os.environ, "PYTHONPATH": resources.search_path()}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout)
    return json.loads(importlib.import_module(READER).answer(question, path))
