"""The thread that writes the kernel FIB. `kernel.KernelFib` is its door; nobody else calls it.

One turn of the worker: groups and orders first, then strays, then a slice of routes of each family, then what is
due again. When nothing waits it looks after what had to wait for that: the sweep, groups that nobody uses, a
comparison with the kernel. State by row lies in `KernelTable` under one lock, which is never held during a
system call; nexthop objects belong to this thread alone.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bgpbridge.errors import BridgeError
from bgpbridge.fib.kernel_objects import OBJECTS, Members, NexthopObjects
from bgpbridge.fib.kernel_singles import pack_singles
from bgpbridge.fib.kernel_socket import Outcome, RouteSocket
from bgpbridge.fib.kernel_table import OURS_UNKNOWN, KernelTable, Slice
from bgpbridge.fib.kernel_wire import DELETE, INSERT, Owner, Reply, RouteDump, pack_routes, read_routes, route_filter
from bgpbridge.fib.keys import KeyTable
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.pace import GATHER_MORE_S, GATHER_S, LATELY_S, Pace
from bgpbridge.fib.pyroute import RTM_GETROUTE
from bgpbridge.rib.groups import LIMIT
from bgpbridge.scheduling import stand_behind
from bgpbridge.types import Family

__all__ = ["Counts", "KernelOptions", "KernelWorker", "dump_routes"]

COMPAT_MODE = Path("/proc/sys/net/ipv4/nexthop_compat_mode")
MISSING_NEXTHOP_S = 2.0  # how long to wait before a refused nexthop object is tried again
AFTER_ERROR_S = 1.0
NO_NEXTHOP = "Nexthop id does not exist"  # net/ipv4/fib_semantics.c, net/ipv6/route.c


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """What makes routes and nexthops ours. 36,864 ids from `nexthop_id_base` on are taken. IPv6 has a metric of its
    own: the kernel gives its connected routes 256 and its static ones 1024, and those must stay ahead of BGP."""

    table: int = 254
    protocol: int = 203
    metric: int = 200
    metric_ipv6: int = 2000
    nexthop_id_base: int = 1_650_000_000

    def owner(self, family: Family) -> Owner:
        """As route messages carry it."""
        metric = self.metric if family is Family.IPV4 else self.metric_ipv6
        return Owner(self.table, self.protocol, metric)

    @property
    def group_base(self) -> int:
        """The nexthop id of group 0."""
        return self.nexthop_id_base + OBJECTS


@dataclass(slots=True)
class Counts:
    """What the worker has done since it started."""

    sent: int = 0
    comparisons: int = 0
    mended: int = 0
    lost_routes: int = 0
    swept: int = 0
    last_error: str = ""


def dump_routes(sock: RouteSocket, family: Family, options: KernelOptions) -> RouteDump:
    """Our routes of a family, `nexthop` as group ids (OURS_UNKNOWN for what is none of our groups)."""
    owner = options.owner(family)
    parts = sock.dump_by(RTM_GETROUTE, route_filter(family, owner), partial(read_routes, family))
    return _by_group(RouteDump.joined(family, parts), owner, options)


def _by_group(found: RouteDump, owner: Owner, options: KernelOptions) -> RouteDump:
    group = found.nexthop - np.uint32(options.group_base)  # what is below it is far above LIMIT then
    ours = (group > 0) & (group <= LIMIT) & (found.metric == owner.metric)
    return RouteDump(found.keys, np.where(ours, group, np.uint32(OURS_UNKNOWN)), found.metric)


class KernelWorker:
    """Orders in, netlink out. Public attributes are shared with `KernelFib` under `lock`."""

    def __init__(self, options: KernelOptions, tables: dict[Family, KernelTable]) -> None:
        self.options = options
        self.tables = tables
        self.lock = threading.Condition()
        self.groups: dict[int, Members] = {}
        self.free: set[int] = set()
        self.orders: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self.settled: list[Future[None]] = []
        self.sweep: Future[int] | None = None
        self.rebuild_due = False
        self.stopping = False
        self.gathering = False
        self.failure: BaseException | None = None
        self.counts = Counts()
        self.pace = Pace()
        self.objects: NexthopObjects  # from `run` on
        self._sock: RouteSocket
        self._compare_due = False
        self._compare_swept = False  # again after the sweep
        self._still_used: set[int] = set()
        self._compat_before: str | None = None
        self._way_retry_s = 0.0
        self._turned_s = 0.0

    # -- the thread ---------------------------------------------------------------------------------

    def run(self, started: Future[int]) -> None:
        """The thread's body. `started` gets the socket's port id, or what went wrong."""
        try:
            stand_behind()
            with RouteSocket() as sock:
                self._sock = sock
                self.objects = NexthopObjects(sock, self.options.nexthop_id_base, self.options.protocol)
                self._leave_compat_mode()
                started.set_result(sock.port)
                self._work()
        except BaseException as error:  # noqa: BLE001  (the root of this thread: whoever waits must hear of it)
            self._fail(error, started)

    def _fail(self, error: BaseException, started: Future[int]) -> None:
        with self.lock:
            self.failure = error
            waiting: list[Future[Any]] = [started, *self.settled, *(future for _, future in self.orders)]
            waiting += [self.sweep] if self.sweep else []
        for future in waiting:
            if not future.done():
                future.set_exception(error)

    def _work(self) -> None:
        while True:
            with self.lock:
                if not self._has_work():
                    self._idle_locked()
                    self.lock.wait_for(lambda: self._has_work() or self.settled, self._patience())
                    lately = time.monotonic() - self._turned_s < LATELY_S
                    self._gather_locked(GATHER_MORE_S if lately else GATHER_S)
                elif (held := self.pace.held_s(time.monotonic())) > 0:
                    self.lock.wait_for(self._urgent, held)
                elif self._only_singles():
                    self._gather_locked(GATHER_MORE_S)
                if self.stopping and not self._has_work(stop=False):
                    return
            try:
                self._turn()
                self._turned_s = time.monotonic()
            except (OSError, BridgeError) as error:
                self._stumble(error)

    def _only_singles(self) -> bool:
        """Nothing waits but single routes that came during the last turn: more of them are on their way."""
        if self.stopping or self.groups or self.orders or self.rebuild_due or self._compare_due or self.sweep:
            return False
        return not any(table.storming or table.strays for table in self.tables.values())

    def _gather_locked(self, wait_s: float) -> None:
        """Single routes wait a little for others: each turn of this thread takes the interpreter from the one that
        serves XDP, where their packets already go the new way. Groups and orders do not wait."""
        self.gathering = True  # whoever only adds a route need not wake us
        self.lock.wait_for(lambda: self.stopping or self.groups or self.orders or self.settled, wait_s)
        self.gathering = False

    def _urgent(self) -> bool:
        """Something waits that does not stand back for a table that is loading."""
        if self.stopping or self.groups or self.orders or self.rebuild_due:
            return True
        return any(table.hurries for table in self.tables.values())

    def _has_work(self, *, stop: bool = True) -> bool:
        if self.groups or self.orders or self.rebuild_due or self._compare_due or (stop and self.stopping):
            return True
        return bool(self.sweep or self.free or any(table.has_work for table in self.tables.values()))

    def _idle_locked(self) -> None:
        settled, self.settled = self.settled, []
        for future in settled:
            _resolve(future, None)

    def _patience(self) -> float | None:
        due = [at for table in self.tables.values() if (at := table.refusals.next_due()) is not None]
        if self.objects.failed:
            due.append(self._way_retry_s)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _stumble(self, error: Exception) -> None:
        """The socket or the kernel failed a whole request: say so, wait, and compare before going on."""
        self.counts.last_error = str(error)
        with self.lock:
            for table in self.tables.values():
                table.give_up()
            self._compare_due = True
            self.lock.wait_for(lambda: self.stopping, AFTER_ERROR_S)

    # -- one turn -----------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._do_groups()
        self._do_orders()
        if self.rebuild_due:
            self._rebuild()
        for table in self.tables.values():
            if table.strays:
                self._do_strays(table)
            if table.waiting:
                self._do_singles(table)
            if table.waiting:
                self._do_slice(table)
        if self.objects.failed or any(table.refusals.count for table in self.tables.values()):
            self._do_retries()
        with self.lock:
            busy = self.groups or self.orders or any(table.has_work for table in self.tables.values())
        if not busy:
            self._when_idle()

    def _do_groups(self) -> None:
        with self.lock:
            batch, self.groups = self.groups, {}
        self._still_used -= batch.keys()  # given out again: no longer to be freed
        if batch:
            self._settle_groups(batch, self.objects.set_groups(batch))

    def _settle_groups(self, touched: Iterable[int], lost: set[int]) -> None:
        if self.objects.failed:
            self._way_retry_s = time.monotonic() + MISSING_NEXTHOP_S
        with self.lock:
            for table in self.tables.values():
                if lost:
                    self.counts.lost_routes += table.lost_groups(lost)
                table.groups_present(touched)

    def _do_orders(self) -> None:
        while self.orders:
            act, future = self.orders.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(act())
            except BaseException as error:  # whoever gave the order hears of it; what we don't know ends the thread
                future.set_exception(error)
                if not isinstance(error, OSError | BridgeError):
                    raise

    def _do_strays(self, table: KernelTable) -> None:
        with self.lock:
            strays = table.next_strays()
        if strays is not None:
            self._send_once(strays)  # one that is gone already is as good; one that stays, the next audit tells

    def _do_singles(self, table: KernelTable) -> None:
        with self.lock:
            few = table.take_singles(self.objects.present)
        if not few:
            return
        packed = pack_singles(table.family, few, self.options.group_base, self.options.owner(table.family))
        outcome = self._sock.send_few(packed, len(few))
        self._count(len(few), outcome)
        with self.lock:
            if not outcome.errors:
                table.finish_singles()
                return
            cut = table.singles_as_slice()
        self._settle(table, cut, dict(outcome.errors))

    def _do_slice(self, table: KernelTable) -> None:
        """Single routes, and a piece of the storm even where more of those have come whenever we come by: the kernel
        may be slow."""
        with self.lock:
            few = table.take_few(self.objects.present, time.monotonic())
        if few is not None:
            self._send(table, few)
        now = time.monotonic()
        if not self.stopping and self.pace.held_s(now) > 0:
            return
        with self.lock:
            storm = table.take_storm()
        if storm:
            table.order(storm)
        with self.lock:
            cut = table.take_piece(self.objects.present, now)
        if cut is not None:
            self._send(table, cut)
            self.pace.worked(now, time.monotonic())

    def _do_retries(self) -> None:
        now = time.monotonic()
        with self.lock:
            for table in self.tables.values():
                table.queue(table.refusals.take_due(now))
        if self.objects.failed and self._way_retry_s <= now:
            again = {group: self.objects.want[group] for group in self.objects.incomplete()}
            self.objects.failed.clear()
            self._settle_groups(again, self.objects.set_groups(again))

    # -- routes -------------------------------------------------------------------------------------

    def _send(self, table: KernelTable, cut: Slice) -> None:
        self._settle(table, cut, self._send_once(cut))

    def _settle(self, table: KernelTable, cut: Slice, errors: dict[int, Reply]) -> None:
        """What became of a slice."""
        exist = np.array([i for i, reply in errors.items() if reply.errno == errno.EEXIST], np.int64)
        if len(exist):
            self._insert_over_ours(cut, exist, errors)
        if any(NO_NEXTHOP in reply.said for reply in errors.values()):
            self.rebuild_due = True  # the kernel has dropped groups without a word
        with self.lock:
            table.finish(cut, errors.items(), time.monotonic())

    def _send_once(self, cut: Slice) -> dict[int, Reply]:
        nexthops = (cut.groups + np.uint32(self.options.group_base)).astype(np.uint32)
        outcome = self._sock.send(pack_routes(cut.keys, nexthops, cut.what, self.options.owner(cut.keys.family)))
        self._count(len(cut), outcome)
        return dict(outcome.errors)

    def _count(self, sent: int, outcome: Outcome) -> None:
        self.counts.sent += sent
        self._compare_due |= outcome.lost

    def _insert_over_ours(self, cut: Slice, exist: Any, errors: dict[int, Reply]) -> None:
        """Something stands where we wanted to insert. If a deletion by our protocol succeeds it was ours, left
        from a lost answer or an earlier run; if not, it is foreign and stays."""
        part = cut.take(exist)
        part.what[:] = DELETE
        foreign = self._send_once(part)
        ours = np.array([i for i in range(len(part)) if i not in foreign], np.int64)
        if not len(ours):
            return
        part.what[:] = INSERT
        again = self._send_once(part.take(ours))
        for position, index in enumerate(exist[ours].tolist()):
            del errors[index]
            if position in again:
                errors[index] = again[position]

    # -- what only the kernel knows -----------------------------------------------------------------

    def _rebuild(self) -> None:
        """Make groups that the kernel has dropped, write their routes again, and compare when that is done."""
        self.rebuild_due = False
        lost = self.objects.restore()
        self._settle_groups(list(self.objects.want), lost)
        self._compare_due = True

    def _compare(self) -> None:
        """Dump our routes, find what differs, mend it. The long parts run without the lock."""
        self._compare_due = False
        self._compare_swept = any(table.leftovers is not None for table in self.tables.values())
        self.counts.comparisons += 1
        for family, table in self.tables.items():
            dump = dump_routes(self._sock, family, self.options)
            with self.lock:
                rows, keys = table.snapshot()
            at = KeyTable(dump.keys).find(keys)
            with self.lock:
                self.counts.mended += table.believe(rows, keys, at, dump)

    def crooked_groups(self) -> list[int]:
        """Order: groups that are not as wanted, though no member of theirs was refused."""
        lost = self.objects.resync()
        objects = self.objects
        crooked = [
            group
            for group in objects.incomplete()
            if not any(way in objects.failed for way, _ in objects.want[group]) and objects.want[group]
        ]
        self._settle_groups((), lost)
        return crooked

    def groups_there(self) -> frozenset[int]:
        """Order: the groups that stand in the kernel, whether routes use them or not. Quick."""
        self.objects.resync()
        return frozenset(np.flatnonzero(self.objects.present).tolist())

    def adopt(self, read: OwnDump | None = None) -> frozenset[int]:
        """Order: take over what stands in the kernel, or has been `read` already; the groups that its routes use."""
        self.objects.resync()
        used: set[int] = set()
        for family, table in self.tables.items():
            found = read.take(family) if read is not None and read.table == self.options.table else None
            if found is None:
                dump = dump_routes(self._sock, family, self.options)
            else:
                dump = _by_group(found, self.options.owner(family), self.options)
            with self.lock:
                table.adopt(dump)
            used |= set(np.unique(dump.nexthop).tolist())
        return frozenset(used - {OURS_UNKNOWN})

    def clear(self) -> int:
        """Order: remove every route, group and nexthop object of ours; the namespace as it was."""
        with self.lock:
            self.groups.clear()
            self.tables.update({family: KernelTable(family) for family in self.tables})
        gone = 0
        for family, table in self.tables.items():
            dump = dump_routes(self._sock, family, self.options)
            with self.lock:
                table.add_strays(dump.keys)
            gone += len(dump)
            while table.has_work:
                self._do_strays(table)
        self.objects.resync()
        self.objects.want.clear()
        self.objects.free(self.objects.unwanted())
        self._back_to_compat_mode(found_ours=bool(gone))
        return gone

    # -- when nothing waits -------------------------------------------------------------------------

    def _when_idle(self) -> None:
        if self._compare_due:
            self._compare()
            return
        if self.sweep is not None:
            self._sweep()
            return
        with self.lock:
            candidates, self.free = self.free | self._still_used, set()
            if not candidates:
                return
            used = self.in_use()
        self._still_used = {group for group in candidates if used[group]}
        self.objects.free(candidates - self._still_used)

    def _sweep(self) -> None:
        with self.lock:
            gone = sum(table.sweep() for table in self.tables.values())
            future, self.sweep = self.sweep, None
            self.free |= set(self.objects.unwanted())
        self._compare_due |= self._compare_swept  # what was compared beside leftovers said nothing of them
        self._compare_swept = False
        self.counts.swept += gone
        if future is not None:
            _resolve(future, gone)

    def in_use(self) -> Any:
        """Groups by id that routes of any family use. Under the lock."""
        used = np.zeros(LIMIT + 1, np.bool_)
        for table in self.tables.values():
            used |= table.groups_in_use()
        return used

    # -- the sysctl ---------------------------------------------------------------------------------

    def _leave_compat_mode(self) -> None:
        """With net.ipv4.nexthop_compat_mode 1 (the default) a group replace announces each of its routes and
        takes seconds at a million. Its value is this namespace's."""
        with suppress(OSError):  # /proc/sys may be read-only in a container: slower, not wrong; doctor says so
            before = COMPAT_MODE.read_text(encoding="ascii").strip()
            if before != "0":
                COMPAT_MODE.write_text("0", encoding="ascii")
                self._compat_before = before

    def _back_to_compat_mode(self, *, found_ours: bool) -> None:
        before = self._compat_before or ("1" if found_ours else None)  # an earlier run of ours has set it then
        if before is not None:
            with suppress(OSError):
                COMPAT_MODE.write_text(before, encoding="ascii")


def _resolve(future: Future[Any], value: Any) -> None:
    with suppress(InvalidStateError):  # whoever waited has given up
        future.set_result(value)
