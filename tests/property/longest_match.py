"""The slowest longest-prefix match there is, and the addresses at which tables can differ: the oracle of everything
that finds routes or lays them out."""

from __future__ import annotations

from collections.abc import Iterable

from bgpbridge.types import Family, Prefix

Routes = dict[Prefix, int]


def longest(some: Iterable[Prefix], address: int) -> Prefix | None:
    held = [p for p in some if address >> (p.family.bits - p.length) == p.value >> (p.family.bits - p.length)]
    return max(held, key=lambda p: p.length, default=None)


def answer(some: Routes, address: int) -> int:
    """The group of an address, 0 where no route holds it."""
    prefix = longest(some, address)
    return some[prefix] if prefix is not None else 0


def edges(family: Family, *tables: Iterable[Prefix]) -> list[int]:
    """The first and last address of each prefix, and their neighbours outside, in order."""
    top = (1 << family.bits) - 1
    found = {0, top}
    for prefix in (prefix for some in tables for prefix in some):
        last = prefix.value | (1 << (family.bits - prefix.length)) - 1
        found |= {prefix.value, last, max(prefix.value - 1, 0), min(last + 1, top)}
    return sorted(found)
