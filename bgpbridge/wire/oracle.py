"""The bulk decoder held against the scalar one, message by message and block by block.

For tests and for the check run of the bench: anything but an empty answer is a fault of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import decode_attributes
from bgpbridge.wire.bulk import Batch, decode_run
from bgpbridge.wire.bulk_fields import decode_fields, fields_of
from bgpbridge.wire.found import findings_of
from bgpbridge.wire.update import split_update
from bgpbridge.wire.verdicts import Finding, SessionKind

__all__ = ["Reading", "difference", "read_bulk", "read_scalar"]

# message, prefix, path identifier, octets of the block (None: withdrawn), came in MP_REACH_NLRI
Row = tuple[int, Prefix, int, bytes | None, bool]


@dataclass(frozen=True, slots=True)
class Reading:
    """A run in values: what both decoders have to say the same of."""

    messages: int
    rows: dict[Family, list[Row]]
    end_of_rib: tuple[tuple[int, Family], ...]
    findings: tuple[tuple[int, Finding], ...]
    verdict: Verdict


def read_scalar(messages: Sequence[bytes], session: Session) -> Reading:
    """By `split_update`."""
    rows: dict[Family, list[Row]] = {family: [] for family in Family}
    ends: list[tuple[int, Family]] = []
    findings: list[tuple[int, Finding]] = []
    verdict = Verdict.ACCEPT
    count = 0
    for index, message in enumerate(messages):
        raw = split_update(message, session)
        findings += [(index, finding) for finding in raw.findings]
        verdict = max(verdict, raw.verdict)
        if raw.verdict is Verdict.SESSION_RESET:
            break
        count = index + 1
        ends += [(index, raw.end_of_rib)] if raw.end_of_rib else []
        for prefix, path_id in raw.unreach:
            rows[prefix.family].append((index, prefix, path_id, None, False))
        for family, mp, prefixes in raw.reach:
            rows[family] += [(index, prefix, path_id, raw.block, mp) for prefix, path_id in prefixes]
        gone = {finding.family for finding in raw.findings if finding.family}
        session = replace(session, families=session.families - gone)
    return Reading(count, rows, tuple(ends), tuple(findings), verdict)


def read_bulk(batch: Batch) -> Reading:
    """A batch in values."""
    rows: dict[Family, list[Row]] = {family: [] for family in Family}
    for family, columns in batch.columns.items():
        high, low, length = columns.hi.tolist(), columns.lo.tolist(), columns.length.tolist()
        message, path_id, block = columns.message.tolist(), columns.path_id.tolist(), columns.block.tolist()
        for i, index in enumerate(block):
            octets = batch.blocks.block(index) if index >= 0 else None
            mp = index >= 0 and bool(batch.blocks.mp[index])
            prefix = Prefix(family, high[i] << 64 | low[i], length[i])
            rows[family].append((message[i], prefix, path_id[i], octets, mp))
    return Reading(batch.messages, rows, batch.end_of_rib, batch.findings, batch.verdict)


def difference(messages: Sequence[bytes], session: Session) -> str:
    """Where the two decoders differ on a run, or an empty text."""
    batch = decode_run(b"".join(messages), session)
    bulk, scalar = read_bulk(batch), read_scalar(messages, session)
    for name in ("messages", "end_of_rib", "findings", "verdict"):
        if getattr(bulk, name) != getattr(scalar, name):
            return f"{name}: bulk {getattr(bulk, name)}, scalar {getattr(scalar, name)}"
    for family in Family:
        ours, theirs = bulk.rows[family], scalar.rows[family]
        if ours != theirs:
            first = next((pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]), None)
            return f"{family.label}: {len(ours)} rows in bulk, {len(theirs)} scalar; first difference {first}"
    return _fields_difference(batch, SessionKind.of(session))


def _fields_difference(batch: Batch, kind: SessionKind) -> str:
    """The same for the fields of all blocks."""
    blocks = batch.blocks
    fields = decode_fields(blocks, np.arange(len(blocks.start)), kind)
    for index in range(len(blocks.start)):
        decoded = decode_attributes(blocks.block(index), kind, mp=bool(blocks.mp[index]))
        if fields.odd[index]:
            continue
        found = findings_of(int(fields.found[index]))
        if found != decoded.findings or fields.row(index) != fields_of(decoded):
            return f"block {blocks.block(index).hex()}: bulk {fields.row(index)}, scalar {decoded}"
    return ""
