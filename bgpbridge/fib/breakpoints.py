"""Addresses in their order, and where prefixes begin and end among them, as columns of numbers. Pure.

An IPv4 address and a number fit into one word, and words are sorted at ten times the speed of anything else. numpy lets
go of the interpreter but for sums and repetitions: sums are made in pieces of a few milliseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bgpbridge.fib.keys import U64, Keys, Rows
from bgpbridge.scheduling import breathe
from bgpbridge.types import Family

__all__ = ["PLACE", "PLACE_BITS", "Numbers", "breakpoints", "ordered", "packed", "running", "taken"]

ONE = np.uint64(1)
HALF = np.uint64(32)
LOW = np.uint64((1 << 32) - 1)
PLACE_BITS = np.uint64(31)  # of a word, below an IPv4 address or the one behind the last
PLACE = np.uint64((1 << 31) - 1)
AT_ONCE = 1 << 18  # what is summed up in one go

Numbers = npt.NDArray[np.int32]


def breakpoints(keys: Keys) -> tuple[U64, U64, Numbers, Numbers]:
    """Where the pieces begin, and for each prefix its first piece and the one behind its last."""
    count = len(keys)
    if keys.family is Family.IPV4:
        lo, number = _numbered(keys)
        return np.zeros(len(lo), np.uint64), lo, number[1 : count + 1], number[count + 1 :]
    hi, lo, over = _behind(keys)
    zero = np.zeros(1, np.uint64)
    hi, lo = np.concatenate([zero, keys.hi, hi]), np.concatenate([zero, keys.lo, lo])
    order, first = ordered(hi, lo)
    number = np.empty(len(lo), np.int32)
    number[order] = running(first) - 1
    pieces = order[first]
    end = number[count + 1 :]
    end[over] = len(pieces)
    return taken(hi, pieces), lo[pieces], number[1 : count + 1], end


def _numbered(keys: Keys) -> tuple[U64, Numbers]:
    """For IPv4: where the pieces begin; which of them begins at 0, at each prefix, behind each prefix. The address
    behind the last one has 33 bits, and the number of a piece that there is not."""
    words = np.concatenate([np.zeros(1, np.uint64), keys.lo, keys.lo])
    words[len(keys) + 1 :] += ONE << (HALF - keys.length.astype(np.uint64))
    words, first = packed(words)
    number, sums = np.empty(len(words), np.int32), running(first)
    sums -= 1
    for at in range(0, len(words), AT_ONCE):
        part = slice(at, at + AT_ONCE)
        number[(words[part] & PLACE).astype(np.int64)] = sums[part]
        breathe()
    lo = words[first]
    lo >>= PLACE_BITS
    return lo[:-1] if lo[-1] > LOW else lo, number


def packed(addresses: U64) -> tuple[U64, npt.NDArray[np.bool_]]:
    """IPv4 addresses (up to 33 bits) in their order, each above its place (`PLACE`), the first place first; and which
    are not as the one before. The column itself is used up."""
    words = addresses
    words <<= PLACE_BITS
    for at in range(0, len(words), AT_ONCE):
        words[at : at + AT_ONCE] |= np.arange(at, min(at + AT_ONCE, len(words)), dtype=np.uint64)
    words.sort()
    first = np.ones(len(words), np.bool_)
    for at in range(1, len(words), AT_ONCE):
        part = slice(at, at + AT_ONCE)
        np.greater(words[part] ^ words[at - 1 : -1][:AT_ONCE], PLACE, out=first[part])
        breathe()
    return words, first


def _behind(keys: Keys) -> tuple[U64, U64, npt.NDArray[np.bool_]]:
    """For IPv6: the address behind each prefix, 0 where there is none: those are marked."""
    length = keys.length.astype(np.uint64)
    short, sixty_four = keys.length <= 64, np.uint64(64)
    with_hi, with_lo = sixty_four - length, np.uint64(128) - length
    hi = keys.hi + np.where(short, _power(with_hi), np.uint64(0))
    lo = keys.lo + np.where(short, np.uint64(0), _power(with_lo))
    hi += ~short & (lo < keys.lo)
    return hi, lo, (hi == 0) & (lo == 0)


def _power(exponent: U64) -> U64:
    """2 to these, 0 from 64 on (also for those that went below 0)."""
    return np.where(exponent < 64, ONE << (exponent & np.uint64(63)), np.uint64(0))


def ordered(hi: U64, lo: U64) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """The order of addresses, the first place first, and which of them in that order are not as the one before."""
    order = np.lexsort((lo, hi)) if lo.any() else np.argsort(hi, kind="stable")
    first = np.zeros(len(order), np.bool_)
    first[0] = True
    for words in (hi[order], taken(lo, order)):
        first[1:] |= words[1:] != words[:-1]
    return order, first


def taken(words: U64, which: Rows) -> U64:
    """Some of them; zeros stay pages that nobody has touched."""
    return words[which] if words.any() else np.zeros(len(which), np.uint64)


def running(numbers: npt.NDArray[Any]) -> Numbers:
    """Their running sum."""
    total = np.empty(len(numbers), np.int32)
    before = np.int32(0)
    for at in range(0, len(numbers), AT_ONCE):
        part = slice(at, at + AT_ONCE)
        np.cumsum(numbers[part], dtype=np.int32, out=total[part])
        total[part] += before
        before = total[part][-1]
        breathe()
    return total
