"""What is judged of a message as a whole: RFC 7606 s3 to s5, RFC 4760, RFC 4724, RFC 8950."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Prefix, Session, Verdict
from bgpbridge.wire.attributes import Code, decode_attributes, encode_attribute
from bgpbridge.wire.message import MARKER, build_keepalive, build_update
from bgpbridge.wire.nlri import encode_nlri
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.update import Update, decode_update, split_update
from bgpbridge.wire.verdicts import SessionKind

MakeSession = Callable[..., Session]
ACCEPT, DISCARD, WITHDRAW, DISABLE, RESET = Verdict
V4, V6 = Family

ORIGIN = encode_attribute(Code.ORIGIN, b"\0")
PATH = encode_attribute(Code.AS_PATH, bytes.fromhex("02010000fde9"))
NEXT_HOP = encode_attribute(Code.NEXT_HOP, bytes([192, 0, 2, 1]))
PLAIN = ORIGIN + PATH + NEXT_HOP
NET4, OTHER4 = Prefix.parse("10.1.0.0/16"), Prefix.parse("10.2.0.0/16")
NET6, OTHER6 = Prefix.parse("2001:db8:1::/48"), Prefix.parse("2001:db8:2::/48")
HOP6 = ipaddress.IPv6Address("2001:db8::1")


def nlri(*prefixes: Prefix) -> bytes:
    return encode_nlri([(prefix, 0) for prefix in prefixes])


def reach(*prefixes: Prefix, hop: bytes = HOP6.packed, family: int = 2, safi: int = 1, flags: int = 0x80) -> bytes:
    return encode_attribute(Code.MP_REACH, bytes([0, family, safi, len(hop)]) + hop + b"\0" + nlri(*prefixes), flags)


def unreach(*prefixes: Prefix, family: int = 2, safi: int = 1) -> bytes:
    return encode_attribute(Code.MP_UNREACH, bytes([0, family, safi]) + nlri(*prefixes))


def read(message: bytes, session: Session) -> Update:
    """Decoded, and the bulk decoder asked for the same on the way."""
    assert difference([message], session) == ""
    return decode_update(message, session)


def said(update: Update) -> tuple[Verdict, list[str]]:
    return update.verdict, [finding.reason for finding in update.findings]


def announced(update: Update) -> list[Prefix]:
    return [route.prefix for route in update.announced]


def withdrawn(update: Update) -> list[Prefix]:
    return [prefix for prefix, _ in update.withdrawn]


def test_a_plain_update(make_session: MakeSession) -> None:
    update = read(build_update(PLAIN, nlri(NET4), nlri(OTHER4)), make_session())
    assert (announced(update), withdrawn(update), update.verdict) == ([NET4], [OTHER4], ACCEPT)


def test_a_plain_update_of_ipv6(make_session: MakeSession) -> None:
    update = read(build_update(ORIGIN + PATH + reach(NET6, OTHER6)), make_session())
    assert announced(update) == [NET6, OTHER6]
    assert update.announced[0].attributes.next_hop == HOP6
    update = read(build_update(unreach(NET6)), make_session())
    assert (withdrawn(update), update.end_of_rib) == ([NET6], None)


def test_host_bits_beyond_the_length_are_cleared(make_session: MakeSession) -> None:
    update = read(build_update(PLAIN, b"\x0d\x0b\x0d"), make_session())
    assert announced(update) == [Prefix.parse("11.8.0.0/13")]


def test_withdrawal_and_announcement_of_one_prefix_stand_in_that_order(make_session: MakeSession) -> None:
    """RFC 4271 s4.3: the announcement counts."""
    raw = split_update(build_update(PLAIN, nlri(NET4), nlri(NET4)), make_session())
    assert raw.unreach == ((NET4, 0),)
    assert raw.reach == ((V4, False, ((NET4, 0),)),)


def test_path_identifiers(make_session: MakeSession) -> None:
    session = make_session(add_path=frozenset(Family))
    field = encode_nlri([(NET4, 1), (NET4, 2)], add_path=True)
    update = read(build_update(PLAIN, field), session)
    assert [(route.prefix, route.path_id) for route in update.announced] == [(NET4, 1), (NET4, 2)]
    update = read(build_update(PLAIN, field[:-4]), session)
    assert said(update) == (RESET, ["nlri: invalid prefix"])


# Equal routes, equal blocks


def test_the_block_of_ipv6_does_not_hold_its_prefixes(make_session: MakeSession) -> None:
    first = split_update(build_update(ORIGIN + reach(NET6) + PATH), make_session())
    second = split_update(build_update(ORIGIN + reach(OTHER6, NET6, flags=0x90) + PATH + unreach(NET6)), make_session())
    assert first.block == second.block
    expected = ORIGIN + bytes.fromhex("900e0014") + b"\0\2\1\x10" + HOP6.packed + PATH
    assert first.block == expected


def test_a_block_is_read_back(make_session: MakeSession) -> None:
    raw = split_update(build_update(ORIGIN + reach(NET6) + PATH), make_session())
    decoded = decode_attributes(raw.block, SessionKind.of(make_session()), mp=True)
    assert decoded.attributes is not None
    assert decoded.attributes.next_hop == HOP6


# End-of-RIB: RFC 4724 s2


def test_end_of_rib_of_both_families(make_session: MakeSession) -> None:
    assert read(build_update(), make_session()).end_of_rib is V4
    assert read(build_update(unreach()), make_session()).end_of_rib is V6
    assert read(build_update(unreach(family=1)), make_session()).end_of_rib is V4


def test_what_is_no_end_of_rib(make_session: MakeSession) -> None:
    session = make_session()
    assert read(build_update(unreach(NET6)), session).end_of_rib is None
    assert read(build_update(withdrawn=nlri(NET4)), session).end_of_rib is None
    assert read(build_update(PLAIN + unreach()), session).end_of_rib is None
    assert read(build_update(unreach(safi=128)), session).end_of_rib is None
    assert read(build_update(unreach(), withdrawn=nlri(NET4)), session).end_of_rib is None


def test_end_of_rib_of_a_family_that_is_not_carried_is_none(make_session: MakeSession) -> None:
    assert read(build_update(), make_session(families=frozenset({V6}))).end_of_rib is None
    assert read(build_update(unreach()), make_session(families=frozenset({V4}))).end_of_rib is None


def test_an_end_of_rib_with_an_octet_too_many_is_a_default_route_without_attributes(make_session: MakeSession) -> None:
    """ExaBGP announces 0.0.0.0/0 here."""
    update = read(build_update(nlri=b"\0"), make_session())
    assert withdrawn(update) == [Prefix.parse("0.0.0.0/0")]
    assert said(update) == (WITHDRAW, ["origin: missing", "as_path: missing", "next_hop: missing"])


# Lengths and NLRI


FIELDS = {
    "withdrawn routes beyond the message": ("00010000", (3, 1)),
    "withdrawn routes far beyond": ("ffff0000", (3, 1)),
    "attributes beyond the message": ("00000001", (3, 1)),
    "attributes' length cut off": ("0003180a0100", (3, 1)),
    "withdrawn /33": ("0006210a010000000000", (3, 10)),
    "withdrawn overrun": ("0002180a0000", (3, 10)),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_that_do_not_fit_reset(name: str, make_session: MakeSession) -> None:
    body, notification = FIELDS[name]
    octets = bytes.fromhex(body)
    update = read(MARKER + (19 + len(octets)).to_bytes(2, "big") + b"\2" + octets, make_session())
    assert (update.verdict, update.findings[0].notification) == (RESET, notification)
    assert not update.announced
    assert not update.withdrawn


@pytest.mark.parametrize("field", [b"\x21\x0a\1\0\0\0", b"\x18\x0a\1", b"\x10\x0a\1\x18", b"\xff"])
def test_incorrect_nlri_resets(field: bytes, make_session: MakeSession) -> None:
    """RFC 7606 s3 j: what cannot be parsed cannot be withdrawn."""
    update = read(build_update(PLAIN, field), make_session())
    assert (update.verdict, update.findings[0].notification) == (RESET, (3, 10))


def test_an_attribute_error_withdraws_the_prefixes(make_session: MakeSession) -> None:
    med = encode_attribute(Code.MED, b"12345")
    update = read(build_update(PLAIN + med, nlri(NET4), nlri(OTHER4)), make_session())
    assert (announced(update), withdrawn(update)) == ([], [OTHER4, NET4])
    assert said(update) == (WITHDRAW, ["med: length"])


def test_attribute_errors_without_nlri_reset(make_session: MakeSession) -> None:
    """RFC 7606 s5.2: we may have missed the NLRI."""
    bad = encode_attribute(Code.MED, b"12345")
    for message in (
        build_update(PLAIN + bad),
        build_update(PLAIN + bad, withdrawn=nlri(NET4)),
        build_update(bad + unreach(NET6)),
        build_update(unreach(NET6) + b"\xc0"),
        build_update(ORIGIN + PATH + reach() + bad),
    ):
        update = read(message, make_session())
        assert said(update) == (RESET, ["update: attribute error without NLRI"])
        assert update.findings[0].notification == (3, 1)


def test_what_is_only_discarded_or_refused_does_not_reset_without_nlri(make_session: MakeSession) -> None:
    discard = encode_attribute(Code.ATOMIC_AGGREGATE, b"x")
    assert said(read(build_update(discard), make_session())) == (DISCARD, ["atomic_aggregate: length"])
    loop = encode_attribute(Code.AS_PATH, bytes.fromhex("02010000fde7"))
    assert said(read(build_update(ORIGIN + loop), make_session())) == (ACCEPT, [])
    assert said(read(build_update(unreach(NET6)), make_session())) == (ACCEPT, [])


# MP attributes


@pytest.mark.parametrize("attribute", [reach(NET6), unreach(NET6)])
def test_mp_attributes_twice_reset(attribute: bytes, make_session: MakeSession) -> None:
    """RFC 7606 s3 g."""
    update = read(build_update(ORIGIN + PATH + attribute + attribute), make_session())
    assert (update.verdict, update.findings[0].notification) == (RESET, (3, 1))


INCORRECT = {
    "flags": reach(NET6, flags=0xC0),
    "next hop of 4": reach(NET6, hop=bytes(4)),
    "next hop of 24": reach(NET6, hop=bytes(24)),
    "next hop beyond the attribute": encode_attribute(Code.MP_REACH, b"\0\2\1\x10" + HOP6.packed),
    "length 4": encode_attribute(Code.MP_REACH, b"\0\2\1\0"),
    "prefix of 129": reach(NET6)[:3] + reach(NET6)[3:-7] + b"\x81" + bytes(6),
    "unreach prefix of 129": encode_attribute(Code.MP_UNREACH, b"\0\2\1\x81" + bytes(17)),
    "unreach overrun": encode_attribute(Code.MP_UNREACH, b"\0\2\1\x30\x20\1"),
    "unreach flags": encode_attribute(Code.MP_UNREACH, b"\0\2\1", 0x40),
}


@pytest.mark.parametrize("name", INCORRECT)
def test_an_incorrect_mp_attribute_disables_its_family(name: str, make_session: MakeSession) -> None:
    """RFC 7606 s5.3, s7.11, s7.12; RFC 4760 s7."""
    update = read(build_update(PLAIN + INCORRECT[name], nlri(NET4)), make_session())
    (finding,) = update.findings
    assert (update.verdict, finding.family, finding.notification) == (DISABLE, V6, (3, 9))
    assert announced(update) == [NET4]


@pytest.mark.parametrize("name", INCORRECT)
def test_it_resets_where_the_session_has_no_other_family(name: str, make_session: MakeSession) -> None:
    update = read(build_update(ORIGIN + PATH + INCORRECT[name]), make_session(families=frozenset({V6})))
    assert (update.verdict, update.findings[0].notification) == (RESET, (3, 9))


def test_two_incorrect_families_leave_nothing_and_reset(make_session: MakeSession) -> None:
    bad4 = encode_attribute(Code.MP_UNREACH, b"\0\1\1\x21")
    update = read(build_update(ORIGIN + PATH + reach(NET6, hop=bytes(5)) + bad4), make_session())
    assert said(update) == (RESET, ["mp_unreach: invalid prefix"])


def test_nothing_of_a_disabled_family_is_taken_from_the_message(make_session: MakeSession) -> None:
    bad4 = reach(NET4, family=1, hop=bytes(5))
    update = read(build_update(PLAIN + bad4, nlri(NET4), nlri(OTHER4)), make_session())
    assert (update.verdict, announced(update), withdrawn(update)) == (DISABLE, [], [])


def test_an_mp_attribute_that_does_not_fit_resets(make_session: MakeSession) -> None:
    cut = reach(NET6)[:-1]
    update = read(build_update(ORIGIN + PATH + cut), make_session())
    assert said(update) == (RESET, ["mp_reach: does not fit"])


def test_incorrect_mp_attributes_of_an_unknown_family_reset(make_session: MakeSession) -> None:
    update = read(
        build_update(PLAIN + encode_attribute(Code.MP_REACH, b"\x11\x22\x33\x44", 0x60), nlri(NET4)), make_session()
    )
    assert said(update) == (RESET, ["mp_reach: flags"])


@pytest.mark.parametrize("attribute", [reach(NET6, safi=128), reach(NET6, safi=2), reach(NET6, family=25)])
def test_families_that_were_not_negotiated_are_skipped_unread(attribute: bytes, make_session: MakeSession) -> None:
    update = read(build_update(PLAIN + attribute, nlri(NET4)), make_session())
    assert said(update) == (DISCARD, ["mp_reach: family not negotiated"])
    assert announced(update) == [NET4]
    assert split_update(build_update(PLAIN + attribute, nlri(NET4)), make_session()).block == PLAIN


def test_classic_nlri_of_a_session_without_ipv4_are_skipped(make_session: MakeSession) -> None:
    session = make_session(families=frozenset({V6}))
    update = read(build_update(ORIGIN + PATH + reach(NET6), nlri(NET4), nlri(OTHER4)), session)
    assert said(update) == (DISCARD, ["nlri: family not negotiated"])
    assert (announced(update), withdrawn(update)) == ([NET6], [])


def test_ipv4_over_ipv6_next_hops_need_the_capability(make_session: MakeSession) -> None:
    """RFC 8950 s4."""
    message = build_update(ORIGIN + PATH + reach(NET4, family=1))
    update = read(message, make_session(extended_next_hop=True))
    assert (announced(update), update.announced[0].attributes.next_hop) == ([NET4], HOP6)
    update = read(message, make_session())
    assert said(update) == (DISABLE, ["mp_reach: next hop length"])


def test_ipv4_in_mp_reach_with_its_own_next_hop(make_session: MakeSession) -> None:
    update = read(build_update(ORIGIN + PATH + reach(NET4, family=1, hop=bytes([192, 0, 2, 7]))), make_session())
    assert (announced(update), str(update.announced[0].attributes.next_hop)) == ([NET4], "192.0.2.7")


def test_both_kinds_of_routes_in_one_update(make_session: MakeSession) -> None:
    update = read(build_update(PLAIN + reach(NET6), nlri(NET4)), make_session())
    assert [
        (route.prefix, route.attributes.next_hop.version) for route in update.announced if route.attributes.next_hop
    ] == [
        (NET4, 4),
        (NET6, 6),
    ]


def test_an_attribute_error_of_one_kind_withdraws_both(make_session: MakeSession) -> None:
    """RFC 7606 s2: all routes of the UPDATE; here NEXT_HOP is missing for the classic ones."""
    update = read(build_update(ORIGIN + PATH + reach(NET6), nlri(NET4)), make_session())
    assert (announced(update), set(withdrawn(update))) == ([], {NET4, NET6})
    assert said(update) == (WITHDRAW, ["next_hop: missing"])


def test_a_refused_next_hop_of_one_kind_leaves_the_other(make_session: MakeSession) -> None:
    bad = encode_attribute(Code.NEXT_HOP, bytes(4))
    update = read(build_update(ORIGIN + PATH + bad + reach(NET6), nlri(NET4)), make_session())
    assert (announced(update), withdrawn(update)) == ([NET6], [NET4])


# Headers


def test_a_message_too_long_for_the_session_resets(make_session: MakeSession) -> None:
    message = build_update(withdrawn=nlri(NET4) * 1500)
    assert len(withdrawn(read(message, make_session()))) == 1500
    update = read(message, make_session(extended_message=False))
    assert (update.verdict, update.findings[0].notification) == (RESET, (1, 2))


def test_half_a_message_or_more_than_one_resets(make_session: MakeSession) -> None:
    message = build_update(PLAIN, nlri(NET4))
    for octets in (message[:-1], message + message, b"", message[:10]):
        assert decode_update(octets, make_session()).verdict is RESET


def test_another_type_of_message_is_the_callers_mistake(make_session: MakeSession) -> None:
    with pytest.raises(WireError, match=r"UPDATE \(2\) expected"):
        split_update(build_keepalive(), make_session())
