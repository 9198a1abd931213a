"""RPKI in the bridge: the VRPs of all sources as one table, and what their changes do to routes.

A change of VRPs judges again only the routes that a changed VRP covers, of the peers whose policy asks for RPKI
states. Before any VRP has come every route is not-found; `ready` waits a little for the first ones, so that a restart
does not let in what was refused before.

Files always count. Of the servers that have data, those with the lowest preference do; the others stand by.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config.rpki import Rpki as Settings
from bgpbridge.config.rpki import RpkiFile, RpkiServer
from bgpbridge.events import EventLog, Severity
from bgpbridge.pipeline.limits import Limits
from bgpbridge.pipeline.peers import PeerTable
from bgpbridge.pipeline.rpki_sources import FileSource, ServerSource, Source
from bgpbridge.pipeline.work import Work
from bgpbridge.policy.judge import PolicyJudge
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rpki.forest import PrefixForest
from bgpbridge.rpki.rtr import RtrNews
from bgpbridge.rpki.vrps import Validity, VrpColumns, VrpTable
from bgpbridge.types import Family

__all__ = ["Rpki"]

FIRST_S = 3.0  # how long the first routes wait for the first VRPs
COUNT_EVERY_S = 30.0
COUNT_SHARE = 200  # of the time, one part in so many goes into counting routes by state
SEVERITY = {RtrNews.UP: Severity.NOTICE, RtrNews.RESET: Severity.INFO, RtrNews.LOST: Severity.WARNING}


@dataclass(slots=True)
class Rpki:
    """All sources and the table that `judge` goes by. `run` for as long as the bridge does."""

    judge: PolicyJudge
    rib: Rib
    work: Work
    limits: Limits
    peers: PeerTable
    events: EventLog
    settings: Settings = field(default_factory=Settings)
    sources: dict[str, Source] = field(default_factory=dict)
    routes: Counter[tuple[Family, Validity]] = field(default_factory=Counter)
    """Routes that peers have sent by state, as counted last."""
    _alarms: dict[str, str] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _group: asyncio.TaskGroup | None = None
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def table(self) -> VrpTable:
        """All VRPs that count now."""
        return self.judge.vrps

    def configure(self, settings: Settings) -> None:
        """Other sources from now on. Those that stay as they are keep what they have told."""
        before = {name: source.settings for name, source in self.sources.items()}
        files = {file.name: file for file in settings.files}
        after: dict[str, RpkiFile | RpkiServer] = {**files, **{server.name: server for server in settings.servers}}
        for name in [name for name, old in before.items() if after.get(name) != old]:
            del self.sources[name]
            self._alarms.pop(name, None)
            if task := self._tasks.pop(name, None):
                task.cancel()
        for source in self.sources.values():
            if settings.max_shrink_percent != self.settings.max_shrink_percent:
                source.allow(settings.max_shrink_percent)
        percent = settings.max_shrink_percent
        for file in settings.files:
            if file.name not in self.sources:
                self.sources[file.name] = FileSource(file, percent, self._told)
        for server in settings.servers:
            if server.name not in self.sources:
                self.sources[server.name] = ServerSource(server, percent, self._told, self._heard)
        self.settings = settings
        self._dirty.set()
        self._follow()

    def in_use(self) -> list[Source]:
        """The sources whose VRPs count."""
        best = min((s.settings.preference for s in self._servers() if s.has_data), default=None)
        return [s for s in self.sources.values() if not isinstance(s.settings, RpkiServer) or self._counts(s, best)]

    def _servers(self) -> list[ServerSource]:
        return [source for source in self.sources.values() if isinstance(source, ServerSource)]

    @staticmethod
    def _counts(source: Source, best: int | None) -> bool:
        return isinstance(source, ServerSource) and source.has_data and source.settings.preference == best

    def alarms(self) -> list[str]:
        """What an operator has to look at."""
        return [source.trouble for source in self.sources.values() if source.trouble]

    async def ready(self) -> None:
        """Until every source has answered once, or some seconds are over."""
        if not self.sources:
            return
        try:
            async with asyncio.timeout(FIRST_S):
                await self._ready.wait()
        except TimeoutError:
            waited = ", ".join(name for name, source in self.sources.items() if not source.asked)
            text = f"no answer yet from {waited}: routes that none of the others covers are not-found until it comes"
            self.events.add("rpki-late", "rpki", text, Severity.WARNING)

    async def run(self) -> None:
        """Follow all sources, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._follow()
            group.create_task(self._merge(), name="rpki")
            group.create_task(self._count(), name="rpki routes")

    def _follow(self) -> None:
        if self._group is None:
            return
        for name, source in self.sources.items():
            if name not in self._tasks:
                self._tasks[name] = self._group.create_task(source.follow(), name=f"rpki {name}")

    # -- what sources tell ------------------------------------------------------------------------------

    def _told(self, source: Source) -> None:
        before = self._alarms.pop(source.name, "")
        if source.alarm:
            self._alarms[source.name] = source.alarm
            if source.alarm != before:
                self.events.add("rpki-alarm", source.name, source.alarm, Severity.ERROR)
        elif before:
            self.events.add("rpki-alarm-over", source.name, "its VRPs are well again", Severity.NOTICE)
        self._dirty.set()

    def _heard(self, name: str, kind: RtrNews, text: str) -> None:
        self.events.add(kind.value, name, text, SEVERITY.get(kind, Severity.ERROR))
        self._dirty.set()

    async def _merge(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            asked = all(source.asked for source in self.sources.values())
            names = [source.name for source in self.in_use()]
            table, changed = await asyncio.to_thread(_merged, self.in_use(), self.table)
            if any(map(len, changed.values())):
                self._take(table, changed, names)
            if asked:
                self._ready.set()

    def _take(self, table: VrpTable, changed: dict[Family, PrefixForest], names: Sequence[str]) -> None:
        """Judge by another table from now on, and again what its changes cover."""
        self.judge.vrps = table
        count = sum(map(len, changed.values()))
        text = f"{len(table):,} VRPs of {', '.join(names) or 'no source'}; {count:,} prefixes have others than before"
        self.events.add("rpki-changed", "rpki", text)
        peers = [peer.index for peer in self.peers if self.judge.asks_rpki(peer.index)]
        if peers:
            cause = Cause(CauseKind.RPKI, detail=f"VRPs of {count:,} prefixes")
            covers = {family: forest.covers for family, forest in changed.items() if len(forest)}
            self.work.add(cause, self.rib.rejudge_covered(peers, covers), lambda: self.limits.look_at(peers))

    # -- how many routes are what -----------------------------------------------------------------------

    async def _count(self) -> None:
        """Again and again, at a small share of the time: a full table takes seconds, and nobody waits for it."""
        while True:
            await self.count_once()
            await asyncio.sleep(COUNT_EVERY_S)

    async def count_once(self) -> None:
        """All routes that peers have sent, into `routes`."""
        counted: Counter[tuple[Family, Validity]] = Counter()
        if self.sources:
            for peer, family, ids, hi, lo, length in self.rib.received():
                began = time.monotonic()
                states = self.table.validate(family, hi, lo, length, self.judge.origins(peer, ids))
                for state, count in zip(Validity, np.bincount(states, minlength=3).tolist(), strict=True):
                    counted[family, state] += count
                await asyncio.sleep(COUNT_SHARE * (time.monotonic() - began))
        self.routes = counted


def _merged(sources: Sequence[Source], old: VrpTable) -> tuple[VrpTable, dict[Family, PrefixForest]]:
    """The VRPs of several sources, and under which prefixes something changed. For a thread."""
    columns = {family: VrpColumns.union(family, [s.columns(family) for s in sources]) for family in Family}
    table = VrpTable(columns)
    return table, {family: table.changed_since(old, family) for family in Family}
