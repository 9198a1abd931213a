"""What the decision needs of many blocks at once, in columns."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.path_attributes import Decoded
from bgpbridge.wire.verdicts import SessionKind

__all__ = ["DEFAULT_LOCAL_PREF", "FieldFlag", "Fields", "Row", "decode_fields", "fields_of"]

DEFAULT_LOCAL_PREF = 100


class FieldFlag(enum.IntFlag):
    """Bits of `Fields.flags`."""

    MED = 1
    LOCAL_PREF = 2
    LINK_LOCAL = 4
    COMMUNITIES = 8
    EXTENDED = 16
    LARGE = 32
    ATOMIC_AGGREGATE = 64


class Row(NamedTuple):
    """The values of one block. A next hop of family 0 is none; IPv4 is in `next_hop_lo`."""

    verdict: int = 0
    origin: int = 0
    path_length: int = 0
    neighbor_as: int = 0
    origin_as: int = 0
    local_pref: int = DEFAULT_LOCAL_PREF
    med: int = 0
    next_hop_hi: int = 0
    next_hop_lo: int = 0
    next_hop_family: int = 0
    originator: int = 0
    cluster_length: int = 0
    flags: int = 0


@dataclass(slots=True)
class Fields:
    """Columns with the names of Row. Where `odd` is set the block was not plain: its values are those
    of an empty Row, and the caller puts in those of a scalar decode (`put(i, fields_of(decoded))`).
    Where it is not set the verdict is ACCEPT and there are no findings."""

    verdict: npt.NDArray[np.uint8]
    origin: npt.NDArray[np.uint8]
    path_length: npt.NDArray[np.uint16]
    neighbor_as: npt.NDArray[np.uint32]
    origin_as: npt.NDArray[np.uint32]
    local_pref: npt.NDArray[np.uint32]
    med: npt.NDArray[np.uint32]
    next_hop_hi: npt.NDArray[np.uint64]
    next_hop_lo: npt.NDArray[np.uint64]
    next_hop_family: npt.NDArray[np.uint8]
    originator: npt.NDArray[np.uint32]
    cluster_length: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint16]
    odd: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, rows: int) -> Self:
        """Columns of empty rows, none of them odd."""
        types = (
            np.uint8,
            np.uint8,
            np.uint16,
            *(np.uint32,) * 4,
            np.uint64,
            np.uint64,
            np.uint8,
            np.uint32,
            np.uint16,
            np.uint16,
        )
        columns = [np.full(rows, value, kind) for value, kind in zip(Row(), types, strict=True)]
        return cls(*columns, np.zeros(rows, np.bool_))

    def put(self, index: int, row: Row) -> None:
        """One row's values."""
        for column, value in zip(fields(self), row, strict=False):
            getattr(self, column.name)[index] = value

    def row(self, index: int) -> Row:
        """One row as a value."""
        return Row(*(int(getattr(self, column.name)[index]) for column in fields(self)[:-1]))


def fields_of(decoded: Decoded) -> Row:
    """The same values from a scalar decode, so that RFC 7606 lives in one place. Values of a block that
    could not be read are those of an empty Row."""
    a = decoded.attributes
    if a is None:
        return Row(verdict=int(decoded.verdict))
    hop = 0 if a.next_hop is None else int(a.next_hop)
    flags = FieldFlag(0)
    for flag, present in (
        (FieldFlag.MED, a.med is not None),
        (FieldFlag.LOCAL_PREF, a.local_pref is not None),
        (FieldFlag.LINK_LOCAL, a.link_local is not None),
        (FieldFlag.COMMUNITIES, a.communities),
        (FieldFlag.EXTENDED, a.extended),
        (FieldFlag.LARGE, a.large),
        (FieldFlag.ATOMIC_AGGREGATE, a.atomic_aggregate),
    ):
        flags |= flag if present else FieldFlag(0)
    return Row(
        verdict=int(decoded.verdict),
        origin=a.origin,
        path_length=a.path_length,
        neighbor_as=a.neighbor_as,
        origin_as=a.origin_as,
        local_pref=DEFAULT_LOCAL_PREF if a.local_pref is None else a.local_pref,
        med=a.med or 0,
        next_hop_hi=hop >> 64,
        next_hop_lo=hop & 0xFFFFFFFFFFFFFFFF,
        next_hop_family={0: 0, 4: 1, 6: 2}[a.next_hop.version if a.next_hop else 0],
        originator=int(a.originator_id) if a.originator_id else 0,
        cluster_length=len(a.cluster_list),
        flags=int(flags),
    )


def decode_fields(blocks: Blocks, which: npt.NDArray[np.int64], kind: SessionKind) -> Fields:
    """The fields of the blocks at the indexes `which`, in their order."""
    raise NotImplementedError
