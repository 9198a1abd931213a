"""`audit`: Loc-RIB, XDP and kernel compared over all prefixes, and brought in line where one asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.fib.audit import AuditReport
from bgpbridge.pipeline.bridge import Bridge

__all__ = ["AuditView", "audit"]


@dataclass(frozen=True, slots=True)
class AuditView:
    """`checked` prefixes by plane and family; `divergent` those that differ without a reason, by plane and kind, with
    `examples`; `pending` and `refused` differ and have one. After a repair `repaired` is what was brought in line, and
    `clean` and `divergent` are what a look after it found."""

    clean: bool
    checked: dict[str, int]
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
    return AuditView(
        clean=report.clean,
        checked={f"{plane} {family}": count for (plane, family), count in report.checked.items()},
        divergent=_by_name(report),
        repaired=_by_name(mended) if mended is not None else {},
        examples=tuple(bridge.self_audit.tell(one) for one in (mended or report).examples),
        pending=report.pending,
        refused=report.refused,
        took_s=round(report.took_s + (mended.took_s if mended is not None else 0.0), 3),
    )


def _by_name(report: AuditReport) -> dict[str, int]:
    return {f"{plane} {kind}": count for (plane, kind), count in report.divergent.items()}
