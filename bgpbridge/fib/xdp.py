"""The XDP plane: groups and LPM tries behind the program, kept in line with the Loc-RIB.

The order in which the pipeline calls keeps every packet right (DESIGN section 7): adjacencies first, then
`set_members`, then `apply` of the prefixes that use the group; `free_group` when no prefix
does any more. Everything here is synchronous and belongs to the event loop; only `table` may run in a thread.
What the kernel refuses becomes a state of the route (`refused`), retried by `retry` when `next_retry` is due.

After a restart: `adopt`, then the same calls as ever. What stands right is not rewritten; `sweep` removes what
no peer has sent again. Links and programs are `datapath.attach`'s, adjacencies `fib.adjacency`'s.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import GroupFlag
from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.indexes import Index
from bgpbridge.fib.keys import U32, Keys, Rows
from bgpbridge.fib.plan import alone
from bgpbridge.fib.refusals import RouteState
from bgpbridge.fib.table import Table, tables
from bgpbridge.fib.trie_dump import TrieDump
from bgpbridge.fib.xdp_groups import FLAGS, GroupStore
from bgpbridge.fib.xdp_trie import Trie
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.types import Family, IPAddress, Prefix

__all__ = ["Adopted", "Engine", "XdpFib", "XdpStatus"]

SLICE = 4096
MASK64 = (1 << 64) - 1
# Under `auto`. The index is the quicker one from the first route on (docs/decisions/engines.md); not back at once.
INDEX_FROM, INDEX_DOWN_TO = 10, 5
FORESEEN_AT_ONCE = 64  # of 50 us each


class Engine(enum.StrEnum):
    """datapath.engine in the configuration."""

    AUTO = "auto"
    INDEX = "index"
    LPM = "lpm"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an earlier run left in the maps: groups that prefixes point at, entries per family."""

    groups: frozenset[int]
    entries: Mapping[Family, int]


@dataclass(frozen=True, slots=True)
class XdpStatus:
    """The plane in figures. `leftovers` are adopted entries that no peer has confirmed yet; `index_trouble` says why
    the index of a family cannot answer, and is empty while it can."""

    enabled: bool
    entries: Mapping[Family, int]
    capacity: Mapping[Family, int]
    refused: Mapping[Family, int]
    punted: Mapping[Family, int]
    leftovers: Mapping[Family, int]
    engine: Mapping[Family, str]
    index_trouble: Mapping[Family, str]


