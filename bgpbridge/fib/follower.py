"""A trie that follows the index in front of it, in a thread of its own.

A million entries take the kernel's trie more than a second, an index a third of that. While the index answers for every
address by itself no packet asks the trie, so it may be late: what waits is written in the order in which it came, of
several changes of a prefix the last one only, in runs sorted by prefix. Whoever is about to need the trie as it should
be (`flush`) waits for what was put until then.

Where the thread ends by something that nobody expected, whoever waits writes the rest, and from then on nothing is
late: `failure` says why.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bgpbridge.datapath.elements import BpfMap
from bgpbridge.fib import xdp_map
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.order import newest
from bgpbridge.fib.pace import SINGLES, Pace
from bgpbridge.fib.xdp_map import Refused
from bgpbridge.scheduling import stand_behind
from bgpbridge.types import Family

__all__ = ["Follower", "Late"]

AT_ONCE = 1 << 17  # rows to one run, a sixth of a second
MOST = 1 << 21  # rows that wait for a table to end, 45 MB
LONGEST_S, REST_S = 30.0, 0.5  # no packet asks for what waits here


@dataclass(frozen=True, slots=True)
class Late:
    """What the trie would not take, long after it was put: `refused` counts in `keys`."""

    keys: Keys
    refused: Refused


class Follower:
    """Writer of one trie, a step behind. One thread puts; any thread may wait."""

    def __init__(self, trie: BpfMap, family: Family) -> None:
        self._trie, self._family = trie, family
        self._pool = ThreadPoolExecutor(1, f"bgpbridge-{trie.name}", initializer=stand_behind)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Keys, U32]] = deque()
        self._late: list[Late] = []
        self._put = self._done = 0  # changes so far
        self._wanted = 0  # of them, those that somebody waits for
        self._running = False
        self._catching_up = threading.Lock()
        self.failure: BaseException | None = None
        self._pace = Pace(LONGEST_S, REST_S)
        trie.closing.append(self.close)

    @property
    def behind(self) -> int:
        """Changes that wait, and those that are being written."""
        return self._put - self._done

    def put(self, keys: Keys, values: U32) -> None:
        """Entries as they should be, 0: none. No prefix twice."""
        with self._changed:
            self._waiting.append((keys, values))
            self._put += len(keys)
            if len(keys) > SINGLES:
                self._pace.commit(time.monotonic(), storming=self._running)
            if not self._running and self.failure is None:
                self._running = True
                self._pool.submit(self._run)

    def flush(self) -> None:
        """Wait until all that was put before is written."""
        if self._put == self._done:
            return
        with self._changed:
            wanted = self._wanted = self._put
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= wanted or self.failure is not None)
        if self.failure is not None:
            self._catch_up()

    def drop(self) -> None:
        """Forget what waits; wait for what is being written."""
        with self._changed:
            self._done += sum(len(keys) for keys, _ in self._waiting)
            self._waiting.clear()
        self.flush()

    def close(self) -> None:
        """Write what waits; the thread ends."""
        self.flush()
        self._pool.shutdown()

    @property
    def refused(self) -> bool:
        """Whether `take_late` has something to give."""
        return bool(self._late)

    def take_late(self) -> list[Late]:
        """What was refused since the last call."""
        if not self._late:
            return []
        with self._changed:
            late, self._late = self._late, []
        return late

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while parts := self._next():
                began_s = time.monotonic()
                self._write_all(parts)
                self._pace.worked(began_s, time.monotonic())
        except BaseException as error:  # noqa: BLE001  (the root of this thread: whoever waits must hear of it)
            with self._changed:
                self.failure = error
                self._running = False
                self._changed.notify_all()

    def _catch_up(self) -> None:
        """In place of the thread. Raises what it ended by, if that is still so."""
        with self._catching_up:
            while parts := self._next():
                self._write_all(parts)

    def _write_all(self, parts: list[tuple[Keys, U32]]) -> None:
        try:
            self._write(*_newest(self._family, parts))
        except BaseException:
            with self._changed:
                self._waiting.extendleft(reversed(parts))  # what was written of them is written once more
            raise
        with self._changed:
            self._done += sum(len(part) for part, _ in parts)
            self._changed.notify_all()

    def _next(self) -> list[tuple[Keys, U32]]:
        with self._changed:
            parts, rows = [], 0
            while not self._urgent() and (held := self._pace.held_s(time.monotonic())) > 0:
                self._changed.wait(held)
            while self._waiting and rows < AT_ONCE:
                parts.append(self._waiting.popleft())
                rows += len(parts[-1][0])
            self._running = bool(parts)
            return parts

    def _urgent(self) -> bool:
        return self._wanted > self._done or self.behind > MOST

    def _write(self, keys: Keys, values: U32) -> None:
        """Removals first, for they make room."""
        gone = values == 0
        for which, what in ((gone, False), (~gone, True)):
            if not which.any():
                continue
            some = keys if which.all() else keys.take(which)
            refused = xdp_map.store(self._trie, some, values[which]) if what else xdp_map.remove(self._trie, some)
            if len(refused.index):
                with self._changed:
                    self._late.append(Late(some, refused))


def _newest(family: Family, parts: list[tuple[Keys, U32]]) -> tuple[Keys, U32]:
    """All parts as one, of several rows of a prefix the last."""
    if len(parts) == 1:
        return parts[0]
    whole = Keys.joined(family, [keys for keys, _ in parts]), np.concatenate([values for _, values in parts])
    return newest(whole)
