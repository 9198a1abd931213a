"""One LPM trie and what we know of it: which value stands under each row's prefix, what was refused, which
prefixes are punted, what an earlier run left.

The value of a prefix is PUNT while a foreign or local kernel route holds it (the overlay), else the group
that the Loc-RIB wants. Writes go in batches sorted by prefix (twice as quick as shuffled), a few by single
system calls. New entries are written before old ones are taken out, so a prefix that splits is never without
a route, unless only the removals make room. When a call returns, packets are told what it says; the trie may
follow (fib/table.py), and what it refuses then is learnt by `retry`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.errors import BpfSyscallError
from bgpbridge.fib import xdp_map
from bgpbridge.fib.columns import Column, RouteColumns, group_cells
from bgpbridge.fib.keys import U32, Keys, KeyTable, Rows
from bgpbridge.fib.leftovers import Leftovers
from bgpbridge.fib.noted import Noted
from bgpbridge.fib.refusals import Refusals, RouteState
from bgpbridge.fib.table import Table
from bgpbridge.rib.changes import Changes, Move
from bgpbridge.types import Prefix

__all__ = ["Trie"]

SLICE = 4096
PLANE = "xdp"
LONE_WAIT_S = 5.0
PUNT = np.uint32(abi.GROUP_PUNT)


class Trie:
    """Keeper of one family's table."""

    def __init__(self, table: Table) -> None:
        self.family = table.family
        self.table = table
        self.entries = 0
        self.columns = RouteColumns(table.family)
        self.refusals = Refusals()
        self.overlay: dict[Prefix, int] = {}  # punted prefix -> its row, 0 while the RIB has none for it
        self.leftovers: Leftovers | None = None
        self.watched: Noted | None = None  # what changed while an audit looks
        self._written = Column(np.uint16)
        self._punted = Column(np.bool_)
        self._lone_refused: dict[Prefix, xdp_map.Refused] = {}
        self._lone_due_s = 0.0
        self._lone: KeyTable | None = None  # overlay prefixes without a row, for finding them in columns

    # -- changes of the Loc-RIB ---------------------------------------------------------------------

    def apply(self, changes: Changes, now_s: float) -> None:
        """Make the trie follow a change of the Loc-RIB."""
        rows = changes.rows
        keys = Keys(self.family, changes.hi, changes.lo, changes.length)
        other = self.columns.rekeyed(rows, keys)
        if len(other):
            self._let_go(other, now_s)
        new, _ = self.columns.put(rows, keys)
        self._written.reserve(self.columns.end)
        self._punted.reserve(self.columns.end)
        self.columns.want[rows] = changes.new
        if len(new):
            self._meet_overlay(new)
        if not self._load(rows, keys, now_s):
            self.write(rows, now_s)

    def _load(self, rows: Rows, keys: Keys, now_s: float) -> bool:
        """The short way where all of them are added and fit, as while a table loads. False: nothing was done."""
        odd = self.leftovers is not None or self.refusals.count or self.watched is not None
        if odd or len(rows) > self.room or self._written.cells.take(rows).any():
            return False
        values = self._effective(rows)
        if not values.all():
            return False
        refused = self.table.store(keys, values)
        if len(refused.index):
            values = values.copy()
            values[refused.index] = 0
            self.refusals.refuse(rows[refused.index], refused.errno, refused.said, now_s)
        self._written.cells[rows] = values
        self.entries += len(rows) - len(refused.index)
        return True

    def apply_one(self, move: Move) -> bool:
        """The short way for one prefix that is known and has nothing odd about it. False: nothing was done, take
        `apply`."""
        row, hi, lo, length, _, group = move
        odd = self.leftovers is not None or self.refusals.count
        if odd or not self.columns.holds(row, hi, lo, length) or self._punted.view[row]:
            return False
        have = self._written.view[row]
        if not have and not self.room:
            return False
        if self.watched is not None and group != have:
            self.watched.one(hi, lo, length)
        try:
            if group == have:
                pass
            elif group:
                self.table.store_one(hi, lo, length, group)
            else:
                self.table.remove_one(hi, lo, length)
        except BpfSyscallError:
            return False
        self.columns.ask(row, group)
        self._written.view[row] = group
        self.entries += (group != 0) - (have != 0)
        return True

    def stands(self, row: int, group: int) -> bool:
        """Whether packets are told this group for a row."""
        return bool(group) and row < self.columns.end and self._written.view[row] == group

    def _let_go(self, rows: Rows, now_s: float) -> None:
        """The RIB gave these rows to other prefixes: nothing of the old ones may stay under them."""
        for row in rows[self._punted.cells[rows]].tolist():
            prefix = self.columns.keys(np.array([row])).prefix(0)
            self.overlay[prefix] = 0
            self._written.cells[row] = 0
            self._punted.cells[row] = False
            self._lone = None
        self.columns.want[rows] = 0
        self.write(rows, now_s)
        self._written.cells[rows] = 0
        self.refusals.settle(rows)

    def at_rest(self, rows: Rows) -> Rows:
        """Of rows that the RIB would have back those of which nothing stands, is punted, refused or still to follow."""
        if self.table.follower.behind:
            return rows[:0]
        known = rows < self.columns.end
        busy = self.refusals.holds(rows)
        at = rows[known]
        busy[known] |= (self._written.cells[at] != 0) | self._punted.cells[at] | (self.columns.want[at] != 0)
        return rows[~busy]

    def write(self, rows: Rows, now_s: float) -> None:
        """Bring these rows' entries in line with what is wanted."""
        self._adopt(rows)
        want = self._effective(rows)
        have = self._written.cells[rows]
        self.refusals.settle(rows[have == want])
        gone = rows[(want == 0) & (have != 0)]
        over = rows[(want != have) & (want != 0) & (have != 0)]
        add = rows[(want != 0) & (have == 0)]
        self._watch(gone, over, add)
        self._update(over, now_s)
        if len(add) > self.room:
            self._delete(gone, now_s)
            gone = gone[:0]  # the removals had to make room first
        fits = add[: self.room]
        self._update(fits, now_s)
        self.refusals.refuse(add[len(fits) :], errno.ENOSPC, self._full(), now_s)
        self._delete(gone, now_s)

    @property
    def room(self) -> int:
        """How many more prefixes fit."""
        return max(0, self.table.max_entries - self.entries)

    def _full(self) -> str:
        return f"{self.table.name} is full: {self.table.max_entries} entries"

    def _effective(self, rows: Rows) -> U32:
        want = self.columns.want[rows].astype(np.uint32)
        if self.overlay:
            want = np.where(self._punted.cells[rows], PUNT, want)
        return want

    def _adopt(self, rows: Rows) -> None:
        if self.leftovers is None:
            return
        unknown = rows[self._written.cells[rows] == 0]
        self._written.cells[unknown] = group_cells(self.leftovers.take(self.columns.keys(unknown)))

    def _watch(self, *changed: Rows) -> None:
        if self.watched is not None:
            for rows in changed:
                self._note(self.columns.keys(rows))

    # -- the map ------------------------------------------------------------------------------------

    def _update(self, rows: Rows, now_s: float) -> None:
        if not len(rows):
            return
        values = self._effective(rows)
        refused = self.table.store(self.columns.keys(rows), values)
        before = self._written.cells[rows]
        if len(refused.index):
            values = values.copy()  # the follower may still have them
            values[refused.index] = before[refused.index]
        self._written.cells[rows] = values
        self.entries += int(np.count_nonzero(values)) - int(np.count_nonzero(before))
        self._judge(rows, refused, now_s)

    def _delete(self, rows: Rows, now_s: float) -> None:
        if not len(rows):
            return
        refused = self.table.remove(self.columns.keys(rows))
        kept = self._written.cells[rows[refused.index]]
        self._written.cells[rows] = 0
        self._written.cells[rows[refused.index]] = kept
        self.entries -= len(rows) - len(refused.index)
        self._judge(rows, refused, now_s)

    def _judge(self, rows: Rows, refused: xdp_map.Refused, now_s: float) -> None:
        if self.refusals.count:
            self.refusals.settle(np.delete(rows, refused.index))
        self.refusals.refuse(rows[refused.index], refused.errno, refused.said, now_s)

    # -- the overlay --------------------------------------------------------------------------------

    def punt(self, prefixes: Iterable[Prefix], now_s: float) -> None:
        """The kernel's own prefixes: their packets go up, whatever BGP says."""
        fresh = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in self.overlay]
        rows = self.columns.find(fresh)
        self.overlay.update(zip(fresh, rows, strict=True))
        known = np.array([row for row in rows if row], np.int64)
        self._punted.cells[known] = True
        self.write(known, now_s)
        self._store_lone([prefix for prefix, row in zip(fresh, rows, strict=True) if not row], now_s)

    def unpunt(self, prefixes: Iterable[Prefix], now_s: float) -> None:
        """No longer the kernel's own: back to what BGP says, or to nothing."""
        gone = [prefix for prefix in dict.fromkeys(prefixes) if prefix in self.overlay]
        rows = [self.overlay.pop(prefix) for prefix in gone]
        known = np.array([row for row in rows if row], np.int64)
        self._punted.cells[known] = False
        self.write(known, now_s)
        self._remove_lone([prefix for prefix, row in zip(gone, rows, strict=True) if not row])

    def _store_lone(self, prefixes: list[Prefix], now_s: float) -> None:
        """PUNT for prefixes that the RIB has no row for."""
        self._lone = None
        keys = Keys.of(self.family, prefixes)
        self._note(keys)
        have = np.zeros(len(keys), np.uint32) if self.leftovers is None else self.leftovers.take(keys)
        todo = np.flatnonzero(have != PUNT)
        fits = todo[(have[todo] != 0) | (np.cumsum(have[todo] == 0) <= self.room)]
        refused = self.table.store(keys.take(fits), np.full(len(fits), PUNT, np.uint32))
        failed = set(fits[refused.index].tolist())
        self.entries += int((have[fits] == 0).sum()) - sum(1 for index in failed if not have[index])
        for index in todo.tolist():
            self._lone_refused.pop(prefixes[index], None)
        for index in failed:
            self._lone_refused[prefixes[index]] = refused
        full = xdp_map.Refused(xdp_map.NOBODY, errno.ENOSPC, self._full())
        for index in set(todo.tolist()) - set(fits.tolist()):
            self._lone_refused[prefixes[index]] = full
        self._lone_due_s = now_s + LONE_WAIT_S

    def _remove_lone(self, prefixes: list[Prefix]) -> None:
        self._lone = None
        stood = [prefix for prefix in prefixes if self._lone_refused.pop(prefix, None) is None]
        keys = Keys.of(self.family, stood)
        self._note(keys)
        refused = self.table.remove(keys)
        self.entries -= len(stood) - len(refused.index)

    def _meet_overlay(self, rows: Rows) -> None:
        """Rows that the RIB has just made: some may be prefixes that are punted already."""
        if self._lone is None:
            self._lone = KeyTable(Keys.of(self.family, [p for p, row in self.overlay.items() if not row]))
        if not len(self._lone):
            return
        at = self._lone.find(self.columns.keys(rows))
        hit = np.flatnonzero(at >= 0)
        for row, index in zip(rows[hit].tolist(), at[hit].tolist(), strict=True):
            prefix = self._lone.keys.prefix(index)
            self.overlay[prefix] = row
            self._punted.cells[row] = True
            self._written.cells[row] = 0 if self._lone_refused.pop(prefix, None) else PUNT
        if len(hit):
            self._lone = None

    def _note(self, keys: Keys) -> None:
        if self.watched is not None:
            self.watched.add(keys)

    # -- what was refused, what was left ------------------------------------------------------------

    def retry(self, now_s: float) -> int:
        """Try again what is due; returns how many were tried."""
        self._learn(now_s)
        rows = self.refusals.take_due(now_s)
        self.write(rows, now_s)
        lone = list(self._lone_refused) if self._lone_due_s <= now_s else []
        if lone:
            self._store_lone(lone, now_s)
        return len(rows) + len(lone)

    def _learn(self, now_s: float) -> None:
        """What the trie would not take when it came to it."""
        for late in self.table.take_late():
            keys = late.keys.take(late.refused.index)
            found = self.columns.locate(keys)
            rows = found[found > 0]
            rows = rows[self._written.cells[rows] != 0]
            self.entries -= len(rows)
            self._written.cells[rows] = 0
            self.refusals.refuse(rows, late.refused.errno, late.refused.said, now_s)
            for prefix in map(keys.prefix, np.flatnonzero(found == 0).tolist()):
                if prefix in self.overlay and prefix not in self._lone_refused:
                    self.entries -= 1
                    self._lone_refused[prefix] = late.refused
                    self._lone_due_s = now_s + LONE_WAIT_S

    def believe(self, keys: Keys, have: U32, now_s: float, rows: Rows | None = None) -> None:
        """Somebody else changed the map: under these keys it holds `have` (0 = nothing). Bring it in line again."""
        found = self.columns.locate(keys) if rows is None else self.columns.still(rows, keys)
        mine = found > 0
        at, stands = found[mine], have[mine]
        self.entries += int((stands != 0).sum()) - int((self._written.cells[at] != 0).sum())
        self._written.cells[at] = group_cells(stands)
        self.write(at, now_s)
        others = [keys.prefix(index) for index in np.flatnonzero(~mine).tolist()]
        punted = [prefix for prefix in others if prefix in self.overlay]
        self.entries -= len(punted)  # counted again when they are stored
        self._store_lone(punted, now_s)
        self.table.remove(Keys.of(self.family, [prefix for prefix in others if prefix not in self.overlay]))

    @property
    def next_retry(self) -> float | None:
        """When `retry` has something to do; None when nothing is refused."""
        if self.table.follower.refused:
            return 0.0
        due = self.refusals.next_due()
        if self._lone_refused:
            return self._lone_due_s if due is None else min(due, self._lone_due_s)
        return due

    def refused(self, limit: int, now_s: float) -> list[RouteState]:
        """Routes that the trie would not take, as values."""
        rows = self.refusals.rows()[:limit]
        keys = self.columns.keys(rows)
        states = [self.refusals.state(row, PLANE, keys.prefix(i), now_s) for i, row in enumerate(rows.tolist())]
        for prefix, why in list(self._lone_refused.items())[: limit - len(states)]:
            states.append(RouteState(PLANE, prefix, why.errno, why.said, 1, 0.0))
        return states

    def standing(self, slice_: int) -> Iterator[tuple[Keys, U32]]:
        """What stands in the table, in slices whose values are read as they are asked for. Not while leftovers of an
        earlier run stand."""
        lone = [prefix for prefix, row in self.overlay.items() if not row and prefix not in self._lone_refused]
        yield Keys.of(self.family, lone), np.full(len(lone), PUNT, np.uint32)
        for first in range(1, self.columns.end, slice_):
            written = self._written.cells[first : min(first + slice_, self.columns.end)]
            rows = np.flatnonzero(written)
            yield self.columns.keys(rows + first), written[rows].astype(np.uint32)

    def held(self) -> set[int]:
        """The groups of entries that stand against our will: a change or removal of theirs was refused."""
        return set(self._written.cells[self.refusals.rows()].tolist()) if self.refusals.count else set()

    @property
    def refused_count(self) -> int:
        """How many routes are refused now."""
        return self.refusals.count + len(self._lone_refused)

    def watch(self, *, on: bool) -> tuple[Keys, Keys]:
        """Begin (`on`) or end keeping a note of what changes: (changed since, refused now). Adopted entries
        that nobody has confirmed yet may still change: they count as changing."""
        adopted = [self.leftovers.rest()[0]] if self.leftovers is not None else []
        noted = [self.watched.keys()] if self.watched is not None else []
        changed = Keys.joined(self.family, [*noted, *adopted])
        self.watched = Noted(self.family) if on else None
        lone = Keys.of(self.family, self._lone_refused)
        return changed, Keys.joined(self.family, [self.columns.keys(self.refusals.rows()), lone])

    def adopt(self, read: tuple[Keys, U32] | None = None) -> set[int]:
        """Take over what stands in the map, or has been `read` of it; returns the values in use. Of an empty map
        nothing is left over: nobody would sweep it, and single changes would take the long way for ever."""
        keys, values = self.table.dump() if read is None else read
        self.entries = len(keys)
        if self.table.index is not None:
            self.table.index.rebuild(keys, values)
        self.leftovers = Leftovers(keys, values) if len(keys) else None
        return self.leftovers.values_in_use() if self.leftovers is not None else set()

    def sweep(self) -> Iterator[int]:
        """Remove what was adopted and never confirmed, in slices; yields how many went with each."""
        if self.leftovers is None:
            return
        keys, _ = self.leftovers.rest()
        for start in range(0, len(keys), SLICE):
            # a prefix may have come up since the slice before: then it is no leftover any more
            part = keys.take(slice(start, start + SLICE))
            part = part.take(self.leftovers.take(part) != 0)
            self._note(part)
            refused = self.table.remove(part)
            self.entries -= len(part) - len(refused.index)
            yield len(part)
        self.leftovers = None
