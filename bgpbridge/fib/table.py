"""One family's forwarding table as the program reads it: the LPM trie, complete, and the index in front of it.

While packets ask the index and it answers for every address by itself, it changes at once and the trie follows in a
thread (`Follower`): a table loads three times as quick. Else the trie goes first, for then a /24 without a page, or
every packet, asks it:

    store    trie, then index      no reader is sent to the trie before the longer route stands there
    remove   index, then trie      the covering route answers before the withdrawn one is gone

Before packets turn to the trie, what it has still to follow is waited for. What it refuses leaves the index again, so
the two say the same. An index is kept up whether or not packets ask it: to go from one engine to the other is one
store.
"""

from __future__ import annotations

import platform
import time

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.grace import Grace
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.pen import Pen
from bgpbridge.errors import BpfSyscallError
from bgpbridge.fib import xdp_map
from bgpbridge.fib.follower import Follower, Late
from bgpbridge.fib.index4 import Index4
from bgpbridge.fib.index6 import Index6
from bgpbridge.fib.indexes import Asked, Index
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.xdp_map import NOBODY, Refused
from bgpbridge.types import Family

__all__ = ["Table", "tables"]


class Table:
    """Writer of one family's trie and of what stands in front of it."""

    def __init__(self, trie: BpfMap, follower: Follower, asked: Asked, index: Index | None = None) -> None:
        self.family = asked.family
        self.trie = trie
        self.index = index
        self.asked = asked
        self.follower = follower
        self.stored_s = 0.0  # when packets were last told another way by `store_one` or `remove_one`
        self.prompt = False  # with True the trie is never late: somebody waits for what it refuses
        self._pen = Pen(trie)

    @property
    def name(self) -> str:
        """The trie's name."""
        return self.trie.name

    @property
    def max_entries(self) -> int:
        """Room for routes."""
        return self.trie.max_entries

    # -- changes ------------------------------------------------------------------------------------

    def _leader(self) -> Index | None:
        """The index while it may go first; None when the trie must."""
        free = self.asked.on and not self.prompt and self.follower.failure is None
        return self.index if self.index is not None and self.index.complete and free else None

    def _ahead(self) -> Index | None:
        """The same before a change; where the trie must go first it has caught up by then."""
        leader = self._leader()
        if leader is None:
            self.follower.flush()
        return leader

    def store(self, keys: Keys, groups: U32) -> Refused:
        """Write routes, new or over old ones."""
        ahead = self._ahead()
        if ahead is not None:
            ahead.store(keys, groups)
            self._follow(keys, groups)
            return Refused(NOBODY)
        refused = xdp_map.store(self.trie, keys, groups)
        if self.index is not None:
            if len(refused.index):
                keys, groups = keys.take(kept := _but(len(keys), refused)), groups[kept]
            self.index.store(keys, groups)
        return refused

    def remove(self, keys: Keys) -> Refused:
        """Take routes out; one that is not there counts as gone."""
        ahead = self._ahead()
        if ahead is not None:
            ahead.remove(keys)
            self._follow(keys, np.zeros(len(keys), np.uint32))
            return Refused(NOBODY)
        if self.index is not None:
            self.index.remove(keys)
        refused = xdp_map.remove(self.trie, keys)
        if self.index is not None and len(refused.index):
            self._still_there(keys.take(refused.index))
        return refused

    def _follow(self, keys: Keys, groups: U32) -> None:
        """The trie is to have the same. At once where the index or the thread has just given up."""
        self.follower.put(keys, groups)
        if not self.asked.on or self.follower.failure is not None:
            self.follower.flush()

    def _still_there(self, keys: Keys) -> None:
        assert self.index is not None
        columns = zip(keys.hi.tolist(), keys.lo.tolist(), keys.length.tolist(), strict=True)
        self.index.store(keys, np.array([self.value_of(*column) for column in columns], np.uint32))

    def store_one(self, hi: int, lo: int, length: int, group: int) -> None:
        """Write one route. Raises BpfSyscallError, and then nothing was done."""
        ahead = self._ahead()
        if ahead is not None:
            ahead.store_one(hi, lo, length, group)
            self.stored_s = time.monotonic()
            self._follow_one(hi, lo, length, group)
            return
        self._pen.update(xdp_map.key_of(self.family, hi, lo, length), group)
        if self.index is not None:
            self.index.store_one(hi, lo, length, group)
        self.stored_s = time.monotonic()

    def again(self, hi: int, lo: int, length: int, group: int) -> None:
        """Store in the index what stands there."""
        leader = self._leader()
        if leader is not None:
            leader.store_one(hi, lo, length, group)

    def remove_one(self, hi: int, lo: int, length: int) -> None:
        """Take one route out. Raises BpfSyscallError, and then it stands."""
        ahead = self._ahead()
        if ahead is not None:
            ahead.remove_one(hi, lo, length)
            self.stored_s = time.monotonic()
            self._follow_one(hi, lo, length, 0)
            return
        if self.index is not None:
            self.index.remove_one(hi, lo, length)
        try:
            self._pen.delete(xdp_map.key_of(self.family, hi, lo, length))
        except BaseException:
            if self.index is not None:
                self.index.store_one(hi, lo, length, self.value_of(hi, lo, length))
            raise
        self.stored_s = time.monotonic()

    def _follow_one(self, hi: int, lo: int, length: int, group: int) -> None:
        """The trie at once when it has nothing else to do: that takes 3 us, a thread 50."""
        if not self.follower.behind:
            key = xdp_map.key_of(self.family, hi, lo, length)
            try:
                self._pen.update(key, group) if group else self._pen.delete(key)
            except BpfSyscallError:
                pass  # the follower tries again, and tells what comes of it
            else:
                return
        columns = np.array([hi], np.uint64), np.array([lo], np.uint64), np.array([length], np.uint8)
        self._follow(Keys(self.family, *columns), np.array([group], np.uint32))

    def take_late(self) -> list[Late]:
        """What the trie would not take, long after it was asked: it is not in the index any more."""
        late = self.follower.take_late()
        for one in late:
            if self.index is not None:
                self.index.remove(one.keys.take(one.refused.index))
        return late

    def clear(self) -> None:
        """No routes."""
        self.follower.drop()
        if self.index is not None:
            self.index.clear()
        xdp_map.remove(self.trie, self.dump()[0])

    def rebuild_index(self) -> int:
        """Bring the index in line with the trie as it stands; how many places had been otherwise."""
        return 0 if self.index is None else self.index.rebuild(*self.dump())

    # -- looking ------------------------------------------------------------------------------------

    def value_of(self, hi: int, lo: int, length: int) -> int:
        """The group under the longest prefix up to `length` that holds the address, from the trie itself."""
        self.follower.flush()
        return self._pen.lookup(xdp_map.key_of(self.family, hi, lo, length))

    def lookup(self, hi: int, lo: int, *, indexed: bool) -> int:
        """What a packet to this address is told, by the index (`indexed`) or by the trie alone; 0: no route."""
        if indexed and self.index is not None:
            found = self.index.lookup(hi, lo)
            if found is not None:
                return found
        return self.value_of(hi, lo, self.family.bits)

    def dump(self) -> tuple[Keys, U32]:
        """Every route of the trie with its group, from the map itself. May run in a thread."""
        self.follower.flush()
        return xdp_map.dump(self.trie, self.family)


