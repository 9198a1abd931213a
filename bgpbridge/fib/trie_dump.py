"""The tries as an earlier run left them, read while a bridge that starts still imports the rest of itself.

To read a million entries takes the kernel most of a second, in which it needs neither the interpreter nor to be waited
for. Nobody writes into the tries meanwhile: the bridge before has ended, and this one adopts before it writes.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.syscalls import map_info, object_get
from bgpbridge.errors import BridgeError
from bgpbridge.fib import xdp_map
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.types import Family

__all__ = ["TrieDump"]

Entries = tuple[Keys, U32]
KEYS = {Family.IPV4: abi.LPM4_KEY, Family.IPV6: abi.LPM6_KEY}
VALUE = np.dtype("<u4")
NAMES = {Family.IPV4: "lpm4", Family.IPV6: "lpm6"}


class TrieDump:
    """Reads what is pinned in a folder of maps, in a thread, from the moment on that it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[int, Entries] = {}  # by the kernel's id of the map
        self._thread = threading.Thread(target=self._read, name="tries", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(BridgeError):  # there is nothing, or whoever adopts it finds out what is wrong
            for family, name in NAMES.items():
                self._read_one(family, self._folder / name)

    def _read_one(self, family: Family, path: Path) -> None:
        fd = object_get(path)
        try:
            info = map_info(fd)
            trie = BpfMap(fd, path.name, KEYS[family], VALUE, info.max_entries)
            if (info.key_size, info.value_size) == (trie.key.itemsize, trie.value.itemsize):
                self._found[info.map_id] = xdp_map.dump(trie, family)
        finally:
            os.close(fd)

    def take(self, trie: BpfMap) -> Entries | None:
        """The entries of this very map, which are given out once; None where they have not been read."""
        self._thread.join()
        return self._found.pop(map_info(trie.fd).map_id, None)
