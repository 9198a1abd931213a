"""The planes held against the Loc-RIB: when an operator asks, and a part at a time in the background.

Somebody else with root can change a trie, an index, a group or the kernel's tables without our hearing of it. What is
found to differ without a reason is brought in line, counted and told, with the longest that it can have been so: since
the last sweep of that part that found nothing. In the background one family in one plane is compared at a time; the
pauses in between keep it under its share of one CPU, whatever the size of the tables, and while one loads it waits.
While single changes come in it takes its time: packets wait for those, and for nothing that it says.
What prefixes lead to (groups, adjacencies, the control word) costs milliseconds and is looked at in every pause.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.adjacency_words import AdjacencyWords
from bgpbridge.fib.audit import AuditReport, Tally, audit, audit_part, parts
from bgpbridge.fib.audit_links import LINKS
from bgpbridge.fib.audit_stores import STORES, Stores
from bgpbridge.fib.audit_tally import ADJACENCY, CONTROL, GROUP, INDEX, Divergence
from bgpbridge.fib.kernel_table import OURS_UNKNOWN
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.fib.ranges import DEFER, HIDDEN
from bgpbridge.pipeline.index_again import IndexAgain
from bgpbridge.pipeline.planes import Committer, Planes
from bgpbridge.rib.groups import BLACKHOLE, LOCAL, Member
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.lookups import installed_in_slices
from bgpbridge.rib.tables import trim_malloc
from bgpbridge.types import Family

__all__ = ["SelfAudit", "Swept"]

LEAST_PAUSE_S = 15.0
MANY_ROUTES = 100_000  # compared at a time
CALM_S, PATIENCE_S = 1.0, 600.0
BUSY_RPS = 500  # routes a second from which on a table loads, or single UPDATEs come in a storm
RESERVED = {0: "nothing", LOCAL: "punt (left to the kernel)", BLACKHOLE: "blackhole"}
ALONE = {ADJACENCY, CONTROL, *LINKS}  # kinds that `detail` tells

Place = tuple[str, str]
"""Plane, and a family's label or STORES."""


@dataclass(slots=True)
class Swept:
    """The last sweep of one part: `addresses` that were answered otherwise than they should, how long it took, when one
    last found nothing (time.monotonic(); None: never yet)."""

    addresses: int = 0
    took_s: float = 0.0
    clean_s: float | None = None


async def _give_back(found: AuditReport | Tally) -> None:
    """What a look at large tables has taken for a moment, some 100 MiB for a million routes."""
    if sum(found.checked.values()) >= MANY_ROUTES:
        await asyncio.to_thread(trim_malloc)


