"""How long an audit of both planes takes: every prefix and every address of both families, XDP and the kernel, as
`bgpbridge audit` and the background compare them, beside an event loop that asks for a turn each 5 ms. By the clock, in
CPU time (the kernel's share of dumps is in it), in memory above what the process had, and the longest wait of the loop.

Groups, adjacencies and the control word, a few milliseconds more, are left out: the stand stores them by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from bgpbridge.bench.datapath.lookups import words
from bgpbridge.bench.datapath.planes import HOME_GROUP, HOMES
from bgpbridge.bench.datapath.stand import Stand
from bgpbridge.bench.records import OURS
from bgpbridge.bench.results import Figure
from bgpbridge.errors import LabError
from bgpbridge.fib.audit import Part, Tally, audit_part, parts
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.types import Family

__all__ = ["audits"]

SLICE: Final = 100_000
TURN_S: Final = 0.005
RESET_PEAK: Final = "5"  # of /proc/PID/clear_refs, proc(5)


def audits(stand: Stand) -> Iterator[tuple[str, Figure]]:
    """Each run. Raises LabError when something differs: then the figures of the other parts are not to be trusted."""
    for table in stand.planes.tables.values():  # changes of another part may have ended half way
        for at in range(0, len(table), SLICE):
            stand.planes.xdp.apply(table.changes(np.arange(at, min(at + SLICE, len(table)))))
    metric = f"audit_{words(len(stand.table(Family.IPV4)))}"
    for _ in range(stand.plan.runs):
        ran = stand.place.at("r0", lambda: asyncio.run(_audit(stand)))
        yield OURS, Figure(metric, "s", ran.took_s)
        yield OURS, Figure(f"{metric}_cpu", "s", ran.cpu_s)
        yield OURS, Figure(f"{metric}_memory", "MiB", ran.memory_mib)
        yield OURS, Figure(f"{metric}_turn", "ms", 1e3 * ran.turn_s)


@dataclass(frozen=True, slots=True)
class Ran:
    """One audit."""

    took_s: float
    cpu_s: float
    memory_mib: float
    turn_s: float


async def _audit(stand: Stand) -> Ran:
    tally, late = Tally(), [0.0]
    turns = asyncio.create_task(_take_turns(late))
    before = _reset_peak_mib()
    began, cpu = time.monotonic(), time.process_time()
    for part in parts(stand.planes.xdp, stand.planes.kernel):
        await audit_part(part, partial(_desired, stand, part), stand.planes.xdp, stand.planes.kernel, tally)
    ran = Ran(time.monotonic() - began, time.process_time() - cpu, _mib("VmHWM") - before, late[0])
    turns.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await turns
    if tally.divergent:
        raise LabError(f"the planes of the bench differ from its tables: {tally.divergent}, {tally.examples[:3]}")
    return ran


async def _take_turns(late: list[float]) -> None:
    while True:
        due = time.monotonic() + TURN_S
        await asyncio.sleep(TURN_S)
        late[0] = max(late[0], time.monotonic() - due)


def _desired(stand: Stand, part: Part, family: Family) -> Iterator[tuple[Keys, U32]]:
    """The first routes of the table that stand in a plane, as copies; in XDP the way back to the sender too."""
    plane, table = part[0], stand.table(family)
    count = (stand.planes.in_xdp if plane == "xdp" else stand.planes.in_kernel)[family]
    keys = Keys(family, table.hi[:count].copy(), table.lo[:count].copy(), table.length[:count].copy())
    yield keys, table.group[:count].copy()
    if plane == "xdp":
        yield Keys.of(family, [HOMES[family]]), np.array([HOME_GROUP], np.uint32)


def _reset_peak_mib() -> float:
    """What the process has now; its peak begins there."""
    Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")
    return _mib("VmRSS")


def _mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
