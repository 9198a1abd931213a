"""Reverse index of next hops: which of them depend on an address inside a prefix, or on a link.

Addresses are kept sorted, so the next hops inside a changed prefix are a slice found by two bisections.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from bgpbridge.types import Family, IPAddress, Prefix

__all__ = ["NextHopIndex"]


class NextHopIndex:
    """Next-hop keys by the addresses and links that their resolution looked at."""

    def __init__(self) -> None:
        self._sorted: dict[Family, list[tuple[int, int]]] = {family: [] for family in Family}
        self._links: dict[int, set[int]] = {}
        self._of: dict[int, tuple[frozenset[IPAddress], frozenset[int]]] = {}

    def set(self, key: int, addresses: Iterable[IPAddress], links: Iterable[int]) -> None:
        """What `key` depends on, in place of what it depended on before."""
        new = frozenset(addresses), frozenset(links)
        old = self._of.get(key)
        if new == old:
            return
        if old is not None:
            self.remove(key)
        self._of[key] = new
        for address in new[0]:
            insort(self._sorted[Family.of(address)], (int(address), key))
        for link in new[1]:
            self._links.setdefault(link, set()).add(key)

    def remove(self, key: int) -> None:
        """Forget `key`."""
        addresses, links = self._of.pop(key, (frozenset(), frozenset()))
        for address in addresses:
            entries = self._sorted[Family.of(address)]
            del entries[bisect_left(entries, (int(address), key))]
        for link in links:
            keys = self._links[link]
            keys.discard(key)
            if not keys:
                del self._links[link]

    def inside(self, prefix: Prefix) -> list[int]:
        """The keys that looked up an address inside `prefix`, each once."""
        entries = self._sorted[prefix.family]
        end = prefix.value + (1 << (prefix.family.bits - prefix.length))
        start, stop = bisect_left(entries, (prefix.value, -1)), bisect_left(entries, (end, -1))
        return sorted({key for _, key in entries[start:stop]})

    def on_link(self, ifindex: int) -> list[int]:
        """The keys that asked for this link."""
        return sorted(self._links.get(ifindex, ()))
