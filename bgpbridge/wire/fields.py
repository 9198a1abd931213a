"""What the decision needs of many attribute blocks, in columns: the values, and one row from the oracle.

`bulk_fields.decode_fields` fills these columns for plain blocks; `fields_of` gives the same values from a
scalar decode, so that RFC 7606 is said in one place.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family
from bgpbridge.wire.found import key_of
from bgpbridge.wire.path_attributes import Decoded, PathAttributes

__all__ = ["DEFAULT_LOCAL_PREF", "FieldFlag", "Fields", "Row", "fields_of"]

DEFAULT_LOCAL_PREF = 100
_LOW = 0xFFFFFFFFFFFFFFFF


class FieldFlag(enum.IntFlag):
    """Bits of `Fields.flags`: which attributes the block has."""

    MED = 1
    LOCAL_PREF = 2
    LINK_LOCAL = 4  # the next hop has, or is, a link-local address
    COMMUNITIES = 8
    EXTENDED = 16
    LARGE = 32
    ATOMIC_AGGREGATE = 64


class Row(NamedTuple):
    """The values of one block. A next hop of family 0 is none; IPv4 is in `next_hop_lo`. `originator` is
    ORIGINATOR_ID, 0 for none; `cluster_length` the number of identifiers in CLUSTER_LIST; `found` the key of what is
    wrong with it (`wire.found`); `link_hi` and `link_lo` are the link-local next hop, 0 for none."""

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
    found: int = 0
    link_hi: int = 0
    link_lo: int = 0


_TYPES = (
    *(np.uint8, np.uint8, np.uint16),
    *(np.uint32, np.uint32, np.uint32, np.uint32),
    *(np.uint64, np.uint64, np.uint8),
    *(np.uint32, np.uint16, np.uint16),
    *(np.uint64, np.uint64, np.uint64),
)


@dataclass(slots=True)
class Fields:
    """Columns with the names of Row. Where `odd` is set the block was not plain: its values are those
    of an empty Row, and the caller puts in those of a scalar decode (`put`)."""

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
    found: npt.NDArray[np.uint64]
    link_hi: npt.NDArray[np.uint64]
    link_lo: npt.NDArray[np.uint64]
    odd: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, rows: int) -> Self:
        """Columns of empty rows, none of them odd."""
        columns: dict[str, Any] = {
            name: np.full(rows, value, kind) for name, value, kind in zip(Row._fields, Row(), _TYPES, strict=True)
        }
        return cls(**columns, odd=np.zeros(rows, np.bool_))

    def put(self, at: npt.NDArray[np.int64], rows: Iterable[Row]) -> None:
        """The values of some rows."""
        for name, values in zip(Row._fields, zip(*rows, strict=True), strict=True):
            getattr(self, name)[at] = values

    def clear(self, which: npt.NDArray[np.bool_]) -> None:
        """Empty rows where `which` is set."""
        for name, value in zip(Row._fields, Row(), strict=True):
            getattr(self, name)[which] = value

    def row(self, index: int) -> Row:
        """One row as a value."""
        return Row(*(int(getattr(self, column.name)[index]) for column in fields(self)[:-1]))


def fields_of(decoded: Decoded) -> Row:
    """The row of a scalar decode. A block that could not be read has its verdict and nothing else."""
    a = decoded.attributes
    if a is None:
        return Row(verdict=int(decoded.verdict), found=key_of(decoded.findings))
    hop = 0 if a.next_hop is None else int(a.next_hop)
    link = 0 if a.link_local is None else int(a.link_local)
    return Row(
        verdict=int(decoded.verdict),
        origin=a.origin,
        path_length=min(a.path_length, 0xFFFF),
        neighbor_as=a.neighbor_as,
        origin_as=a.origin_as,
        local_pref=DEFAULT_LOCAL_PREF if a.local_pref is None else a.local_pref,
        med=a.med or 0,
        next_hop_hi=hop >> 64,
        next_hop_lo=hop & _LOW,
        next_hop_family=Family.of(a.next_hop) if a.next_hop else 0,
        originator=int(a.originator_id) if a.originator_id else 0,
        cluster_length=len(a.cluster_list),
        flags=_flags(a),
        found=key_of(decoded.findings),
        link_hi=link >> 64,
        link_lo=link & _LOW,
    )


def _flags(attributes: PathAttributes) -> int:
    """FieldFlag bits."""
    flags = FieldFlag(0)
    for flag, present in (
        (FieldFlag.MED, attributes.med is not None),
        (FieldFlag.LOCAL_PREF, attributes.local_pref is not None),
        (FieldFlag.LINK_LOCAL, attributes.link_local is not None),
        (FieldFlag.COMMUNITIES, bool(attributes.communities)),
        (FieldFlag.EXTENDED, bool(attributes.extended)),
        (FieldFlag.LARGE, bool(attributes.large)),
        (FieldFlag.ATOMIC_AGGREGATE, attributes.atomic_aggregate),
    ):
        if present:
            flags |= flag
    return int(flags)
