"""Our own routes, as the whole dump of a start comes past them: the kernel plane adopts them from here, and a million
need not be dumped a second time."""

from __future__ import annotations

from bgpbridge.fib.kernel_wire import RouteDump, read_routes
from bgpbridge.types import Family

__all__ = ["OwnDump"]

GATHERED = 1 << 20  # octets that are read as columns at a time


class OwnDump:
    """Routes of one protocol in one table, by family. Filled by one thread, read when that is through."""

    def __init__(self, table: int) -> None:
        self.table = table
        self._parts: dict[Family, list[RouteDump]] = {}
        self._family = Family.IPV4
        self._held = bytearray()
        self._length = 0  # of each message in `_held`

    def begin(self, family: Family) -> None:
        """A dump of this family's routes begins, or begins again."""
        self._held.clear()
        self._family, self._parts[family] = family, []

    def add(self, octets: bytes | memoryview, length: int) -> None:
        """RTM_NEWROUTE messages of ours, all of one length."""
        if length != self._length or len(self._held) + len(octets) > GATHERED:
            self._read()
        self._held += octets
        self._length = length

    def end(self) -> None:
        """The dump is through."""
        self._read()

    def _read(self) -> None:
        if self._held:
            self._parts[self._family].append(read_routes(self._family, bytes(self._held)))
            self._held.clear()

    def take(self, family: Family) -> RouteDump | None:
        """All routes of a family, which are given out once; None where no dump of them came to its end."""
        parts = self._parts.pop(family, None)
        return None if parts is None else RouteDump.joined(family, parts)
