"""`health`: every check at every subject, BFD with every peer, and what is withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.errors import BridgeError
from bgpbridge.health.bfd_words import BfdStatus
from bgpbridge.health.results import Said
from bgpbridge.pipeline.bfd import Watched
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.pipeline.checked import Row

__all__ = ["BfdView", "CheckView", "HealthView", "checks", "health", "unasked", "unhealthy"]

LONGEST = 100  # characters of what a check said, in a line of `status`


@dataclass(frozen=True, slots=True)
class CheckView:
    """One check at one subject. `state` is unknown, healthy, unhealthy, recovering or suppressed since `since` (Unix
    time); `last` is what the last run said (pass, fail or unknown; empty before the first), with its `text`, `mend` and
    `latency_ms`. `failures` counts how often it went bad; `suppressed_s` are seconds left."""

    subject: str
    check: str
    kind: str
    state: str
    since: float
    last: str
    text: str
    mend: str
    latency_ms: float | None
    at: float
    passed: int
    failed: int
    unknown: int
    failures: int
    penalty: float
    suppressed_s: float


@dataclass(frozen=True, slots=True)
class BfdView:
    """BFD with one peer. `verdict` is what is done about it, `state` what the session says. Times in milliseconds;
    `downs` counts detections, `sent` and `received` packets."""

    peer: str
    interface: str
    address: str
    verdict: str
    since: float
    state: str
    remote_state: str
    diagnostic: str
    remote_diagnostic: int
    transmit_ms: float
    detect_ms: float
    local_discriminator: int
    remote_discriminator: int
    sent: int
    received: int
    downs: int
    suppressed_s: float
    trouble: str


@dataclass(frozen=True, slots=True)
class HealthView:
    """All of it. `withdrawn` are prefixes that health keeps from being announced, `refused` counts BFD packets that
    were discarded, by reason."""

    checks: tuple[CheckView, ...]
    bfd: tuple[BfdView, ...]
    withdrawn: tuple[str, ...]
    refused: dict[str, int]


async def health(bridge: Bridge) -> HealthView:
    """Everything now; what a BFD process that has died would say is what it said last."""
    watch = bridge.health.bfd
    statuses = {(one.status.interface, one.status.peer): one.status for one in watch.watched.values() if one.status}
    refused: dict[str, int] = {}
    if watch.running:
        try:
            statuses |= {(status.interface, status.peer): status for status in await watch.bfd.sessions()}
            refused = await watch.bfd.refused()
        except BridgeError:
            refused = {}
    bfd = tuple(_bfd(one, statuses) for one in watch.watched.values())
    return HealthView(checks(bridge), bfd, tuple(sorted(bridge.health.withdrawn)), refused)


def checks(bridge: Bridge) -> tuple[CheckView, ...]:
    """Every check at every subject, in the order of the configuration."""
    return tuple(_check(row) for row in bridge.health.rows.values())


def unhealthy(bridge: Bridge) -> tuple[str, ...]:
    """A line for each thing that is bad now."""
    found = [
        f"{row.subject}: {row.check.name} is {row.verdict}" for row in bridge.health.rows.values() if row.verdict.bad
    ]
    return (*found, *(f"peer {one.name}: BFD is {one.verdict}" for one in bridge.health.bfd.bad()))


def unasked(bridge: Bridge) -> Iterator[str]:
    """A line for each check whose last run could say nothing."""
    for row in bridge.health.rows.values():
        if row.last is not None and row.last.said is Said.UNKNOWN:
            yield f"{row.subject}: {row.check.name} can tell nothing: {row.last.text[:LONGEST]} (`bgpbridge health`)"


def _check(row: Row) -> CheckView:
    now_s, last = asyncio.get_running_loop().time(), row.last
    return CheckView(
        subject=str(row.subject),
        check=row.check.name,
        kind=row.check.kind.value,
        state=row.verdict.value,
        since=row.since,
        last=last.said.value if last is not None else "",
        text=last.text if last is not None else "",
        mend=last.mend if last is not None else "",
        latency_ms=round(last.took_s * 1000, 3) if last is not None and last.took_s is not None else None,
        at=row.last_at,
        passed=row.counts[Said.PASS],
        failed=row.counts[Said.FAIL],
        unknown=row.counts[Said.UNKNOWN],
        failures=row.health.failures,
        penalty=round(row.health.penalty(now_s), 1),
        suppressed_s=round(row.health.suppressed_s(now_s), 1),
    )


def _bfd(one: Watched, statuses: dict[tuple[str, str], BfdStatus]) -> BfdView:
    wanted = one.wanted
    status = statuses.get(wanted.key) if wanted is not None else None
    seen = status if status is not None else BfdStatus("", "", state="none", remote_state="none")
    return BfdView(
        peer=one.name,
        interface=wanted.interface if wanted is not None else "",
        address=str(wanted.peer) if wanted is not None else "",
        verdict=one.verdict.value,
        since=one.since,
        state=seen.state if seen.known else "unknown",
        remote_state=seen.remote_state,
        diagnostic=seen.diagnostic,
        remote_diagnostic=seen.remote_diagnostic,
        transmit_ms=seen.transmit_us / 1000,
        detect_ms=seen.detect_us / 1000,
        local_discriminator=seen.local_discriminator,
        remote_discriminator=seen.remote_discriminator,
        sent=seen.sent,
        received=seen.received,
        downs=one.downs,
        suppressed_s=round(one.health.suppressed_s(asyncio.get_running_loop().time()), 1),
        trouble=one.trouble,
    )
