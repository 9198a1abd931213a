from __future__ import annotations

import pytest

from bgpbridge.wire.segments import (
    Segment,
    SegmentKind,
    as_path_text,
    decode_segments,
    encode_segments,
    first_as,
    merge_as4_path,
    origin_as,
    path_length,
    prepend,
)

SET, SEQUENCE, CONFED, CONFED_SET = SegmentKind


def seq(*asns: int) -> Segment:
    return Segment(SEQUENCE, asns)


def as_set(*asns: int) -> Segment:
    return Segment(SET, asns)


def test_a_set_counts_one_and_confederation_segments_nothing() -> None:
    path = (Segment(CONFED, (1, 2)), seq(3, 4, 5), as_set(6, 7), Segment(CONFED_SET, (8,)))
    assert path_length(path) == 4
    assert (first_as(path), origin_as(path)) == (3, 0)
    assert as_path_text(path) == "(1 2) 3 4 5 {6,7} [8]"


def test_an_empty_path_has_no_neighbour_and_no_origin() -> None:
    assert (path_length(()), first_as(()), origin_as(())) == (0, 0, 0)


def test_a_set_is_printed_sorted_and_once_but_kept_as_it_came() -> None:
    segment = as_set(7, 5, 7)
    assert (str(segment), segment.asns) == ("{5,7}", (7, 5, 7))


@pytest.mark.parametrize(
    "octets",
    ["02", "0200", "0203000100020003", "0801 0001", "02010001000203", "0000"],
    ids=["no length", "no AS", "overrun", "unknown type", "left over", "type 0"],
)
def test_malformed_segments(octets: str) -> None:
    assert decode_segments(bytes.fromhex(octets), 4) is None


def test_segments_longer_than_255_are_cut_when_encoded() -> None:
    octets = encode_segments([seq(*range(1, 301))])
    decoded = decode_segments(octets, 4)
    assert decoded is not None
    assert [len(segment.asns) for segment in decoded] == [255, 45]


def test_two_octet_encoding_writes_as_trans() -> None:
    assert encode_segments([seq(70000, 5)], 2) == bytes([2, 2, 0x5B, 0xA0, 0, 5])


def test_prepend_joins_the_first_sequence_while_it_fits() -> None:
    assert prepend((seq(5), as_set(6)), (9, 9)) == (seq(9, 9, 5), as_set(6))
    assert prepend((as_set(6),), (9,)) == (seq(9), as_set(6))
    full = seq(*[1] * 255)
    assert prepend((full,), (9,)) == (seq(9), full)
    assert prepend((seq(5),), ()) == (seq(5),)


# FRR's reconcile cases (tests/bgpd/test_aspath.c) and RFC 6793 s4.2.3
MERGES = {
    "lead": (
        (seq(6435, 59408, 21665), as_set(23456, 23456, 23456), seq(23456, 23456, 23456)),
        (as_set(2457, 61697, 4369), seq(1842, 41591, 51793)),
        "6435 59408 21665 {2457,4369,61697} 1842 41591 51793",
    ),
    "confederation": (
        (Segment(CONFED, (123, 456)), Segment(CONFED_SET, (788,)), seq(6435, 59408), seq(23456, 23456)),
        (seq(1842, 41591),),
        "(123 456) [788] 6435 59408 1842 41591",
    ),
    "all replaced": (
        (seq(23456, 23456, 23456), seq(6435, 59408, 21665)),
        (seq(1842, 41591, 51793, 6435, 59408, 21665),),
        "1842 41591 51793 6435 59408 21665",
    ),
    "AS4_PATH too long": (
        (seq(23456, 23456, 23456), seq(6435, 59408)),
        (seq(1842, 41591, 51793, 6435, 59408, 21665),),
        "23456 23456 23456 6435 59408",
    ),
    "cut within a sequence": ((seq(10, 20, 23456, 23456),), (seq(70001, 70002),), "10 20 70001 70002"),
    "a confederation segment beside a kept one": (
        (seq(10), Segment(CONFED, (7,)), seq(23456)),
        (seq(70001),),
        "10 (7) 70001",
    ),
    "nothing kept but what leads": ((Segment(CONFED, (7,)), seq(23456)), (seq(70001),), "(7) 70001"),
}


@pytest.mark.parametrize("name", MERGES)
def test_merge_of_as_path_and_as4_path(name: str) -> None:
    path, path4, expected = MERGES[name]
    merged = merge_as4_path(path, path4)
    assert as_path_text(merged) == expected
    assert path_length(merged) == path_length(path)
