"""The RTR state machine (RFC 8210 s8, RFC 6810 s6) against octets laid out by hand."""

from __future__ import annotations

import ipaddress
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpbridge.rpki.rtr_data import RtrData, Timers
from bgpbridge.rpki.rtr_session import Phase, RtrEnded, RtrSession
from bgpbridge.rpki.vrps import VrpTable
from bgpbridge.types import Family, Prefix


def _pdu(version: int, kind: int, session: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", version, kind, session, 8 + len(body)) + body


def notify(session: int, serial: int, version: int = 1) -> bytes:
    return _pdu(version, 0, session, struct.pack("!I", serial))


def cache_response(session: int, version: int = 1) -> bytes:
    return _pdu(version, 3, session)


def prefix(text: str, longest: int, asn: int, *, flags: int = 1, version: int = 1, zero: int = 0) -> bytes:
    network = ipaddress.ip_network(text, strict=False)
    address = ipaddress.ip_address(text.partition("/")[0]).packed
    body = struct.pack("!BBBB", flags, network.prefixlen, longest, zero) + address + struct.pack("!I", asn)
    return _pdu(version, 4 if network.version == 4 else 6, 0, body)


def end_of_data(session: int, serial: int, version: int = 1, timers: tuple[int, int, int] = (3600, 600, 7200)) -> bytes:
    body = struct.pack("!I", serial)
    return _pdu(version, 7, session, body if version == 0 else body + struct.pack("!III", *timers))


def cache_reset(version: int = 1) -> bytes:
    return _pdu(version, 8, 0)


def error(code: int, text: str = "", version: int = 1) -> bytes:
    said = text.encode()
    return _pdu(version, 10, code, struct.pack("!I", 0) + struct.pack("!I", len(said)) + said)


RESET_V1 = bytes.fromhex("0102000000000008")
RESET_V0 = bytes.fromhex("0002000000000008")
TEN = prefix("10.0.0.0/8", 16, 65000)
DOC6 = prefix("2001:db8::/32", 48, 65001)
WHOLE = cache_response(7) + TEN + DOC6 + end_of_data(7, 3)


def serial_query(session: int, serial: int, version: int = 1) -> bytes:
    return struct.pack("!BBHII", version, 1, session, 12, serial)


def begun(data: RtrData | None = None, version: int = 1, now: float = 0.0) -> RtrSession:
    """A session whose first query is out."""
    session = RtrSession(RtrData() if data is None else data, version, now)
    assert session.tick(now)
    return session


def synchronised() -> RtrSession:
    session = begun()
    assert session.receive(WHOLE, 1.0) == b""
    return session


def payloads(data: RtrData) -> list[str]:
    table = VrpTable({family: data.columns(family) for family in Family})
    found = [vrp for text in ("10.0.0.0/32", "2001:db8::/128") for vrp in table.covering(Prefix.parse(text))]
    assert len(found) == len(table)
    return [str(vrp) for vrp in found]


def ended(session: RtrSession, octets: bytes) -> RtrEnded:
    with pytest.raises(RtrEnded) as caught:
        session.receive(octets, 2.0)
    return caught.value


def code_sent(end: RtrEnded) -> int:
    version, kind, code, length = struct.unpack_from("!BBHI", end.last_words)
    assert (kind, length) == (10, len(end.last_words))
    assert version in {0, 1}
    return int(code)


def test_a_first_connection_asks_for_everything() -> None:
    session = RtrSession(RtrData(), 1, 0.0)
    assert session.tick(0.0) == RESET_V1
    assert session.receive(WHOLE, 1.0) == b""
    assert payloads(session.data) == ["10.0.0.0/8 max 16 AS65000", "2001:db8::/32 max 48 AS65001"]
    assert session.data.key == (1, 7, 3)
    assert (session.phase, session.synchronised, session.deadline) == (Phase.WAITING, True, 3601.0)


@given(st.integers(1, len(WHOLE)))
def test_it_does_not_matter_how_the_stream_is_cut(size: int) -> None:
    session = begun()
    for at in range(0, len(WHOLE), size):
        session.receive(WHOLE[at : at + size], 1.0)
    assert len(session.data) == 2


def test_nothing_takes_effect_before_end_of_data() -> None:
    session = begun()
    session.receive(WHOLE[:-1], 1.0)
    assert len(session.data) == 0
    session.receive(WHOLE[-1:], 1.0)
    assert len(session.data) == 2


def test_refresh_asks_for_what_changed_and_applies_it() -> None:
    session = synchronised()
    assert session.tick(3600.9) == b""
    assert session.tick(3601.0) == serial_query(7, 3)
    gone, come = prefix("10.0.0.0/8", 16, 65000, flags=0), prefix("10.0.0.0/8", 17, 65000)
    session.receive(cache_response(7) + gone + come + end_of_data(7, 4), 3602.0)
    assert payloads(session.data) == ["10.0.0.0/8 max 17 AS65000", "2001:db8::/32 max 48 AS65001"]
    assert session.data.key == (1, 7, 4)


def test_the_same_data_again_is_no_change() -> None:
    session = synchronised()
    changes = session.data.changes
    session.data.key = None
    session.tick(3601.0)
    session.receive(WHOLE, 3602.0)
    assert session.data.changes == changes


def test_a_notify_of_another_serial_asks_at_once() -> None:
    session = synchronised()
    assert session.receive(notify(7, 3), 2.0) == b""
    assert session.receive(notify(7, 4), 2.0) == serial_query(7, 3)


def test_a_notify_amid_an_answer_asks_behind_it() -> None:
    session = synchronised()
    session.receive(notify(7, 4), 2.0)
    assert session.receive(cache_response(7) + notify(7, 5) + end_of_data(7, 4), 2.0) == serial_query(7, 4)


def test_a_notify_before_the_first_answer_means_nothing() -> None:
    session = begun()
    assert session.receive(notify(9, 9, version=0), 1.0) == b""
    assert session.version == 1
    session.receive(WHOLE, 1.0)
    assert session.synchronised


def test_a_cache_reset_keeps_what_there_is_until_all_has_come_anew() -> None:
    session = synchronised()
    session.tick(3601.0)
    assert session.receive(cache_reset(), 3602.0) == RESET_V1
    assert len(session.data) == 2
    session.receive(cache_response(8) + TEN + end_of_data(8, 0), 3603.0)
    assert payloads(session.data) == ["10.0.0.0/8 max 16 AS65000"]
    assert session.data.key == (1, 8, 0)


def test_a_new_connection_goes_on_from_the_serial() -> None:
    data = synchronised().data
    assert RtrSession(data, 1, 9.0).tick(9.0) == serial_query(7, 3)
    assert RtrSession(data, 0, 9.0).tick(9.0) == RESET_V0  # a session id means something in its version only


@pytest.mark.parametrize("octets", [notify(8, 4), notify(7, 4) + cache_response(8)])
def test_another_session_id_ends_the_connection_and_the_data(octets: bytes) -> None:
    session = synchronised()
    answer = b""
    if len(octets) > 12:
        answer = session.receive(octets[:12], 2.0)
        assert answer
        octets = octets[12:]
    assert code_sent(ended(session, octets)) == 0
    assert (len(session.data), session.data.key) == (0, None)


def test_an_older_cache_answers_in_version_0() -> None:
    session = begun()
    answer = cache_response(7, version=0) + prefix("10.0.0.0/8", 8, 1, version=0) + end_of_data(7, 3, version=0)
    session.receive(answer, 1.0)
    assert session.data.key == (0, 7, 3)
    assert session.data.timers == Timers()
    assert session.tick(3601.0) == serial_query(7, 3, version=0)


def test_an_older_cache_refuses_version_1() -> None:
    end = ended(begun(), error(4, "unsupported", version=0))
    assert end.downgrade
    assert end.last_words == b""  # an Error Report is not answered by one
    assert "unsupported version: unsupported" in end.what
    assert not ended(begun(version=0), error(4, version=0)).downgrade


def test_an_answer_in_an_older_version_to_a_serial_query_is_of_no_use() -> None:
    end = ended(begun(synchronised().data), cache_response(7, version=0))
    assert end.downgrade


def test_no_data_yet_is_asked_for_again_after_the_retry_interval() -> None:
    session = begun()
    assert session.receive(error(2, "not yet"), 1.0) == b""
    assert (session.phase, session.synchronised) == (Phase.WAITING, False)
    assert session.tick(600.0) == b""
    assert session.tick(601.0) == RESET_V1


def test_a_notify_tells_that_there_is_data_now() -> None:
    session = begun()
    session.receive(error(2), 1.0)
    assert session.receive(notify(7, 1), 2.0) == RESET_V1


def test_an_answer_that_stops_ends_the_connection() -> None:
    session = begun()
    session.receive(cache_response(7), 30.0)
    assert session.tick(89.0) == b""
    with pytest.raises(RtrEnded, match="silent for 60 s"):
        session.tick(90.0)


def test_an_answer_that_never_ends_ends_the_connection() -> None:
    session = begun()
    session.receive(cache_response(7), 30.0)
    for second in range(31, 600):
        session.receive(b"\1" if second == 31 else b"", float(second))  # an octet now and then is no silence
        assert session.tick(float(second)) == b""
    with pytest.raises(RtrEnded, match="not ended its answer within 600 s"):
        session.tick(600.0)


@pytest.mark.parametrize(
    ("octets", "code", "says"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 4, "speaks RTR version 71"),
        (bytes.fromhex("0105000000000008"), 5, "type 5"),
        (bytes.fromhex("0102000000000008"), 5, "type 2"),  # a query, from a cache
        (bytes.fromhex("0103000000000009"), 0, "says it has 9 octets"),
        (bytes.fromhex("010a0000ffffffff"), 0, "says it has 4294967295 octets"),
        (bytes.fromhex("010900000000001f"), 0, "says it has 31 octets"),
        (TEN, 0, "IPV4_PREFIX came out of turn (asked)"),
        (end_of_data(7, 1), 0, "END_OF_DATA came out of turn"),
        (cache_reset(), 0, "in answer to a Reset Query"),
        (cache_response(7) + cache_response(7), 0, "CACHE_RESPONSE came out of turn (receiving)"),
        (cache_response(7) + cache_reset(), 0, "CACHE_RESET came out of turn"),
        (cache_response(7) + end_of_data(8, 1), 0, "session id 8, expected 7"),
        (cache_response(7) + TEN + TEN, 7, "announced twice"),
        (cache_response(7) + TEN + prefix("10.0.0.0/8", 16, 65000, zero=1), 7, "announced twice"),
        (cache_response(7) + prefix("10.0.0.0/8", 16, 1, flags=0), 6, "withdrawn that is not there"),
        (cache_response(7) + prefix("10.0.0.0/8", 7, 1), 0, "expected 8 to 32"),
        (cache_response(7) + prefix("10.0.0.0/8", 33, 1), 0, "expected 8 to 32"),
        (cache_response(7) + prefix("10.0.0.1/8", 8, 1), 0, "has bits set behind it"),
        (cache_response(7) + prefix("2001:db8::/32", 129, 1), 0, "expected 32 to 128"),
        (cache_response(7) + prefix("10.0.0.0/8", 8, 1, version=0), 8, "version 0 after 1"),
        (cache_response(7, version=0) + TEN, 4, "version 1 after 0"),
    ],
)
def test_nonsense_ends_the_connection_with_its_code(octets: bytes, code: int, says: str) -> None:
    session = begun()
    end = ended(session, octets)
    assert says in end.what
    assert code_sent(end) == code
    assert len(session.data) == 0


