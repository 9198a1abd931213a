"""The prefixes that change while somebody looks, as an audit does. Single ones come a thousand a second, and whoever
serves them must not make columns of each."""

from __future__ import annotations

from bgpbridge.fib.keys import Keys
from bgpbridge.types import Family

__all__ = ["Noted"]


class Noted:
    """Kept in the order of nothing; a prefix that changes twice is there twice."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._many: list[Keys] = []
        self._singles: list[tuple[int, int, int]] = []

    def add(self, keys: Keys) -> None:
        """Several at once."""
        if len(keys):
            self._many.append(keys)

    def one(self, hi: int, lo: int, length: int) -> None:
        """A single one."""
        self._singles.append((hi, lo, length))

    def keys(self) -> Keys:
        """All of them."""
        parts = list(self._many)
        if self._singles:
            parts.append(Keys.listed(self._family, *zip(*self._singles, strict=True)))
        return Keys.joined(self._family, parts)
