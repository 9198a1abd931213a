"""Lists of many blocks are what the scalar decode gives, wherever they are not marked odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpbridge.types import Verdict
from bgpbridge.wire.attributes import Code, decode_attributes, encode_attribute
from bgpbridge.wire.bulk_frame import Octets
from bgpbridge.wire.bulk_lists import AttributeLists, decode_lists
from bgpbridge.wire.mrt import MessageRecord, read_mrt
from bgpbridge.wire.path_attributes import PathAttributes
from bgpbridge.wire.segments import Segment, SegmentKind, encode_segments
from bgpbridge.wire.verdicts import SessionKind

segments = st.builds(
    lambda kind, asns: Segment(kind, tuple(asns)),
    st.sampled_from([SegmentKind.AS_SEQUENCE] * 4 + [SegmentKind.AS_SET]),
    st.lists(st.integers(1, 70000), min_size=1, max_size=4),
)


def octets_of(size: int, most: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, most).flatmap(lambda count: st.binary(min_size=size * count, max_size=size * count))


@st.composite
def blocks(draw: st.DrawFn) -> tuple[bytes, SessionKind]:
    asn4 = draw(st.booleans())
    path = draw(st.lists(segments, max_size=2, unique_by=lambda s: s.kind))
    parts = [
        encode_attribute(Code.ORIGIN, b"\0"),
        encode_attribute(Code.AS_PATH, encode_segments(path, 4 if asn4 else 2)),
        encode_attribute(Code.NEXT_HOP, bytes([192, 0, 2, 1])),
    ]
    for code, size in ((Code.COMMUNITIES, 4), (Code.EXTENDED, 8), (Code.LARGE, 12), (Code.OTC, 4)):
        if draw(st.booleans()):
            parts.append(encode_attribute(code, draw(octets_of(size, 3))))
    if draw(st.integers(0, 5)) == 0:
        parts.append(encode_attribute(Code.AS4_PATH, encode_segments(path[:1], 4)))
    block = bytearray(b"".join(draw(st.permutations(parts))))
    if draw(st.integers(0, 3)) == 0:
        block[draw(st.integers(0, len(block) - 1))] = draw(st.integers(0, 255))
    return bytes(block), SessionKind(asn4=asn4, ebgp=True, local_as=64500)


def lists_of(blocks_: list[bytes], asn4: list[bool]) -> AttributeLists:
    lengths = np.array([len(block) for block in blocks_])
    start = np.cumsum(lengths) - lengths
    return decode_lists(Octets.copy(b"".join(blocks_)), start, start + lengths, np.array(asn4))


def assert_same(lists: AttributeLists, index: int, attributes: PathAttributes) -> None:
    begin, count = int(lists.path_start[index]), int(lists.path_count[index])
    asns = tuple(lists.asns[begin : begin + count].tolist())
    assert attributes.as_path == ((Segment(SegmentKind.AS_SEQUENCE, asns),) if asns else ())
    assert lists.asn_block[begin : begin + count].tolist() == [index] * count
    standard = lists.standard[lists.standard_block == index].tolist()
    assert set(standard) == set(attributes.communities)
    extended = [int(value).to_bytes(8, "big") for value in lists.extended[lists.extended_block == index]]
    assert set(extended) == set(attributes.extended)
    mine = lists.large_block == index
    local = [(int(word) >> 32, int(word) & 0xFFFFFFFF) for word in lists.large_local[mine]]
    large = [(g, *pair) for g, pair in zip(lists.large_global[mine].tolist(), local, strict=True)]
    assert set(large) == set(attributes.large)
    assert lists.otc[lists.otc_block == index].tolist() == ([] if attributes.otc is None else [attributes.otc])


@given(st.lists(blocks(), min_size=1, max_size=6))
@settings(max_examples=120, deadline=None)
def test_lists_are_what_the_scalar_decode_gives(drawn: list[tuple[bytes, SessionKind]]) -> None:
    lists = lists_of([block for block, _ in drawn], [kind.asn4 for _, kind in drawn])
    for index, (block, kind) in enumerate(drawn):
        decoded = decode_attributes(block, kind, mp=False)
        if decoded.verdict is Verdict.ACCEPT and not lists.odd[index]:
            assert decoded.attributes is not None
            assert_same(lists, index, decoded.attributes)


def test_lists_of_real_blocks(shared_data: Path) -> None:
    found: dict[bytes, None] = {}
    for record in read_mrt(shared_data / "mrt" / "updates-35peers-2016.mrt.gz"):
        if isinstance(record, MessageRecord) and record.asn4 and record.message[18] == 2 and len(found) < 3000:
            message = record.message
            withdrawn = int.from_bytes(message[19:21], "big")
            size = int.from_bytes(message[21 + withdrawn : 23 + withdrawn], "big")
            found[message[23 + withdrawn : 23 + withdrawn + size]] = None
    real = [block for block in found if block]
    lists = lists_of(real, [True] * len(real))
    kind = SessionKind(asn4=True, ebgp=True, local_as=64500)
    compared = 0
    for index, block in enumerate(real):
        decoded = decode_attributes(block, kind, mp=False)
        if decoded.verdict is Verdict.ACCEPT and not lists.odd[index] and compared < 400:
            assert decoded.attributes is not None
            assert_same(lists, index, decoded.attributes)
            compared += 1
    assert compared == 400
