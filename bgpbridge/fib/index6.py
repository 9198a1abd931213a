"""The IPv6 index: a trie of nodes in cache lines behind a direct first level, in two arrays that the program reads.

    index6_nodes   how it lies in memory        index6_lines    which lines are free, and when they may be
    index6_first   routes that end in a slot    index6_bulk     many that end in nodes (index6_runs: nodes of a level,
                                                                index6_lone: nodes with one change)
    index6_routes  what stands, for its cover   index6_single   one of them
    index6_reader  lookups, comparison          bpf/lookup6.h   the program's side

A route stands in one node only, so it costs what its own node costs, whatever lies below; the answer to an address is
the last entry on its way down that says something. Each change is made where nobody looks and shown by one store, or
is one store: a reader sees the old answer or the new one. (Not more than that: a reader that is held up within its
lookup while two changes pass, of which the second takes out a longer route, may miss both. The kernel's own trie has
the same.) Program and writer are ordered by stores that are seen in the order in which they are made, as on x86.

What does not fit gives the family to the trie, which is complete: `trouble` says why, until `rebuild` or `clear`.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.grace import Waiting
from bgpbridge.datapath.growing import ROOMY, Room
from bgpbridge.errors import BridgeError, CapacityError
from bgpbridge.fib import index6_sweep
from bgpbridge.fib.index6_bulk import Bulk
from bgpbridge.fib.index6_first import FirstLevel
from bgpbridge.fib.index6_lines import Lines, Unread
from bgpbridge.fib.index6_nodes import GROUP, OWNER, Nodes, place, places
from bgpbridge.fib.index6_reader import differing, look_up, look_up_many, nodes_under
from bgpbridge.fib.index6_routes import Routes
from bgpbridge.fib.index6_single import Single
from bgpbridge.fib.keys import U32, U64, Keys, Rows
from bgpbridge.fib.ranges import DEFER, Ranges
from bgpbridge.fib.sweep import Compared
from bgpbridge.rib.tables import zeros
from bgpbridge.types import Family

__all__ = ["Index6"]


class Switch(Protocol):
    """Whether packets ask the index."""

    on: bool


class _Writers:
    """Those who write one first level and the nodes under it."""

    def __init__(self, nodes: Nodes, lines: Lines) -> None:
        self.first, self.bulk, self.single = FirstLevel(nodes), Bulk(nodes, lines), Single(nodes, lines)

    def write(self, keys: Keys, owner: Rows, group: U32, *, gone: bool) -> None:
        """Prefixes, and owner and group that each leaves behind (owner -1: nobody)."""
        entry = np.where(owner >= 0, owner << OWNER | group, 0).astype(np.uint32)
        _, bits = places(keys.hi, keys.length.astype(np.int64))
        ends = keys.length <= bits
        short, deep = np.flatnonzero(ends), np.flatnonzero(~ends)
        self.first.write(keys.hi[short], keys.length[short].astype(np.int64), entry[short], gone=gone)
        self.bulk.write(keys.take(deep), entry[deep], gone=gone)

    def store(self, keys: Keys, groups: U32) -> None:
        """Routes, new or with another group."""
        self.write(keys, _owners(keys, keys.length.astype(np.int64)), groups, gone=False)


class Index6:
    """Writer of one index. `capacity` routes may stand; `asked` says whether packets ask it, and is
    turned off when they must not any more; of `words` there is `room` for the lines that it was asked for."""

    def __init__(
        self, slots: U32, words: U32, *, capacity: int, grace: Waiting, asked: Switch, room: Room = ROOMY
    ) -> None:
        self.nodes = Nodes(slots, words)
        self.lines = Lines(len(self.nodes.lines), grace, room)
        self.trouble = ""
        self._grace, self._asked = grace, asked
        self._routes = Routes(capacity)
        self._write = _Writers(self.nodes, self.lines)
        if slots.any():  # adopted: what is in use is kept until `rebuild` knows the routes
            self.lines.start(*nodes_under(self.nodes, slots))
        else:
            room.fit(1)

    @property
    def complete(self) -> bool:
        """Whether it answers for every address by itself."""
        return not self.trouble

    # -- many ---------------------------------------------------------------------------------------

    def store(self, keys: Keys, groups: U32) -> None:
        """Routes, new or with another group. No prefix twice."""
        if self.trouble or not len(keys):
            return
        try:
            self._check(int(groups.max()))
            self._routes.store(keys, groups)
            self._write.store(keys, groups)
        except (CapacityError, IndexError) as error:
            self._fail(error)

    def remove(self, keys: Keys) -> None:
        """Routes that leave. No prefix twice."""
        if self.trouble or not len(keys):
            return
        try:
            # all of them first: none may be another's cover
            keys = keys.take(self._routes.remove(keys))
            length, group = self._routes.covers(keys, _floors(keys))
            self._write.write(keys, np.where(length < 0, -1, _owners(keys, length)), group, gone=True)
        except (CapacityError, IndexError) as error:
            self._fail(error)

    # -- one ----------------------------------------------------------------------------------------

    def store_one(self, hi: int, lo: int, length: int, group: int) -> None:
        """One route, new or with another group."""
        if self.trouble:
            return
        try:
            self._check(group)
            self.lines.settle()
            self._routes.store_one(hi, lo, length, group)
            _, bits = place(hi, length)
            if length <= bits:
                self._write.first.write_one(hi, length, (length + 1) << OWNER | group, gone=False)
            else:
                owner = (length - bits - 1) % 8 + 1
                self._write.single.write(hi, lo, length, owner << OWNER | group, gone=False)
        except (CapacityError, IndexError) as error:
            self._fail(error)

    def remove_one(self, hi: int, lo: int, length: int) -> None:
        """One route that leaves."""
        if self.trouble or not self._routes.remove_one(hi, lo, length):
            return
        try:
            self.lines.settle()
            _, bits = place(hi, length)
            base = length - (length - bits - 1) % 8 - 1 if length > bits else -1
            cover, group = self._routes.cover_one(hi, lo, length, base + 1)
            entry = 0 if cover < 0 else (cover - base) << OWNER | group
            if length <= bits:
                self._write.first.write_one(hi, length, entry, gone=True)
            else:
                self._write.single.write(hi, lo, length, entry, gone=True)
        except (CapacityError, IndexError) as error:
            self._fail(error)

    # -- a moment of rest ---------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many routes `learn` would help the next change of a single one with."""
        return self._routes.waiting

    def learn(self, most: int) -> None:
        """Do of that work what so many routes take: a thousand take a third of a millisecond."""
        self._routes.learn(most)

    # -- what does not fit --------------------------------------------------------------------------

    def _check(self, group: int) -> None:
        if group > GROUP:
            raise CapacityError(f"group {group} does not fit into an entry of the IPv6 index")

    def _fail(self, error: BridgeError | IndexError) -> None:
        """From here on packets ask the trie. What stands in the index is not kept up any more."""
        self._asked.on = False
        if isinstance(error, BridgeError):
            why = f"; blocks that programs may read are kept: {self.lines.stuck}" if self.lines.stuck else ""
            self.trouble = error.what + why
        else:
            self.trouble = "the IPv6 index points out of its arrays: somebody else has written there"

    # -- the whole ----------------------------------------------------------------------------------

    def rebuild(self, keys: Keys, groups: U32) -> int:
        """Bring the whole index in line with what stands in the trie, whatever stood in it (220k routes: 0.5 s).
        Returns how many slots of the first level had been otherwise, with all that is under them; only these are
        stored. Readers go on meanwhile: it is built anew in free lines. Where there are not enough, packets ask the
        trie while it is built from nothing, and all that stands then counts."""
        if not self.trouble:
            try:
                return self._rebuild_beside(keys, groups)
            except CapacityError:
                pass  # not both at a time
            except BridgeError as error:
                self._fail(error)
                return 0
        was = self._asked.on
        self._start_over()
        self.store(keys, groups)
        self._asked.on = was and not self.trouble
        return int(np.count_nonzero(self.nodes.slots))

    def _rebuild_beside(self, keys: Keys, groups: U32) -> int:
        self._grace.wait()
        self.lines.start(*nodes_under(self.nodes, self.nodes.slots))
        fresh = Nodes(zeros(abi.INDEX6_SLOTS, np.uint32), self.nodes.words)
        self._routes = Routes(self._routes.capacity)
        if len(keys):
            self._check(int(groups.max()))
            self._routes.store(keys, groups)
            _Writers(fresh, self.lines).store(keys, groups)
        wrong = differing(self.nodes, fresh)
        self.nodes.slots[wrong] = fresh.slots[wrong]
        self._grace.wait()
        self.lines.start(*nodes_under(self.nodes, self.nodes.slots))
        return len(wrong)

    def clear(self) -> None:
        """No routes."""
        was = self._asked.on
        self._start_over()
        self._asked.on = was and not self.trouble

    def _start_over(self) -> None:
        """Nothing stands. Packets ask the trie from here on; those that are asking the index are waited for."""
        self._asked.on = False
        try:
            self._grace.wait()
        except BridgeError as error:
            self._fail(error)
            return
        self.nodes.slots[:] = 0
        self.lines.start(*(np.empty(0, np.int64) for _ in range(2)))
        self._routes = Routes(self._routes.capacity)
        self.trouble = ""

    # -- looking ------------------------------------------------------------------------------------

    def lookup(self, hi: int, lo: int) -> int | None:
        """What a packet to this address is told; None: the trie is asked."""
        return None if self.trouble else look_up(self.nodes, hi, lo)

    def lookup_many(self, hi: U64, lo: U64) -> Rows:
        """The same for many; -1: the trie is asked."""
        return np.full(len(hi), -1) if self.trouble else look_up_many(self.nodes, hi, lo)

    # -- for an audit -------------------------------------------------------------------------------

    def ranges(self) -> Ranges:
        """What the maps themselves say of every address."""
        return Ranges.whole(Family.IPV6, int(DEFER)) if self.trouble else index6_sweep.said(self.nodes)

    def compared(self, keys: Keys, groups: U32) -> Compared:
        """All that stands, beside an index that is made of these routes in memory of its own."""
        if self.trouble:
            return Compared.same(Family.IPV6)
        fresh = Nodes(zeros(abi.INDEX6_SLOTS, np.uint32), zeros(len(self.nodes.words), np.uint32))
        try:
            _Writers(fresh, Lines(len(fresh.lines), Unread())).store(keys, groups)
        except CapacityError:
            return Compared.same(Family.IPV6)  # nor do they fit into the maps: `trouble` will tell
        return index6_sweep.compared(self.nodes, fresh, keys, groups)

    def widened(self, keys: Keys) -> Keys:
        """Prefixes by the slots in which a change of them may show."""
        return index6_sweep.widened(keys)

    def mend(self, wrong: Compared) -> None:
        """Somebody else has written there: make the slots concerned anew, beside what they hold, and turn to that. The
        lines that it took are not trusted to be anybody's: they wait for `recount`."""
        if self.trouble or not len(wrong.wrong()):
            return
        slots, (keys, groups) = index6_sweep.slots_of(wrong), self._routes.standing()
        slot, bits = places(keys.hi, keys.length.astype(np.int64))
        named = np.zeros(abi.INDEX6_SLOTS, np.bool_)
        named[slots] = True
        concerned = (keys.length <= bits) | named[slot]
        fresh = Nodes(zeros(abi.INDEX6_SLOTS, np.uint32), self.nodes.words)
        try:
            _Writers(fresh, self.lines).store(keys.take(concerned), groups[concerned])
        except (CapacityError, IndexError) as error:
            self._fail(error)
            return
        self.nodes.slots[slots] = fresh.slots[slots]

    def grace(self) -> Future[None]:
        """A time after which nobody reads what was in use before. Its exception is a DatapathError."""
        return self._grace.begin()

    def recount(self) -> None:
        """What `mend` let go of may be used again: call it when a `grace` that began after that is over."""
        if not self.trouble:
            self.lines.recount(*nodes_under(self.nodes, self.nodes.slots))


def _floors(keys: Keys) -> Rows:
    """The shortest prefix that may lie in the same node, or in the first level, as each of these."""
    length = keys.length.astype(np.int64)
    _, bits = places(keys.hi, length)
    return np.where(length > bits, length - (length - bits - 1) % 8, 0)


def _owners(keys: Keys, length: Rows) -> Rows:
    """The owner that a prefix of this length has in the node (or first level) of each of these."""
    floor = _floors(keys)
    return np.where(floor > 0, length - floor + 1, length + 1)
