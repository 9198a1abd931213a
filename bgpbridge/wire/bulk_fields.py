"""The fields of many blocks in lock-step.

A block is plain when its attributes need nothing but their octets to be understood: one AS_SEQUENCE, no AS4_PATH, no
AIGP. What is wrong with plain ones is found here too (`bulk_findings`), for a peer may send something wrong in each of
its UPDATEs. Whatever is not plain is marked odd and left to `attributes.decode_attributes`.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from bgpbridge.types import Family
from bgpbridge.wire.attributes import DESCRIPTORS, OPTIONAL, Code
from bgpbridge.wire.bulk_attributes import AttributeRows, walk_attributes
from bgpbridge.wire.bulk_blocks import Blocks
from bgpbridge.wire.bulk_findings import Notes
from bgpbridge.wire.bulk_frame import I64, U64, Octets, nonzero, ranges
from bgpbridge.wire.fields import DEFAULT_LOCAL_PREF, FieldFlag, Fields, Row, fields_of
from bgpbridge.wire.found import number_of
from bgpbridge.wire.refusals import FIRST_AS, NEXT_HOP, OWN_AS
from bgpbridge.wire.segments import SegmentKind
from bgpbridge.wire.verdicts import SessionKind

__all__ = ["DEFAULT_LOCAL_PREF", "FieldFlag", "Fields", "Row", "decode_fields", "fields_of"]

Mask = npt.NDArray[np.bool_]

# Always read by the scalar way: rare, and their meaning depends on other attributes or on the session
_SCALAR = {Code.AS4_PATH, Code.AS4_AGGREGATOR, Code.AIGP, Code.PREFIX_SID, Code.MP_UNREACH}
_KNOWN = list(DESCRIPTORS)
_OTHER = len(_KNOWN)  # the slot of all attributes without a descriptor
_SLOT = np.full(256, _OTHER, np.int64)
_SLOT[_KNOWN] = np.arange(_OTHER)
_MINIMUM, _SPAN, _STEP = np.zeros(256, np.int64), np.full(256, 65535, np.uint64), np.ones(256, np.int64)
for _code, _row in DESCRIPTORS.items():
    _MINIMUM[_code], _SPAN[_code], _STEP[_code] = _row.minimum, _row.maximum - _row.minimum, _row.step
ABSENT, DROPPED = -1, -2  # in place of an attribute's row


def _numbers(reason: str) -> npt.NDArray[np.uint8]:
    """By code, the number of a finding of this reason; 0: none that is found here."""
    return np.array(
        [number_of(c, reason) if c in DESCRIPTORS and c not in _RESETTING else 0 for c in range(256)], np.uint8
    )


_RESETTING = {Code.MP_REACH, Code.MP_UNREACH}
_REPEATED, _EXTERNAL, _FLAGS_WRONG = map(_numbers, ("repeated", "from an external peer", "flags"))
_LENGTH_WRONG, _FROM_FOUR = map(_numbers, ("length", "from a four-octet speaker"))
_EXTERNAL[Code.PREFIX_SID] = 0  # only after its value was read
_ORIGIN_WRONG, _AS_ZERO = number_of(Code.ORIGIN, "invalid value"), number_of(Code.AS_PATH, "AS 0")
_AGGREGATOR_AS_ZERO = number_of(Code.AGGREGATOR, "AS 0")
_OWN_AS, _FIRST_AS = number_of(Code.AS_PATH, OWN_AS), number_of(Code.AS_PATH, FIRST_AS)
_NEXT_HOP, _NEXT_HOP6 = number_of(Code.NEXT_HOP, NEXT_HOP), number_of(Code.MP_REACH, NEXT_HOP)


@functools.cache
def _allowed(ebgp: bool) -> Mask:
    """By AttributeRows.kind: code and flags that a plain block may hold without a finding."""
    allowed = np.zeros(1024, np.bool_)
    for code in range(256):
        row = DESCRIPTORS.get(code)
        for bits in range(4):
            if row is None:
                allowed[code << 2 | bits] = bits << 6 & OPTIONAL
            elif code not in _SCALAR and not (row.internal and ebgp):
                allowed[code << 2 | bits] = row.flags == bits << 6
    return allowed


@functools.cache
def _early(ebgp: bool) -> npt.NDArray[np.uint8]:
    """By AttributeRows.kind, what is found before anybody looks at an attribute's length; 0 = nothing."""
    numbers = np.zeros(1024, np.uint8)
    for code, row in DESCRIPTORS.items():
        for bits in range(4):
            if row.internal and ebgp:
                numbers[code << 2 | bits] = _EXTERNAL[code]
            elif row.flags != bits << 6:
                numbers[code << 2 | bits] = _FLAGS_WRONG[code]
    return numbers


