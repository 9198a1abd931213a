"""Routes that came by single UPDATEs, on their way to the kernel as integers: columns of a few take ten times as long,
and meanwhile the interpreter is not there for the next UPDATE. What is odd about them is left to the columns.

A property test holds the messages equal to those of `kernel_wire.pack_routes`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from bgpbridge.fib.kernel_wire import (
    DELETE,
    MESSAGE,
    RT_SCOPE_NOWHERE,
    RTA_DST,
    RTA_NH_ID,
    RTA_PRIORITY,
    RTA_TABLE,
    RTN_UNICAST,
    Owner,
)
from bgpbridge.fib.keys import U8, U32, Keys, Rows
from bgpbridge.fib.pyroute import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    RTM_DELROUTE,
    RTM_NEWROUTE,
)
from bgpbridge.types import Family

__all__ = ["MOST", "Single", "columns", "pack_singles"]

MOST: Final = 16  # at a time; more are quicker in columns
_FORM: Final = {family: struct.Struct(f"=IHHII8BIHH{family.octets}sHHIHHIHHI") for family in Family}
_INSERT: Final = RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
_REPLACE: Final = RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
_DELETE: Final = RTM_DELROUTE, NLM_F_REQUEST
_DOES: Final = (_INSERT, _REPLACE, _DELETE)


class Single(NamedTuple):
    """One route: its row, prefix, the group wanted, and what to do (`kernel_wire.INSERT` and so on)."""

    row: int
    hi: int
    lo: int
    length: int
    group: int
    what: int


def columns(family: Family, few: Sequence[Single]) -> tuple[Rows, Keys, U32, U8]:
    """Rows, prefixes, groups, what to do."""
    rows, hi, lo, length, group, what = zip(*few, strict=True)
    keys = Keys.listed(family, hi, lo, length)
    return np.array(rows, np.int64), keys, np.array(group, np.uint32), np.array(what, np.uint8)


def pack_singles(family: Family, few: Sequence[Single], group_base: int, owner: Owner) -> bytes:
    """A message for each, sequence numbers from 1 on; the last one asks for an ACK."""
    return b"".join(_packed(family, few, group_base, owner))


def _packed(family: Family, few: Sequence[Single], group_base: int, owner: Owner) -> Iterable[bytes]:
    form, size, octets, table = _FORM[family], MESSAGE[family].itemsize, family.octets, owner.table
    short = table if table < 256 else 0
    for number, (_, hi, lo, length, group, what) in enumerate(few, 1):
        kind, flags = _DOES[what]
        gone = what == DELETE
        yield form.pack(
            *(size, kind, flags | NLM_F_ACK if number == len(few) else flags, number, 0),
            *(family.af, length, 0, 0, short, owner.protocol),
            *((RT_SCOPE_NOWHERE, 0) if gone else (0, RTN_UNICAST)),
            0,
            *(4 + octets, RTA_DST, (hi << 64 | lo).to_bytes(octets, "big")),
            *(8, RTA_PRIORITY, owner.metric),
            *((8, RTA_PRIORITY, owner.metric) if gone else (8, RTA_NH_ID, group_base + group)),
            *(8, RTA_TABLE, table),
        )
