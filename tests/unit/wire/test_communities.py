from __future__ import annotations

import struct

import pytest

from bgpbridge.wire.communities import (
    WELL_KNOWN,
    format_community,
    format_extended,
    format_large,
    link_bandwidth,
    parse_community,
    parse_extended,
    parse_large,
)


def test_standard_communities() -> None:
    assert parse_community("65001:100") == 65001 << 16 | 100
    assert format_community(65001 << 16 | 100) == "65001:100"
    assert parse_community("no-export") == parse_community("NO_EXPORT") == 0xFFFFFF01
    assert all(format_community(parse_community(name)) == name for name in WELL_KNOWN)


def test_large_communities() -> None:
    assert parse_large("4200000000:1:2") == (4200000000, 1, 2)
    assert format_large((4200000000, 1, 2)) == "4200000000:1:2"


EXTENDED = {
    "rt:65001:100000": "0002fde9000186a0",
    "rt:192.0.2.1:7": "0102c00002010007",
    "rt:70000:7": "0202000111700007",
    "rt:65001L:7": "02020000fde90007",
    "soo:65001:1": "0003fde900000001",
    "color:100": "030b000000000064",
    "bandwidth:65001:0x4b989680": "4004fde94b989680",
    "bandwidth-transitive:65001:0x4b989680": "0004fde94b989680",
    "0x800600004b989680": "800600004b989680",
}


@pytest.mark.parametrize("text", EXTENDED)
def test_extended_communities(text: str) -> None:
    assert format_extended(bytes.fromhex(EXTENDED[text])) == text
    assert parse_extended(text).hex() == EXTENDED[text]


def test_other_spellings_of_extended_communities() -> None:
    assert parse_extended("target:65001:1") == parse_extended("RT:65001:1")
    assert parse_extended("origin:65001:1") == parse_extended("ro:65001:1") == parse_extended("soo:65001:1")
    assert parse_extended("bandwidth:65001:20000000") == parse_extended("bandwidth:65001:0x4b989680")


@pytest.mark.parametrize("text", ["", "65001", "65536:1", "1:65536", "-1:1", "1:2:3", "no-such", "1:٣"])
def test_bad_standard_communities_say_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|number from 0"):
        parse_community(text)


@pytest.mark.parametrize("text", ["1:2", "1:2:3:4", "4294967296:1:1", "a:1:1"])
def test_bad_large_communities_say_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|number from 0"):
        parse_large(text)


@pytest.mark.parametrize(
    "text", ["rt:1", "rt:4294967296:1", "rt:70000:65536", "rt:1.2.3:4", "color:-1", "0x12", "xx:1:1"]
)
def test_bad_extended_communities_raise_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_extended(text)


def test_link_bandwidth_is_octets_per_second() -> None:
    assert link_bandwidth([bytes.fromhex("0002fde900000001"), bytes.fromhex("4004fde94b989680")]) == 20_000_000


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 0.0])
def test_a_link_bandwidth_that_is_no_usable_number_is_none(number: float) -> None:
    assert link_bandwidth([b"\x40\x04\xfd\xe9" + struct.pack("!f", number)]) is None
