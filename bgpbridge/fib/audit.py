"""Do the planes hold what the Loc-RIB wants? Every prefix of the Loc-RIB, the XDP tries and the kernel's table
is compared (DESIGN section 10, invariant 1).

The planes are read from the kernel itself, not from what we think we wrote, in a thread while routing goes on.
So three things are no divergence but are counted by name: what changed or was waiting while we looked
(`pending`), and what a plane has refused and will be tried again (`refused`). A prefix that a foreign route
holds is wanted as PUNT in XDP. The rest differs, and should not. `audit_part` looks at one family in one plane, and
with `mend` brings it in line, in the turn of the loop in which it was found to differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import GroupFlag
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.keys import U32, Keys, KeyTable, Rows
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.types import Family, Prefix

__all__ = [
    "GROUP",
    "AuditReport",
    "Desired",
    "Divergence",
    "Mend",
    "Part",
    "Tally",
    "audit",
    "audit_part",
    "differences",
    "parts",
]

Desired = Callable[[Family], tuple[Keys, U32]]
"""The Loc-RIB's prefixes of a family with their groups (0 = no route), as copies: a thread reads them."""

Mend = Callable[[list[int]], None]
"""Fills these XDP groups anew."""

Part = tuple[str, Family]
"""What is compared at a time: plane (`xdp`, `kernel`) and family."""

EXAMPLES = 20
MISSING, EXTRA, OTHER, GROUP = "missing", "extra", "other group", "group"


