"""The kernel plane: the Loc-RIB's routes as nexthop objects, groups and routes in a table of the kernel.

The event loop calls `set_groups` and `apply`, which only note what is wanted; one worker thread with its own
netlink socket makes it so: groups before the routes that use them, single routes ahead of storms, storms in
slices. `behind` tells how many routes are waiting. What the kernel refuses is a state of that route, tried
again with growing pauses. A foreign route is never touched: ours carry their own protocol and metric, a new one
is only added where none of that prefix and metric stands, and deletions match our protocol.

The kernel forgets without a word (a link that goes down takes nexthops, groups and routes along), and a netlink
socket may overrun: `rebuild` and `audit_soon` ask what is there and mend the difference. After a restart `adopt`
takes over what an earlier run left, and `sweep` removes what nobody asked for again.

Calls that take time give a concurrent Future: `await asyncio.wrap_future(kernel.settled())`.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bgpbridge.errors import NetlinkError
from bgpbridge.fib.kernel_objects import BLACKHOLE_WAY, Members, as_members
from bgpbridge.fib.kernel_socket import RouteSocket
from bgpbridge.fib.kernel_table import KernelTable
from bgpbridge.fib.kernel_worker import KernelOptions, KernelWorker, dump_routes
from bgpbridge.fib.keys import U32, Keys, Rows
from bgpbridge.fib.noted import Noted
from bgpbridge.fib.own_dump import OwnDump
from bgpbridge.fib.pace import SINGLES
from bgpbridge.fib.refusals import RouteState
from bgpbridge.rib.changes import Changes, FewChanges
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import Family, Prefix

__all__ = ["KernelFib", "KernelOptions", "KernelStatus"]

T = TypeVar("T")
PLANE = "kernel"
START_S = 10.0
REPAIRS, REPAIRS_WITHIN_S = 5, 10.0


@dataclass(frozen=True, slots=True)
class KernelStatus:
    """The plane in figures. `behind` rows wait for the worker; `missing_nexthops` are ways that the kernel
    refused, with its words; `foreign_held` counts prefixes that a foreign route of our metric keeps from us."""

    behind: int
    installed: Mapping[Family, int]
    refused: Mapping[Family, int]
    reasons: Mapping[str, int]
    foreign_held: int
    repaired: int
    lost_routes: int
    mended: int
    sent: int
    leftovers: Mapping[Family, int]
    missing_nexthops: tuple[str, ...]
    last_error: str


class KernelFib:
    """The door of the kernel plane, for the event loop."""

    def __init__(self, options: KernelOptions | None = None) -> None:
        self.options = options or KernelOptions()
        self.repaired = 0
        self.port = 0
        """The netlink port id of the worker's socket: events that carry it are our own doing."""
        self._tables = {family: KernelTable(family) for family in Family}
        self._worker = KernelWorker(self.options, self._tables)
        self._lock = self._worker.lock
        self._thread: threading.Thread | None = None
        self._repairs: dict[Prefix, tuple[int, float]] = {}

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the socket and start the worker, in the network namespace of the calling thread."""
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._worker.run, args=(started,), name="kernel-fib", daemon=True)
        self._thread.start()
        self.port = started.result(START_S)

    def stop(self, timeout_s: float = 30.0) -> None:
        """Finish what is waiting and end the worker. Routes stay."""
        with self._lock:
            self._worker.stopping = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def check(self) -> None:
        """Raise NetlinkError when the worker has died of something that it could not mend."""
        if self._worker.failure is not None:
            raise NetlinkError("the kernel FIB's worker died", errno.EIO, said=repr(self._worker.failure))

    def _order(self, act: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            self.check()
            self._worker.orders.append((act, future))
            self._lock.notify()
        return future

    # -- groups -------------------------------------------------------------------------------------

    def set_groups(self, groups: Mapping[int, Iterable[Hop]]) -> None:
        """What groups consist of. Give those that change together in one call: where all users of a hop move
        to another one, the hop's object is replaced instead of every group. No hops: no usable nexthop; its
        routes are gone from the kernel until there is one."""
        self._set({group: as_members(hops) for group, hops in groups.items()})

    def set_group(self, group: int, hops: Iterable[Hop]) -> None:
        """One group."""
        self.set_groups({group: hops})

    def set_blackhole(self, group: int) -> None:
        """A group whose packets the kernel drops."""
        self._set({group: ((BLACKHOLE_WAY, 1),)})

    def _set(self, groups: dict[int, Members]) -> None:
        with self._lock:
            self.check()
            self._worker.groups.update(groups)
            self._worker.free.difference_update(groups)
            self._lock.notify()

    def free_group(self, group: int) -> None:
        """Nobody points at the group any more; it goes when the kernel's routes have left it as well."""
        with self._lock:
            self._worker.groups.pop(group, None)
            self._worker.free.add(group)
            self._lock.notify()

    def groups_in_use(self) -> npt.NDArray[np.bool_]:
        """By group id: whether a route in the kernel, or on its way there, may use it."""
        with self._lock:
            used: npt.NDArray[np.bool_] = self._worker.in_use()
            return used

    def holds(self, groups: Iterable[int]) -> npt.NDArray[np.bool_]:
        """For each of these groups whether the kernel may still use it: ask before GroupTable.free."""
        held: npt.NDArray[np.bool_] = self.groups_in_use()[list(groups)]
        return held

    # -- routes -------------------------------------------------------------------------------------

    def apply(self, changes: Changes) -> None:
        """Follow a change of the Loc-RIB. Its groups must have been set before."""
        if not len(changes):
            return
        with self._lock:
            self.check()
            if (changes.new == BLACKHOLE).any():
                self._want_blackhole()
            table = self._tables[changes.family]
            if len(changes) > SINGLES:
                self._worker.pace.commit(time.monotonic(), storming=table.storming)
            table.apply(changes)
            if not self._worker.gathering:
                self._lock.notify()

    def apply_few(self, few: FewChanges) -> None:
        """The same for the prefixes of a single UPDATE."""
        with self._lock:
            self.check()
            if any(move[5] == BLACKHOLE for move in few.moves):
                self._want_blackhole()
            self._tables[few.family].apply_few(few)
            if not self._worker.gathering:
                self._lock.notify()

    def forget(self, family: Family, rows: Rows) -> Rows:
        """Rows that the RIB would have back for other prefixes: which of them nothing is known of from now on."""
        with self._lock:
            return self._tables[family].forget(rows)

    def _want_blackhole(self) -> None:
        if BLACKHOLE not in self._worker.objects.want:
            self._worker.groups[BLACKHOLE] = ((BLACKHOLE_WAY, 1),)

    def repair(self, prefix: Prefix, *, overwritten: bool = True, foreign: bool = True) -> bool:
        """Somebody else overwrote (by a `foreign` route, or one of our protocol) or deleted our route: put it back. One
        who keeps at it is answered with growing pauses. False when the route is not (or no longer) ours to have, or
        was not there: then the foreign one took nobody's place, and stays."""
        now = time.monotonic()
        times, since = self._repairs.get(prefix, (0, now))
        times, since = (1, now) if now - since > REPAIRS_WITHIN_S else (times + 1, since)
        with self._lock:
            table = self._tables[prefix.family]
            table.touched_left(prefix, overwritten=overwritten)
            row = table.columns.find([prefix])[0]
            if not row or not table.wanted(np.array([row]))[0]:
                return False
            if overwritten and foreign and not table.installed[row]:
                self._worker.rebuild_due |= bool(table.is_in_flight(row))  # it may have been there for a moment
                return False
            table.touched(row, overwritten=overwritten, queued=times <= REPAIRS)
            if times > REPAIRS:
                table.refusals.refuse(np.array([row]), errno.EBUSY, "somebody else keeps changing it", now)
            self._lock.notify()
        if len(self._repairs) > 10_000:
            self._repairs.clear()
        self._repairs[prefix] = (times, since)
        self.repaired += 1
        return True

    def retry(self, prefixes: Iterable[Prefix]) -> None:
        """Try these again now if they are refused: the foreign route that stood in the way is gone."""
        listed = list(prefixes)
        with self._lock:
            for family, table in self._tables.items():
                mine = [prefix for prefix in listed if prefix.family is family]
                rows = np.array([row for row in table.columns.find(mine) if row], np.int64)
                table.queue(np.intersect1d(rows, table.refusals.rows()))
            self._lock.notify()

    # -- the kernel's own doings --------------------------------------------------------------------

    def rebuild(self, ifindex: int) -> None:  # noqa: ARG002  (which link it was decides nothing: all is compared)
        """A link went down or came back: the kernel has dropped nexthops, groups and routes. Make them again
        where their links carry them, then compare every route."""
        self.audit_soon()

    def audit_soon(self) -> None:
        """Something may have been missed: compare everything with the kernel and mend it."""
        with self._lock:
            self.check()
            self._worker.rebuild_due = True
            self._lock.notify()

    def groups_there(self) -> Future[frozenset[int]]:
        """The groups that an earlier run left, those that no route uses among them: milliseconds."""
        return self._order(self._worker.groups_there)

    def adopt(self, read: OwnDump | None = None) -> Future[frozenset[int]]:
        """Take over what an earlier run left; gives the groups that its routes use. Before the first `apply`. `read`
        are our routes where a dump has come past them just now."""
        return self._order(lambda: self._worker.adopt(read))

    def sweep(self) -> Future[int]:
        """When nothing waits any more: remove adopted routes that nobody has asked for again; gives how many."""
        future: Future[int] = Future()
        with self._lock:
            self.check()
            self._worker.sweep = future
            self._lock.notify()
        return future

    def clear(self) -> Future[int]:
        """Remove everything that is ours; gives the number of routes."""
        return self._order(self._worker.clear)

    # -- looking ------------------------------------------------------------------------------------

    @property
    def behind(self) -> int:
        """Routes that wait for the worker, and those it is writing."""
        with self._lock:
            return sum(table.behind for table in self._tables.values())

    def settled(self) -> Future[None]:
        """Done when nothing waits (refused routes do not count)."""
        future: Future[None] = Future()
        with self._lock:
            self.check()
            self._worker.settled.append(future)
            self._lock.notify()
        return future

    def refused(self, limit: int = 100) -> list[RouteState]:
        """Routes that the kernel would not take, with its words."""
        now = time.monotonic()
        states: list[RouteState] = []
        with self._lock:
            for table in self._tables.values():
                rows = table.refusals.rows()[: limit - len(states)]
                keys = table.columns.keys(rows)
                states += [table.refusals.state(r, PLANE, keys.prefix(i), now) for i, r in enumerate(rows.tolist())]
        return states

    def table(self, family: Family) -> tuple[Keys, U32]:
        """Our routes with their groups, from the kernel itself, over a socket of its own: for a thread."""
        with RouteSocket() as sock:
            dump = dump_routes(sock, family, self.options)
        return dump.keys, dump.nexthop

    def watch(self, *, on: bool) -> dict[Family, tuple[Keys, Keys]]:
        """For an audit: from `on` keep a note of what changes; with `on` False give per family (prefixes that
        changed or wait, prefixes that are refused)."""
        out: dict[Family, tuple[Keys, Keys]] = {}
        with self._lock:
            for family, table in self._tables.items():
                pending = table.pending()
                noted = [table.watched.keys()] if table.watched is not None else []
                refused: Rows = table.refusals.rows()
                out[family] = (Keys.joined(family, [pending, *noted]), table.columns.keys(refused))
                table.watched = Noted(family) if on else None
                if table.watched is not None:
                    table.watched.add(pending)
        return out

    def crooked_groups(self) -> Future[list[int]]:
        """Asks the kernel: groups whose members are not as wanted, but for members that the kernel refuses."""
        return self._order(self._worker.crooked_groups)

    def status(self) -> KernelStatus:
        """The plane in figures."""
        with self._lock:
            tables, counts = self._tables, self._worker.counts
            reasons: dict[str, int] = {}
            held = 0
            for table in tables.values():
                for (code, said), count in table.refusals.by_reason().items():
                    reasons[said] = reasons.get(said, 0) + count
                    held += count if code == errno.EEXIST else 0
            failed: dict[Any, Any] = dict(self._worker.objects.failed) if self.port else {}
            return KernelStatus(
                behind=sum(table.behind for table in tables.values()),
                installed={family: table.installed_count for family, table in tables.items()},
                refused={family: table.refusals.count for family, table in tables.items()},
                reasons=reasons,
                foreign_held=held,
                repaired=self.repaired,
                lost_routes=counts.lost_routes,
                mended=counts.mended,
                sent=counts.sent,
                leftovers={f: t.leftovers.unconfirmed if t.leftovers else 0 for f, t in tables.items()},
                missing_nexthops=tuple(f"{way.gateway} if {way.ifindex}: {r.said}" for way, r in failed.items()),
                last_error=counts.last_error,
            )
