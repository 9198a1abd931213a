"""`audit`: Loc-RIB, XDP and kernel compared over all prefixes and addresses, and brought in line where one asks."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bgpbridge.fib.audit import AuditReport
from bgpbridge.pipeline.bridge import Bridge

__all__ = ["AuditView", "audit"]


@dataclass(frozen=True, slots=True)
class AuditView:
    """`checked` prefixes by plane and family; `addresses` that the plane answers otherwise than the Loc-RIB (0: every
    address there is gets the answer that it should); `stores` groups, adjacencies and control words that were compared.
    `divergent`: what differs without a reason, by plane and kind, with `examples`; prefixes that are `pending` or
    `refused` have one. `last_clean_s`: for each part how long ago a sweep began that found nothing, null for never:
    what differs has not done so for longer. After a repair `repaired` is what was brought in line, and the rest is what
    a look after it found."""

    clean: bool
    checked: dict[str, int]
    addresses: dict[str, float]
    stores: dict[str, int]
    last_clean_s: dict[str, float | None]
    divergent: dict[str, int]
    repaired: dict[str, int]
    examples: tuple[str, ...]
    pending: int
    refused: int
    took_s: float


async def audit(bridge: Bridge, *, repair: bool = False) -> AuditView:
    """Compare everything now; the loop goes on meanwhile."""
    mended: AuditReport | None = None
    if repair:
        mended, report = await bridge.self_audit.repair()
    else:
        report = await bridge.self_audit.compare()
    now = time.monotonic()
    swept = {" ".join(place): one.clean_s for place, one in bridge.self_audit.swept.items()}
    return AuditView(
        clean=report.clean,
        checked={f"{plane} {family}": count for (plane, family), count in report.checked.items()},
        addresses={f"{plane} {family}": _figure(count) for (plane, family), count in report.addresses.items()},
        stores=dict(report.stores),
        last_clean_s={place: None if at is None else round(now - at, 3) for place, at in swept.items()},
        divergent=_by_name(report),
        repaired=_by_name(mended) if mended is not None else {},
        examples=tuple(bridge.self_audit.tell(one) for one in (mended or report).examples),
        pending=report.pending,
        refused=report.refused,
        took_s=round(report.took_s + (mended.took_s if mended is not None else 0.0), 3),
    )


def _by_name(report: AuditReport) -> dict[str, int]:
    return {f"{plane} {kind}": count for (plane, kind), count in report.divergent.items()}


def _figure(count: int) -> float:
    """Exact where a float can be: of IPv6 addresses there are too many for an integer of JSON."""
    return count if count < 1 << 53 else float(count)