def decode_fields(blocks: Blocks, which: I64, kind: SessionKind) -> Fields:
    """The fields of the blocks at the indexes `which`, in their order. Odd ones are empty rows."""
    octets = blocks.as_words()
    start = blocks.start.take(which)
    rows = walk_attributes(octets, start, start + blocks.length.take(which))
    reader = _Reader(octets, rows, blocks.mp.take(which), kind)
    reader.check_attributes()
    reader.origin()
    reader.as_path()
    reader.next_hop()
    reader.numbers()
    return reader.concluded()


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
        self.notes = Notes(len(mp))
        slot = _SLOT.take(rows.kind >> 2)
        self.at = slot * len(mp) + rows.block
        place = np.full((_OTHER + 1) * len(mp), ABSENT, np.int32)
        order = np.arange(len(self.at), dtype=np.int32)
        place[self.at[::-1]] = order[::-1]  # RFC 7606 s3 g: the first one counts
        self.repeated = place.take(self.at) != order
        self.places = place
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

    def note(self, code: int, blocks: I64, number: int) -> None:
        """Something is wrong with the value of an attribute."""
        if len(blocks):
            self.notes.attributes(blocks, self.place[_SLOT[code]].take(blocks).astype(np.int64), number)

    def check_attributes(self) -> None:
        """Flags and lengths of all attributes, and that the mandatory ones are there."""
        rows = self.rows
        code = rows.kind >> 2
        bad = ~_allowed(self.kind.ebgp).take(rows.kind)
        bad |= (rows.length - _MINIMUM.take(code)).view(np.uint64) > _SPAN.take(code)
        step = _STEP.take(code)
        stepped = nonzero(step > 1)
        if len(stepped):
            bad[stepped] |= rows.length.take(stepped) % step.take(stepped) != 0
        wrong = nonzero(bad | self.repeated)
        if len(wrong):
            self._judge(wrong, code.take(wrong))
        for place, (wanted, blocks) in enumerate(self._mandatory()):
            missing = blocks & (self.place[_SLOT[wanted]] == ABSENT)
            if missing.any():
                self.notes.missing(nonzero(missing), place, number_of(wanted, "missing"))
        which, value, length = self.find(Code.AGGREGATOR)
        if len(which):
            self._aggregator(which, value, length)

    def _mandatory(self) -> tuple[tuple[int, Mask], ...]:
        every = np.ones(len(self.mp), np.bool_)
        return (Code.ORIGIN, every), (Code.AS_PATH, every), (Code.MP_REACH, self.mp), (Code.NEXT_HOP, ~self.mp)

    def _aggregator(self, which: I64, value: I64, length: I64) -> None:
        size = 4 if self.kind.asn4 else 2
        asn = self.octets.load(value) >> np.uint64(64 - 8 * size)
        short = length != size + 4
        self.note(Code.AGGREGATOR, which.compress(short), int(_LENGTH_WRONG[Code.AGGREGATOR]))
        self.note(Code.AGGREGATOR, which.compress(~short & (asn == 0)), _AGGREGATOR_AS_ZERO)

    def _judge(self, wrong: I64, code: I64) -> None:
        """Attributes that are not as their descriptors say, or that stand there again: as `attributes._read` has it."""
        block, kind, length = (column.take(wrong) for column in (self.rows.block, self.rows.kind, self.rows.length))
        unfit = (length - _MINIMUM.take(code)).view(np.uint64) > _SPAN.take(code)
        unfit |= length % _STEP.take(code) != 0
        late = np.where(unfit, _LENGTH_WRONG.take(code), _FROM_FOUR.take(code) if self.kind.asn4 else np.uint8(0))
        early, repeated = _early(self.kind.ebgp).take(kind), self.repeated.take(wrong)
        number = np.where(repeated, _REPEATED.take(code), np.where(early, early, late))
        sure = number != 0
        self.notes.attributes(block.compress(sure), wrong.compress(sure), number.compress(sure))
        self.places[self.at.take(wrong.compress(sure & ~repeated))] = DROPPED
        unknown = _SLOT.take(code) == _OTHER
        self.odd[block.compress(~sure & ~(unknown & _allowed(self.kind.ebgp).take(kind)))] = True
        if unknown.any():
            self._repeated_unknown()

    def _repeated_unknown(self) -> None:
        """Attributes without a descriptor share a slot: several are no mistake, unless they are of one code."""
        rows = nonzero(_SLOT.take(self.rows.kind >> 2) == _OTHER)
        keys = np.sort(self.rows.block.take(rows) << 8 | self.rows.kind.take(rows) >> 2)
        self.odd[keys[1:].compress(keys[1:] == keys[:-1]) >> 8] = True

    def origin(self) -> None:
        """ORIGIN."""
        which, value, _ = self.find(Code.ORIGIN)
        origin = self.octets.data.take(value)
        self.fields.origin[which] = origin
        self.note(Code.ORIGIN, which.compress(origin > 2), _ORIGIN_WRONG)

    def as_path(self) -> None:
        """AS_PATH: empty, or one AS_SEQUENCE."""
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
            self.notes.refused(nonzero(self.fields.neighbor_as != self.kind.first_as), _FIRST_AS)

    def _refuse_as(self, which: I64, start: I64, count: I64, size: int) -> None:
        """Paths that hold AS 0 (RFC 7607) or our own AS."""
        asn = self.octets.load(ranges(start, count, size)) >> np.uint64(64 - 8 * size)
        none, own = nonzero(asn == 0), nonzero(asn == self.kind.local_as)
        if len(none) or len(own):
            ends = np.cumsum(count)
            self.note(Code.AS_PATH, which.take(_distinct(ends.searchsorted(none, side="right"))), _AS_ZERO)
            self.notes.refused(which.take(_distinct(ends.searchsorted(own, side="right"))), _OWN_AS)

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
        self.notes.refused(which.compress((address == 0) | (address >= 0xE0000000)), _NEXT_HOP)

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
        self.fields.link_hi[which] = np.where(link_local, hi, 0)
        self.fields.link_lo[which] = np.where(link_local, lo, 0)
        self.fields.link_hi[which.take(second)] = self.octets.load(value.take(second) + 16)
        self.fields.link_lo[which.take(second)] = self.octets.load(value.take(second) + 24)
        self.fields.next_hop_hi[which] = hi
        self.fields.next_hop_lo[which] = lo
        self.fields.next_hop_family[which] = Family.IPV6
        self.fields.flags[which.compress(link_local)] |= np.uint16(FieldFlag.LINK_LOCAL)
        self.notes.refused(which.compress((hi >> np.uint64(56) == 0xFF) | ((hi | lo) == 0)), _NEXT_HOP6)

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

    def concluded(self) -> Fields:
        """The fields, with what is wrong, and nothing of blocks that are malformed."""
        found = self.notes.keys()
        if found is not None:
            blocks, keys, verdicts, many = found
            self.fields.clear(self.notes.malformed)
            self.fields.verdict[blocks], self.fields.found[blocks] = verdicts, keys
            self.odd[many] = True
        if self.odd.any():
            self.fields.clear(self.odd)
        return self.fields


def _distinct(ascending: I64) -> I64:
    """Numbers that stand in order, each once."""
    first = np.ones(len(ascending), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    return ascending.compress(first)


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
