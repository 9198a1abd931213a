"""`audit`: Loc-RIB, XDP and kernel compared over all prefixes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bgpbridge.fib.audit import AuditReport
from bgpbridge.fib.audit import audit as compare
from bgpbridge.fib.keys import U32, Keys
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib.lookups import installed
from bgpbridge.types import Family

__all__ = ["AuditView", "audit"]


@dataclass(frozen=True, slots=True)
class AuditView:
    """`checked` prefixes by plane and family; `divergent` those that differ without a reason, by plane and kind;
    `pending` and `refused` differ and have one."""

    clean: bool
    checked: dict[str, int]
    divergent: dict[str, int]
    examples: tuple[str, ...]
    pending: int
    refused: int
    took_s: float


async def audit(bridge: Bridge) -> AuditView:
    """Compare everything now; the loop goes on meanwhile."""

    def desired(family: Family) -> tuple[Keys, U32]:
        found = installed(bridge.rib, family)
        return Keys(family, found.hi, found.lo, found.length), found.group.astype(np.uint32)

    report: AuditReport = await compare(desired, bridge.planes.xdp, bridge.planes.kernel)
    return AuditView(
        clean=report.clean,
        checked={f"{plane} {family}": count for (plane, family), count in report.checked.items()},
        divergent={f"{plane} {kind}": count for (plane, kind), count in report.divergent.items()},
        examples=tuple(str(example) for example in report.examples),
        pending=report.pending,
        refused=report.refused,
        took_s=round(report.took_s, 3),
    )
