"""A longest-prefix-match table of plain values, both families, for the routes of others.

One dict per family and length, the lengths in use in descending order: a lookup asks one dict per length in
use (a handful, 33 at worst for IPv4), a change is one dict operation, and 100,000 IGP routes cost what 100,000
dict entries cost. The million BGP prefixes never come here: they are columns in `rib`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import Generic, TypeVar

from bgpbridge.types import Family, Prefix

__all__ = ["PrefixMap"]

T = TypeVar("T")


class PrefixMap(Generic[T]):
    """Prefix -> value, with exact and longest match."""

    def __init__(self) -> None:
        self._by_length: dict[Family, dict[int, dict[int, T]]] = {family: {} for family in Family}
        self._lengths: dict[Family, list[int]] = {family: [] for family in Family}  # negated, so ascending

    def __len__(self) -> int:
        return sum(len(values) for lengths in self._by_length.values() for values in lengths.values())

    def __iter__(self) -> Iterator[tuple[Prefix, T]]:
        for family, lengths in self._by_length.items():
            for length, values in lengths.items():
                shift = family.bits - length
                for key, item in values.items():
                    yield Prefix(family, key << shift, length), item

    def values(self, family: Family) -> list[tuple[int, list[int]]]:
        """The network addresses of one family by prefix length; a copy, so the map may change meanwhile."""
        bits = family.bits
        return [(n, [key << (bits - n) for key in keys]) for n, keys in self._by_length[family].items()]

    def get(self, prefix: Prefix) -> T | None:
        """The value of exactly this prefix."""
        values = self._by_length[prefix.family].get(prefix.length)
        return None if values is None else values.get(prefix.value >> (prefix.family.bits - prefix.length))

    def set(self, prefix: Prefix, item: T) -> None:
        """Put or replace the value of a prefix."""
        lengths = self._by_length[prefix.family]
        if prefix.length not in lengths:
            lengths[prefix.length] = {}
            insort(self._lengths[prefix.family], -prefix.length)
        lengths[prefix.length][prefix.value >> (prefix.family.bits - prefix.length)] = item

    def remove(self, prefix: Prefix) -> None:
        """Forget a prefix; one that is not there is no error."""
        lengths = self._by_length[prefix.family]
        values = lengths.get(prefix.length)
        if values is None:
            return
        values.pop(prefix.value >> (prefix.family.bits - prefix.length), None)
        if not values:
            del lengths[prefix.length]
            self._lengths[prefix.family].remove(-prefix.length)

    def covering(self, prefix: Prefix) -> Iterator[tuple[Prefix, T]]:
        """Every entry that covers `prefix` (itself too), from the longest to the shortest."""
        family, bits, lengths = prefix.family, prefix.family.bits, self._by_length[prefix.family]
        for negated in self._lengths[family]:
            length = -negated
            if length > prefix.length:
                continue
            key = prefix.value >> (bits - length)
            item = lengths[length].get(key)
            if item is not None:
                yield Prefix(family, key << (bits - length), length), item