def test_nonsense_in_a_later_answer_leaves_what_there_is() -> None:
    session = synchronised()
    session.receive(notify(7, 4), 2.0)
    ended(session, cache_response(7) + prefix("10.1.0.0/16", 16, 1) + b"\xff" * 8)
    assert len(session.data) == 2
    assert RtrSession(session.data, 1, 3.0).tick(3.0) == RESET_V1
    assert session.data.expires_at == 7201.0


def test_an_error_in_answer_to_a_serial_query_has_everything_asked_for_anew() -> None:
    """What stayrtr says when it was restarted."""
    data = synchronised().data
    ended(begun(data), error(0, "Session ID mismatch"))
    assert len(data) == 2
    assert RtrSession(data, 1, 3.0).tick(3.0) == RESET_V1


def test_errors_of_the_cache_are_told_and_made_safe() -> None:
    end = ended(synchronised(), error(1, "out of\x1b[31m memory"))
    assert end.what == "the cache reports: internal error: out of [31m memory"
    assert ended(begun(), error(99)).what == "the cache reports: code 99"
    assert ended(begun(), error(4, version=2)).downgrade


def test_router_keys_are_passed_over() -> None:
    session = begun()
    key = struct.pack("!BBBBI", 1, 9, 1, 0, 123) + bytes(115)
    session.receive(cache_response(7) + key + TEN + end_of_data(7, 3), 1.0)
    assert len(session.data) == 1