def _but(count: int, refused: Refused) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    kept = np.ones(count, np.bool_)
    kept[refused.index] = False
    return np.flatnonzero(kept)


def tables(maps: Maps) -> dict[Family, Table]:
    """Both families' tables over one set of maps, with the indexes that there is room for."""
    return {family: _table(maps, family) for family in Family}


def _table(maps: Maps, family: Family) -> Table:
    trie = maps.lpm4 if family is Family.IPV4 else maps.lpm6
    follower = Follower(trie, family)
    asked = Asked(maps, family, follower)
    return Table(trie, follower, asked, _index4(maps) if family is Family.IPV4 else _index6(maps, asked))


def _ordered() -> bool:
    """Whether a reader on another CPU sees our stores in the order in which we make them."""
    return platform.machine() in ("x86_64", "i686")


def _index4(maps: Maps) -> Index4 | None:
    """Elsewhere without pages, which must be full before a slot points at them."""
    if maps.index4 is None:
        return None
    if not _ordered():
        return Index4(maps.index4[: abi.INDEX4_SLOTS])
    return Index4(maps.index4, Grace(), maps.index4_pages)


def _index6(maps: Maps, asked: Asked) -> Index6 | None:
    if maps.index6_slots is None or not _ordered():
        return None
    room, capacity = maps.index6_lines, maps.lpm6.max_entries
    return Index6(maps.index6_slots, maps.index6_words, capacity=capacity, grace=Grace(), asked=asked, room=room)
