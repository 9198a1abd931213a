"""Runs of UPDATEs in numpy: 64 KiB to 1 MiB of messages to columns of prefixes and attribute blocks.

Framing, NLRI and blocks are found for all messages in lock-step (`bulk_frame`, `bulk_blocks`,
`bulk_nlri`). A message that is not plain (an error, more than one kind of routes, an End-of-RIB of an MP
family) is marked odd and read by `update.split_update`; its rows are put in where they belong. Whatever
RFC 7606 says is therefore said there alone. Held equal to it by tests/property/test_wire_bulk.py and by
every vector.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.bulk_blocks import Blocks, join_blocks, split_messages
from bgpbridge.wire.bulk_frame import I64, Octets, frame_run
from bgpbridge.wire.bulk_odd import OddMessages
from bgpbridge.wire.bulk_rows import NlriColumns, in_order, walk_fields
from bgpbridge.wire.raw_update import maximum_message
from bgpbridge.wire.verdicts import Finding

__all__ = ["Batch", "Blocks", "NlriColumns", "decode_in_steps", "decode_run"]


@dataclass(slots=True)
class Batch:
    """A run, decoded. `messages` is the number of messages that count: one that resets the session ends
    the run before itself. `findings` are those of messages; blocks have their own when decoded, and those in `second`
    share their message with the one before (routes of both kinds): what is wrong with both is said once."""

    messages: int
    columns: dict[Family, NlriColumns]
    blocks: Blocks
    end_of_rib: tuple[tuple[int, Family], ...]
    findings: tuple[tuple[int, Finding], ...]
    verdict: Verdict
    second: tuple[int, ...] = ()


def decode_run(data: bytes | memoryview, session: Session) -> Batch:
    """Decode whole UPDATE messages that stand back to back. `data` is copied, and may be reused at once.

    After an AFI_SAFI_DISABLE the rest of the run is read as if the family had not been negotiated; the
    caller goes on with such a session. Raises WireError when a message is not an UPDATE.
    """
    steps = decode_in_steps(data, session)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            batch: Batch = done.value
            return batch


def decode_in_steps(data: bytes | memoryview, session: Session) -> Generator[None, None, Batch]:
    """The same, with points at which anything else may be done: a run of 1 MiB takes some 10 ms."""
    run = Octets.copy(data)
    start, length, problem = frame_run(run, maximum_message(session))
    yield
    batch = yield from _decode(run, start, length, session)
    if problem and batch.verdict < Verdict.SESSION_RESET:
        finding = Finding(Verdict.SESSION_RESET, 0, *problem)
        batch.findings += ((len(start), finding),)
        batch.verdict = finding.verdict
    return batch


def _decode(run: Octets, start: I64, length: I64, session: Session) -> Generator[None, None, Batch]:
    """The messages at these starts; falls in two where a family is disabled on the way."""
    messages = split_messages(run, start, length, session)
    yield
    fields = walk_fields(run, messages, session)
    yield
    odd = OddMessages(session)
    yield from odd.read(run, start, length, messages)
    blocks, block_of_message, first_odd = join_blocks(run, messages, odd.blocks)
    columns = {}
    for family in Family:
        parts = [field.rows(messages.odd, block_of_message) for field in fields if field.family is family]
        rows = in_order([*parts, odd.rows(family, first_odd)])
        if rows is not None:
            columns[family] = rows
    second = tuple(first_odd + number for number in odd.second)
    batch = Batch(odd.count, columns, blocks, odd.end_of_rib, tuple(odd.findings), odd.verdict, second)
    if odd.disabled is not None:
        rest = replace(session, families=session.families - {odd.disabled})
        return _chain(batch, (yield from _decode(run, start[odd.count :], length[odd.count :], rest)))
    return batch


def _chain(first: Batch, then: Batch) -> Batch:
    """Two parts of one run as one."""
    offset, before = first.messages, len(first.blocks.start)
    for rows in then.columns.values():
        rows.message += offset
        rows.block = np.where(rows.block >= 0, rows.block + before, -1)
    parts = {family: [b.columns[family] for b in (first, then) if family in b.columns] for family in Family}
    joined = {family: in_order(rows) for family, rows in parts.items()}
    return Batch(
        offset + then.messages,
        {family: rows for family, rows in joined.items() if rows is not None},
        _chain_blocks(first.blocks, then.blocks),
        first.end_of_rib + tuple((offset + message, family) for message, family in then.end_of_rib),
        first.findings + tuple((offset + message, finding) for message, finding in then.findings),
        max(first.verdict, then.verdict),
        first.second + tuple(before + number for number in then.second),
    )


def _chain_blocks(first: Blocks, then: Blocks) -> Blocks:
    octets = np.concatenate([first.octets, then.octets])
    start = np.concatenate([first.start, then.start + len(first.octets)])
    return Blocks(octets, start, np.concatenate([first.length, then.length]), np.concatenate([first.mp, then.mp]))
