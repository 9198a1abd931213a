"""Entries of a table dump (TABLE_DUMP_V2) as the columns that a run of UPDATEs gives: one batch for each peer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bgpbridge.types import Family, Prefix, Verdict
from bgpbridge.wire.attributes import Code, frame_attributes
from bgpbridge.wire.bulk import Batch, Blocks, NlriColumns
from bgpbridge.wire.bulk_frame import padded_size
from bgpbridge.wire.mrt import RibEntry

__all__ = ["batch_of_entries"]

LOW = (1 << 64) - 1


def batch_of_entries(family: Family, entries: Sequence[tuple[Prefix, RibEntry]]) -> Batch:
    """Routes of one peer and family, each as if it had come in an UPDATE of its own. Attributes are judged where
    blocks are read, as those of UPDATEs are."""
    blocks: dict[bytes, int] = {}
    numbers = [blocks.setdefault(entry.block(family), len(blocks)) for _, entry in entries]
    columns = NlriColumns(
        message=np.arange(len(entries)),
        hi=np.array([prefix.value >> 64 for prefix, _ in entries], np.uint64),
        lo=np.array([prefix.value & LOW for prefix, _ in entries], np.uint64),
        length=np.array([prefix.length for prefix, _ in entries], np.uint8),
        path_id=np.array([entry.path_id for _, entry in entries], np.uint32),
        block=np.array(numbers, np.int64),
    )
    return Batch(len(entries), {family: columns}, _joined(list(blocks), family), (), (), Verdict.ACCEPT)


def _joined(blocks: Sequence[bytes], family: Family) -> Blocks:
    octets = b"".join(blocks)
    padded = np.zeros(padded_size(len(octets)), np.uint8)
    padded[: len(octets)] = np.frombuffer(octets, np.uint8)
    length = np.array([len(block) for block in blocks], np.int64)
    mp = np.array([family is Family.IPV6 or _has_mp_reach(block) for block in blocks], np.bool_)
    return Blocks(padded, np.cumsum(length) - length, length, mp)


def _has_mp_reach(block: bytes) -> bool:
    """True for IPv4 routes with a next hop in MP_REACH_NLRI (RFC 8950)."""
    return any(code == Code.MP_REACH for _, _, code, _, _ in frame_attributes(block, 0, len(block))[0])
