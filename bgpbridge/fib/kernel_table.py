"""One family of the kernel FIB: which group each row's route has in the kernel, and which rows must be written.

The event loop says what is wanted (`apply`), the worker takes slices (`take_few`, `take_piece`), sends them, and says
what became of them (`finish`). A row that is waiting is not queued twice: when its turn comes it is written as it is
wanted then, so the last change wins, a flapping prefix costs one message, and however slow the kernel is, no more waits
than there are rows. A few rows at a time (one UPDATE) go ahead of a storm. IPv4 storms are shuffled (sorted, the
kernel's trie is resized all the time), IPv6 ones sorted.

Whoever calls holds the lock of `KernelFib`, but for `order`, which belongs to the worker alone.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.fib import kernel_singles
from bgpbridge.fib.columns import Column, Groups, RouteColumns, group_cells
from bgpbridge.fib.kernel_singles import Single
from bgpbridge.fib.kernel_wire import DELETE, INSERT, REPLACE, Reply, RouteDump
from bgpbridge.fib.keys import U8, U32, Keys, KeyTable, Rows
from bgpbridge.fib.leftovers import Leftovers
from bgpbridge.fib.noted import Noted
from bgpbridge.fib.pace import SINGLES
from bgpbridge.fib.refusals import Refusals
from bgpbridge.rib.changes import Changes, FewChanges, Move
from bgpbridge.rib.groups import LIMIT, LOCAL
from bgpbridge.types import Family, Prefix

__all__ = ["OURS_UNKNOWN", "KernelTable", "Slice"]

SLICE = 4096
SCAN = 16_384  # rows looked at together: they stay in the cache
OURS_UNKNOWN = 0xFFFFFFFF
"""A route of ours stands there, by a nexthop that is not one of our groups; in `installed` columns.OTHER."""
NO_ROWS: Rows = np.empty(0, np.int64)
NO_GROUP = "its group has no usable nexthop in the kernel"
FOREIGN_HOLDS = "a foreign route holds this prefix and metric"


@dataclass(frozen=True, slots=True)
class Slice:
    """Routes on their way: prefix, group wanted when it was cut, and what to do. `rows` is empty where the
    prefixes have no row (strays)."""

    rows: Rows
    keys: Keys
    groups: U32
    what: U8

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, which: Rows) -> Slice:
        """Some of them."""
        return Slice(self.rows[which], self.keys.take(which), self.groups[which], self.what[which])


class KernelTable:
    """State by row of one family."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.columns = RouteColumns(family)
        self.refusals = Refusals()
        self.leftovers: Leftovers | None = None
        self.strays: list[tuple[Keys, int]] = []  # ours, but of no row below the number beside them
        self.waiting = 0
        self.watched: Noted | None = None  # what changed while an audit looks
        self.in_flight: Slice | None = None
        self.installed_count = 0
        self._installed = Column(np.uint16)
        self._dirty = Column(np.bool_)
        self._express: deque[Rows] = deque()
        self._singles: list[Single] = []  # under way, beside `in_flight`
        self._lone: list[int] = []  # rows of single UPDATEs: they go with the express
        self._storm: list[Rows] = []
        self._ready: Rows = NO_ROWS
        self._random = np.random.default_rng()

    @property
    def installed(self) -> Groups:
        """The group of each row's route in the kernel; 0 = no route."""
        return self._installed.cells

    # -- the event loop's side ----------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Remember what is wanted, and queue it."""
        rows = changes.rows
        keys = Keys(self.family, changes.hi, changes.lo, changes.length)
        other = self.columns.rekeyed(rows, keys)
        if len(other):
            self._let_go(other)
        self.columns.put(rows, keys)
        self._installed.reserve(self.columns.end)
        self._dirty.reserve(self.columns.end)
        self.columns.want[rows] = changes.new
        if self.leftovers is not None and len(rows) > SINGLES:
            rows = self._taken_up(rows, keys)
        self.queue(rows)

    def _taken_up(self, rows: Rows, keys: Keys) -> Rows:
        """Rows whose routes an earlier run may have left: those of them that do not stand right, to be written."""
        if self.watched is not None:
            self.watched.add(keys)
        busy = self._dirty.cells[rows] | self.refusals.holds(rows)
        if self._under_way:
            busy |= np.isin(rows, self._under_way_rows())
        absent = np.flatnonzero((self.installed[rows] == 0) & ~busy)
        self._adopt(rows[absent], keys.take(absent))
        left: Rows = rows[busy | (self.installed[rows] != self.wanted(rows))]
        return left

    def _adopt(self, rows: Rows, keys: Keys) -> None:
        """What an earlier run left under the prefixes of rows is theirs from now on."""
        assert self.leftovers is not None
        self._set_installed(rows, self.leftovers.take(keys))

    def apply_few(self, few: FewChanges) -> None:
        """The same for the prefixes of a single UPDATE, most of which are known and need no more than a note."""
        rest = [move for move in few.moves if not self._apply_one(move)]
        if rest:
            self.apply(Changes.of(self.family, rest))

    def _apply_one(self, move: Move) -> bool:
        row, hi, lo, length, _, group = move
        if not self.columns.holds(row, hi, lo, length):
            return False
        if self.watched is not None:
            self.watched.one(hi, lo, length)
        self.columns.ask(row, group)
        if not self._dirty.view[row]:
            self._dirty.view[row] = True
            self.waiting += 1
            self._lone.append(row)
        return True

    def _let_go(self, rows: Rows) -> None:
        """The RIB gave these rows to other prefixes: what stands for the old ones has no row any more."""
        self.add_strays(self.columns.keys(rows))
        self._set_installed(rows, np.zeros(len(rows), np.uint32))
        self.refusals.settle(rows)

    def forget(self, rows: Rows) -> Rows:
        """Rows that the RIB would have back: those go of which nothing stands, waits, is under way or refused."""
        known = rows < self.columns.end
        busy = np.zeros(len(rows), np.bool_)
        at = rows[known]
        busy[known] = self._dirty.cells[at] | (self.installed[at] != 0) | (self.columns.want[at] != 0)
        busy |= self.refusals.holds(rows)
        if self._under_way:
            busy |= np.isin(rows, self._under_way_rows())
        free = rows[~busy]
        self.columns.forget(free)
        return free

    def queue(self, rows: Rows) -> None:
        """Write these rows again, as they are wanted when their turn comes."""
        if self.watched is not None and len(rows):
            self.watched.add(self.columns.keys(rows))
        fresh = rows[~self._dirty.cells[rows]]
        if not len(fresh):
            return
        self._dirty.cells[fresh] = True
        self.waiting += len(fresh)
        if len(fresh) <= SINGLES:
            self._express.append(fresh)
        else:
            self._storm.append(fresh)

    def wanted(self, rows: Rows) -> U32:
        """What the kernel should have: the Loc-RIB's group, 0 where that is none or the kernel's own."""
        want = self.columns.want[rows].astype(np.uint32)
        want[want == LOCAL] = 0
        return want

    @property
    def behind(self) -> int:
        """Rows that are not written yet."""
        return self.waiting + self._under_way

    @property
    def _under_way(self) -> int:
        return len(self._singles) + (len(self.in_flight.rows) if self.in_flight else 0)

    def _under_way_rows(self) -> Rows:
        rows = self.in_flight.rows if self.in_flight is not None else NO_ROWS
        return np.concatenate([rows, np.array([single.row for single in self._singles], np.int64)])

    @property
    def has_work(self) -> bool:
        """Something waits for the worker."""
        return bool(self.waiting or self.strays)

    def pending(self) -> Keys:
        """Prefixes that are on their way, wait for it, or were adopted and not confirmed yet."""
        rows = np.flatnonzero(self._dirty.cells[: self.columns.end]) if self.waiting else NO_ROWS
        if self._under_way:
            rows = np.concatenate([rows, self._under_way_rows()])
        adopted = [self.leftovers.rest()[0]] if self.leftovers is not None else []
        return Keys.joined(self.family, [self.columns.keys(rows), *adopted, *(keys for keys, _ in self.strays)])

    def groups_in_use(self) -> npt.NDArray[np.bool_]:
        """Groups by id that some route in the kernel, or on its way there, may use."""
        marked = np.zeros(LIMIT + 2, np.bool_)  # the last for what is none of our groups
        end = self.columns.end
        if end <= len(self.installed):
            for column in (self.installed[:end], self.columns.want[:end]):
                for first in range(0, end, SCAN):
                    marked[np.minimum(column[first : first + SCAN], LIMIT + 1)] = True
        used = marked[:-1]
        if self.in_flight is not None:
            used[self.in_flight.groups] = True
        used[[single.group for single in self._singles]] = True
        if self.leftovers is not None:
            used[[group for group in self.leftovers.values_in_use() if group <= LIMIT]] = True
        if self.strays:
            used[:] = True
        return used

    # -- the worker's side --------------------------------------------------------------------------

    def take_storm(self) -> list[Rows]:
        """All that waits unordered, when nothing ordered is left. Give it to `order`."""
        if len(self._ready):
            return []
        storm, self._storm = self._storm, []
        return storm

    def order(self, storm: list[Rows]) -> None:
        """Put a storm in the order that suits the kernel. Not under the lock: its rows are still marked as
        waiting, so nobody else touches them."""
        rows = np.concatenate(storm)
        if self.family is Family.IPV4:
            self._ready = self._random.permutation(rows)
        else:
            self._ready = rows[np.argsort(self.columns.keys(rows).hi, kind="stable")]

    @property
    def hurries(self) -> bool:
        """Single routes or strays wait."""
        return bool(self._express or self._lone or self.strays)

    @property
    def storming(self) -> bool:
        """More routes wait than single ones."""
        return bool(self._storm or len(self._ready))

    def take_singles(self, present: npt.NDArray[np.bool_]) -> list[Single]:
        """The same of a few single routes when nothing about them is odd, else none: `take_few`."""
        if self._express or len(self._lone) > kernel_singles.MOST or self.leftovers is not None:
            return []
        cut = [self._single(row) for row in self._lone]
        if any(self.refusals.holds_one(one.row) or (one.group and not present[one.group]) for one in cut):
            return []
        for row in self._lone:
            self._dirty.view[row] = False
        self.waiting -= len(self._lone)
        self._lone.clear()
        installed = self._installed.view
        self._singles = [single for single in cut if single.group != installed[single.row]]
        return self._singles

    def _single(self, row: int) -> Single:
        hi, lo, length, want = self.columns.one(row)
        group, have = 0 if want == LOCAL else want, self._installed.view[row]
        return Single(row, hi, lo, length, group, REPLACE if group and have else INSERT if group else DELETE)

    def finish_singles(self) -> None:
        """All that `take_singles` gave were written."""
        sent, self._singles = self._singles, []
        installed, odd = self._installed.view, []
        for single in sent:
            row, hi, lo, length, group, _ = single
            if not self.columns.holds(row, hi, lo, length) or self.refusals.holds_one(row):
                odd.append(single)
                continue
            self.installed_count += (group != 0) - (installed[row] != 0)
            installed[row] = group
        if odd:
            self.finish(Slice(*kernel_singles.columns(self.family, odd)), (), 0.0)

    def singles_as_slice(self) -> Slice:
        """What `take_singles` gave, to be finished as any slice: something about them was odd after all."""
        self.in_flight, self._singles = Slice(*kernel_singles.columns(self.family, self._singles)), []
        return self.in_flight

    def give_up(self) -> None:
        """What is under way has not come to an end: it waits again."""
        rows = self._under_way_rows()
        self.in_flight, self._singles = None, []
        self.queue(rows)

    def take_few(self, present: npt.NDArray[np.bool_], now_s: float) -> Slice | None:
        """The next single routes to write. Rows that stand right are done by being looked at. None when nothing of
        them is left to send."""
        while self._express or self._lone:
            lone, self._lone = self._lone[:SLICE], self._lone[SLICE:]
            parts, count = [np.array(lone, np.int64)], len(lone)
            while self._express and count < SLICE:
                parts.append(self._express.popleft())
                count += len(parts[-1])
            cut = self._next(np.concatenate(parts), present, now_s)  # none twice: `_dirty` says who is in already
            if cut is not None:
                return cut
        return None

    def take_piece(self, present: npt.NDArray[np.bool_], now_s: float) -> Slice | None:
        """The same of what has been put in order of a storm."""
        while len(self._ready):
            rows, self._ready = self._ready[:SLICE], self._ready[SLICE:]
            if not len(self._ready):
                self._ready = NO_ROWS  # and not the end of what was a whole table
            cut = self._next(rows, present, now_s)
            if cut is not None:
                return cut
        return None

    def _next(self, rows: Rows, present: npt.NDArray[np.bool_], now_s: float) -> Slice | None:
        self._dirty.cells[rows] = False
        self.waiting -= len(rows)
        cut = self._cut(rows, present, now_s)
        self.in_flight = cut if len(cut) else None
        return self.in_flight

    def _cut(self, rows: Rows, present: npt.NDArray[np.bool_], now_s: float) -> Slice:
        want = self.wanted(rows)
        keys = self.columns.keys(rows)
        if self.leftovers is not None:
            absent = np.flatnonzero(self.installed[rows] == 0)
            self._adopt(rows[absent], keys.take(absent))
        have = self.installed[rows]
        stuck = (want != 0) & (want != have) & ~present[want]
        self.refusals.refuse(rows[stuck], errno.ENETUNREACH, NO_GROUP, now_s)
        self.refusals.settle(rows[want == have])
        todo = np.flatnonzero((want != have) & ~stuck)
        what = np.where(want == 0, DELETE, np.where(have == 0, INSERT, REPLACE)).astype(np.uint8)
        return Slice(rows[todo], keys.take(todo), want[todo], what[todo])

    def finish(self, sent: Slice, failed: Iterable[tuple[int, Reply]], now_s: float) -> None:
        """What became of a slice. Deleting what is not there is a success."""
        self.in_flight = None
        good = np.ones(len(sent), np.bool_)
        by_reason: dict[tuple[int, str], list[int]] = {}
        for index, reply in failed:
            if sent.what[index] == DELETE and reply.errno in (errno.ESRCH, errno.ENOENT):
                continue
            good[index] = False
            by_reason.setdefault((reply.errno, reply.said), []).append(index)
        moved = self.columns.rekeyed(sent.rows, sent.keys)
        if len(moved):
            gone = np.isin(sent.rows, moved)
            self.add_strays(sent.keys.take(gone & good))
            good &= ~gone
        self._set_installed(sent.rows[good], sent.groups[good])
        self.refusals.settle(sent.rows[good])
        for (code, said), indices in by_reason.items():
            words = FOREIGN_HOLDS if code == errno.EEXIST else said
            self.refusals.refuse(sent.rows[indices], code, words, now_s)

    def _set_installed(self, rows: Rows, groups: U32) -> None:
        self.installed_count += int((groups != 0).sum()) - int((self.installed[rows] != 0).sum())
        self.installed[rows] = group_cells(groups)

    # -- when the kernel has changed by itself --------------------------------------------------------

    def lost_groups(self, groups: Iterable[int]) -> int:
        """The kernel dropped these groups and with them their routes: write those again that are wanted.
        Returns how many routes were lost."""
        rows = np.flatnonzero(np.isin(self.installed[: self.columns.end], list(groups)))
        self._set_installed(rows, np.zeros(len(rows), np.uint32))
        self.queue(rows)
        return len(rows)

    def groups_present(self, groups: Iterable[int]) -> None:
        """These groups stand now: rows that were refused for want of them can go."""
        rows = self.refusals.rows()
        self.queue(rows[np.isin(self.columns.want[rows], list(groups))])

    def touched(self, row: int, *, overwritten: bool, queued: bool = True) -> None:
        """Somebody else overwrote or deleted the route of a row: write it again (`queued` False: not now)."""
        rows = np.array([row], np.int64)
        self._set_installed(rows, np.array([OURS_UNKNOWN if overwritten else 0], np.uint32))
        if queued:
            self.queue(rows)

    def touched_left(self, prefix: Prefix, *, overwritten: bool) -> None:
        """The same of a route that an earlier run left and nobody has asked for yet."""
        if self.leftovers is not None:
            self.leftovers.now(Keys.of(self.family, [prefix]), OURS_UNKNOWN if overwritten else 0)

    def is_in_flight(self, row: int) -> bool:
        """True while nobody knows yet whether the kernel has taken what was written for a row."""
        return row in self._under_way_rows()

    def snapshot(self) -> tuple[Rows, Keys]:
        """All rows with their prefixes, for `locate` and `believe`."""
        rows = self.columns.known()
        return rows, self.columns.keys(rows)

    def believe(self, rows: Rows, keys: Keys, at: Rows, dump: RouteDump) -> int:
        """Take a dump for true instead of what we thought; `at` says where in it each prefix stands (-1 =
        nowhere). Rows that are not as wanted are queued, routes of ours without a row become strays (unless
        adopted and not confirmed yet). Returns how many were wrong."""
        actual = np.zeros(len(rows), np.uint32)
        here = at >= 0
        actual[here] = dump.nexthop[at[here]]
        same = ~np.isin(rows, self.columns.rekeyed(rows, keys))
        rows, actual = rows[same], actual[same]
        if self.leftovers is not None:
            # an adopted route that the RIB has not asked for again is not this row's yet
            actual[(self.installed[rows] == 0) & (self.columns.want[rows] == 0)] = 0
            self.leftovers.take(self.columns.keys(rows[actual != 0]))
        wrong = rows[(actual != self.wanted(rows)) & ~self._dirty.cells[rows]]
        self._set_installed(rows, actual)
        self.refusals.hasten(wrong)
        self.queue(wrong)
        if self.leftovers is not None:
            return len(wrong)
        alone = np.ones(len(dump), np.bool_)
        alone[at[here]] = False
        strays = np.flatnonzero(alone)
        self.add_strays(dump.keys.take(strays))
        return len(wrong) + len(strays)

    def add_strays(self, keys: Keys) -> None:
        """Routes of ours that no row stands for, to be deleted."""
        if not len(keys):
            return
        if self.family is Family.IPV4:  # as with storms: sorted deletions go at a third of the speed
            keys = keys.take(self._random.permutation(len(keys)))
        self.strays.append((keys, 0))

    def next_strays(self) -> Slice | None:
        """The next strays. Where a row has come up for one meanwhile, the row is written instead."""
        while self.strays:
            keys, checked = self.strays.pop()
            rows = self.columns.known()
            rows = rows[rows >= checked]
            at = KeyTable(keys).find(self.columns.keys(rows))
            mine = rows[at >= 0]
            if len(mine):
                self._set_installed(mine, np.full(len(mine), OURS_UNKNOWN, np.uint32))
                self.queue(mine)
                keys = keys.take(np.delete(np.arange(len(keys)), at[at >= 0]))
            if len(keys) > SLICE:
                self.strays.append((keys.take(slice(SLICE, None)), self.columns.end))
                keys = keys.take(slice(0, SLICE))
            if len(keys):
                count = len(keys)
                return Slice(NO_ROWS, keys, np.zeros(count, np.uint32), np.full(count, DELETE, np.uint8))
        return None

    def adopt(self, dump: RouteDump) -> None:
        """Routes that an earlier run left, if any: taken up as the RIB names their prefixes again."""
        self.leftovers = Leftovers(dump.keys, dump.nexthop) if len(dump) else None

    def sweep(self) -> int:
        """What was adopted and not confirmed becomes stray. Returns how many."""
        if self.leftovers is None:
            return 0
        keys, _ = self.leftovers.rest()
        self.leftovers = None
        self.add_strays(keys)
        return len(keys)
