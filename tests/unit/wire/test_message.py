from __future__ import annotations

import ipaddress

import pytest

from bgpbridge.errors import WireError
from bgpbridge.types import Family
from bgpbridge.wire.message import (
    MARKER,
    MessageType,
    build_keepalive,
    build_message,
    build_notification,
    build_update,
    header_problem,
    iter_messages,
    notification_text,
    parse_notification,
)
from bgpbridge.wire.opening import (
    Capability,
    RefreshKind,
    RouteRefresh,
    build_open,
    build_route_refresh,
    capability_add_path,
    capability_asn4,
    capability_family,
    parse_open,
    parse_route_refresh,
)

ROUTER_ID = ipaddress.IPv4Address("192.0.2.1")


def test_messages_come_back_one_by_one() -> None:
    messages = [build_keepalive(), build_update(), build_notification(6, 2)]
    assert list(iter_messages(b"".join(messages))) == messages


HEADERS = {
    "marker": (b"\0" + MARKER[1:] + b"\0\x17\2\0\0\0\0", (1, 1)),
    "short": (MARKER + b"\0\x13", (1, 2)),
    "type 0": (MARKER + b"\0\x17\0\0\0\0\0", (1, 3)),
    "type 6": (MARKER + b"\0\x17\6\0\0\0\0", (1, 3)),
    "update of 22": (MARKER + b"\0\x16\2\0\0\0", (1, 2)),
    "longer than there is": (MARKER + b"\0\x18\2\0\0\0\0", (1, 2)),
    "keepalive of 20": (MARKER + b"\0\x14\4\0", (1, 2)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_wrong_have_a_notification(name: str) -> None:
    octets, notification = HEADERS[name]
    problem = header_problem(octets, 0, 4096)
    assert problem is not None
    assert problem[1] == notification
    with pytest.raises(WireError, match="octet 0"):
        list(iter_messages(octets))


def test_only_updates_and_their_like_may_be_extended() -> None:
    long_update = build_update(withdrawn=bytes(5000))
    assert header_problem(long_update, 0, 4096) == ("header: length", (1, 2))
    assert header_problem(long_update, 0, 65535) is None
    assert header_problem(build_message(MessageType.OPEN, bytes(5000)), 0, 65535) == ("header: length", (1, 2))


def test_a_message_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(WireError):
        build_update(nlri=bytes(65536))
    with pytest.raises(WireError):
        build_update(attributes=bytes(65536))


def test_notifications_speak() -> None:
    assert notification_text(6, 2) == "Cease / Administrative Shutdown"
    assert notification_text(4, 0) == "Hold Timer Expired"
    assert notification_text(3, 77) == "UPDATE Message Error / subcode 77"
    assert notification_text(99, 0) == "code 99"
    said = "back at 10:00 \x1b[31m"
    message = build_notification(6, 2, bytes([len(said)]) + said.encode())
    assert str(parse_notification(message)) == "Cease / Administrative Shutdown: back at 10:00 ?[31m"


def test_an_open_comes_back() -> None:
    capabilities = (
        capability_family(Family.IPV4),
        capability_family(Family.IPV6),
        capability_asn4(4200000001),
        capability_add_path(Family.IPV6, 2),
        (int(Capability.ROUTE_REFRESH), b""),
    )
    opened = parse_open(build_open(4200000001, ROUTER_ID, 30, capabilities))
    assert (opened.my_as, opened.asn, opened.hold_time_s, opened.router_id) == (23456, 4200000001, 30, ROUTER_ID)
    assert opened.asn4
    assert opened.families == set(Family)
    assert (opened.add_path(2), opened.add_path(1)) == ({Family.IPV6}, set())
    assert opened.capabilities == capabilities


def test_an_open_without_capabilities_is_ipv4_with_two_octets() -> None:
    opened = parse_open(build_open(65001, ROUTER_ID))
    assert (opened.asn4, opened.asn, opened.families) == (False, 65001, {Family.IPV4})


def test_an_open_may_have_extended_parameters() -> None:
    """RFC 9072 s2: length 255, type 255, two octets of length, then parameters with two octets of length."""
    parameters = b"\2\0\6\x41\4\0\1\x11\x70"
    body = b"\4\x5b\xa0\0\x5a" + ROUTER_ID.packed + b"\xff\xff" + len(parameters).to_bytes(2, "big") + parameters
    assert parse_open(build_message(MessageType.OPEN, body)).asn == 70000


@pytest.mark.parametrize("tail", ["05", "0302", "020201", "04020241040000"], ids=str)
def test_an_open_whose_parameters_lie_raises(tail: str) -> None:
    body = b"\4\xfd\xe9\0\x5a" + ROUTER_ID.packed + bytes.fromhex(tail)
    with pytest.raises(WireError):
        parse_open(build_message(MessageType.OPEN, body))


def test_route_refresh_and_its_demarcation() -> None:
    for kind in RefreshKind:
        assert parse_route_refresh(build_route_refresh(Family.IPV6, kind)) == RouteRefresh(Family.IPV6, kind)


def test_a_refresh_of_another_family_or_kind_is_to_be_ignored() -> None:
    assert parse_route_refresh(build_message(MessageType.ROUTE_REFRESH, b"\0\1\0\x80")).family is None
    assert parse_route_refresh(build_message(MessageType.ROUTE_REFRESH, b"\0\1\7\1")).family is None


def test_a_demarcation_with_more_octets_raises() -> None:
    with pytest.raises(WireError, match="23 expected"):
        parse_route_refresh(build_message(MessageType.ROUTE_REFRESH, b"\0\1\1\1\0"))


def test_parsers_refuse_another_type() -> None:
    for parse in (parse_open, parse_notification, parse_route_refresh):
        with pytest.raises(WireError, match="another type"):
            parse(build_keepalive())
