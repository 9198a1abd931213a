"""The bridge process: `python -m bgpbridge.daemon.bridge`, started by the supervisor with the lanes' handles.

This is only its beginning: what takes time without us (the kernel's routes, then the tries) is begun before the rest is
imported, which takes a second.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bgpbridge.fib.early_dump import EarlyDump

if TYPE_CHECKING:
    from bgpbridge.fib.trie_dump import TrieDump

__all__ = ["main"]

# The kernel's thread gives the interpreter back to the one that serves packets after so long. With Python's 5 ms every
# system call of the loop may cost 5 ms while that thread packs routes.
SWITCH_S = 0.0001


def main() -> int:
    """The process's entry point."""
    parser = argparse.ArgumentParser(prog="bgpbridge-bridge")
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--ready", required=True, type=int)
    parser.add_argument("--asks", type=int)
    parser.add_argument("--pins", type=Path)
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_S)
    gc.disable()  # nothing that is imported is garbage
    early = EarlyDump()
    tries = _begin(arguments.pins)
    from bgpbridge.daemon.serving import run  # noqa: PLC0415 - a second, in which both are read

    gc.enable()
    return run(arguments.config, arguments.ready, arguments.asks, tries, early)


def _begin(pins: Path | None) -> TrieDump | None:
    """Follow the supervisor, and read the tries."""
    from bgpbridge.daemon.children import follow_parent  # noqa: PLC0415 - these import asyncio and numpy
    from bgpbridge.datapath.pins import layout_folder  # noqa: PLC0415
    from bgpbridge.fib.trie_dump import TrieDump  # noqa: PLC0415

    follow_parent()
    return TrieDump(layout_folder(pins)) if pins is not None else None


if __name__ == "__main__":
    sys.exit(main())
