"""Do the planes hold what the Loc-RIB wants? Every prefix of the Loc-RIB, the XDP tries and the kernel's table is
compared, every slot of the indexes in front of the tries, and so the answer to every address there is (DESIGN section
10, invariant 1). What prefixes lead to is looked at by `audit_stores`.

The planes are read from the kernel itself, not from what we think we wrote, in a thread while routing goes on.
So three things are no divergence but are counted by name: what changed or was waiting while we looked
(`pending`), and what a plane has refused and will be tried again (`refused`). A prefix that a foreign route
holds is wanted as PUNT in XDP. The rest differs, and should not. `audit_part` looks at one family in one plane, and
with `mend` brings it in line.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.errors import DatapathError
from bgpbridge.fib.audit_look import Look, look_at_index, look_at_kernel, look_at_trie, look_at_xdp
from bgpbridge.fib.audit_prefixes import Differences, nothing, with_overlay, without_nothing
from bgpbridge.fib.audit_stores import Stores
from bgpbridge.fib.audit_tally import GROUP, AuditReport, Divergence, Tally
from bgpbridge.fib.index6 import Index6
from bgpbridge.fib.kernel import KernelFib
from bgpbridge.fib.keys import U32, Keys, KeyTable
from bgpbridge.fib.order import Entries, in_order
from bgpbridge.fib.sweep import excuses
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.scheduling import ask_usual_slice, giving_way
from bgpbridge.types import Family, Prefix

__all__ = [
    "GROUP",
    "AuditReport",
    "Desired",
    "Divergence",
    "Mend",
    "Part",
    "Stores",
    "Tally",
    "audit",
    "audit_part",
    "parts",
]

Desired = Callable[[Family], Iterable[tuple[Keys, U32]]]
"""The Loc-RIB's prefixes of a family with their groups (0 = no route), as copies: a thread reads them. In slices: what
changes between two of them is noted as changed."""

Mend = Callable[[list[int]], None]
"""Fills these XDP groups anew."""

Part = tuple[str, Family]
"""What is compared at a time: plane (`xdp`, `kernel`) and family."""

T = TypeVar("T")
U = TypeVar("U")
LATE = 50_000  # prefixes that changed since the verdict: a table is loading, the next sweep will find what stays wrong


Changing = Callable[[], int]
"""How many changes there have been: while they come in, an audit gives way."""


async def aside(work: Callable[[], T], changes: Changing) -> T:
    """Long work in a thread that stands back for those that packets wait for, and rests at points (`breathe`) while
    changes come in. It keeps its nice value: it holds the interpreter now and then, and who does that must not be kept
    from a CPU."""

    def run() -> T:
        ask_usual_slice()
        with giving_way(changes):
            return work()

    return await asyncio.to_thread(run)


def parts(xdp: XdpFib | None, kernel: KernelFib | None) -> list[Part]:
    """All that there is to compare."""
    planes = [name for name, plane in (("xdp", xdp), ("kernel", kernel)) if plane is not None]
    return [(plane, family) for family in Family for plane in planes]


async def audit(
    desired: Desired,
    xdp: XdpFib | None,
    kernel: KernelFib | None,
    mend: Mend | None = None,
    stores: Stores | None = None,
    changes: Changing = lambda: 0,
) -> AuditReport:
    """Compare both planes with the Loc-RIB. Call it in the event loop: the tables are snapped there, the long
    parts run in a thread. With `mend` all that differs is brought in line."""
    began = time.monotonic()
    tally, beside = Tally(), Tally()
    if stores is not None:
        stores.look(tally, mend=mend is not None)
    looks = (
        _audit_plane(xdp, None, desired, tally, mend, changes),
        _audit_plane(None, kernel, desired, beside, mend, changes),
    )
    await _both(*looks)  # the kernel is asked most of the time
    tally.join(beside)
    return AuditReport(
        checked=tally.checked,
        divergent=tally.divergent,
        addresses=tally.addresses,
        stores=tally.stores,
        dirty=frozenset(tally.dirty),
        examples=tuple(tally.examples),
        pending=tally.pending,
        refused=tally.refused,
        took_s=time.monotonic() - began,
    )


async def _audit_plane(
    xdp: XdpFib | None,
    kernel: KernelFib | None,
    desired: Desired,
    tally: Tally,
    mend: Mend | None,
    changes: Changing,
) -> None:
    for part in parts(xdp, kernel):
        await audit_part(part, desired, xdp, kernel, tally, mend, changes)


async def audit_part(
    part: Part,
    desired: Desired,
    xdp: XdpFib | None,
    kernel: KernelFib | None,
    tally: Tally,
    mend: Mend | None = None,
    changes: Changing = lambda: 0,
) -> None:
    """One family in one plane."""
    plane, family = part
    with tally.part(plane, family.label):
        if plane == "xdp":
            assert xdp is not None
            await _audit_xdp(family, desired, xdp, tally, mend, changes)
        else:
            assert kernel is not None
            await _audit_kernel(family, desired, kernel, tally, mend, changes)


# -- XDP --------------------------------------------------------------------------------------------------------


async def _snapped(desired: Desired, family: Family) -> Callable[[], tuple[Keys, U32]]:
    """What is wanted, a slice in each turn of the loop; for a thread to put together."""
    slices = []
    for part in desired(family):
        slices.append(part)
        await asyncio.sleep(0)

    def joined() -> tuple[Keys, U32]:
        keys = Keys.joined(family, [keys for keys, _ in slices])
        return keys, np.concatenate([np.empty(0, np.uint32), *(groups for _, groups in slices)])

    return joined


async def _audit_xdp(
    family: Family, desired: Desired, xdp: XdpFib, tally: Tally, mend: Mend | None, changes: Changing
) -> None:
    xdp.watch(family, on=True)
    try:
        snapped, punted = await _snapped(desired, family), xdp.punted(family)

        def first() -> tuple[Entries, list[int], Entries]:
            wanted = snapped()
            return wanted, _used(wanted[1]), in_order(without_nothing(with_overlay(wanted, punted)))

        wanted, used, want = await aside(first, changes)
        trie, index = await _both(
            aside(lambda: look_at_trie(family, xdp, want), changes),  # the kernel does most of this
            aside(lambda: look_at_index(family, xdp, want), changes),
        )
        look = await aside(lambda: look_at_xdp(family, xdp, want, trie, index), changes)
        moving, refused = xdp.watch(family, on=True)
        judged, look = await aside(lambda: look.judged(moving, refused), changes)
        tally.checked["xdp", family.label] = int(np.count_nonzero(wanted[1]))
        tally.add("xdp", judged)
        tally.add_addresses("xdp", family, look.addresses)
        if look.index is not None:
            tally.add_index("xdp", look.index)
        groups = [group for group in used if group >= abi.GROUP_FIRST_FREE and not xdp.groups.filled(group)]
        tally.add_groups("xdp", groups, lambda group: _behind(wanted, group))
        if mend is not None:
            mend(groups)  # before the prefixes that point at them
            await _mend_xdp(family, xdp, judged.wrong, look, changes)
    finally:
        xdp.watch(family, on=False)


async def _both(one: Awaitable[T], other: Awaitable[U]) -> tuple[T, U]:
    """Side by side, each to its end whatever becomes of the other: threads read on, and nobody may take away what they
    read."""
    ends = await asyncio.gather(one, other, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return cast("tuple[T, U]", tuple(ends))


async def _mend_xdp(family: Family, xdp: XdpFib, wrong: Differences, look: Look, changes: Changing) -> None:
    """In line with what was wanted, but for what has changed since: each slice in the turn in which that is asked.
    Where routes change all the time under a short prefix, the next sweep has another try."""
    rows = await aside(lambda: xdp.locate(wrong.keys), changes)
    late = nothing(family)
    for number, (index, part) in enumerate(look.slices(len(wrong))):
        if number:
            await asyncio.sleep(0)
        late = Keys.joined(family, [late, xdp.watch(family, on=True)[0]])
        if len(late) > LATE:
            return
        still = KeyTable(late).find(wrong.keys.take(part)) < 0
        stood = wrong.take(part).take(np.flatnonzero(still))
        xdp.believe(stood.keys, stood.have, rows[part][still])
        if look.engine is not None and index is not None:
            look.engine.mend(index.excused(excuses(nothing(family), look.engine.widened(late), nothing(family))))
        xdp.watch(family, on=True)  # what has been noted in this turn is our own doing
    if isinstance(look.engine, Index6) and look.index is not None and len(look.index.wrong()):
        with contextlib.suppress(DatapathError):  # where no grace period can be had, nothing is used again
            await asyncio.wrap_future(look.engine.grace())
            look.engine.recount()


# -- the kernel -------------------------------------------------------------------------------------------------


async def _audit_kernel(
    family: Family, desired: Desired, kernel: KernelFib, tally: Tally, mend: Mend | None, changes: Changing
) -> None:
    kernel.watch(on=True)
    try:
        snapped = await _snapped(desired, family)

        def first() -> tuple[tuple[Keys, U32], set[int], Look]:
            keys, groups = snapped()
            used = set(_used(groups)) - {0, abi.GROUP_PUNT, BLACKHOLE}
            want = keys, np.where(groups == abi.GROUP_PUNT, np.uint32(0), groups)  # the kernel knows its own prefixes
            return want, used, look_at_kernel(family, kernel, without_nothing(want))

        want, used, look = await aside(first, changes)
        crooked = await asyncio.wrap_future(kernel.crooked_groups())
        moving, refused = kernel.watch(on=True)[family]
        judged, look = await aside(lambda: look.judged(moving, refused), changes)
    finally:
        kernel.watch(on=False)
    tally.checked["kernel", family.label] = int(np.count_nonzero(want[1]))
    tally.add("kernel", judged)
    tally.add_addresses("kernel", family, look.addresses)
    bent = [group for group in crooked if group in used]
    tally.add_groups("kernel", bent, lambda group: _behind(want, group))
    if mend is not None and (bent or len(judged.wrong)):
        kernel.audit_soon()  # it compares all, and mends what differs
        await asyncio.wrap_future(kernel.settled())


def _used(groups: U32) -> list[int]:
    """Each group once; they are small numbers."""
    found: list[int] = np.flatnonzero(np.bincount(groups, minlength=1)).tolist()
    return found


def _behind(table: tuple[Keys, U32], group: int) -> Prefix | None:
    rows = np.flatnonzero(table[1] == group)
    return table[0].prefix(int(rows[0])) if len(rows) else None