@dataclass(frozen=True, slots=True)
class Divergence:
    """One prefix that a plane (`xdp`, `kernel`) has otherwise than it should: group ids, 0 = no route.
    Kind `group`: the group itself stands otherwise than wanted, `prefix` is one behind it."""

    plane: str
    kind: str
    prefix: Prefix | None
    have: int
    want: int


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`checked` prefixes per plane and family label; `divergent` counts by (plane, kind)."""

    checked: Mapping[tuple[str, str], int]
    divergent: dict[tuple[str, str], int]
    examples: tuple[Divergence, ...]
    pending: int
    refused: int
    took_s: float

    @property
    def clean(self) -> bool:
        """No prefix differs without a name for it."""
        return not self.divergent


@dataclass(frozen=True, slots=True)
class Differences:
    """Where a table differs from what is wanted: prefix, kind, what it has and should have, as columns."""

    keys: Keys
    kind: Rows
    have: U32
    want: U32

    def take(self, which: Rows) -> Differences:
        """Some of them."""
        return Differences(self.keys.take(which), self.kind[which], self.have[which], self.want[which])


KINDS = (MISSING, EXTRA, OTHER)


def differences(have: tuple[Keys, U32], want: tuple[Keys, U32]) -> Differences:
    """Compare two tables. Pure; a million prefixes take half a second, most of it without the GIL."""
    have_keys, have_values = have
    want_keys, want_values = want
    at = KeyTable(have_keys).find(want_keys)
    found = np.zeros(len(want_keys), np.uint32)
    found[at >= 0] = have_values[at[at >= 0]]
    wrong = np.flatnonzero(found != want_values)
    kind = np.where(found[wrong] == 0, 0, np.where(want_values[wrong] == 0, 1, 2))
    alone = np.ones(len(have_keys), np.bool_)
    alone[at[at >= 0]] = False
    extra = np.flatnonzero(alone)
    return Differences(
        Keys.joined(want_keys.family, [want_keys.take(wrong), have_keys.take(extra)]),
        np.concatenate([kind, np.ones(len(extra), np.int64)]).astype(np.int64),
        np.concatenate([found[wrong], have_values[extra]]),
        np.concatenate([want_values[wrong], np.zeros(len(extra), np.uint32)]),
    )


def _with_overlay(want: tuple[Keys, U32], punted: list[Prefix]) -> tuple[Keys, U32]:
    """What XDP should hold: PUNT under every punted prefix, also under those that the RIB does not have."""
    keys, groups = want
    overlay = Keys.of(keys.family, punted)
    at = KeyTable(overlay).find(keys)
    groups = np.where(at >= 0, np.uint32(abi.GROUP_PUNT), groups)
    lone = np.ones(len(overlay), np.bool_)
    lone[at[at >= 0]] = False
    count = int(lone.sum())
    return (
        Keys.joined(keys.family, [keys, overlay.take(lone)]),
        np.concatenate([groups, np.full(count, abi.GROUP_PUNT, np.uint32)]),
    )


class Tally:
    """Sorts what differs into divergent, pending and refused."""

    def __init__(self) -> None:
        self.checked: dict[tuple[str, str], int] = {}
        self.divergent: dict[tuple[str, str], int] = {}
        self.examples: list[Divergence] = []
        self.pending = 0
        self.refused = 0

    def add(self, plane: str, found: Differences, moving: Keys, refused: Keys) -> Differences:
        """What differs in one plane and family; gives what of it has no reason to."""
        in_motion = KeyTable(moving).find(found.keys) >= 0
        named = (KeyTable(refused).find(found.keys) >= 0) & ~in_motion
        self.pending += int(in_motion.sum())
        self.refused += int(named.sum())
        rest = found.take(np.flatnonzero(~in_motion & ~named))
        for number, kind in enumerate(KINDS):
            which = np.flatnonzero(rest.kind == number)
            if not len(which):
                continue
            self.divergent[plane, kind] = self.divergent.get((plane, kind), 0) + len(which)
            for index in which[: max(0, EXAMPLES - len(self.examples))].tolist():
                have, want = int(rest.have[index]), int(rest.want[index])
                self.examples.append(Divergence(plane, kind, rest.keys.prefix(index), have, want))
        return rest

    def add_groups(self, plane: str, groups: list[int], example: Callable[[int], Prefix | None]) -> None:
        """Groups that stand otherwise than wanted."""
        for group in groups:
            self.divergent[plane, GROUP] = self.divergent.get((plane, GROUP), 0) + 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(Divergence(plane, GROUP, example(group), group, group))


def parts(xdp: XdpFib | None, kernel: KernelFib | None) -> list[Part]:
    """All that there is to compare."""
    planes = [name for name, plane in (("xdp", xdp), ("kernel", kernel)) if plane is not None]
    return [(plane, family) for family in Family for plane in planes]


async def audit(
    desired: Desired, xdp: XdpFib | None, kernel: KernelFib | None, mend: Mend | None = None
) -> AuditReport:
    """Compare both planes with the Loc-RIB. Call it in the event loop: the tables are snapped there, the long
    parts run in a thread. With `mend` all that differs is brought in line."""
    began = time.monotonic()
    tally = Tally()
    for part in parts(xdp, kernel):
        await audit_part(part, desired, xdp, kernel, tally, mend)
    return AuditReport(
        checked=tally.checked,
        divergent=tally.divergent,
        examples=tuple(tally.examples),
        pending=tally.pending,
        refused=tally.refused,
        took_s=time.monotonic() - began,
    )


async def audit_part(
    part: Part, desired: Desired, xdp: XdpFib | None, kernel: KernelFib | None, tally: Tally, mend: Mend | None = None
) -> None:
    """One family in one plane."""
    plane, family = part
    if plane == "xdp":
        assert xdp is not None
        await _audit_xdp(family, desired, xdp, tally, mend)
    else:
        assert kernel is not None
        await _audit_kernel(family, desired, kernel, tally, mend)


async def _audit_xdp(family: Family, desired: Desired, xdp: XdpFib, tally: Tally, mend: Mend | None) -> None:
    xdp.watch(family, on=True)
    want, punted = desired(family), xdp.punted(family)
    try:
        found = await asyncio.to_thread(lambda: differences(xdp.table(family), _with_overlay(want, punted)))
    finally:
        moving, refused = xdp.watch(family, on=False)
    tally.checked["xdp", family.label] = int((want[1] != 0).sum())
    wrong = tally.add("xdp", found, moving, refused)
    used = np.unique(want[1])
    groups = [g for g in used.tolist() if g >= abi.GROUP_FIRST_FREE and not xdp.flags(g) & GroupFlag.VALID]
    tally.add_groups("xdp", groups, lambda group: _behind(want, group))
    if mend is not None:
        mend(groups)  # before the prefixes that point at them
        xdp.believe(wrong.keys, wrong.have)


async def _audit_kernel(family: Family, desired: Desired, kernel: KernelFib, tally: Tally, mend: Mend | None) -> None:
    kernel.watch(on=True)
    keys, groups = desired(family)
    want = keys, np.where(groups == abi.GROUP_PUNT, np.uint32(0), groups)  # the kernel knows its own prefixes
    try:
        found = await asyncio.to_thread(lambda: differences(kernel.table(family), want))
        crooked = await asyncio.wrap_future(kernel.crooked_groups())
    finally:
        moving, refused = kernel.watch(on=False)[family]
    tally.checked["kernel", family.label] = int((want[1] != 0).sum())
    wrong = tally.add("kernel", found, moving, refused)
    used = set(np.unique(groups).tolist()) - {0, abi.GROUP_PUNT, BLACKHOLE}
    bent = [group for group in crooked if group in used]
    tally.add_groups("kernel", bent, lambda group: _behind(want, group))
    if mend is not None and (bent or len(wrong.keys)):
        kernel.audit_soon()  # it compares all, and mends what differs
        await asyncio.wrap_future(kernel.settled())


def _behind(table: tuple[Keys, U32], group: int) -> Prefix | None:
    rows = np.flatnonzero(table[1] == group)
    return table[0].prefix(int(rows[0])) if len(rows) else None
