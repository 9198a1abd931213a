"""Room for prefixes: what is done before there is none, and how it is told.

The RIB takes no more prefixes than the maps hold, so nothing is ever selected that a plane has no place for. When
seven eighths are in use, in this order:

    rows that nobody uses       a peer that sent a million and went has left them: they go back, in slices
    maps of twice the size      filled beside the old ones, one switch (`upgrade`); or the RIB's own bound, without XDP
    a word                      where growing is not allowed, or memory does not suffice: state, metric, event

What then comes beyond the room ends the session of the peer that sent it (Cease, Out of Resources; `Sessions.no_room`).
When the maps have grown those peers are let in again at once; else after their hold-off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.config.model import Datapath as Settings
from bgpbridge.datapath.specs import memory_available, memory_estimate
from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.pipeline.datapath import sizes_of
from bgpbridge.pipeline.planes import Planes
from bgpbridge.pipeline.sessions import Sessions
from bgpbridge.pipeline.upgrade import Upgrade, UpgradeReport
from bgpbridge.pipeline.work import Work
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.scheduling import beat
from bgpbridge.types import Family

__all__ = ["Room", "Use"]

EVERY_S = 1.0
SHORT, CALM = 7 / 8, 3 / 4  # of the room: from there on something is done; below that all is well again
TIDY_EVERY_S, TIDY_AGAIN_S = 10.0, 2 * EVERY_S  # the second while a plane has not let go of all that nobody uses
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 3600.0  # after maps that could not be made
WATCH_S = 2.0
ROUTE_OCTETS = 640  # of one prefix more outside the maps: a kernel route, its row in RIB and planes, a few peers' cells
MEND = "raise datapath.max_{family} and run `bgpbridge datapath upgrade`, or set max_prefix at the peers"


class Upgrading(Protocol):
    """What `Upgrade` is to us."""

    async def run(self, settings: Settings, watch_s: float) -> UpgradeReport:
        """Other maps under the packets. Raises BridgeError, everything as before."""


@dataclass(frozen=True, slots=True)
class Use:
    """Prefixes of a family: in use, room for them, and why there will not be more of it (empty: all is well)."""

    used: int
    room: int
    short: str


@dataclass(slots=True)
class Room:
    """Looks after both families. `settings` is what the configuration says of the datapath now, `adopting` whether
    routes of an earlier run are still being claimed: their maps stay as they are until then."""

    rib: Rib
    planes: Planes
    work: Work
    sessions: Sessions
    events: EventLog
    settings: Callable[[], Settings]
    adopting: Callable[[], bool]
    upgrade: Upgrade | Upgrading | None = None
    steady: Callable[[], float] = time.monotonic
    _short: dict[Family, str] = field(default_factory=dict)  # why there is no more, as it was told
    _tidy_due: dict[Family, float] = field(default_factory=dict)
    _pauses: dict[Family, tuple[float, float]] = field(default_factory=dict)  # (not before, pause after that)

    async def keep(self) -> None:
        """For ever."""
        while True:
            await beat(EVERY_S)
            for family in Family:
                await self.look(family)

    def use(self, family: Family) -> Use:
        """How a family stands."""
        return Use(self._used(family), self.rib.room(family), self._short.get(family, ""))

    def troubles(self) -> Iterator[str]:
        """Families whose room is short, in a sentence each."""
        for family, why in self._short.items():
            away = ", ".join(self.sessions.without_room)
            sent = f"; sent away for want of room: {away}" if away else ""
            use = f"{self._used(family):,} of {self.rib.room(family):,} prefixes are in use"
            yield f"{family.label}: {use}; {why}{sent}"

    async def look(self, family: Family) -> None:
        """Do what is due."""
        used, room, beyond = self._used(family), self.rib.room(family), self.rib.beyond(family)
        if used < SHORT * room and not beyond:
            self._short.pop(family, None)
            return
        if self.adopting():
            return
        now = self.steady()
        if now >= self._tidy_due.get(family, now):
            self._tidy_due[family] = now + TIDY_EVERY_S
            self.work.add(Cause(CauseKind.REPAIR, detail="prefixes that nobody names"), self._tidy(family))
        elif not len(self.work):  # what is swept now makes room for itself
            await self._grow(family, used, max(used, beyond))
            self._calm_down(family)

    def _calm_down(self, family: Family) -> None:
        """All is well again when what did not fit has gone for good: nobody waits to send it once more."""
        used, room = self._used(family), self.rib.room(family)
        if family in self._short and used < CALM * room and not self.sessions.without_room:
            del self._short[family]
            self.rib.allow(family, room)
            text = f"{used:,} of {room:,} prefixes are in use"
            self.events.add("room-again", family.label, text, Severity.NOTICE)

    def _used(self, family: Family) -> int:
        """Prefixes that are known, or that the maps hold: the kernel's own stand there as well."""
        xdp = self.planes.xdp
        return max(self.rib.known(family), xdp.entries(family) if xdp is not None else 0)

    def _tidy(self, family: Family) -> Iterator[int]:
        held = 0
        for rows in self.rib.idle_rows(family):
            free = self.planes.forget(family, rows)
            self.rib.give_back(family, free)
            held += len(rows) - len(free)
            yield len(free)
        if held:
            self._tidy_due[family] = self.steady() + TIDY_AGAIN_S

    # -- more of it ---------------------------------------------------------------------------------

    async def _grow(self, family: Family, used: int, needed: int) -> None:
        room = wanted = self.rib.room(family)
        while wanted * SHORT <= needed:
            wanted *= 2
        wanted = min(wanted, self.rib.columns(family))
        if why := self._why_not(family, room, wanted):
            self._tell(family, used, room, why)
            return
        due, pause = self._pauses.get(family, (0.0, FIRST_PAUSE_S))
        if due > self.steady():
            return
        began = self.steady()
        try:
            await self._make(family, wanted)
        except BridgeError as error:
            self._pauses[family] = self.steady() + pause, min(2 * pause, LONGEST_PAUSE_S)
            self._tell(family, used, room, f"larger maps could not be made: {error.what}")
            return
        self._pauses.pop(family, None)
        self._short.pop(family, None)
        text = f"{used:,} of {room:,} prefixes were in use: room for {self.rib.room(family):,} now, after "
        self.events.add("room-grown", family.label, f"{text}{self.steady() - began:.1f} s", Severity.NOTICE)
        self.sessions.room_again()

    async def _make(self, family: Family, wanted: int) -> None:
        """Raises BridgeError, everything as before."""
        if self.upgrade is None:
            self.rib.allow(family, wanted)
            return
        settings = self.settings().model_copy(update={f"max_{family.label}": wanted})
        await self.upgrade.run(settings, WATCH_S)

    def _why_not(self, family: Family, room: int, wanted: int) -> str:
        if not self.settings().grow:
            return "datapath.grow is off"
        if wanted <= room:
            return f"{room:,} are the most that there are columns for"
        sizes = sizes_of(self.settings().model_copy(update={f"max_{family.label}": wanted}))
        maps = memory_estimate(sizes) if self.planes.xdp is not None else 0
        need, have = maps + ROUTE_OCTETS * (wanted - room), memory_available()
        if 2 * need <= have:
            return ""
        return f"room for {wanted:,} takes {need >> 20:,} MiB, and half of the {have >> 20:,} MiB there are has to stay"

    def _tell(self, family: Family, used: int, room: int, why: str) -> None:
        """Once for each family that gets short: figures change, the state does not."""
        known = family in self._short
        self._short[family] = why
        if not known:
            text = f"{used:,} of {room:,} prefixes are in use; {why}; mend: {MEND.format(family=family.label)}"
            self.events.add("room-short", family.label, text, Severity.WARNING)
