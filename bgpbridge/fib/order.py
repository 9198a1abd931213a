"""Tables of prefixes in the order of addresses, and cut at the same prefixes. Pure.

Two tables that hold the same are equal column by column once both are in order, so the usual answer of an audit costs
two sorts and one look. Where they differ, only the stretches that do are looked at more closely. An IPv4 prefix and its
row fit into one word, and words are sorted at ten times the speed of anything else.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bgpbridge.fib.keys import U32, U64, Keys
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["Entries", "in_order", "newest", "unlike"]

Entries = tuple[Keys, U32]
"""Prefixes with their groups."""

STRETCH = 4096  # prefixes between two cuts
HALF, LENGTH_AT, LENGTH = np.uint64(32), np.uint64(26), np.uint64(63)
ROWS = 1 << 26  # that a word has room for
ROW = np.uint64(ROWS - 1)


def in_order(table: Entries) -> Entries:
    """By address, and of the same address the shorter prefix first. What is in order already is given back as it is."""
    keys, groups = table
    if _ordered(keys):
        return table
    if keys.family is Family.IPV6 or len(keys) > ROWS:
        order = np.lexsort((keys.length, keys.lo, keys.hi) if keys.lo.any() else (keys.length, keys.hi))
        return keys.take(order), groups[order]
    words = keys.lo << HALF
    words |= keys.length.astype(np.uint64) << LENGTH_AT
    words |= np.arange(len(words), dtype=np.uint64)
    breathe()
    words.sort()
    breathe()
    groups = groups.take((words & ROW).astype(np.int32))
    length = (words >> LENGTH_AT & LENGTH).astype(np.uint8)
    words >>= HALF
    return Keys(keys.family, np.zeros(len(words), np.uint64), words, length), groups


def newest(table: Entries) -> Entries:
    """In order, and of several rows of a prefix the last that came."""
    keys, groups = in_order(table)  # equal prefixes stay in the order in which they came
    last = np.ones(len(keys), np.bool_)
    last[:-1] = (keys.lo[1:] != keys.lo[:-1]) | (keys.length[1:] != keys.length[:-1]) | (keys.hi[1:] != keys.hi[:-1])
    return (keys, groups) if last.all() else (keys.take(last), groups[last])


def _ordered(keys: Keys) -> bool:
    one, other = slice(None, -1), slice(1, None)
    word = _first_word(keys)
    if (word[one] > word[other]).any():
        return False
    same = word[one] == word[other]
    if keys.family is Family.IPV6:
        if (same & (keys.lo[one] > keys.lo[other])).any():
            return False
        same &= keys.lo[one] == keys.lo[other]
    return not (same & (keys.length[one] > keys.length[other])).any()


def unlike(one: Entries, other: Entries) -> tuple[Entries, Entries]:
    """Of two tables in order the stretches that are not the same in both."""
    if _alike(one, other):
        nothing = slice(0, 0)
        return _part(one, nothing), _part(other, nothing)
    kept = [(mine, its) for mine, its in _stretches(one, other) if not _alike(_part(one, mine), _part(other, its))]
    return _joined(one, [mine for mine, _ in kept]), _joined(other, [its for _, its in kept])


def _stretches(one: Entries, other: Entries) -> Iterator[tuple[slice, slice]]:
    """The same addresses in both, again and again."""
    words = _first_word(one[0]), _first_word(other[0])
    longer = max(words, key=len)
    bounds = longer[STRETCH::STRETCH]
    ends = [[*np.searchsorted(word, bounds).tolist(), len(word)] for word in words]
    begin = 0, 0
    for end in zip(*ends, strict=True):
        yield slice(begin[0], end[0]), slice(begin[1], end[1])
        begin = end


def _first_word(keys: Keys) -> U64:
    return keys.lo if keys.family is Family.IPV4 else keys.hi


def _alike(one: Entries, other: Entries) -> bool:
    (mine, groups), (its, wanted) = one, other
    if len(mine) != len(its) or not np.array_equal(groups, wanted):
        return False
    alike = np.array_equal(mine.length, its.length) and np.array_equal(mine.lo, its.lo)
    return alike and (mine.family is Family.IPV4 or np.array_equal(mine.hi, its.hi))


def _part(table: Entries, part: slice) -> Entries:
    return table[0].take(part), table[1][part]


def _joined(table: Entries, parts: list[slice]) -> Entries:
    some = [_part(table, part) for part in parts]
    groups = np.concatenate([groups for _, groups in some]) if some else np.empty(0, np.uint32)
    return Keys.joined(table[0].family, [keys for keys, _ in some]), groups