class XdpFib:
    """Writer of the XDP plane."""

    def __init__(self, maps: Maps, engine: Engine = Engine.AUTO) -> None:
        self.maps = maps
        self.engine = engine
        self.groups = GroupStore(maps)
        self.tries = {family: Trie(table) for family, table in tables(maps).items()}
        self._building: dict[Family, str] = {}  # indexes that are not whole yet, and why they had to be built again

    # -- groups -------------------------------------------------------------------------------------

    def slots(self, group: int) -> npt.NDArray[np.uint16]:
        """The adjacency ids of a group's slots as they stand."""
        found: npt.NDArray[np.uint16] = self.maps.slots[group].copy()
        return found

    def flags(self, group: int) -> GroupFlag:
        """The flags of a group as they stand; without VALID its packets pass."""
        return GroupFlag(int(self.maps.groups["flags"][group]))

    def set_members(self, group: int, members: Iterable[tuple[int, int]]) -> bool:
        """Let (adjacency id, weight) pairs share a group; slots move only where they must. No members: its
        packets pass. True when something had to be stored."""
        return self.groups.share(group, members)

    def foresee(self) -> None:
        """For an idle moment: work out what losses of members would make of groups. Milliseconds."""
        self.groups.foresee(FORESEEN_AT_ONCE)

    def write_blackhole(self, group: int) -> bool:
        """Let a group drop its packets."""
        flags = int(GroupFlag.VALID | GroupFlag.BLACKHOLE) << FLAGS
        return self.groups.write(group, alone(0, self.maps.slots.shape[1]), flags)

    def free_group(self, group: int) -> None:
        """The group goes: call it when no prefix points at it any more."""
        self.groups.clear(group)

    def holds(self) -> set[int]:
        """Groups that entries still point at because the map refused to change or remove them: their ids must
        not be given out again."""
        return set().union(*(trie.held() for trie in self.tries.values()))

    # -- prefixes -----------------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Follow a change of the Loc-RIB. The groups in `changes.new` must stand already."""
        if len(changes):
            self.tries[changes.family].apply(changes, time.monotonic())
            self._choose(changes.family)

    def apply_few(self, few: FewChanges) -> float:
        """The same for the prefixes of a single UPDATE. When packets were told (time.monotonic()): the rest of the work
        comes after that."""
        trie = self.tries[few.family]
        entries = trie.entries
        rest = [move for move in few.moves if not trie.apply_one(move)]
        index = trie.table.index
        if not rest and trie.entries == entries and not (index is not None and index.trouble):
            return trie.table.stored_s
        if rest:
            trie.apply(Changes.of(few.family, rest), time.monotonic())
        stored_s = time.monotonic() if rest else trie.table.stored_s
        self._choose(few.family)
        return stored_s

    def rehearse(self, few: FewChanges) -> None:
        """The way of `apply_few` with what stands already."""
        trie = self.tries[few.family]
        if all(trie.stands(move[0], move[5]) for move in few.moves):
            self.apply_few(few)
            for _, hi, lo, length, _, group in few.moves:
                trie.table.again(hi, lo, length, group)

    def entries(self, family: Family) -> int:
        """How many prefixes of a family stand in the maps."""
        return self.tries[family].entries

    def at_rest(self, family: Family, rows: Rows) -> Rows:
        """Of rows that the RIB would have back those of which nothing stands here, nor is about to."""
        return self.tries[family].at_rest(rows)

    def forget(self, family: Family, rows: Rows) -> None:
        """These rows, which are at rest, stand for no prefix any more."""
        self.tries[family].columns.forget(rows)

    def set_punt(self, prefixes: Iterable[Prefix]) -> None:
        """Prefixes of foreign routes and of this machine: their packets go to the kernel, whatever BGP says."""
        for trie, mine in self._by_family(prefixes):
            trie.punt(mine, time.monotonic())

    def clear_punt(self, prefixes: Iterable[Prefix]) -> None:
        """The foreign routes are gone: back to the Loc-RIB's groups."""
        for trie, mine in self._by_family(prefixes):
            trie.unpunt(mine, time.monotonic())

    def _by_family(self, prefixes: Iterable[Prefix]) -> list[tuple[Trie, list[Prefix]]]:
        listed = list(prefixes)
        return [(trie, [p for p in listed if p.family is family]) for family, trie in self.tries.items()]

    def punted(self, family: Family) -> list[Prefix]:
        """The overlay: prefixes that go to the kernel."""
        return list(self.tries[family].overlay)

    # -- engines ------------------------------------------------------------------------------------

    def engine_of(self, family: Family) -> Engine:
        """What answers for a family now."""
        return Engine.INDEX if self.maps.uses_index(family) else Engine.LPM

    def index_trouble(self) -> dict[Family, str]:
        """Why the index of a family cannot answer, so that the trie does; empty while it can."""
        indexes = {family: trie.table.index for family, trie in self.tries.items()}
        trouble = {family: "" if index is None else index.trouble for family, index in indexes.items()}
        return trouble | self._building

    def build_index(self, family: Family) -> Iterator[int]:
        """Build an index that is in trouble again, from nothing; each yield is a point where anything else may be done:
        changes go to it too. Packets ask it when it is whole. Not while leftovers of an earlier run stand."""
        trie = self.tries[family]
        index, why = trie.table.index, self.index_trouble()[family]
        if index is None or not why:
            return
        self._building[family] = why  # also where nobody asks for the rest: what is not whole must not answer
        index.clear()
        for keys, groups in trie.standing(SLICE):
            if index.trouble:
                break
            index.store(keys, groups)
            yield len(keys)
        del self._building[family]
        self._choose(family)

    @property
    def waiting(self) -> int:
        """Routes of which an index has something left to do (`learn`). Packets are told of them."""
        return sum(trie.table.index.waiting for trie in self.tries.values() if trie.table.index is not None)

    def learn(self) -> Iterator[int]:
        """Do it, in slices."""
        while waiting := self.waiting:
            for trie in self.tries.values():
                if trie.table.index is not None:
                    trie.table.index.learn(SLICE)
            yield waiting

    def _choose(self, family: Family) -> None:
        """Let the index answer, or the trie alone. Both stand complete, so this is one store and no packet notices."""
        trie, now = self.tries[family], self.maps.uses_index(family)
        if self.engine is Engine.AUTO:
            wanted = trie.entries >= (INDEX_DOWN_TO if now else INDEX_FROM)
        else:
            wanted = self.engine is Engine.INDEX
        index = trie.table.index
        whole = index is not None and not index.trouble and family not in self._building
        if (wanted and whole) != now:
            trie.table.asked.on = not now

    def move(self, maps: Maps, by_family: Mapping[Family, Table], engine: Engine) -> None:
        """From now on these maps, whose tables hold the same routes. No program reads them yet."""
        self.maps, self.engine, self.groups = maps, engine, GroupStore(maps)
        for family, trie in self.tries.items():
            trie.table.follower.flush()
            trie.table = by_family[family]
            self._choose(family)

    # -- refusals -----------------------------------------------------------------------------------

    @property
    def behind(self) -> int:
        """Changes that the tries have still to follow. No packet asks them meanwhile."""
        return sum(trie.table.follower.behind for trie in self.tries.values())

    def follower_trouble(self) -> dict[Family, str]:
        """Why the thread that writes a trie has ended, so that the trie goes first; empty while it runs."""
        failures = {family: trie.table.follower.failure for family, trie in self.tries.items()}
        return {family: "" if failure is None else repr(failure) for family, failure in failures.items()}

    @property
    def next_retry(self) -> float | None:
        """When `retry` has something to do (time.monotonic()); None when nothing is refused."""
        due = [at for trie in self.tries.values() if (at := trie.next_retry) is not None]
        return min(due, default=None)

    def retry(self, now_s: float | None = None) -> int:
        """Try refused routes again that are due; returns how many were tried."""
        now = time.monotonic() if now_s is None else now_s
        return sum(trie.retry(now) for trie in self.tries.values())

    def refused(self, limit: int = 100) -> list[RouteState]:
        """Routes that the maps would not take."""
        states: list[RouteState] = []
        for trie in self.tries.values():
            states += trie.refused(limit - len(states), time.monotonic())
        return states

    # -- adoption, removal --------------------------------------------------------------------------

    def adopt(self, read: TrieDump | None = None) -> Adopted:
        """Take over what stands in the tries (a million entries: 0.7 s, 0.3 of them where they have been `read`). Call
        it before the first `apply`."""
        used: set[int] = set()
        for trie in self.tries.values():
            used |= trie.adopt(read.take(trie.table.trie) if read is not None else None)
        for family in self.tries:
            self._choose(family)
        entries = {family: trie.entries for family, trie in self.tries.items()}
        return Adopted(frozenset(gid for gid in used if gid >= abi.GROUP_FIRST_FREE), entries)

    def sweep(self) -> Iterator[int]:
        """Remove adopted entries that nobody has confirmed; every yield is a point where the loop may turn."""
        for trie in self.tries.values():
            yield from trie.sweep()

    def clear(self) -> None:
        """Forwarding off, tries empty, groups invalid. Packets are the kernel's from the first store on."""
        self.enabled = False
        for family, trie in self.tries.items():
            trie.table.clear()
            self.tries[family] = Trie(trie.table)
        for group in np.flatnonzero(self.maps.groups["flags"]).tolist():
            if group >= abi.GROUP_FIRST_FREE:
                self.groups.clear(group)

    # -- looking ------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether the program forwards. `bgpbridge off` is a store of False."""
        return self.maps.enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self.maps.enable(on)

    def lookup(self, address: IPAddress) -> int:
        """What the maps themselves say about an address, asked the way that packets ask: a group id, 1 punt,
        2 blackhole, 0 no entry."""
        family = Family.of(address)
        indexed = self.maps.uses_index(family)
        return self.tries[family].table.lookup(int(address) >> 64, int(address) & MASK64, indexed=indexed)

    def table(self, family: Family) -> tuple[Keys, U32]:
        """Every entry of a trie with its value, from the map itself. May run in a thread."""
        trie = self.tries[family]
        return trie.table.dump()

    def index(self, family: Family) -> Index | None:
        """What stands in front of a trie."""
        return self.tries[family].table.index

    def asks_index(self, family: Family) -> bool:
        """Whether packets of a family ask the index first."""
        return self.maps.uses_index(family)

    def watch(self, family: Family, *, on: bool) -> tuple[Keys, Keys]:
        """For an audit: from `on` keep a note of what changes; with `on` False give (prefixes that changed
        since, prefixes that are refused)."""
        return self.tries[family].watch(on=on)

    def locate(self, keys: Keys) -> Rows:
        """The rows of prefixes, 0 where none is known. May run in a thread: `believe` looks whether they still are."""
        return self.tries[keys.family].columns.locate(keys)

    def believe(self, keys: Keys, have: U32, rows: Rows | None = None) -> None:
        """An audit found that the trie holds `have` under these keys, though it should not: bring it in line. `rows` is
        what `locate` gave."""
        if len(keys):
            self.tries[keys.family].believe(keys, have, time.monotonic(), rows)

    def status(self) -> XdpStatus:
        """The plane in figures."""
        tries = self.tries
        return XdpStatus(
            enabled=self.enabled,
            entries={family: trie.entries for family, trie in tries.items()},
            capacity={family: trie.table.max_entries for family, trie in tries.items()},
            refused={family: trie.refused_count for family, trie in tries.items()},
            punted={family: len(trie.overlay) for family, trie in tries.items()},
            engine={family: self.engine_of(family).value for family in tries},
            index_trouble=self.index_trouble(),
            leftovers={family: trie.leftovers.unconfirmed if trie.leftovers else 0 for family, trie in tries.items()},
        )
