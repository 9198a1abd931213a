"""Reading netlink attributes and link modes, without an interface in sight."""

from __future__ import annotations

import struct

from bgpbridge.datapath.links import Mode, attributes


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def testattributes_are_read_in_a_row_with_their_padding() -> None:
    octets = attribute(1, b"abc") + attribute(5, b"\x07\0\0\0") + attribute(9, b"")
    assert list(attributes(octets)) == [(1, b"abc"), (5, b"\x07\0\0\0"), (9, b"")]


def test_the_nested_bit_is_no_part_of_the_type() -> None:
    assert list(attributes(attribute(43 | 0x8000, b"x"))) == [(43, b"x")]


def test_a_length_that_is_too_small_ends_the_row() -> None:
    assert list(attributes(struct.pack("=HH", 3, 1) + bytes(8))) == []
    assert list(attributes(b"\x04")) == []


def test_modes_have_the_words_of_the_configuration() -> None:
    assert (Mode.NATIVE.label, Mode.GENERIC.label) == ("native", "generic")
