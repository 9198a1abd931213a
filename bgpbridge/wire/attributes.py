"""Path attributes: ONE table of descriptors, and the reading of a block by it.

A **block** is the canonical form of one UPDATE's path attributes: the attributes as received, without
MP_UNREACH_NLRI, and with MP_REACH_NLRI cut after its next hop (flags 0x90, two-octet length, then AFI,
SAFI, next hop length, next hop). Equal routes of either family then have equal octets, and are interned
and judged once. `update` and `bulk` make blocks; `decode_attributes` reads them.

RFC 7606 is followed by the table: what a length, a flag or a value error of an attribute does is said in
its row. Errors that need the message as a whole (NLRI that cannot be found, MP attributes twice) are found
by `update`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bgpbridge.types import Verdict
from bgpbridge.wire import attribute_values as values
from bgpbridge.wire.attribute_values import Malformed
from bgpbridge.wire.path_attributes import Aggregator, Decoded, PathAttributes, RawAttribute
from bgpbridge.wire.refusals import REFUSALS, refusals
from bgpbridge.wire.segments import AS_TRANS, Segment, merge_as4_path
from bgpbridge.wire.verdicts import Finding, SessionKind, strongest

__all__ = [
    "DESCRIPTORS",
    "EXTENDED_LENGTH",
    "OPTIONAL",
    "TRANSITIVE",
    "Code",
    "Descriptor",
    "Frame",
    "attribute_errors",
    "decode_attributes",
    "encode_attribute",
    "frame_attributes",
    "malformed",
]

OPTIONAL, TRANSITIVE, EXTENDED_LENGTH = 0x80, 0x40, 0x10
WELL_KNOWN, OPTIONAL_TRANSITIVE = TRANSITIVE, OPTIONAL | TRANSITIVE

_DISCARD, _WITHDRAW, _RESET = Verdict.ATTRIBUTE_DISCARD, Verdict.TREAT_AS_WITHDRAW, Verdict.SESSION_RESET


class Code:
    """Attribute type codes (IANA, BGP Path Attributes)."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MED = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITIES = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    MP_REACH = 14
    MP_UNREACH = 15
    EXTENDED = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    EXTENDED_IPV6 = 25
    AIGP = 26
    LARGE = 32
    OTC = 35
    PREFIX_SID = 40


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One attribute type.

    A length is right when it lies in `minimum..maximum` and is a multiple of `step`. `on_error` is the
    verdict for a wrong length or value, `on_flags` for wrong Optional or Transitive bits (RFC 7606 s3 c).
    `internal` ones are discarded unread when they come from an external peer. `decode` gives the value
    that stands in `field` of PathAttributes; without a field the octets are kept in `unknown`.
    """

    code: int
    name: str
    flags: int
    minimum: int
    maximum: int
    step: int
    decode: Callable[[bytes, SessionKind], Any]
    field: str = ""
    on_error: Verdict = _WITHDRAW
    on_flags: Verdict = _WITHDRAW
    internal: bool = False

    def fits(self, length: int) -> bool:
        """True when the length is right."""
        return self.minimum <= length <= self.maximum and length % self.step == 0


_ANY = 65535
DESCRIPTORS: dict[int, Descriptor] = {
    row.code: row
    for row in (
        Descriptor(Code.ORIGIN, "origin", WELL_KNOWN, 1, 1, 1, values.origin, "origin"),
        Descriptor(Code.AS_PATH, "as_path", WELL_KNOWN, 0, _ANY, 1, values.as_path, "as_path"),
        Descriptor(Code.NEXT_HOP, "next_hop", WELL_KNOWN, 4, 4, 1, values.address4, "next_hop"),
        Descriptor(Code.MED, "med", OPTIONAL, 4, 4, 1, values.number, "med"),
        Descriptor(Code.LOCAL_PREF, "local_pref", WELL_KNOWN, 4, 4, 1, values.number, "local_pref", internal=True),
        Descriptor(
            Code.ATOMIC_AGGREGATE, "atomic_aggregate", WELL_KNOWN, 0, 0, 1, values.flag, "atomic_aggregate", _DISCARD
        ),
        Descriptor(
            Code.AGGREGATOR, "aggregator", OPTIONAL_TRANSITIVE, 6, 8, 2, values.aggregator, "aggregator", _DISCARD
        ),
        Descriptor(Code.COMMUNITIES, "communities", OPTIONAL_TRANSITIVE, 4, _ANY, 4, values.communities, "communities"),
        Descriptor(
            Code.ORIGINATOR_ID, "originator_id", OPTIONAL, 4, 4, 1, values.address4, "originator_id", internal=True
        ),
        Descriptor(
            Code.CLUSTER_LIST, "cluster_list", OPTIONAL, 4, _ANY, 4, values.addresses4, "cluster_list", internal=True
        ),
        Descriptor(Code.MP_REACH, "mp_reach", OPTIONAL, 4, _ANY, 1, values.mp_next_hop, "mp_next_hop", _RESET, _RESET),
        Descriptor(Code.MP_UNREACH, "mp_unreach", OPTIONAL, 3, _ANY, 1, values.raw, "", _RESET, _RESET),
        Descriptor(Code.EXTENDED, "extended", OPTIONAL_TRANSITIVE, 8, _ANY, 8, values.extended, "extended"),
        Descriptor(Code.AS4_PATH, "as4_path", OPTIONAL_TRANSITIVE, 6, _ANY, 2, values.as4_path, "as4_path", _DISCARD),
        Descriptor(
            Code.AS4_AGGREGATOR,
            "as4_aggregator",
            OPTIONAL_TRANSITIVE,
            8,
            8,
            1,
            values.as4_aggregator,
            "as4_aggregator",
            _DISCARD,
        ),
        Descriptor(Code.EXTENDED_IPV6, "extended_ipv6", OPTIONAL_TRANSITIVE, 20, _ANY, 20, values.raw),
        Descriptor(Code.AIGP, "aigp", OPTIONAL, 3, _ANY, 1, values.aigp, "aigp", _DISCARD, _DISCARD, internal=True),
        Descriptor(Code.LARGE, "large", OPTIONAL_TRANSITIVE, 12, _ANY, 12, values.large, "large"),
        Descriptor(Code.OTC, "otc", OPTIONAL_TRANSITIVE, 4, 4, 1, values.number, "otc"),
        Descriptor(Code.PREFIX_SID, "prefix_sid", OPTIONAL_TRANSITIVE, 3, _ANY, 1, values.prefix_sid, "", _DISCARD),
    )
}

# position of the header, flags, code, start and end of the value
Frame = tuple[int, int, int, int, int]


def frame_attributes(data: bytes, start: int, end: int) -> tuple[list[Frame], int | None]:
    """The attributes in `data[start:end]`, and the type code of one that does not fit (0 where not even
    its code is there), None when all fit (RFC 7606 s4; the NLRI begin at `end` all the same)."""
    frames: list[Frame] = []
    position = start
    while position < end:
        left = end - position
        if left < 3:
            return frames, data[position + 1] if left == 2 else 0
        flags, code = data[position], data[position + 1]
        if flags & EXTENDED_LENGTH:
            if left < 4:
                return frames, code
            value = position + 4
            stop = value + (data[position + 2] << 8 | data[position + 3])
        else:
            value = position + 3
            stop = value + data[position + 2]
        if stop > end:
            return frames, code
        frames.append((position, flags, code, value, stop))
        position = stop
    return frames, None


def encode_attribute(code: int, value: bytes, flags: int | None = None) -> bytes:
    """One attribute, by default with the flags of its descriptor (optional transitive where unknown)."""
    if flags is None:
        flags = DESCRIPTORS[code].flags if code in DESCRIPTORS else OPTIONAL_TRANSITIVE
    if len(value) > 255 or flags & EXTENDED_LENGTH:
        return bytes([flags | EXTENDED_LENGTH, code]) + len(value).to_bytes(2, "big") + value
    return bytes([flags, code, len(value)]) + value


@dataclass(slots=True)
class _Reading:
    """What has been read of a block so far. `values` by field name."""

    values: dict[str, Any]
    unknown: list[RawAttribute]
    findings: list[Finding]

    def add(self, verdict: Verdict, descriptor: Descriptor, reason: str) -> None:
        """One more thing that is wrong with an attribute."""
        self.findings.append(Finding(verdict, descriptor.code, f"{descriptor.name}: {reason}"))


def _read(block: bytes, kind: SessionKind) -> _Reading:
    """All attributes of a block, each by its descriptor."""
    frames, broken = frame_attributes(block, 0, len(block))
    reading = _Reading({}, [], [])
    seen = set()
    for _, flags, code, start, end in frames:
        descriptor = DESCRIPTORS.get(code)
        if code in seen:  # RFC 7606 s3 g: the first one counts
            name = descriptor.name if descriptor else "unknown"
            reading.findings.append(Finding(_DISCARD, code, f"{name}: repeated"))
            continue
        seen.add(code)
        if descriptor is None:
            if not flags & OPTIONAL:  # RFC 4271 s6.3
                reading.findings.append(Finding(_RESET, code, "unknown: not optional", (3, 2)))
            reading.unknown.append(RawAttribute(flags, code, block[start:end]))
        else:
            _read_one(reading, descriptor, RawAttribute(flags, code, block[start:end]), kind)
    if broken is not None:
        reading.findings.append(Finding(_WITHDRAW, broken, "update: attribute does not fit"))
    return reading


def _read_one(reading: _Reading, descriptor: Descriptor, attribute: RawAttribute, kind: SessionKind) -> None:
    """One known attribute: where it may come from, flags, length, value."""
    if descriptor.internal and kind.ebgp:  # RFC 7606 s7.5, s7.9, s7.10; RFC 7311 s3.3
        reading.add(_DISCARD, descriptor, "from an external peer")
    elif (attribute.flags ^ descriptor.flags) & OPTIONAL_TRANSITIVE:
        reading.add(descriptor.on_flags, descriptor, "flags")
    elif not descriptor.fits(len(attribute.value)):
        reading.add(descriptor.on_error, descriptor, "length")
    else:
        try:
            value = descriptor.decode(attribute.value, kind)
        except Malformed as wrong:
            reading.add(wrong.verdict or descriptor.on_error, descriptor, wrong.reason)
            return
        if descriptor.field:
            reading.values[descriptor.field] = value
        elif descriptor.code != Code.MP_UNREACH:
            reading.unknown.append(attribute)


def _merge_as4(reading: _Reading) -> None:
    """AS4_PATH and AS4_AGGREGATOR go into AS_PATH and AGGREGATOR (RFC 6793 s4.2.3)."""
    path4: Sequence[Segment] | None = reading.values.pop("as4_path", None)
    aggregator4: Aggregator | None = reading.values.pop("as4_aggregator", None)
    aggregator: Aggregator | None = reading.values.get("aggregator")
    if path4 and any(segment.confederation for segment in path4):  # RFC 6793 s6
        reading.add(_DISCARD, DESCRIPTORS[Code.AS4_PATH], "confederation segment")
        path4 = [segment for segment in path4 if not segment.confederation]
    if aggregator and aggregator4:
        if aggregator.asn != AS_TRANS:
            return
        reading.values["aggregator"] = aggregator4
    if path4 and "as_path" in reading.values:
        reading.values["as_path"] = merge_as4_path(reading.values["as_path"], path4)


def _missing(reading: _Reading, mp: bool) -> Iterable[Finding]:
    """Well-known mandatory attributes that are absent (RFC 7606 s3 d). One that is there but malformed
    has its own finding already."""
    spoken = {finding.code for finding in reading.findings if finding.verdict >= _WITHDRAW}
    wanted = ((Code.ORIGIN, "origin"), (Code.AS_PATH, "as_path"))
    for code, field in (*wanted, (Code.MP_REACH, "mp_next_hop") if mp else (Code.NEXT_HOP, "next_hop")):
        if field not in reading.values and code not in spoken:
            yield Finding(_WITHDRAW, code, f"{DESCRIPTORS[code].name}: missing")


def attribute_errors(block: bytes, kind: SessionKind) -> tuple[Finding, ...]:
    """The findings of a block apart from missing attributes and refusals: for an UPDATE without
    reachable NLRI (RFC 7606 s5.2)."""
    return tuple(_read(block, kind).findings)


def decode_attributes(block: bytes, kind: SessionKind, *, mp: bool) -> Decoded:
    """A canonical block, read for NLRI that came in MP_REACH_NLRI (`mp`) or in the classic field."""
    reading = _read(block, kind)
    _merge_as4(reading)
    reading.findings.extend(_missing(reading, mp))
    attributes = None
    # the next hop of the other field says nothing about this one (RFC 4760 s3)
    hop, link_local = reading.values.pop("mp_next_hop", (None, None))
    if mp:
        reading.values |= {"next_hop": hop, "link_local": link_local}
    if strongest(reading.findings) < _WITHDRAW:
        attributes = PathAttributes(**reading.values, unknown=tuple(reading.unknown))
        reading.findings.extend(refusals(attributes, kind))
    findings = tuple(reading.findings)
    return Decoded(attributes, strongest(findings), findings)


def malformed(findings: Iterable[Finding]) -> bool:
    """True when one of them withdraws because octets are wrong, not because the route is unwanted."""
    return any(f.verdict >= _WITHDRAW and f.reason not in REFUSALS for f in findings)