@pytest.mark.parametrize(
    ("given_", "used"),
    [
        ((20, 30, 700), Timers(20, 30, 700)),
        ((0, 0, 0), Timers(1, 1, 600)),
        ((1 << 31, 1 << 31, 1 << 31), Timers(86_400, 7200, 172_800)),
        ((3600, 7200, 600), Timers(599, 599, 600)),
    ],
)
def test_timers_are_taken_within_bounds(given_: tuple[int, int, int], used: Timers) -> None:
    session = begun()
    session.receive(cache_response(7) + end_of_data(7, 3, timers=given_), 1.0)
    assert session.data.timers == used
    assert session.data.expires_at == 1.0 + used.expire_s


pieces = st.one_of(
    st.binary(max_size=40),
    st.builds(notify, st.integers(6, 8), st.integers(0, 4), st.integers(0, 2)),
    st.builds(cache_response, st.just(7), st.integers(0, 1)),
    st.builds(end_of_data, st.just(7), st.integers(0, 5)),
    st.builds(cache_reset),
    st.builds(error, st.integers(0, 9), st.text(max_size=5), st.integers(0, 3)),
    st.builds(lambda asn, flags: prefix("10.0.0.0/8", 9, asn, flags=flags), st.integers(0, 2), st.integers(0, 3)),
)


@given(st.lists(pieces, max_size=12), st.booleans())
def test_whatever_a_cache_says_is_read_or_ends_the_connection(said: list[bytes], known: bool) -> None:
    session = synchronised() if known else begun()
    with suppress(RtrEnded):
        for number, octets in enumerate(said):
            session.receive(octets, 10.0 + number)
            session.tick(10.0 + number)
    for family in Family:
        assert len(session.data.columns(family)) == len(session.data.rows[family])
