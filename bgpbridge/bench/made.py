"""Made tables: prefixes that lie as those of a real table do, from a seed.

Lengths are those of RIPE RIS 2015 (IPv6: the shares that public tables show). IPv4 prefixes lie in clusters, as
addresses are given out: of the 2^19 blocks of /19 that there are, 577,000 real prefixes touch 128,000 and as many that
are strewn evenly 306,000, which is a harder table for caches than any real one. Here a block has a share of its halves
in use (`IN_USE`), all the way down: 577,000 prefixes touch 165,000 blocks of /19, a million 175,000. As in the real
table half of the prefixes lie inside another, but in a made one of a million nearly all.
"""

from __future__ import annotations

import ipaddress

import numpy as np
from numpy.typing import NDArray

from bgpbridge.types import Family

__all__ = ["Values", "prefixes"]

Values = NDArray[np.uint64]

# Prefixes by length of RIPE RIS in 2015; those beyond /24 are 1.5% of it.
# fmt: off
IPV4_LENGTHS = dict(zip((*range(8, 31), 32), (
    18, 13, 35, 97, 262, 504, 1017, 1787, 13048, 7464, 12618, 25658, 37165, 39481, 63433, 54283, 311978,
    706, 325, 425, 490, 1551, 1703, 3651), strict=True))
# fmt: on
IPV6_LENGTHS = {29: 30, 32: 160, 36: 50, 40: 90, 42: 20, 44: 120, 45: 20, 46: 40, 47: 30, 48: 440}
# What IANA gave to the registries, /12 each (ipv6-unicast-address-assignments), with the shares of what they gave on.
IPV6_BLOCKS = {0x2400: 25, 0x2600: 22, 0x2800: 13, 0x2A00: 37, 0x2C00: 3}
# Of the two halves of a block in use, how many are, by the length of the block.
IN_USE = dict(zip(range(8, 24), (*[0.966] * 2, *[0.953] * 3, *[0.91] * 3, *[0.84] * 3, *[0.90] * 5), strict=True))
INSIDE = 0.52  # prefixes that lie inside a shorter one
SLOTS = 0.0056  # /24s that hold the prefixes longer than /24, to each prefix of the table
# Never in a made feed: what labs, hosts and collectors use for themselves.
IPV4_KEPT_OUT = ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12")
IPV4_KEPT_OUT_TOO = ("192.0.0.0/8", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3")


def prefixes(count: int, family: Family, random: np.random.Generator) -> tuple[Values, NDArray[np.uint8]]:
    """Distinct prefixes in random order, by the shares of the family's table of lengths."""
    shares = IPV4_LENGTHS if family is Family.IPV4 else IPV6_LENGTHS
    total = sum(shares.values())
    clusters = _Clusters(count, random) if family is Family.IPV4 else None
    values, lengths = [], []
    missing = count
    for length in sorted(shares):
        wanted = missing if length == max(shares) else min(missing, round(count * shares[length] / total))
        found = _registered(wanted, length, random) if clusters is None else clusters.take(wanted, length)
        values.append(found)
        lengths.append(np.full(len(found), length, np.uint8))
        missing -= len(found)
    order = random.permutation(sum(map(len, values)))
    return np.concatenate(values).take(order), np.concatenate(lengths).take(order)


class _Clusters:
    """IPv4 in blocks: from the shortest length to the longest, which of the blocks of a
    length are in use and which lie inside a prefix that was taken. To be asked for lengths in their order."""

    def __init__(self, count: int, random: np.random.Generator) -> None:
        self._random = random
        self._slots = max(round(count * SLOTS), 1)
        self._length = 8
        self._blocks: Values = np.arange(1, 224, dtype=np.uint64)
        self._held = np.zeros(len(self._blocks), np.bool_)

    def take(self, count: int, length: int) -> Values:
        """Prefixes of one length, fewer where there is no more room."""
        while self._length < min(length, 24):
            self._halve()
        if length > 24:
            return self._longer(count, length)
        order = self._random.permutation(len(self._blocks))
        order = order[~_kept_out(self._blocks[order] << np.uint64(32 - length), length)]
        inside, outside = order[self._held[order]], order[~self._held[order]]
        within = min(len(inside), max(round(count * INSIDE), count - len(outside)))
        taken = np.concatenate([inside[:within], outside[: count - within]])
        self._held[taken] = True
        found: Values = self._blocks[taken] << np.uint64(32 - length)
        return found

    def _halve(self) -> None:
        halves: Values = (self._blocks[:, None] * np.uint64(2) + np.array([0, 1], np.uint64)).ravel()
        used = self._random.random(len(halves)) < IN_USE[self._length]
        self._blocks = halves[used]
        self._held = np.repeat(self._held, 2)[used]
        self._length += 1

    def _longer(self, count: int, length: int) -> Values:
        """In a few /24s, many together: the same ones for all lengths."""
        slots = self._blocks[:: max(len(self._blocks) // self._slots, 1)]
        step = np.uint64(32 - length)
        drawn = slots[self._random.integers(0, len(slots), 2 * count)] << np.uint64(8)
        drawn |= self._random.integers(0, 1 << length - 24, 2 * count, dtype=np.uint64) << step
        drawn = drawn[~_kept_out(drawn, length)]
        _, first = np.unique(drawn, return_index=True)
        return drawn.take(np.sort(first)[:count])


def _registered(count: int, length: int, random: np.random.Generator) -> Values:
    """`count` distinct IPv6 prefixes of one length, their first 64 bits, in what the registries give out."""
    blocks, shares = np.array(list(IPV6_BLOCKS), np.uint64), np.array(list(IPV6_BLOCKS.values()))
    found: Values = np.empty(0, np.uint64)
    while len(found) < count:
        block = random.choice(blocks, count + 64, p=shares / shares.sum())
        inside = random.integers(0, 1 << length - 12, len(block), dtype=np.uint64)
        drawn = np.concatenate([found, block << np.uint64(48) | inside << np.uint64(64 - length)])
        _, first = np.unique(drawn, return_index=True)
        found = drawn.take(np.sort(first))
    return found[:count]


def _kept_out(values: Values, length: int) -> NDArray[np.bool_]:
    """Those that touch a range that is not for feeds."""
    mask = np.zeros(len(values), np.bool_)
    last = values | np.uint64((1 << 32 - length) - 1)
    for text in (*IPV4_KEPT_OUT, *IPV4_KEPT_OUT_TOO):
        network = ipaddress.IPv4Network(text)
        mask |= (values <= int(network.broadcast_address)) & (last >= int(network.network_address))
    return mask
