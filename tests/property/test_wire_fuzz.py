"""Hostile octets: a verdict or WireError, and nothing else; and never an octet beyond the bound."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import DESCRIPTORS, decode_attributes, encode_attribute, frame_attributes
from bgpbridge.wire.bulk import decode_run
from bgpbridge.wire.communities import (
    format_community,
    format_extended,
    format_large,
    parse_community,
    parse_extended,
    parse_large,
)
from bgpbridge.wire.cursor import Cursor
from bgpbridge.wire.describe import describe
from bgpbridge.wire.message import MARKER, iter_messages, parse_notification
from bgpbridge.wire.mrt import read_mrt
from bgpbridge.wire.nlri import decode_nlri, encode_nlri
from bgpbridge.wire.opening import parse_open, parse_route_refresh
from bgpbridge.wire.segments import Segment, SegmentKind, decode_segments, encode_segments
from bgpbridge.wire.update import decode_update
from bgpbridge.wire.verdicts import SessionKind

SESSION_FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans())


def framed(kind: int, body: bytes) -> bytes:
    return MARKER + (19 + len(body)).to_bytes(2, "big") + bytes([kind]) + body


@settings(max_examples=200, deadline=None)
@given(body=st.binary(min_size=4, max_size=300), flags=SESSION_FLAGS)
def test_any_update_gives_a_verdict(
    body: bytes, flags: tuple[bool, bool, bool, bool], make_session: Callable[..., Session]
) -> None:
    asn4, external, add_path, extended = flags
    session = make_session(
        asn4=asn4,
        peer_as=65001 if external else 64999,
        add_path=frozenset(Family) if add_path else frozenset(),
        extended_next_hop=extended,
    )
    update = decode_update(framed(2, body), session)
    assert update.verdict in Verdict
    for route in update.announced:
        describe(route.attributes)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
@example(data=MARKER)
@example(data=MARKER + b"\0\x17\2\0\0\0")
def test_any_run_gives_a_batch_or_wire_error(data: bytes, make_session: Callable[..., Session]) -> None:
    try:
        batch = decode_run(data, make_session())
    except WireError:
        return
    assert batch.messages == 0 or batch.verdict in Verdict
    assert not data or batch.messages or batch.verdict is Verdict.SESSION_RESET


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=120), kind=st.integers(0, 255))
def test_any_message_parses_or_raises_wire_error(body: bytes, kind: int) -> None:
    message = framed(kind, body)
    for parse in (parse_open, parse_notification, parse_route_refresh):
        try:
            str(parse(message))
        except WireError:
            continue
    with contextlib.suppress(WireError):
        assert list(iter_messages(message)) == [message]


@settings(max_examples=300, deadline=None)
@given(
    code=st.sampled_from(sorted(DESCRIPTORS)),
    value=st.binary(max_size=60),
    flags=st.integers(0, 255),
    asn4=st.booleans(),
    mp=st.booleans(),
)
def test_any_value_of_a_known_attribute_is_judged(code: int, value: bytes, flags: int, asn4: bool, mp: bool) -> None:
    block = encode_attribute(code, value, flags)
    decoded = decode_attributes(block, SessionKind(asn4, False, 64999), mp=mp)
    assert decoded.verdict is Verdict.SESSION_RESET or decoded.findings


@settings(max_examples=200)
@given(data=st.binary(max_size=80), start=st.integers(0, 80), end=st.integers(0, 80))
def test_attributes_stay_within_their_bounds(data: bytes, start: int, end: int) -> None:
    start, end = min(start, len(data)), min(end, len(data))
    frames, broken = frame_attributes(data, start, end)
    position = start
    for header, _, _, value, stop in frames:
        assert header == position
        assert header < value <= stop <= end
        position = stop
    assert (broken is None) == (position >= end)


@settings(max_examples=200)
@given(
    data=st.binary(max_size=40), reads=st.lists(st.tuples(st.sampled_from("1248rs"), st.integers(-2, 12)), max_size=12)
)
def test_a_cursor_never_reads_beyond_its_bound(data: bytes, reads: list[tuple[str, int]]) -> None:
    end = len(data) * 3 // 4
    cursor = Cursor(data, 0, end)
    taken = b""
    for what, size in reads:
        before = cursor.position
        try:
            match what:
                case "1":
                    taken += bytes([cursor.u8()])
                case "2":
                    taken += cursor.u16().to_bytes(2, "big")
                case "4":
                    taken += cursor.u32().to_bytes(4, "big")
                case "8":
                    taken += cursor.take(size)
                case "r":
                    taken += cursor.rest()
                case "s":
                    taken += cursor.sub(size).rest()
        except WireError:
            assert cursor.position == before
    assert taken == data[: cursor.position]
    assert cursor.position <= end


PREFIXES = st.builds(
    lambda family, value, length: Prefix.make(family, value % (1 << family.bits), length % (family.bits + 1)),
    st.sampled_from(Family),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
)


@settings(max_examples=150)
@given(prefixes=st.lists(st.tuples(PREFIXES, st.integers(0, 2**32 - 1)), max_size=12), add_path=st.booleans())
def test_nlri_come_back_as_they_were(prefixes: list[tuple[Prefix, int]], add_path: bool) -> None:
    for family in Family:
        mine = [(prefix, number if add_path else 0) for prefix, number in prefixes if prefix.family is family]
        octets = encode_nlri(mine, add_path)
        assert list(decode_nlri(octets, 0, len(octets), family, add_path)) == mine


@settings(max_examples=150)
@given(
    segments=st.lists(
        st.builds(
            Segment,
            st.sampled_from(SegmentKind),
            st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=9).map(tuple),
        ),
        max_size=4,
    )
)
def test_as_paths_come_back_as_they_were(segments: list[Segment]) -> None:
    assert decode_segments(encode_segments(segments), 4) == tuple(segments)


@settings(max_examples=300)
@given(value=st.binary(min_size=8, max_size=8))
@example(value=b"\x00\x02\xfd\xe9\0\0\0\1")
@example(value=b"\x02\x02\0\0\xfd\xe9\0\1")
@example(value=b"\x40\x04\xfd\xe9\x7f\x80\0\0")
@example(value=b"\x03\x0b\0\0\0\0\0\x64")
def test_extended_communities_come_back_from_their_text(value: bytes) -> None:
    assert parse_extended(format_extended(value)) == value


@settings(max_examples=200)
@given(
    kind=st.sampled_from([0, 1, 2, 3, 0x40]),
    sub=st.sampled_from([2, 3, 4, 0xB]),
    rest=st.binary(min_size=6, max_size=6),
)
def test_named_extended_communities_come_back_from_their_text(kind: int, sub: int, rest: bytes) -> None:
    value = bytes([kind, sub]) + rest
    assert parse_extended(format_extended(value)) == value


@given(value=st.integers(0, 2**32 - 1))
def test_communities_come_back_from_their_text(value: int) -> None:
    assert parse_community(format_community(value)) == value


@given(value=st.tuples(*[st.integers(0, 2**32 - 1)] * 3))
def test_large_communities_come_back_from_their_text(value: tuple[int, int, int]) -> None:
    assert parse_large(format_large(value)) == value


@settings(max_examples=60)
@given(text=st.text("0123456789abcdefxL:.-rtso ", max_size=24))
def test_any_text_is_a_community_or_a_value_error(text: str) -> None:
    for parse in (parse_community, parse_extended, parse_large):
        with contextlib.suppress(ValueError):
            parse(text)


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=200), packing=st.sampled_from([bytes, gzip.compress, bz2.compress]))
def test_any_file_is_records_or_wire_error(data: bytes, packing: Callable[[bytes], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzz.mrt"
        path.write_bytes(packing(data)[:-1] if len(data) % 3 == 0 else packing(data))
        with contextlib.suppress(WireError):
            list(read_mrt(path))


def test_packed_files_that_are_damaged_raise_wire_error(tmp_path: Path) -> None:
    for pack in (gzip.compress, bz2.compress):
        packed = bytearray(pack(bytes(5000)))
        packed[len(packed) // 2] ^= 0xFF
        path = tmp_path / "damaged.mrt"
        path.write_bytes(packed)
        with pytest.raises(WireError, match=r"damaged\.mrt"):
            list(read_mrt(path))


def test_a_cursor_refuses_bounds_outside_its_data() -> None:
    with pytest.raises(WireError):
        Cursor(b"abc", 0, 4)
    with pytest.raises(WireError):
        Cursor(b"abc", 3, 2)
