"""The planes held against the Loc-RIB: when an operator asks, and a part at a time in the background.

Somebody else with root can change a trie or the kernel's tables without our hearing of it. What is found to differ
without a reason is brought in line, counted and told. In the background one family in one plane is compared at a
time; the pauses in between keep it under its share of one CPU, whatever the size of the tables.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import BridgeError
from bgpbridge.events import EventLog, Severity
from bgpbridge.fib.audit import GROUP, AuditReport, Divergence, Tally, audit, audit_part, parts
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.pipeline.planes import Committer, Planes
from bgpbridge.rib.groups import BLACKHOLE, LOCAL, Member
from bgpbridge.rib.loc_rib import Rib
from bgpbridge.rib.lookups import installed
from bgpbridge.types import Family

__all__ = ["SelfAudit"]

LEAST_PAUSE_S = 15.0
RESERVED = {0: "nothing", LOCAL: "punt (left to the kernel)", BLACKHOLE: "blackhole"}


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
    repaired: Counter[tuple[str, str]] = field(default_factory=Counter)
    compared: Counter[tuple[str, Family]] = field(default_factory=Counter)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def compare(self) -> AuditReport:
        """Both planes, all prefixes."""
        async with self._one_at_a_time:
            return await audit(self._desired, self.planes.xdp, self.planes.kernel)

    async def repair(self) -> tuple[AuditReport, AuditReport]:
        """What differed and was brought in line, and what a look after that finds."""
        async with self._one_at_a_time:
            found = await audit(self._desired, self.planes.xdp, self.planes.kernel, self._fill)
            self._told(found.divergent, found.examples)
            return found, await audit(self._desired, self.planes.xdp, self.planes.kernel)

    async def keep(self) -> None:
        """For ever, a part at a time."""
        pause = LEAST_PAUSE_S
        for part in itertools.cycle(parts(self.planes.xdp, self.planes.kernel)):
            await asyncio.sleep(pause)
            if self.permille and not self.adopting():
                began = time.monotonic()
                await self.part(*part)
                pause = max(LEAST_PAUSE_S, (time.monotonic() - began) * 1000 / self.permille)

    async def part(self, plane: str, family: Family) -> None:
        """Compare one family in one plane, and bring it in line."""
        tally = Tally()
        try:
            async with self._one_at_a_time:
                xdp, kernel = self.planes.xdp, self.planes.kernel
                await audit_part((plane, family), self._desired, xdp, kernel, tally, self._fill)
            self.compared[plane, family] += 1
        except BridgeError as error:
            self.events.add("audit-failed", f"{plane} {family.label}", str(error), Severity.WARNING)
        self._told(tally.divergent, tally.examples)

    def _desired(self, family: Family) -> tuple[Keys, U32]:
        found = installed(self.rib, family)
        return Keys(family, found.hi, found.lo, found.length), found.group.astype(np.uint32)

    def _fill(self, groups: list[int]) -> None:
        if groups:
            self.committer.groups(set(groups), Cause(CauseKind.REPAIR, detail="audit"))

    def _told(self, divergent: dict[tuple[str, str], int], examples: list[Divergence] | tuple[Divergence, ...]) -> None:
        """Count, and an event for each kind."""
        self.repaired.update(divergent)
        for (plane, kind), count in divergent.items():
            such = next((one for one in examples if (one.plane, one.kind) == (plane, kind)), None)
            like = f", such as {self.tell(such)}" if such is not None else ""
            text = f"{count} {kind}, changed by somebody else and put back{like}"
            self.events.add("audit-repaired", plane, text, Severity.WARNING)

    # -- words ------------------------------------------------------------------------------------------

    def tell(self, found: Divergence) -> str:
        """What is there and what should be."""
        if found.kind == GROUP:
            behind = f" ({found.prefix} is behind it)" if found.prefix is not None else ""
            return f"{found.plane} {self._group(found.want)} does not stand as it should{behind}"
        return f"{found.plane} {found.prefix}: {self._group(found.have)} there, should be {self._group(found.want)}"

    def _group(self, number: int) -> str:
        if number in RESERVED:
            return RESERVED[number]
        if number not in self.rib.groups:
            return f"group {number}, which no route uses"
        group = self.rib.groups[number]
        ways = [self._way(member) for member in group.active]
        ways += [f"backup {self._way(member)}" for member in group.backup]
        return f"group {number} ({', '.join(ways)})"

    def _way(self, member: Member) -> str:
        return f"{self.rib.next_hops[member.next_hop].address} of {self.name(member.peer)}"
