"""What an earlier run left in a plane: found by a dump, then confirmed prefix by prefix as peers send again.

Mark and sweep: a prefix that comes up again finds its entry and is not rewritten when the value is the same;
what nobody has confirmed when all peers are through is swept.
"""

from __future__ import annotations

import numpy as np

from bgpbridge.fib.keys import U32, Keys, KeyTable

__all__ = ["Leftovers"]


class Leftovers:
    """Adopted entries of one plane and family."""

    def __init__(self, keys: Keys, values: U32) -> None:
        self._table = KeyTable(keys)
        self._values = values
        self._open = np.ones(len(keys), np.bool_)
        self.unconfirmed = len(keys)

    def take(self, wanted: Keys) -> U32:
        """The values that stand under these prefixes (0 where none does), each given out once: from then on
        the entry is the caller's to keep account of."""
        values = np.zeros(len(wanted), np.uint32)
        if not self.unconfirmed:
            return values
        at = self._table.find(wanted)
        hit = np.flatnonzero(at >= 0)
        hit = hit[self._open[at[hit]]]
        index = at[hit]
        self._open[index] = False
        self.unconfirmed -= len(index)
        values[hit] = self._values[index]
        return values

    def now(self, wanted: Keys, value: int) -> None:
        """Somebody else has changed these since they were read: such a value stands there now (0: none)."""
        at = self._table.find(wanted)
        index = at[at >= 0]
        index = index[self._open[index]]
        self._values[index] = value
        if not value:
            self._open[index] = False
            self.unconfirmed -= len(index)

    def rest(self) -> tuple[Keys, U32]:
        """What nobody has confirmed, with its values."""
        return self._table.keys.take(self._open), self._values[self._open]

    def values_in_use(self) -> set[int]:
        """All values among the entries that are not confirmed yet."""
        return set(np.unique(self._values[self._open]).tolist())
