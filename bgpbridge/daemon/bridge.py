"""The bridge process: `python -m bgpbridge.daemon.bridge`, started by the supervisor with the lanes' handles.

This is only its beginning: what takes time without us is begun before the rest is imported, which takes a second.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from bgpbridge.daemon.children import follow_parent
from bgpbridge.datapath.pins import layout_folder
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
    follow_parent()
    sys.setswitchinterval(SWITCH_S)
    tries = TrieDump(layout_folder(arguments.pins)) if arguments.pins is not None else None
    gc.disable()  # nothing that is imported is garbage
    from bgpbridge.daemon.serving import run  # noqa: PLC0415 - a second, in which the tries are read

    gc.enable()
    return run(arguments.config, arguments.ready, arguments.asks, tries)


if __name__ == "__main__":
    sys.exit(main())
