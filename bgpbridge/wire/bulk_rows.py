"""The prefixes of a run in columns, and the order they stand in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family, Session
from bgpbridge.wire.bulk_blocks import Messages
from bgpbridge.wire.bulk_frame import I64, U64, Octets, nonzero
from bgpbridge.wire.bulk_nlri import Prefixes, walk_nlri

__all__ = ["NlriColumns", "WalkedField", "in_order", "walk_fields"]


@dataclass(slots=True)
class NlriColumns:
    """The prefixes of one family in a run, in message order, withdrawals before announcements within a
    message. Host bits are zero. IPv4 addresses are in `lo`. `block` is an index into Blocks, -1 for a
    withdrawal."""

    message: I64
    hi: U64
    lo: U64
    length: npt.NDArray[np.uint8]
    path_id: npt.NDArray[np.uint32]
    block: I64

    def take(self, which: I64) -> NlriColumns:
        """Some of the rows."""
        return NlriColumns(
            self.message.take(which),
            self.hi.take(which),
            self.lo.take(which),
            self.length.take(which),
            self.path_id.take(which),
            self.block.take(which),
        )


@dataclass(slots=True)
class WalkedField:
    """One kind of field (withdrawn routes, NLRI, one family's MP part) of the plain messages that have
    it. `message` is by field, `prefixes.field` an index into it."""

    family: Family
    announces: bool
    message: I64
    prefixes: Prefixes

    def rows(self, odd: npt.NDArray[np.bool_], block_of_message: I64) -> NlriColumns:
        """The rows of messages that have not turned out to be odd."""
        found = self.prefixes
        message = self.message.take(found.field)
        block = block_of_message.take(message) if self.announces else np.full(len(message), -1, np.int64)
        columns = NlriColumns(message, found.hi, found.lo, found.length, found.path_id, block)
        return columns.take(nonzero(~odd.take(message))) if odd.take(self.message).any() else columns


def walk_fields(run: Octets, messages: Messages, session: Session) -> list[WalkedField]:
    """The prefixes of all plain messages: withdrawals first, the classic fields first. Messages whose
    prefixes are incorrect become odd."""
    fields = []
    plain = ~messages.odd
    for announces in (False, True):
        start, mp = (messages.nlri, messages.reach) if announces else (messages.withdrawn, messages.unreach)
        end = messages.end if announces else messages.attributes - 2
        whole = nonzero(plain & (start < end))
        classic = (whole, start.take(whole), end.take(whole))
        fields.append(_walk(run, messages, session, Family.IPV4, announces, classic))
        for family in sorted(session.families):
            mine = nonzero((mp.family == family) & plain.take(mp.message))
            parts = (mp.message.take(mine), mp.nlri.take(mine), mp.end.take(mine))
            fields.append(_walk(run, messages, session, family, announces, parts))
    return [field for field in fields if len(field.message)]


def _walk(
    run: Octets, messages: Messages, session: Session, family: Family, announces: bool, parts: tuple[I64, I64, I64]
) -> WalkedField:
    message, start, end = parts
    prefixes = walk_nlri(run, start, end, family, family in session.add_path)
    messages.odd[message.take(prefixes.bad)] = True
    return WalkedField(family, announces, message, prefixes)


def in_order(parts: list[NlriColumns]) -> NlriColumns | None:
    """The parts as one, in message order, withdrawals first within a message. Within a message the order
    of one part is right already; its messages come in the order in which lock-step found the attributes."""
    parts = [part for part in parts if len(part.message)]
    if not parts:
        return None
    if len(parts) == 1 and (np.diff(parts[0].message) >= 0).all():
        return parts[0]
    joined = NlriColumns(
        np.concatenate([part.message for part in parts]),
        np.concatenate([part.hi for part in parts]),
        np.concatenate([part.lo for part in parts]),
        np.concatenate([part.length for part in parts]),
        np.concatenate([part.path_id for part in parts]),
        np.concatenate([part.block for part in parts]),
    )
    return joined.take((joined.message * 2 + (joined.block >= 0)).argsort(kind="stable"))
