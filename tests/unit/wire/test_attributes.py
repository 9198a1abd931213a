"""One block at a time: every row of the table of descriptors, and what RFC 7606 does with it."""

from __future__ import annotations

import ipaddress

import pytest

from bgpbridge.types import Verdict
from bgpbridge.wire.attributes import DESCRIPTORS, Code, decode_attributes, encode_attribute
from bgpbridge.wire.path_attributes import Aggregator, Decoded, PathAttributes, RawAttribute
from bgpbridge.wire.segments import as_path_text
from bgpbridge.wire.verdicts import SessionKind

ACCEPT, DISCARD, WITHDRAW, _, RESET = Verdict
INTERNAL = SessionKind(asn4=True, ebgp=False, local_as=64999)
EXTERNAL = SessionKind(asn4=True, ebgp=True, local_as=64999)
OLD = SessionKind(asn4=False, ebgp=False, local_as=64999)

ORIGIN = encode_attribute(Code.ORIGIN, b"\0")
PATH = encode_attribute(Code.AS_PATH, bytes.fromhex("02020000fde90000fdea"))
OLD_PATH = encode_attribute(Code.AS_PATH, bytes.fromhex("0203fde95ba05ba0"))
NEXT_HOP = encode_attribute(Code.NEXT_HOP, bytes([192, 0, 2, 1]))
PLAIN = ORIGIN + PATH + NEXT_HOP
HOP6 = ipaddress.IPv6Address("2001:db8::1")
LINK = ipaddress.IPv6Address("fe80::1")


def read(extra: bytes = b"", kind: SessionKind = INTERNAL, plain: bytes = PLAIN, *, mp: bool = False) -> Decoded:
    return decode_attributes(plain + extra, kind, mp=mp)


def accepted(extra: bytes, kind: SessionKind = INTERNAL, plain: bytes = PLAIN, *, mp: bool = False) -> PathAttributes:
    decoded = read(extra, kind, plain, mp=mp)
    assert decoded.verdict <= DISCARD, decoded.findings
    assert decoded.attributes is not None
    return decoded.attributes


def said(decoded: Decoded) -> tuple[Verdict, list[str]]:
    return decoded.verdict, [finding.reason for finding in decoded.findings]


def test_the_three_mandatory_ones_are_enough() -> None:
    attributes = accepted(b"")
    assert (attributes.origin, str(attributes.next_hop)) == (0, "192.0.2.1")
    assert (attributes.path_length, attributes.neighbor_as, attributes.origin_as) == (2, 65001, 65002)