@dataclass(slots=True)
class SelfAudit:
    """`name` gives a peer's name by index, `adopting` says whether leftovers of an earlier run stand; `permille` is the
    share of one CPU in thousandths, 0 for no comparison in the background."""

    rib: Rib
    planes: Planes
    committer: Committer
    events: EventLog
    name: Callable[[int], str]
    adopting: Callable[[], bool]
    permille: int
    words: AdjacencyWords
    repaired: Counter[tuple[str, str]] = field(default_factory=Counter)
    compared: Counter[tuple[str, Family]] = field(default_factory=Counter)
    swept: dict[Place, Swept] = field(default_factory=dict)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _again: IndexAgain = field(init=False)

    def __post_init__(self) -> None:
        self._again = IndexAgain(self.events)

    @property
    def one_at_a_time(self) -> asyncio.Lock:
        """Held while maps are read in a thread."""
        return self._one_at_a_time

    async def compare(self) -> AuditReport:
        """Both planes, all prefixes, all addresses."""
        async with self._one_at_a_time:
            return await self._all(mend=False)

    async def repair(self) -> tuple[AuditReport, AuditReport]:
        """What differed and was brought in line, and what a look after that finds."""
        async with self._one_at_a_time:
            if self.planes.xdp is not None and not self.adopting():
                await self._again.build(self.planes.xdp, at_once=True)
            return await self._all(mend=True), await self._all(mend=False)

    async def _all(self, *, mend: bool) -> AuditReport:
        began, xdp, kernel = time.monotonic(), self.planes.xdp, self.planes.kernel
        report = await audit(self._desired, xdp, kernel, self._fill if mend else None, self._stores(), self._changes)
        if mend:
            self._told(report)
        places = [*report.checked, *([("xdp", STORES)] if report.stores else [])]
        self._note(report, places, began)
        await _give_back(report)
        return report

    async def keep(self) -> None:
        """For ever, a part at a time."""
        due = time.monotonic() + LEAST_PAUSE_S
        for part in itertools.cycle(parts(self.planes.xdp, self.planes.kernel)):
            while (left := due - time.monotonic()) > 0:
                await asyncio.sleep(min(left, LEAST_PAUSE_S))
                if self._on:
                    self.look_at_stores()
                await self._build_indexes()
            await self._calm()
            began = time.monotonic()
            if self._on:
                await self.part(*part)
            took = time.monotonic() - began
            due = began + took + max(LEAST_PAUSE_S, took * 1000 / max(self.permille, 1))

    async def _calm(self) -> None:
        """Wait for a second without a table or a storm, which have the first call on processors; PATIENCE_S at most."""
        kernel, deadline = self.planes.kernel, time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            before = self.committer.log.rows_total
            await asyncio.sleep(CALM_S)
            changed = self.committer.log.rows_total - before
            if changed < BUSY_RPS * CALM_S and (kernel is None or kernel.behind < BUSY_RPS):
                return

    @property
    def _on(self) -> bool:
        return bool(self.permille) and not self.adopting()

    async def _build_indexes(self) -> None:
        """Those that gave up."""
        xdp = self.planes.xdp
        if xdp is not None and not self.adopting() and any(xdp.index_trouble().values()):
            async with self._one_at_a_time:
                await self._again.build(xdp)

    async def part(self, plane: str, family: Family) -> None:
        """Compare one family in one plane, and bring it in line."""
        tally, began = Tally(), time.monotonic()
        try:
            async with self._one_at_a_time:
                xdp, kernel = self.planes.xdp, self.planes.kernel
                await audit_part((plane, family), self._desired, xdp, kernel, tally, self._fill, self._changes)
        except BridgeError as error:
            self.events.add("audit-failed", f"{plane} {family.label}", str(error), Severity.WARNING)
            self._told(tally)
            return
        self.compared[plane, family] += 1
        self._told(tally)
        self._note(tally, [(plane, family.label)], began)
        await _give_back(tally)

    def look_at_stores(self) -> None:
        """Compare what prefixes lead to with what we stored, and bring it in line."""
        stores = self._stores()
        if stores is None:
            return
        tally, began = Tally(), time.monotonic()
        stores.look(tally, mend=True)
        self._told(tally)
        self._note(tally, [("xdp", STORES)], began)

    def _stores(self) -> Stores | None:
        return Stores(self.planes.xdp, self.words) if self.planes.xdp is not None else None

    def _note(self, found: AuditReport | Tally, places: list[Place], began: float) -> None:
        """Remember the sweep. What began after the last change that it could have missed is clean as of its begin."""
        took = time.monotonic() - began
        for place in places:
            swept = self.swept.setdefault(place, Swept())
            swept.addresses, swept.took_s = found.addresses.get(place, 0), took
            if place not in found.dirty:
                swept.clean_s = began

    def _desired(self, family: Family) -> Iterator[tuple[Keys, U32]]:
        for found in installed_in_slices(self.rib, family):
            yield Keys(family, found.hi, found.lo, found.length), found.group.astype(np.uint32)

    def _changes(self) -> int:
        return self.committer.log.rows_total

    def _fill(self, groups: list[int]) -> None:
        if groups:
            self.committer.groups(set(groups), Cause(CauseKind.REPAIR, detail="audit"))

    def _told(self, found: AuditReport | Tally) -> None:
        """Count, and an event for each kind."""
        self.repaired.update(found.divergent)
        for (plane, kind), count in found.divergent.items():
            such = next((one for one in found.examples if (one.plane, one.kind) == (plane, kind)), None)
            like = f", such as {self.tell(such)}" if such is not None else ""
            text = f"{count} {kind}, changed by somebody else and put back{like}; {self._since(plane, found)}"
            self.events.add("audit-repaired", plane, text, Severity.WARNING)

    def _since(self, plane: str, found: AuditReport | Tally) -> str:
        """How long it can have been so, and for how many addresses packets were told something else."""
        clean = [self.swept.get(place, Swept()).clean_s for place in found.dirty if place[0] == plane]
        known = [at for at in clean if at is not None]
        since = "never clean yet"
        if len(known) == len(clean):
            since = f"so for {time.monotonic() - min(known):.0f} s at most"
        wrong = sum(count for (where, _), count in found.addresses.items() if where == plane)
        return f"{since}; {wrong:.6g} addresses went another way" if wrong else since

    # -- words ------------------------------------------------------------------------------------------

    def tell(self, found: Divergence) -> str:
        """What is there and what should be."""
        if found.kind in ALONE:
            number = f" {found.want}" if found.kind == ADJACENCY else ""
            return f"{found.plane} {found.kind}{number}: {found.detail}"
        if found.kind == INDEX and found.have & int(HIDDEN):
            return f"{found.plane} index at {_reach(found)}: not laid out as the routes have it"
        if found.kind == INDEX:
            have, want = self._said(found.have), self._said(found.want)
            return f"{found.plane} index at {_reach(found)}: {have}, should be {want}"
        if found.kind == GROUP and found.detail:
            return f"{found.plane} {self._group(found.want)}: {found.detail}"
        if found.kind == GROUP:
            behind = f" ({found.prefix} is behind it)" if found.prefix is not None else ""
            return f"{found.plane} {self._group(found.want)} does not stand as it should{behind}"
        return f"{found.plane} {found.prefix}: {self._group(found.have)} there, should be {self._group(found.want)}"

    def _said(self, value: int) -> str:
        """What an index says."""
        group = self._group(value & ~int(DEFER))
        return f"the trie is asked ({group} under that)" if value & int(DEFER) else group

    def _group(self, number: int) -> str:
        if number in RESERVED:
            return RESERVED[number]
        if number == OURS_UNKNOWN:
            return "a way that is none of our groups"
        if number not in self.rib.groups:
            return f"group {number}, which no route uses"
        group = self.rib.groups[number]
        ways = [self._way(member) for member in group.active]
        ways += [f"backup {self._way(member)}" for member in group.backup]
        return f"group {number} ({', '.join(ways)})"

    def _way(self, member: Member) -> str:
        return f"{self.rib.next_hops[member.next_hop].address} of {self.name(member.peer)}"


def _reach(found: Divergence) -> str:
    """The addresses of an index's range."""
    return f"{found.prefix} and on to {found.detail}" if found.detail else str(found.prefix)
