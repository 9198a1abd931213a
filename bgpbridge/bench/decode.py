"""How quickly UPDATEs become prefixes and attributes, in this process: the bulk way (numpy, runs of 1 MiB, fields of
every block) and the scalar way, which is the oracle and reads what is rare."""

from __future__ import annotations

import gc
import ipaddress
import time
from collections.abc import Callable

import numpy as np

from bgpbridge.bench.feeds import made
from bgpbridge.bench.plan import Plan, Tell
from bgpbridge.bench.records import OURS, Row
from bgpbridge.bench.results import Figure, Results
from bgpbridge.bench.rig import ASN, uplink
from bgpbridge.types import Session
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.bulk_fields import decode_fields
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.update import decode_update
from bgpbridge.wire.verdicts import SessionKind

__all__ = ["NOTE", "measure"]

RUN_OCTETS = 1 << 20
SCALAR = 20_000
NOTE = "In one process, one core: UPDATEs of 3 to 4 prefixes, every one with attributes of its own. More is better."


def measure(plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """Metrics in prefixes a second."""
    up = uplink("a")
    session = Session(0, ASN, up.asn, up.ours, up.theirs, ipaddress.IPv4Address("10.0.0.2"))
    runs = _runs(made(plan.prefixes, up.origin()).octets)
    few = list(iter_messages(made(SCALAR, up.origin()).octets))
    kind = SessionKind.of(session)
    results = Results()
    for run in range(plan.runs):
        bulk = plan.prefixes / _timed(lambda: _bulk(runs, session, kind))
        scalar = SCALAR / _timed(lambda: [decode_update(message, session) for message in few])
        figures = [Figure("decode, bulk", "prefixes/s", bulk), Figure("decode, scalar", "prefixes/s", scalar)]
        for figure in figures:
            results.add(OURS, figure)
        tell(f"decode, run {run + 1}: {'; '.join(map(str, figures))}")
    return results.rows()


def _runs(octets: bytes) -> list[bytes]:
    """Whole messages, about RUN_OCTETS each."""
    found: list[bytes] = []
    start = at = 0
    for message in iter_messages(octets):
        at += len(message)
        if at - start >= RUN_OCTETS:
            found.append(octets[start:at])
            start = at
    return [*found, octets[start:]] if start < len(octets) else found


def _bulk(runs: list[bytes], session: Session, kind: SessionKind) -> None:
    for octets in runs:
        batch = decode_run(octets, session)
        decode_fields(batch.blocks, np.arange(len(batch.blocks.start)), kind)


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.monotonic()
    work()
    return time.monotonic() - began
