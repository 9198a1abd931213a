"""The control word: forwarding on or off, engines, the seed of the flow hash. Each field is one aligned store.

A copy of each store is kept: it says whether somebody else has written there since. So this is the only writer.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from bgpbridge.datapath import abi

__all__ = ["ControlWord"]


class ControlWord:
    """Writer of the mapped word. What an earlier run left is taken for what we stored."""

    def __init__(self, live: npt.NDArray[Any]) -> None:
        self._live, self._kept = live, live.copy()

    def set(self, name: str, value: int) -> None:
        """Store a field."""
        self._live[name][0] = self._kept[name][0] = value

    def set_flag(self, flag: int, *, on: bool) -> None:
        """Store one flag, the others as they were."""
        self.set_flags(flag, flag if on else 0)

    def set_flags(self, which: int, flags: int) -> None:
        """Store some flags in one store, the others as they were."""
        self.set("flags", int(self._kept["flags"][0]) & ~which | flags)

    def crooked(self) -> list[tuple[str, int, int]]:
        """Fields that do not stand as we stored them: name, what is there, what should be."""
        words = ((name, self._live[name].ravel(), self._kept[name].ravel()) for name in abi.CONTROL.names or ())
        return [(name, int(h), int(w)) for name, have, want in words for h, w in zip(have, want, strict=True) if h != w]

    def mend(self) -> None:
        """Store those again as we did."""
        for name, _, _ in self.crooked():
            self._live[name] = self._kept[name]