GOOD = {
    "med": (Code.MED, "00000005", "med", 5),
    "local_pref": (Code.LOCAL_PREF, "000000c8", "local_pref", 200),
    "atomic": (Code.ATOMIC_AGGREGATE, "", "atomic_aggregate", True),
    "aggregator": (
        Code.AGGREGATOR,
        "00011170c0000201",
        "aggregator",
        Aggregator(70000, ipaddress.IPv4Address("192.0.2.1")),
    ),
    "communities": (Code.COMMUNITIES, "fde90064ffffff01", "communities", (0xFDE90064, 0xFFFFFF01)),
    "extended": (Code.EXTENDED, "0002fde900000001", "extended", (bytes.fromhex("0002fde900000001"),)),
    "large": (Code.LARGE, "000000010000000200000003", "large", ((1, 2, 3),)),
    "originator": (Code.ORIGINATOR_ID, "c0000209", "originator_id", ipaddress.IPv4Address("192.0.2.9")),
    "cluster list": (Code.CLUSTER_LIST, "0a0000010a000002", "cluster_list", None),
    "aigp": (Code.AIGP, "01000b0000000000000064", "aigp", 100),
    "otc": (Code.OTC, "0000fde9", "otc", 65001),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_well_formed_attribute_is_read(name: str) -> None:
    code, octets, field, value = GOOD[name]
    attributes = accepted(encode_attribute(code, bytes.fromhex(octets)))
    expected = tuple(map(ipaddress.IPv4Address, ("10.0.0.1", "10.0.0.2"))) if value is None else value
    assert getattr(attributes, field) == expected


@pytest.mark.parametrize("code", [code for code in DESCRIPTORS if code not in {Code.MP_REACH, Code.MP_UNREACH}])
def test_wrong_flags_withdraw_the_route_except_where_an_rfc_says_otherwise(code: int) -> None:
    """RFC 7606 s3 c; AIGP is discarded (RFC 7311 s3)."""
    row = DESCRIPTORS[code]
    values = {Code.ORIGIN: b"\0", Code.AS_PATH: b"", Code.NEXT_HOP: b"\xc0\0\2\1"}
    value = values.get(code, bytes(row.minimum))
    rest = b"".join(a for c, a in ((1, ORIGIN), (2, PATH), (3, NEXT_HOP)) if c != code)
    for flip in (0x40, 0x80, 0xC0):
        decoded = read(encode_attribute(code, value, row.flags ^ flip), plain=rest)
        assert said(decoded) == (DISCARD if code == Code.AIGP else WITHDRAW, [f"{row.name}: flags"])


@pytest.mark.parametrize("flags", [0x10, 0x20, 0x0F, 0x3F])
def test_partial_extended_length_and_unused_bits_are_no_error(flags: int) -> None:
    assert accepted(encode_attribute(Code.COMMUNITIES, b"\xfd\xe9\0\1", 0xC0 | flags)).communities == (0xFDE90001,)


LENGTHS = {
    Code.ORIGIN: ([0, 2], WITHDRAW),
    Code.NEXT_HOP: ([0, 3, 5, 16], WITHDRAW),
    Code.MED: ([0, 3, 5], WITHDRAW),
    Code.LOCAL_PREF: ([0, 3, 5], WITHDRAW),
    Code.ATOMIC_AGGREGATE: ([1], DISCARD),
    Code.AGGREGATOR: ([0, 5, 6, 7, 9], DISCARD),
    Code.COMMUNITIES: ([0, 3, 6], WITHDRAW),
    Code.ORIGINATOR_ID: ([0, 3, 5], WITHDRAW),
    Code.CLUSTER_LIST: ([0, 3, 6], WITHDRAW),
    Code.EXTENDED: ([0, 7, 12], WITHDRAW),
    Code.EXTENDED_IPV6: ([0, 19, 21], WITHDRAW),
    Code.AIGP: ([0, 2], DISCARD),
    Code.LARGE: ([0, 11, 16], WITHDRAW),
    Code.OTC: ([0, 3, 5], WITHDRAW),
    Code.PREFIX_SID: ([0, 2], DISCARD),
}


@pytest.mark.parametrize(("code", "length"), [(code, n) for code, (lengths, _) in LENGTHS.items() for n in lengths])
def test_wrong_lengths(code: int, length: int) -> None:
    rest = b"".join(a for c, a in ((1, ORIGIN), (2, PATH), (3, NEXT_HOP)) if c != code)
    decoded = read(encode_attribute(code, bytes([1] * length)), plain=rest)
    assert said(decoded) == (LENGTHS[code][1], [f"{DESCRIPTORS[code].name}: length"])


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_mandatory_attribute_withdraws(missing: int) -> None:
    rest = b"".join(a for c, a in ((1, ORIGIN), (2, PATH), (3, NEXT_HOP)) if c != missing)
    assert said(read(plain=rest)) == (WITHDRAW, [f"{DESCRIPTORS[missing].name}: missing"])


def test_origin_3_withdraws() -> None:
    decoded = read(plain=encode_attribute(Code.ORIGIN, b"\3") + PATH + NEXT_HOP)
    assert said(decoded) == (WITHDRAW, ["origin: invalid value"])


def test_of_a_repeated_attribute_the_first_one_counts() -> None:
    """RFC 7606 s3 g."""
    twice = encode_attribute(Code.MED, b"\0\0\0\1") + encode_attribute(Code.MED, b"\0\0\0\2")
    decoded = read(twice)
    assert said(decoded) == (DISCARD, ["med: repeated"])
    assert decoded.attributes is not None
    assert decoded.attributes.med == 1


@pytest.mark.parametrize("tail", ["c0", "c008", "c00805fde90001", "d00800", "d0080005fde90001"])
def test_an_attribute_that_does_not_fit_withdraws(tail: str) -> None:
    """RFC 7606 s4."""
    assert said(read(bytes.fromhex(tail))) == (WITHDRAW, ["update: attribute does not fit"])


def test_the_strongest_verdict_counts() -> None:
    decoded = read(encode_attribute(Code.ATOMIC_AGGREGATE, b"1") + encode_attribute(Code.MED, b"12345"))
    assert said(decoded) == (WITHDRAW, ["atomic_aggregate: length", "med: length"])
    assert decoded.attributes is None


@pytest.mark.parametrize("code", [Code.LOCAL_PREF, Code.ORIGINATOR_ID, Code.CLUSTER_LIST, Code.AIGP])
def test_internal_attributes_from_an_external_peer_are_discarded_even_when_malformed(code: int) -> None:
    """RFC 7606 s7.5, s7.9, s7.10; RFC 7311 s3.3."""
    for value in (bytes(4), b"x"):
        decoded = read(encode_attribute(code, value), EXTERNAL)
        assert said(decoded) == (DISCARD, [f"{DESCRIPTORS[code].name}: from an external peer"])
        assert decoded.attributes == accepted(b"", EXTERNAL)


def test_unknown_attributes_are_kept_and_unknown_well_known_ones_reset() -> None:
    assert accepted(encode_attribute(200, b"abc")).unknown == (RawAttribute(0xC0, 200, b"abc"),)
    assert accepted(encode_attribute(200, b"")).unknown == (RawAttribute(0xC0, 200, b""),)
    decoded = read(encode_attribute(200, b"abc", 0x40))
    assert (decoded.verdict, decoded.findings[0].notification) == (RESET, (3, 2))


# AS_PATH


def path(octets: str) -> bytes:
    return ORIGIN + encode_attribute(Code.AS_PATH, bytes.fromhex(octets)) + NEXT_HOP


def test_as_0_withdraws() -> None:
    """RFC 7607 s2."""
    assert said(read(plain=path("02020000fde900000000"))) == (WITHDRAW, ["as_path: AS 0"])


def test_our_own_as_withdraws_and_the_attributes_stay_to_be_shown() -> None:
    decoded = read(plain=path("02020000fde90000fde7"))
    assert said(decoded) == (WITHDRAW, ["as_path: own AS"])
    assert decoded.attributes is not None
    assert as_path_text(decoded.attributes.as_path) == "65001 64999"


def test_the_first_as_of_an_external_path_must_be_the_peers() -> None:
    kind = SessionKind(asn4=True, ebgp=True, local_as=64999, first_as=65001)
    assert read(kind=kind).verdict is ACCEPT
    wrong = (WITHDRAW, ["as_path: first AS is not the peer's"])
    assert said(read(kind=kind, plain=path("02020000fdea0000fde9"))) == wrong
    assert said(read(kind=kind, plain=path("01010000fde9"))) == wrong
    assert said(read(kind=kind, plain=path(""))) == wrong


def test_confederation_segments_withdraw_only_from_an_external_peer() -> None:
    octets = "03010000fde902010000fdea"
    assert accepted(b"", plain=path(octets)).path_length == 1
    decoded = read(kind=EXTERNAL, plain=path(octets))
    assert said(decoded) == (WITHDRAW, ["as_path: confederation segment from an external peer"])


def test_as4_path_is_merged_on_a_two_octet_session() -> None:
    as4 = encode_attribute(Code.AS4_PATH, bytes.fromhex("02020001117000011171"))
    merged = accepted(as4, OLD, ORIGIN + OLD_PATH + NEXT_HOP)
    assert as_path_text(merged.as_path) == "65001 70000 70001"


def test_as4_path_from_a_four_octet_speaker_is_discarded() -> None:
    """RFC 6793 s6."""
    decoded = read(encode_attribute(Code.AS4_PATH, bytes.fromhex("020100011170")))
    assert said(decoded) == (DISCARD, ["as4_path: from a four-octet speaker"])
    assert decoded.attributes == accepted(b"")


@pytest.mark.parametrize("octets", ["0202000111700001", "0901000111 70", "020100000000", "0200", "02010001"])
def test_a_malformed_as4_path_is_discarded(octets: str) -> None:
    decoded = read(encode_attribute(Code.AS4_PATH, bytes.fromhex(octets)), OLD, ORIGIN + OLD_PATH + NEXT_HOP)
    assert decoded.verdict is DISCARD
    assert decoded.attributes is not None
    assert as_path_text(decoded.attributes.as_path) == "65001 23456 23456"


def test_confederation_segments_in_as4_path_are_dropped_and_the_rest_is_used() -> None:
    as4 = encode_attribute(Code.AS4_PATH, bytes.fromhex("03010000fe0002020001117000011171"))
    decoded = read(as4, OLD, ORIGIN + OLD_PATH + NEXT_HOP)
    assert said(decoded) == (DISCARD, ["as4_path: confederation segment"])
    assert decoded.attributes is not None
    assert as_path_text(decoded.attributes.as_path) == "65001 70000 70001"


def test_our_own_as_is_found_in_as4_path() -> None:
    kind = SessionKind(asn4=False, ebgp=False, local_as=70001)
    as4 = encode_attribute(Code.AS4_PATH, bytes.fromhex("02020001117000011171"))
    assert said(read(as4, kind, ORIGIN + OLD_PATH + NEXT_HOP)) == (WITHDRAW, ["as_path: own AS"])


def test_as4_aggregator_replaces_as_trans_only() -> None:
    """RFC 6793 s4.2.3: where AGGREGATOR names a real AS, both AS4 attributes are ignored."""
    as4 = encode_attribute(Code.AS4_PATH, bytes.fromhex("02020001117000011171"))
    as4 += encode_attribute(Code.AS4_AGGREGATOR, bytes.fromhex("00011170c0000201"))
    plain = ORIGIN + OLD_PATH + NEXT_HOP
    trans = accepted(as4 + encode_attribute(Code.AGGREGATOR, bytes.fromhex("5ba0c0000201")), OLD, plain)
    real = accepted(as4 + encode_attribute(Code.AGGREGATOR, bytes.fromhex("fde9c0000201")), OLD, plain)
    assert trans.aggregator is not None
    assert real.aggregator is not None
    assert (trans.aggregator.asn, as_path_text(trans.as_path)) == (70000, "65001 70000 70001")
    assert (real.aggregator.asn, as_path_text(real.as_path)) == (65001, "65001 23456 23456")


def test_aggregator_with_as_0_is_discarded() -> None:
    decoded = read(encode_attribute(Code.AGGREGATOR, bytes.fromhex("00000000c0000201")))
    assert said(decoded) == (DISCARD, ["aggregator: AS 0"])


# Next hops


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.5", "240.0.0.1", "255.255.255.255"])
def test_next_hops_that_no_host_has_withdraw(address: str) -> None:
    plain = ORIGIN + PATH + encode_attribute(Code.NEXT_HOP, ipaddress.IPv4Address(address).packed)
    assert said(read(plain=plain)) == (WITHDRAW, ["next_hop: not a unicast address"])


def mp_reach(*addresses: str, family: int = 2) -> bytes:
    octets = b"".join(ipaddress.ip_address(address).packed for address in addresses)
    return encode_attribute(Code.MP_REACH, bytes([0, family, 1, len(octets)]) + octets, 0x90)


HOPS = {
    "global": (("2001:db8::1",), HOP6, None),
    "global and link-local": (("2001:db8::1", "fe80::1"), HOP6, LINK),
    "link-local alone": (("fe80::1",), LINK, LINK),
    "link-local twice": (("fe80::2", "fe80::1"), LINK, LINK),
    "nothing and link-local": (("::", "fe80::1"), LINK, LINK),
    "global and something else": (("2001:db8::1", "2001:db8::2"), HOP6, None),
    "link-local and something else": (("fe80::1", "2001:db8::2"), LINK, LINK),
}


@pytest.mark.parametrize("name", HOPS)
def test_ipv6_next_hops(name: str) -> None:
    addresses, hop, link_local = HOPS[name]
    attributes = accepted(mp_reach(*addresses), plain=ORIGIN + PATH, mp=True)
    assert (attributes.next_hop, attributes.link_local) == (hop, link_local)


@pytest.mark.parametrize("addresses", [("::",), ("ff02::1",), ("ff02::1", "fe80::1"), ("::", "2001:db8::1")])
def test_ipv6_next_hops_that_no_host_has_withdraw(addresses: tuple[str, ...]) -> None:
    decoded = read(mp_reach(*addresses), plain=ORIGIN + PATH, mp=True)
    assert said(decoded) == (WITHDRAW, ["next_hop: not a unicast address"])


def test_each_kind_of_nlri_has_its_own_next_hop() -> None:
    """RFC 4760 s3: NEXT_HOP says nothing about the NLRI of MP_REACH_NLRI, nor the other way round."""
    both = PLAIN + mp_reach("2001:db8::1")
    classic, mp = (decode_attributes(both, INTERNAL, mp=flag).attributes for flag in (False, True))
    assert classic is not None
    assert mp is not None
    assert (str(classic.next_hop), mp.next_hop) == ("192.0.2.1", HOP6)
    unusable = ORIGIN + PATH + encode_attribute(Code.NEXT_HOP, bytes(4)) + mp_reach("2001:db8::1")
    assert decode_attributes(unusable, INTERNAL, mp=True).verdict is ACCEPT


def test_ipv4_next_hop_in_mp_reach() -> None:
    attributes = accepted(mp_reach("192.0.2.9", family=1), plain=ORIGIN + PATH, mp=True)
    assert (str(attributes.next_hop), attributes.link_local) == ("192.0.2.9", None)


# The others


AIGP = {
    "two TLVs: the first counts": ("01000b000000000000000a01000b000000000000000b", ACCEPT, 10),
    "unknown TLV before": ("07000401" + "01000b000000000000000a", ACCEPT, 10),
    "only an unknown TLV": ("07000401", ACCEPT, None),
    "metric too short": ("01000a0000000000000a", DISCARD, None),
    "length below 3": ("010002", DISCARD, None),
    "overrun": ("01000b00", DISCARD, None),
}


@pytest.mark.parametrize("name", AIGP)
def test_aigp(name: str) -> None:
    octets, verdict, metric = AIGP[name]
    decoded = read(encode_attribute(Code.AIGP, bytes.fromhex(octets)))
    assert decoded.verdict is verdict
    assert decoded.attributes is not None
    assert decoded.attributes.aigp == metric


def test_prefix_sid_is_kept_inside_and_discarded_from_outside() -> None:
    """RFC 8669 s4, s6."""
    attribute = encode_attribute(Code.PREFIX_SID, bytes.fromhex("01000700000000000002"))
    assert [raw.code for raw in accepted(attribute).unknown] == [Code.PREFIX_SID]
    assert said(read(attribute, EXTERNAL)) == (DISCARD, ["prefix_sid: from an external peer"])


def tlv(code: int, value: bytes) -> bytes:
    return bytes([code]) + len(value).to_bytes(2, "big") + value


SID = bytes(21)
SRV6 = {
    "a service TLV": (tlv(5, b"\0" + tlv(1, SID)), ACCEPT),
    "SID structure": (tlv(6, b"\0" + tlv(1, SID + tlv(1, bytes(6)))), ACCEPT),
    "unknown sub-TLV": (tlv(5, b"\0" + tlv(77, b"x")), ACCEPT),
    "TLV without the reserved octet": (tlv(5, b""), WITHDRAW),
    "TLV beyond the attribute": (tlv(5, b"\0" + tlv(1, SID))[:-1], WITHDRAW),
    "sub-TLV beyond the TLV": (tlv(6, b"\0" + tlv(1, SID)[:-1]), WITHDRAW),
    "half a sub-TLV header": (tlv(5, b"\0" + tlv(1, SID) + b"\1\0"), WITHDRAW),
    "SID information of 20 octets": (tlv(5, b"\0" + tlv(1, SID[:-1])), WITHDRAW),
    "sub-sub-TLV beyond the sub-TLV": (tlv(5, b"\0" + tlv(1, SID + b"\1\0\6\0")), WITHDRAW),
    "one of two": (tlv(5, b"\0" + tlv(1, SID)) + tlv(6, b""), WITHDRAW),
}


@pytest.mark.parametrize("name", SRV6)
def test_a_malformed_srv6_service_withdraws_from_inside_and_from_outside(name: str) -> None:
    """RFC 9252 s7; RFC 8669 s4 discards what is well-formed from outside."""
    value, verdict = SRV6[name]
    attribute = encode_attribute(Code.PREFIX_SID, value)
    assert read(attribute).verdict is verdict
    assert read(attribute, EXTERNAL).verdict is (DISCARD if verdict is ACCEPT else verdict)


def test_link_bandwidth_is_read_out_of_the_extended_communities() -> None:
    attribute = encode_attribute(Code.EXTENDED, bytes.fromhex("4004fde94b989680"))
    assert accepted(attribute).link_bandwidth == 20_000_000


def test_session_kinds_have_different_octets_when_they_differ() -> None:
    kinds = [
        SessionKind(asn4, ebgp, local_as, first_as)
        for asn4 in (True, False)
        for ebgp in (True, False)
        for local_as in (1, 2, 2**32 - 1)
        for first_as in (0, 1, 2**32 - 1)
    ]
    assert len({kind.to_bytes() for kind in kinds}) == len(kinds)
    assert {len(kind.to_bytes()) for kind in kinds} == {12}
