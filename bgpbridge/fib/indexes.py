"""What stands in front of a trie: how `fib.table` uses an index of either family, and whether packets ask it."""

from __future__ import annotations

from typing import Protocol

from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.follower import Follower
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.ranges import Ranges
from bgpbridge.fib.sweep import Compared
from bgpbridge.types import Family

__all__ = ["Asked", "Index"]


class Index(Protocol):
    """A quicker answer to the trie's question. Whoever calls keeps the order above."""

    @property
    def trouble(self) -> str:
        """Why it cannot answer, so that packets ask the trie; empty while it can."""

    @property
    def complete(self) -> bool:
        """Whether it answers for every address by itself."""

    @property
    def waiting(self) -> int:
        """Routes of which something is left to do, in `learn`, that the next change of a single one would have to do
        else. Packets are told of them."""

    def learn(self, most: int) -> None:
        """That work for so many of them, in a moment of rest."""

    def store(self, keys: Keys, groups: U32) -> None:
        """Routes, new or with another group."""

    def remove(self, keys: Keys) -> None:
        """Routes that leave."""

    def store_one(self, hi: int, lo: int, length: int, group: int, /) -> None:
        """One route, new or with another group."""

    def remove_one(self, hi: int, lo: int, length: int, /) -> None:
        """One route that leaves."""

    def rebuild(self, keys: Keys, groups: U32) -> int:
        """In line with these routes, whatever stood there; how many places had been otherwise."""

    def clear(self) -> None:
        """No routes."""

    def lookup(self, hi: int, lo: int, /) -> int | None:
        """The group of an address; None: the trie is asked."""

    # For an audit. The first two read the map itself, in a thread, while others write.

    def ranges(self) -> Ranges:
        """What packets to every address are told: a group, or DEFER (with whatever else) for the trie's answer."""

    def compared(self, keys: Keys, groups: U32) -> Compared:
        """All that the map holds beside what it should where these routes stand, none of them twice and none with
        group 0. Also what no packet is told yet, and what tells the writer more than packets."""

    def widened(self, keys: Keys) -> Keys:
        """These prefixes, those that have no place of their own as the shorter one that has: a change of many in one
        place may change all that it holds."""

    def mend(self, wrong: Compared) -> None:
        """Somebody else wrote there: put right what is DIVERGENT in a comparison. No route that concerns it has changed
        since."""


class Asked:
    """Whether packets ask the index of a family. Before they turn to the trie it catches up."""

    def __init__(self, maps: Maps, family: Family, follower: Follower) -> None:
        self._maps, self.family, self._follower = maps, family, follower

    @property
    def on(self) -> bool:
        """As the maps say."""
        return self._maps.uses_index(self.family)

    @on.setter
    def on(self, on: bool) -> None:
        if not on:
            self._follower.flush()
        self._maps.use_index(self.family, on)
