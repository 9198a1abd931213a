"""The fields of many blocks in lock-step.

A block is plain when every attribute in it is well-formed by the table of descriptors, stands there once,
and needs nothing but its octets to be understood: one AS_SEQUENCE, no AS4_PATH, no AIGP. Whatever is not
plain is marked odd and left to `attributes.decode_attributes`; so is everything that would give a finding.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family
from bgpbridge.wire.attributes import DESCRIPTORS, OPTIONAL, Code
from bgpbridge.wire.bulk_attributes import AttributeRows, walk_attributes
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.bulk_frame import I64, U64, Octets, nonzero, ranges
from bgpbridge.wire.fields import DEFAULT_LOCAL_PREF, FieldFlag, Fields, Row, fields_of
from bgpbridge.wire.segments import SegmentKind
from bgpbridge.wire.verdicts import SessionKind

__all__ = ["DEFAULT_LOCAL_PREF", "FieldFlag", "Fields", "Row", "decode_fields", "fields_of"]

Mask = npt.NDArray[np.bool_]

# Always read by the scalar way: rare, and their meaning depends on other attributes or on the session
_SCALAR = {Code.AS4_PATH, Code.AS4_AGGREGATOR, Code.AIGP, Code.PREFIX_SID, Code.MP_UNREACH}
_PLAIN = [code for code in DESCRIPTORS if code not in _SCALAR]
_OTHER = len(_PLAIN)  # the slot of all attributes without a descriptor
_SLOT = np.full(256, _OTHER, np.int64)
_SLOT[_PLAIN] = np.arange(_OTHER)
_MINIMUM, _SPAN, _STEP = np.zeros(256, np.int64), np.full(256, 65535, np.uint64), np.ones(256, np.int64)
for _code, _row in DESCRIPTORS.items():
    _MINIMUM[_code], _SPAN[_code], _STEP[_code] = _row.minimum, _row.maximum - _row.minimum, _row.step


@functools.cache
def _allowed(ebgp: bool) -> Mask:
    """By AttributeRows.kind: code and flags that a plain block may hold."""
    allowed = np.zeros(1024, np.bool_)
    for code in range(256):
        row = DESCRIPTORS.get(code)
        for bits in range(4):
            if row is None:
                allowed[code << 2 | bits] = bits << 6 & OPTIONAL
            elif code not in _SCALAR and not (row.internal and ebgp):
                allowed[code << 2 | bits] = row.flags == bits << 6
    return allowed


def decode_fields(blocks: Blocks, which: I64, kind: SessionKind) -> Fields:
    """The fields of the blocks at the indexes `which`, in their order. Odd ones are empty rows."""
    octets = Octets(blocks.octets, len(blocks.octets))
    start = blocks.start.take(which)
    rows = walk_attributes(octets, start, start + blocks.length.take(which))
    reader = _Reader(octets, rows, blocks.mp.take(which), kind)
    reader.check_attributes()
    reader.origin()
    reader.as_path()
    reader.next_hop()
    reader.numbers()
    fields = reader.fields
    if fields.odd.any():
        fields.clear(fields.odd)
    return fields


class _Reader:
    """Reads attribute after attribute out of many blocks into `fields`."""

    def __init__(self, octets: Octets, rows: AttributeRows, mp: Mask, kind: SessionKind) -> None:
        self.octets = octets
        self.rows = rows
        self.mp = mp
        self.kind = kind
        self.fields = Fields.empty(len(mp))
        self.odd = self.fields.odd
        self.odd |= rows.odd
        slot = _SLOT.take(rows.kind >> 2)
        at = slot * len(mp) + rows.block
        order = np.arange(len(at), dtype=np.int32)
        place = np.full((_OTHER + 1) * len(mp), -1, np.int32)
        place[at] = order
        self.odd[rows.block.compress(place.take(at) != order)] = True  # twice: RFC 7606 s3 g
        self.place = place.reshape(_OTHER + 1, len(mp))

    def find(self, code: int) -> tuple[I64, I64, I64]:
        """Blocks that have an attribute, and where its value starts and how long it is."""
        place = self.place[_SLOT[code]]
        which = nonzero(place >= 0)
        if len(which) < len(place):
            place = place.take(which)
        return which, self.rows.value.take(place), self.rows.length.take(place)

    def has(self, code: int) -> Mask:
        """Which blocks have an attribute."""
        present: Mask = self.place[_SLOT[code]] >= 0
        return present

    def check_attributes(self) -> None:
        """Flags and lengths of all attributes, and that the mandatory ones are there."""
        rows, odd = self.rows, self.odd
        code = rows.kind >> 2
        bad = ~_allowed(self.kind.ebgp).take(rows.kind)
        bad |= (rows.length - _MINIMUM.take(code)).view(np.uint64) > _SPAN.take(code)
        step = _STEP.take(code)
        stepped = nonzero(step > 1)
        bad[stepped] |= rows.length.take(stepped) % step.take(stepped) != 0
        odd[rows.block.compress(bad)] = True
        odd |= ~self.has(Code.ORIGIN) | ~self.has(Code.AS_PATH)
        odd |= ~np.where(self.mp, self.has(Code.MP_REACH), self.has(Code.NEXT_HOP))
        which, value, length = self.find(Code.AGGREGATOR)
        size = 4 if self.kind.asn4 else 2
        asn = self.octets.load(value) >> np.uint64(64 - 8 * size)
        odd[which.compress((length != size + 4) | (asn == 0))] = True

    def origin(self) -> None:
        """ORIGIN."""
        which, value, _ = self.find(Code.ORIGIN)
        origin = self.octets.data.take(value)
        self.fields.origin[which] = origin
        self.odd[which.compress(origin > 2)] = True

    def as_path(self) -> None:
        """AS_PATH: empty, or one AS_SEQUENCE without AS 0 and without our own AS."""
        size = 4 if self.kind.asn4 else 2
        which, value, length = self.find(Code.AS_PATH)
        head = self.octets.load(value)
        count = ((head >> np.uint64(48)) & np.uint64(255)).view(np.int64)
        sequence = (head >> np.uint64(56) == SegmentKind.AS_SEQUENCE) & (count > 0) & (length == 2 + size * count)
        self.odd[which.compress(~sequence & (length > 0))] = True
        if not sequence.all():
            full = nonzero(sequence)
            which, value, length, count = which.take(full), value.take(full), length.take(full), count.take(full)
            head = head.take(full)
        first = (head >> np.uint64(48 - 8 * size)) & np.uint64((1 << 8 * size) - 1)
        last = self.octets.load(value + length - 8) & np.uint64((1 << 8 * size) - 1)
        self.fields.path_length[which] = count
        self.fields.neighbor_as[which] = first
        self.fields.origin_as[which] = last
        self._refuse_as(which, value + 2, count, size)
        if self.kind.first_as:
            self.odd |= self.fields.neighbor_as != self.kind.first_as

    def _refuse_as(self, which: I64, start: I64, count: I64, size: int) -> None:
        """Paths that hold AS 0 (RFC 7607) or our own AS are odd."""
        asn = self.octets.load(ranges(start, count, size)) >> np.uint64(64 - 8 * size)
        refused = nonzero((asn == 0) | (asn == self.kind.local_as))
        if len(refused):
            self.odd[which.take(np.cumsum(count).searchsorted(refused, side="right"))] = True

    def next_hop(self) -> None:
        """NEXT_HOP, or the next hop of MP_REACH_NLRI, whichever counts for the block."""
        which, value, _ = self.find(Code.NEXT_HOP)
        if self.mp.any():
            classic = nonzero(~self.mp.take(which))
            self._mp_next_hop()
            which, value = which.take(classic), value.take(classic)
        self._put_ipv4(which, self.octets.load(value) >> np.uint64(32))

    def _put_ipv4(self, which: I64, address: U64) -> None:
        """IPv4 next hops that are unicast addresses (`refusals.usable_next_hop`)."""
        self.fields.next_hop_lo[which] = address
        self.fields.next_hop_family[which] = Family.IPV4
        self.odd[which.compress((address == 0) | (address >= 0xE0000000))] = True

    def _mp_next_hop(self) -> None:
        """Next hops of 4, 16 and 32 octets; see `attribute_values.mp_next_hop`."""
        which, value, length = self.find(Code.MP_REACH)
        mine = nonzero(self.mp.take(which))
        which, value = which.take(mine), value.take(mine) + 4
        octets = self.octets.data.take(value - 1)
        self.odd[which.compress(length.take(mine) != octets.astype(np.int64) + 4)] = True
        four, long = nonzero(octets == 4), octets == 32
        self.odd[which.compress((octets != 4) & (octets != 16) & ~long)] = True
        self._put_ipv4(which.take(four), self.octets.load(value.take(four)) >> np.uint64(32))
        six = nonzero((octets == 16) | long)
        which, value, long = which.take(six), value.take(six), long.take(six)
        hi, lo = self.octets.load(value), self.octets.load(value + 8)
        link_local = _link_local(hi)
        second = nonzero(long)
        second = second.take(nonzero(_link_local(self.octets.load(value.take(second) + 16))))
        instead = second.take(nonzero(link_local.take(second) | ((hi.take(second) | lo.take(second)) == 0)))
        hi[instead] = self.octets.load(value.take(instead) + 16)
        lo[instead] = self.octets.load(value.take(instead) + 24)
        link_local[second] = True
        self.fields.next_hop_hi[which] = hi
        self.fields.next_hop_lo[which] = lo
        self.fields.next_hop_family[which] = Family.IPV6
        self.fields.flags[which.compress(link_local)] |= np.uint16(FieldFlag.LINK_LOCAL)
        self.odd[which.compress((hi >> np.uint64(56) == 0xFF) | ((hi | lo) == 0))] = True

    def numbers(self) -> None:
        """MED, LOCAL_PREF, ORIGINATOR_ID, the length of CLUSTER_LIST, and what else is there."""
        columns = self.fields
        for code, column in (
            (Code.MED, columns.med),
            (Code.LOCAL_PREF, columns.local_pref),
            (Code.ORIGINATOR_ID, columns.originator),
        ):
            which, value, _ = self.find(code)
            if len(which):
                column[which] = self.octets.load(value) >> np.uint64(32)
        which, _, length = self.find(Code.CLUSTER_LIST)
        columns.cluster_length[which] = length >> 2
        for code, flag in _FLAGS:
            present = self.has(code)
            if present.any():
                columns.flags |= present * np.uint16(flag)


def _link_local(high_word: U64) -> Mask:
    """fe80::/10."""
    mask: Mask = high_word >> np.uint64(54) == 0x3FA
    return mask


_FLAGS = (
    (Code.MED, FieldFlag.MED),
    (Code.LOCAL_PREF, FieldFlag.LOCAL_PREF),
    (Code.COMMUNITIES, FieldFlag.COMMUNITIES),
    (Code.EXTENDED, FieldFlag.EXTENDED),
    (Code.LARGE, FieldFlag.LARGE),
    (Code.ATOMIC_AGGREGATE, FieldFlag.ATOMIC_AGGREGATE),
)
