"""The process that reads the configuration file for the supervisor: `python -m bgpbridge.daemon.needs_reader needs
FILE` answers on its standard output. What is wrong with the file the supervisor finds out for itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bgpbridge.config import Config, load_config, passwords_of
from bgpbridge.config.health import CheckKind
from bgpbridge.pipeline.peers import lanes_for, number_peers
from bgpbridge.speaker.render import render

__all__ = ["answer"]


def answer(question: str, path: Path) -> str:
    """JSON: all of `Needs`, or whether there is a check that runs a command. Raises BridgeError."""
    config = load_config(path)
    if question == "commands":
        return json.dumps(any(check.kind is CheckKind.COMMAND for check in config.health.checks))
    return json.dumps(_needs(config))


def _needs(config: Config) -> dict[str, object]:
    lanes = lanes_for(len(config.peers))
    numbers = number_peers(config, {}, lanes)
    return {
        "directory": str(config.runtime.directory),
        "log_level": config.log.level,
        "protocol": config.kernel.protocol if config.kernel.enabled else None,
        "pin_path": str(config.datapath.pin_path) if config.datapath.interfaces else None,
        "user": config.speaker.user,
        "lanes": lanes,
        "lane_octets": config.speaker.lane_mib << 20,
        "numbers": numbers,
        "speaker_text": render(config, numbers, passwords_of(config)),
    }


if __name__ == "__main__":
    sys.stdout.write(answer(sys.argv[1], Path(sys.argv[2])))
