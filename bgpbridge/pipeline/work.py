"""Whole-table work in slices: what a lost peer, a swept table or a changed policy leaves to do.

Each job is a generator of the RIB; between two of its steps the loop turns and UPDATEs go in. Jobs run one after
another, and wait while a bulk run of UPDATEs is under way (`bulk`): the table that is loading comes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bgpbridge.commits import Cause
from bgpbridge.errors import CapacityError
from bgpbridge.rib.changes import Changes

__all__ = ["Work"]

Commit = Callable[[Changes, Cause], None]


@dataclass(slots=True, eq=False)
class _Job:
    cause: Cause
    steps: Iterator[Changes] | Iterator[int]
    done: Callable[[], None] | None


@dataclass(slots=True)
class Work:
    """Jobs in order. `commit` takes what each step changed; `refused` hears of a job that a full table ended
    before its time (what it has done so far stands, and `done` is called all the same); `committed` counts changes
    of many routes."""

    commit: Commit
    refused: Callable[[Cause, CapacityError], None]
    committed: int = 0
    _jobs: deque[_Job] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _in_bulk: bool = False

    def __len__(self) -> int:
        return len(self._jobs)

    def add(
        self, cause: Cause, steps: Iterator[Changes] | Iterator[int], done: Callable[[], None] | None = None
    ) -> None:
        """Queue a job; steps that change no route yield numbers. `done` is called after its last step."""
        self._jobs.append(_Job(cause, steps, done))
        self._wake.set()

    def step(self) -> bool:
        """One step of the first job; False when there is none."""
        if not self._jobs:
            return False
        job = self._jobs[0]
        try:
            step = next(job.steps, None)
        except CapacityError as error:
            step = None
            self.refused(job.cause, error)
        if step is not None:
            if isinstance(step, Changes):
                self.committed += len(step) > 0
                self.commit(step, job.cause)
            return True
        self._jobs.popleft()
        if job.done is not None:
            job.done()
        return True

    def drain(self) -> Iterator[None]:
        """All jobs, with a point after each step: for a bulk run to do first."""
        while self.step():
            yield

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """While a bulk run is under way, jobs wait."""
        self._in_bulk = True
        try:
            yield
        finally:
            self._in_bulk = False
            self._wake.set()

    async def run(self) -> None:
        """Work off jobs as they come, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for _ in self._until_bulk():
                await asyncio.sleep(0)

    def _until_bulk(self) -> Iterator[None]:
        """Steps until there is nothing left, or a bulk run began at a point."""
        while not self._in_bulk and self.step():
            yield
