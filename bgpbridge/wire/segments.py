"""AS paths: segments, their octets, their text, and the merge with AS4_PATH.

RFC 4271 s4.3 (AS_PATH), RFC 5065 (confederation segments), RFC 6793 (four-octet AS numbers), RFC 7607
(AS 0). AS_SET is still accepted although RFC 9774 asks to treat it as a withdrawal: tables in use carry
it, and refusing it is a policy that an operator can write, not a decoder's business.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "AS_TRANS",
    "Segment",
    "SegmentKind",
    "as_path_text",
    "decode_segments",
    "encode_segments",
    "first_as",
    "merge_as4_path",
    "origin_as",
    "path_length",
    "prepend",
]

AS_TRANS = 23456  # RFC 6793 s9


class SegmentKind(enum.IntEnum):
    """Path segment types: RFC 4271 s4.3 b, RFC 5065 s3."""

    AS_SET = 1
    AS_SEQUENCE = 2
    AS_CONFED_SEQUENCE = 3
    AS_CONFED_SET = 4


@dataclass(frozen=True, slots=True)
class Segment:
    """One path segment as it was received: order and repetitions are kept."""

    kind: SegmentKind
    asns: tuple[int, ...]

    @property
    def length(self) -> int:
        """What the segment adds to the path length: a set 1 (RFC 4271 s9.1.2.2), confederation
        segments nothing (RFC 5065 s5.3)."""
        if self.kind is SegmentKind.AS_SEQUENCE:
            return len(self.asns)
        return 1 if self.kind is SegmentKind.AS_SET else 0

    @property
    def confederation(self) -> bool:
        """True for the two kinds that must not leave a confederation."""
        return self.kind >= SegmentKind.AS_CONFED_SEQUENCE

    def __str__(self) -> str:
        if self.kind in {SegmentKind.AS_SET, SegmentKind.AS_CONFED_SET}:
            body = ",".join(str(asn) for asn in sorted(set(self.asns)))
            return f"{{{body}}}" if self.kind is SegmentKind.AS_SET else f"[{body}]"
        body = " ".join(map(str, self.asns))
        return f"({body})" if self.kind is SegmentKind.AS_CONFED_SEQUENCE else body


_KINDS = {int(kind): kind for kind in SegmentKind}


def decode_segments(value: bytes, octets: int) -> tuple[Segment, ...] | None:
    """The segments of an attribute value with AS numbers of 2 or 4 octets. None when malformed: an
    unknown segment type, a segment without AS numbers, overrun or underrun (RFC 7606 s7.2)."""
    segments = []
    position, end = 0, len(value)
    letter = "I" if octets == 4 else "H"
    while position < end:
        if end - position < 2:
            return None
        kind, count = _KINDS.get(value[position]), value[position + 1]
        start = position + 2
        position = start + count * octets
        if kind is None or not count or position > end:
            return None
        segments.append(Segment(kind, struct.unpack_from(f"!{count}{letter}", value, start)))
    return tuple(segments)


def encode_segments(segments: Iterable[Segment], octets: int = 4) -> bytes:
    """The octets of a path; a segment of more than 255 AS numbers is cut in several."""
    out = bytearray()
    for segment in segments:
        for start in range(0, len(segment.asns), 255):
            part = segment.asns[start : start + 255]
            asns = part if octets == 4 else [asn if asn < 1 << 16 else AS_TRANS for asn in part]
            out += struct.pack(f"!BB{len(part)}{'I' if octets == 4 else 'H'}", segment.kind, len(part), *asns)
    return bytes(out)


def as_path_text(segments: Sequence[Segment]) -> str:
    """As operators write it: `65001 65002 {1,2}`, confederation segments as `(1 2)` and `[1,2]`."""
    return " ".join(map(str, segments))


def path_length(segments: Sequence[Segment]) -> int:
    """Length for the decision process (RFC 4271 s9.1.2.2 a)."""
    return sum(segment.length for segment in segments)


def first_as(segments: Sequence[Segment]) -> int:
    """The neighbouring AS for MED (RFC 4271 s9.1.2.2 c): leftmost of the first segment that is not of a
    confederation; 0 when the path is empty or begins with a set."""
    for segment in segments:
        if not segment.confederation:
            return segment.asns[0] if segment.kind is SegmentKind.AS_SEQUENCE else 0
    return 0


def origin_as(segments: Sequence[Segment]) -> int:
    """The AS that originated the route: rightmost of the last segment outside a confederation; 0 when
    the path is empty or ends with a set (RFC 6811 s2 calls that NONE)."""
    for segment in reversed(segments):
        if not segment.confederation:
            return segment.asns[-1] if segment.kind is SegmentKind.AS_SEQUENCE else 0
    return 0


def prepend(segments: Sequence[Segment], asns: Sequence[int]) -> tuple[Segment, ...]:
    """The path with `asns` in front (RFC 4271 s5.1.2)."""
    if not asns:
        return tuple(segments)
    if segments and segments[0].kind is SegmentKind.AS_SEQUENCE and len(segments[0].asns) + len(asns) <= 255:
        merged = Segment(SegmentKind.AS_SEQUENCE, (*asns, *segments[0].asns))
        return (merged, *segments[1:])
    return (Segment(SegmentKind.AS_SEQUENCE, tuple(asns)), *segments)


def merge_as4_path(path: Sequence[Segment], path4: Sequence[Segment]) -> tuple[Segment, ...]:
    """AS_PATH of a two-octet speaker with its AS4_PATH (RFC 6793 s4.2.3).

    AS4_PATH is ignored when it is longer than AS_PATH. Otherwise the leading part of AS_PATH is kept,
    as much as is needed for the length to stay what it was. A confederation segment is kept when it
    leads or stands beside a segment that is kept.
    """
    keep = path_length(path) - path_length(path4)
    if keep < 0:
        return tuple(path)
    merged: list[Segment] = []
    for segment in path:
        if segment.confederation:
            merged.append(segment)
            continue
        if keep <= 0:
            break
        asns = segment.asns[:keep] if segment.kind is SegmentKind.AS_SEQUENCE else segment.asns
        kept = Segment(segment.kind, asns)
        keep -= kept.length
        merged.append(kept)
    return tuple(_join(merged, path4))


def _join(front: list[Segment], back: Sequence[Segment]) -> list[Segment]:
    """Two paths as one, with sequences that meet written as one segment where it fits."""
    if front and back and front[-1].kind is back[0].kind is SegmentKind.AS_SEQUENCE:
        asns = (*front[-1].asns, *back[0].asns)
        if len(asns) <= 255:
            return [*front[:-1], Segment(SegmentKind.AS_SEQUENCE, asns), *back[1:]]
    return [*front, *back]
