"""What has to be looked after now and then, because nobody tells of it: ids that nothing uses any more, refused
routes that are due again, interfaces that stopped taking packets, a worker that died, the memory of groups.

Also what could not be done for want of ids is done here, once there are some.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import CapacityError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.observed import Link
from bgpbridge.pipeline.adoption import Adoption
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.garbage import Garbage
from bgpbridge.pipeline.paths import Paths
from bgpbridge.pipeline.planes import Planes
from bgpbridge.pipeline.remembered import write_groups
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.groups import IdleGroups
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.tables import trim_malloc
from bgpbridge.scheduling import beat
from bgpbridge.types import Family

__all__ = ["Housekeeping"]

EVERY_S = 1.0
SOON_S = 0.25  # while the planes follow a table: what that takes goes back when they have
LOOK_EVERY_S = 5.0
COLLECT_EVERY_S = 60.0
COLLECT_SOON_S = 5.0
MUCH_WORK = 8  # runs of UPDATEs, or slices of a job, after which memory is given back


@dataclass(slots=True)
class Housekeeping:
    """`name` gives a peer's name by index, `links` are the kernel's, `memory` is the file of groups."""

    rib: Rib
    planes: Planes
    paths: Paths
    work: Work
    adoption: Adoption
    events: EventLog
    datapath: Datapath | None
    links: Mapping[int, Link]
    name: Callable[[int], str]
    memory: Path
    garbage: Garbage
    cut_short: bool = False  # a job met a full table: to be made good after the next collection
    _undecided: int = 0
    _thinned: bool = False
    _bulk: int = 0  # work done at the last look
    _trimmed_at: tuple[int, bool] = (-MUCH_WORK, True)  # and whether the planes had followed; a start is much work
    _remembered: tuple[int, int] = (0, 0)
    _index_trouble: dict[Family, str] = field(default_factory=dict)
    _told_of: set[Family] = field(default_factory=set)

    async def keep(self) -> None:
        """For ever. Raises NetlinkError when the kernel plane's thread has died."""
        collected = looked = time.monotonic()
        while True:
            await beat(EVERY_S if self._trimmed_at[1] else SOON_S)
            now = time.monotonic()
            if now - looked >= LOOK_EVERY_S:
                looked = now
                self.look_around()
            xdp = self.planes.xdp
            if xdp is not None and (due := xdp.next_retry) is not None and due <= now:
                xdp.retry(now)
            if xdp is not None and not len(self.work):
                xdp.foresee()
            self.remember()
            self.give_memory_back()
            self.garbage.look()
            if not len(self.work) and now - collected >= (COLLECT_SOON_S if self._crowded() else COLLECT_EVERY_S):
                collected = now
                self.work.add(Cause(CauseKind.REPAIR, detail="collection"), self.rib.collect(), self.collected)

    def look_around(self) -> None:
        """Is everybody there, and what can be given back? Raises NetlinkError."""
        if self.planes.kernel is not None:
            self.planes.kernel.check()
        if self.datapath is not None:
            self.datapath.check_redirects(self.links)
        self._tell_of_indexes()
        self.adoption.free_strangers()
        self._decide_again(freed=bool(self.free_groups()))

    def _tell_of_indexes(self) -> None:
        """An index that cannot answer any more has left its packets to the trie, of its own accord."""
        trouble = self.planes.xdp.index_trouble() if self.planes.xdp is not None else {}
        for family, why in trouble.items():
            if why != self._index_trouble.get(family, ""):
                text = f"{why}; its routes are found by the trie alone" if why else "answers again"
                severity = Severity.WARNING if why else Severity.NOTICE
                self.events.add("index-trouble", family.label, text, severity)
        self._index_trouble = trouble
        ended = self.planes.xdp.follower_trouble() if self.planes.xdp is not None else {}
        for family, why in ended.items():
            if why and family not in self._told_of:
                self._told_of.add(family)
                text = f"{why} ended the thread that writes the trie: each route goes there first now, which is slower"
                self.events.add("trie-follower-ended", family.label, text, Severity.ERROR)

    def give_memory_back(self) -> None:
        """Once a table has come, gone or changed: what that took for a moment is as much again as what is kept. Once
        more when the planes' threads have followed. What an index has left for then is done as well."""
        done = self.rib.runs + self.work.committed
        at_rest = done == self._bulk and not len(self.work)
        self._bulk = done
        before, followed = self._trimmed_at
        if at_rest and self.planes.xdp is not None and self.planes.xdp.waiting:
            self.work.add(Cause(CauseKind.REPAIR, detail="index"), self.planes.xdp.learn())
        if not at_rest or (done - before < MUCH_WORK and followed):
            return
        behind = any(plane is not None and plane.behind for plane in (self.planes.kernel, self.planes.xdp))
        if done - before >= MUCH_WORK or not behind:
            self._trimmed_at = done, not behind
            self.rib.trim()
            trim_malloc()

    def free_groups(self) -> list[int]:
        """Ids of groups that neither RIB nor planes use any more go back; those of an earlier run not before it is
        known which of its entries stay."""
        idle = self.rib.groups.idle()
        if not len(idle.ids):  # as mostly: the planes need not be asked, which looks at every row
            return []
        kept = self.planes.held(idle.ids)
        if self.adoption.active:
            kept |= np.isin(idle.ids, list(self.adoption.left))
        free = self.rib.groups.free(IdleGroups(idle.ids[~kept], idle.epochs[~kept]))
        self.paths.freed(free)
        return free

    def _decide_again(self, *, freed: bool) -> None:
        """Rows that kept their group for want of a free id get another chance when some are free, those whose group has
        no backups for that when there is room for many."""
        groups = self.rib.groups
        waiting, before = self.rib.undecided, self._undecided
        self._undecided = waiting
        if groups.thinned and not self._thinned:
            text = "backups are left out of next-hop groups until there is room: all ids are in use"
            self.events.add("out-of-resources", "groups", text, Severity.WARNING)
        self._thinned = groups.thinned > 0
        if waiting > before:
            text = f"{waiting} routes kept the next-hop group that they had: all ids are in use"
            self.events.add("out-of-resources", "groups", text, Severity.ERROR)
        roomy = self._thinned and groups.room() > groups.limit // 8
        if ((waiting and freed) or roomy) and not len(self.work):
            self.work.add(Cause(CauseKind.REPAIR, detail="room for groups again"), self.rib.redecide())

    def _crowded(self) -> bool:
        """Attribute ids are running out, or something did not fit: what nobody uses has to go sooner."""
        pool = self.rib.attributes.pool
        return self.cut_short or pool.room() < pool.capacity // 8

    def collected(self) -> None:
        """Attribute ids are free again: what had to be left undone for want of them is done now."""
        self.paths.forget_unknown()
        if self.cut_short:
            self.cut_short = False
            self.work.add(Cause(CauseKind.REPAIR, detail="room again"), self.rib.rejudge())

    def job_refused(self, cause: Cause, error: CapacityError) -> None:
        """A job was ended by a full table."""
        self.cut_short = True
        self.events.add("out-of-resources", cause.peer or cause.kind.value, str(error), Severity.ERROR)

    def remember(self) -> None:
        """Write the groups down when they are others than last time."""
        stamp = (len(self.rib.groups), int(self.rib.groups.epoch.sum()))  # an epoch counts comings into use
        if stamp == self._remembered:
            return
        self._remembered = stamp
        try:
            write_groups(self.memory, self.rib.groups, self.rib.next_hops, self.name)
        except OSError as error:
            self.events.add("state-not-written", str(self.memory), str(error), Severity.WARNING)
