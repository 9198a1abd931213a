"""Prefixes, AS numbers, paths and communities as operators write them."""

from __future__ import annotations

import pytest

from bgpbridge.policy.as_paths import AsnSet, PathPattern, elements_of, parse_asns
from bgpbridge.policy.communities import CommunityKind, parse_pattern, parse_value
from bgpbridge.policy.prefixes import parse_prefixes
from bgpbridge.types import Prefix
from bgpbridge.wire.segments import Segment, SegmentKind


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("192.0.2.0/24", ["192.0.2.0/24"]),
        ("192.0.2.1", ["192.0.2.1/32"]),
        ("10.0.0.0/8 or-longer", ["10.0.0.0/8 or-longer"]),
        ("10.0.0.0/8 ge 16 le 24", ["10.0.0.0/8 ge 16 le 24"]),
        ("10.0.0.0/8 le 24 ge 16", ["10.0.0.0/8 ge 16 le 24"]),
        ("10.0.0.0/8 le 24", ["10.0.0.0/8 ge 8 le 24"]),
        ("10.0.0.0/8 ge 25", ["10.0.0.0/8 ge 25 le 32"]),
        ("2001:db8::/32 ge 33 le 48", ["2001:db8::/32 ge 33 le 48"]),
        ("192.0.2.0-192.0.2.191", ["192.0.2.0/25 or-longer", "192.0.2.128/26 or-longer"]),
        ("192.0.2-3.*", ["192.0.2.0/23 or-longer"]),
        ("192.0.2.* le 26", ["192.0.2.0/24 ge 24 le 26"]),
        ("2001:db8::-2001:db8::ff", ["2001:db8::/120 or-longer"]),
    ],
)
def test_prefix_patterns(text: str, means: list[str]) -> None:
    assert [str(entry) for entry in parse_prefixes(text)] == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
        ("10/8", "is not a prefix"),
        ("", "is not a prefix"),
        ("10.0.0.0/8 le 7", "matches nothing"),
        ("10.0.0.0/8 ge 24 le 16", "matches nothing"),
        ("10.0.0.0/8 ge", "no qualifier"),
        ("10.0.0.0/8 ge x", "take a length"),
        ("10.0.0.0/8 upto 24", "no qualifier"),
        ("10.0.0.0/8 ge 9 ge 10", "no qualifier"),
        ("192.0.2.9-192.0.2.1", "neither a range"),
        ("*", "neither a range"),
    ],
)
def test_prefix_patterns_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_prefixes(text)
    assert says in str(caught.value)


def test_a_prefix_in_a_range_of_addresses_lies_wholly_in_it() -> None:
    entries = parse_prefixes("192.0.2.0-192.0.2.191")
    inside = [any(entry.matches(Prefix.parse(p)) for entry in entries) for p in ("192.0.2.160/27", "192.0.2.128/25")]
    assert inside == [True, False]


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("1 2 3", [1, 2, 3], True),
        ("1 2", [1, 2, 3], False),
        ("2 3", [1, 2, 3], False),
        ("1 * 3", [1, 2, 2, 3], True),
        ("1 * 3", [1, 3], True),
        ("* 3", [3], True),
        ("*", [], True),
        ("?", [], False),
        ("? ?", [1, 2], True),
        ("1+ 2", [1, 1, 1, 2], True),
        ("1+ 2", [2], False),
        ("(1|7) 2", [7, 2], True),
        ("(1 | 7)+ 2", [7, 1, 2], True),
        ("1 @low", [1, 12], True),
        ("1 (@low|99)", [1, 99], True),
        ("10-19 *", [20], False),
        ("AS1 2", [1, 2], True),
        ("* 1 * 1 *", [1, 2, 3], False),
    ],
)
def test_path_patterns_are_anchored(pattern: str, path: list[int], fits: bool) -> None:
    parsed = PathPattern.parse(pattern, {"low": AsnSet.of([(10, 19)])})
    assert parsed.matches(tuple((asn,) for asn in path)) is fits


def test_a_set_is_one_element_and_confederations_none() -> None:
    path = (
        Segment(SegmentKind.AS_CONFED_SEQUENCE, (9, 9)),
        Segment(SegmentKind.AS_SEQUENCE, (1, 2)),
        Segment(SegmentKind.AS_SET, (5, 6)),
    )
    assert elements_of(path) == ((1,), (2,), (5, 6))
    assert PathPattern.parse("1 2 6", {}).matches(elements_of(path))


def test_a_pattern_does_not_backtrack() -> None:
    pattern = PathPattern.parse(" ".join(["* 1"] * 30), {})
    assert not pattern.matches(((1,),) * 29 + ((2,),) * 4000)


@pytest.mark.parametrize("text", ["", "(1|2", "1)", "@gone", "1-", "x", "2-1", "^1 *", "1 [2-3]", " ".join(["1"] * 64)])
def test_path_patterns_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PathPattern.parse(text, {})


def test_as_numbers() -> None:
    assert parse_asns("AS64500-64510") == (64500, 64510)
    assert parse_asns("4294967295") == (4294967295, 4294967295)
    numbers = AsnSet.of([(5, 9), (1, 4), (20, 20)])
    assert numbers.ranges == ((1, 9), (20, 20))
    assert [asn in numbers for asn in (0, 1, 9, 10, 20)] == [False, True, True, False, True]


STANDARD, EXTENDED, LARGE = CommunityKind.STANDARD, CommunityKind.EXTENDED, CommunityKind.LARGE


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("65000:100", "65000:100", True),
        ("65000:*", "65000:7", True),
        ("65000:*", "65001:7", False),
        ("*:666", "1:666", True),
        ("65000:100-199", "65000:200", False),
        ("no-export", "65535:65281", True),
        ("65000:1:2", "65000:1:2", True),
        ("65000:*:2", "65000:9:2", True),
        ("65000:*:2", "65000:9:3", False),
        ("*:*:4000000000-4294967295", "1:2:4000000000", True),
        ("rt:65000:*", "rt:65000:77", True),
        ("rt:65000:*", "soo:65000:77", False),
        ("rt:*:77", "rt:4200000000:77", True),
        ("rt:*:77", "rt:192.0.2.1:77", True),
        ("rt:70000:*", "rt:70000:1", True),
        ("soo:192.0.2.1:*", "soo:192.0.2.1:5", True),
        ("soo:192.0.2.1:*", "soo:192.0.2.2:5", False),
        ("color:100", "color:100", True),
        ("0x0002fde800000064", "rt:65000:100", True),
    ],
)
def test_community_patterns(pattern: str, value: str, fits: bool) -> None:
    kind, number = parse_value(value)
    assert any(p.matches(number) for p in parse_pattern(pattern) if p.kind is kind) is fits


@pytest.mark.parametrize("text", ["1:70000", "1:2:3:4", "1:9-3", "nonsense", "rt:1:*:3", "abc:1", "", "1:x"])
def test_communities_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["65000:100", "65000:1:2", "rt:65000:100", "no-export"])
def test_exact_patterns_know_their_value(text: str) -> None:
    kind, value = parse_value(text)
    (pattern,) = parse_pattern(text)
    assert (pattern.kind, pattern.value, str(pattern)) == (kind, value, text)
