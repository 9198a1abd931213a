"""What is taken for an answer, what is not, and when the kernel's timestamps are believed."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address

import pytest

from bgpbridge.enrich import packets, udp
from bgpbridge.enrich.answers import Flight, Flights
from bgpbridge.enrich.facts import Way
from bgpbridge.enrich.packets import Quote
from bgpbridge.enrich.sockets import Moment, round_trip_s
from bgpbridge.enrich.targets import Exit, Method, Target
from bgpbridge.errors import UsageError

TOKEN = bytes(range(16))
SOURCES = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
TARGETS = {4: ip_address("192.0.2.9"), 6: ip_address("2001:db8::9")}
OTHER = ip_address("192.0.2.66")


def flight(version: int = 4, token: bytes = TOKEN) -> Flight:
    target = Target("t", TARGETS[version], Method.UDP, 7)
    transport = udp.compose(SOURCES[version], target.address, (5000, 7), token)
    ident = 99 if version == 4 else 0
    head = packets.header(SOURCES[version], target.address, packets.UDP, len(transport), ident)
    return Flight(Way("e", "t"), target, token, ident, head + transport, transport)


def flights(*added: Flight) -> Flights:
    made = Flights()
    for one in added:
        made.add(one)
    return made


def test_only_the_one_asked_can_answer_and_only_with_the_token() -> None:
    sent = flight()
    found = flights(sent)
    assert found.answered_by(TARGETS[4], 7, TOKEN) is sent
    assert found.answered_by(OTHER, 7, TOKEN) is None
    assert found.answered_by(TARGETS[4], 8, TOKEN) is None
    assert found.answered_by(TARGETS[4], 7, TOKEN[:-1] + b"!") is None


def test_a_quotation_of_eight_octets_does_in_ipv4_with_the_identification() -> None:
    sent = flight()
    quote = Quote(True, "port unreachable", TARGETS[4], 99, sent.transport[:8])
    assert flights(sent).quoted_by(quote) is sent
    assert flights(sent).quoted_by(dataclasses.replace(quote, ident=98)) is None
    assert flights(sent).quoted_by(dataclasses.replace(quote, target=OTHER)) is None
    assert flights(sent).quoted_by(dataclasses.replace(quote, transport=sent.transport[:7] + b"!")) is None


def test_ipv6_must_quote_the_whole() -> None:
    sent = flight(6)
    quote = Quote(True, "port unreachable", TARGETS[6], 0, sent.transport)
    assert flights(sent).quoted_by(quote) is sent
    assert flights(sent).quoted_by(dataclasses.replace(quote, transport=sent.transport[:-1])) is None
    assert flights(sent).quoted_by(dataclasses.replace(quote, transport=sent.transport + b"trailer")) is sent


def test_a_probe_is_answered_once() -> None:
    sent, other = flight(), flight(token=TOKEN[::-1])
    found = flights(sent, other)
    assert found.remove(sent)
    assert not found.remove(sent)
    assert found.answered_by(TARGETS[4], 7, TOKEN) is None
    assert found.all() == [other]
    assert len(found) == 1


def test_the_error_queues_packet_is_known_behind_its_link_header() -> None:
    sent = flight()
    assert flights(sent).sent_as(bytes(14) + sent.packet) is sent
    assert flights(sent).sent_as(sent.packet) is sent
    assert flights(sent).sent_as(sent.packet[:-1]) is None
    assert Flights().sent_as(b"") is None


def at(mono_ms: float, wall_ms: float) -> Moment:
    return Moment(int(mono_ms * 1e6), int(wall_ms * 1e6))


SENT = at(0, 1000)


@pytest.mark.parametrize(
    ("got", "tx_ms", "rx_ms", "expected"),
    [
        (at(50, 1050), 1001, 1049, (0.048, True)),
        (at(50, 1050), None, 1049, (0.05, False)),
        (at(50, 1050), 1001, None, (0.05, False)),
        (at(50, 5050), 1001, 5049, (0.05, False)),
        (at(50, 1030), 1001, 1029, (0.05, False)),
        (at(50, 1050), 1049, 1001, (0.05, False)),
        (at(50, 1050), 1001, 1052, (0.05, False)),
    ],
    ids=["both", "no-tx", "no-rx", "step-forward", "step-back", "negative", "longer-than-we-waited"],
)
def test_the_wall_clock_is_believed_only_while_it_runs_like_the_other(
    got: Moment, tx_ms: float | None, rx_ms: float | None, expected: tuple[float, bool]
) -> None:
    stamps = [None if ms is None else int(ms * 1e6) for ms in (tx_ms, rx_ms)]
    assert round_trip_s(SENT, got, *stamps) == expected


@pytest.mark.parametrize(
    ("method", "port", "address"),
    [(Method.ICMP, 7, "192.0.2.9"), (Method.TCP, 0, "192.0.2.9"), (Method.UDP, 1 << 16, "::1"), (Method.ICMP, 0, "::")],
)
def test_a_target_that_cannot_be_meant_is_refused(method: Method, port: int, address: str) -> None:
    with pytest.raises(UsageError, match="target t"):
        Target("t", ip_address(address), method, port)


def test_an_exits_mac_has_six_octets() -> None:
    with pytest.raises(UsageError, match="6 octets"):
        Exit("e", 1, (), b"\1")
