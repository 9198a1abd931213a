"""Lines that ExaBGP 4.2.21 itself wrote (tests/golden/exabgp): parsed ones against the octets of the same messages; and
lines that nobody should believe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bgpbridge.errors import WireError
from bgpbridge.feed.exabgp_json import ExabgpLines, Heard
from bgpbridge.feed.frames import DownReason, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.types import Family, Prefix
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.update import Update, decode_update

LINES = (Path(__file__).parents[2] / "golden" / "exabgp" / "4.2.21.jsonl").read_text().splitlines()
ENDS = {
    "address": {"local": "127.0.0.2", "peer": "127.0.0.1"},
    "asn": {"local": 65000, "peer": 65001},
}
NEGOTIATED = {
    "message_size": 4096,
    "hold_time": 30,
    "asn4": False,
    "families": ["ipv4 unicast", "ipv6 mpls-vpn"],
    "add_path": {"send": [], "receive": ["ipv4 unicast"]},
}
NLRI = {"nlri": "10.0.0.0/24", "path-information": "0.0.0.9"}
ANNOUNCE = {"attribute": {"origin": "igp"}, "announce": {"ipv4 unicast": {"192.0.2.1": [NLRI]}}}


def line(kind: str, version: str = "5.0.0", **content) -> str:
    return json.dumps({"exabgp": version, "type": kind, "neighbor": {**ENDS, **content}})


def heard(*lines: str) -> list[Heard]:
    reader = ExabgpLines()
    return [one for text in lines for one in reader.read(text)]


def records(*lines: str) -> list[object]:
    return [one.record for one in heard(*lines)]


def read(found: list[object]) -> list[Update]:
    """The UPDATEs by the sessions that were told before them."""
    session, out = None, []
    for record in found:
        if isinstance(record, SessionUp):
            session = record.session
        if isinstance(record, Updates):
            assert session is not None
            out += [decode_update(message, session) for message in iter_messages(record.data)]
    return out


def is_raw(text: str) -> bool:
    return '"body"' in text


def test_what_was_parsed_reads_like_the_octets_that_came():
    states = [text for text in LINES if '"state"' in text]
    parsed = read(records(*(text for text in LINES if not is_raw(text))))
    raw = read(records(states[0], *(text for text in LINES if is_raw(text))))
    assert len(parsed) == len(raw) == 7
    assert parsed == raw
    assert {update.end_of_rib for update in raw} == {None, *Family}
    assert [finding for update in raw for finding in update.findings] == []


def test_octets_and_parsed_together_say_nothing_twice():
    """ExaBGP 5.0 writes the packet first; where what is parsed came first, one message is told twice."""
    states = [text for text in LINES if '"state"' in text]
    both = [text for pair in zip(LINES[2::2], LINES[1::2], strict=False) for text in pair]
    assert len(read(records(states[0], *both))) == 7


def test_sessions_come_and_go():
    found = heard(LINES[0], LINES[-1])
    assert found[0].neighbour.peer_as == 65001
    assert str(found[0].neighbour.local_address) == "127.0.0.2"
    assert found[1].record == SessionDown(DownReason.TCP_CLOSED, text="peer reset")
    assert records(line("state", state="connected"), line("state", state="down")) == []


@pytest.mark.parametrize("late", [False, True])
def test_what_was_negotiated_tells_how_to_read(late):
    lines = [line("negotiated", negotiated=NEGOTIATED), line("state", state="up")]
    *_, up = records(*(reversed(lines) if late else lines))
    assert up.resync is late
    assert (up.session.asn4, up.session.hold_time_s, up.session.extended_message) == (False, 30, False)
    assert up.session.families == up.session.add_path == {Family.IPV4}


def test_parsed_messages_have_wide_as_numbers_and_the_path_ids_that_are_shown():
    found = records(line("state", state="up"), line("update", message={"update": ANNOUNCE}))
    assert [type(record) for record in found] == [SessionUp, SessionUp, Updates]
    again = records(
        line("negotiated", negotiated=NEGOTIATED),
        line("state", state="up"),
        line("update", message={"update": ANNOUNCE}),
    )
    assert found[1].session.add_path == again[1].session.add_path == {Family.IPV4}
    assert (again[1].resync, again[1].session.asn4) == (True, True)
    (update,) = read(found)
    assert update.withdrawn == ((Prefix.parse("10.0.0.0/24"), 9),)  # ExaBGP lets through what has no AS_PATH


def test_refreshes_of_the_peer_are_demarcations():
    found = records(
        *(
            line("refresh", **{"route-refresh": {"afi": "ipv6", "safi": "unicast", "subtype": subtype}})
            for subtype in ("query", "begin", "end")
        )
    )
    assert [(record.family, record.kind.name) for record in found] == [(Family.IPV6, "BORR"), (Family.IPV6, "EORR")]
    assert all(isinstance(record, Refresh) for record in found)


def test_refreshes_as_4_2_quotes_them():
    text = line("refresh", "4.0.1", **{"route-refresh": {"afi": "ipv4", "safi": "unicast", "subtype": "begin"}})
    for word in ("ipv4", "unicast", "begin"):
        text = text.replace(f'"{word}"', f'""{word}""')
    (record,) = records(text)
    assert (record.family, record.kind.name) == (Family.IPV4, "BORR")


def test_the_open_tells_the_router_id():
    opened = {"open": {"version": 4, "asn": 65001, "hold_time": 90, "router_id": "10.9.8.7", "capabilities": {}}}
    (up,) = records(line("open", direction="receive", **opened), line("state", state="up"))
    assert str(up.session.router_id) == "10.9.8.7"


def test_an_exabgp_that_is_stopped_has_its_routes_kept():
    down = line("state", "4.2.21", state="down", reason="stop, message (shutting down)")
    assert records(line("state", state="up"), down)[1].reason is DownReason.SHUTDOWN


def test_updates_of_a_session_that_was_up_before_us_begin_it():
    found = records(line("update", message={"update": ANNOUNCE}))
    assert isinstance(found[0], SessionUp)
    assert found[0].resync


def test_what_we_sent_and_families_that_are_not_ours_are_left_out():
    sent = line("update", direction="send", message={"update": ANNOUNCE})
    foreign = line("update", message={"update": {"announce": {"ipv4 flow": {"no-nexthop": [{"string": "flow"}]}}}})
    mup = line("update", message={"eor": {"afi": "ipv4", "safi": "mup"}})
    found = records(line("state", state="up"), sent, foreign, mup, line("keepalive"), '{"exabgp": "5.0.0"}')
    assert [type(record) for record in found] == [SessionUp]


def test_a_thousand_prefixes_of_one_line_fit_messages():
    many = [{"nlri": f"10.{n >> 8}.{n & 255}.0/24"} for n in range(2000)]
    update = {"withdraw": {"ipv4 unicast": many}}
    found = read(records(line("state", state="up"), line("update", message={"update": update})))
    assert sum(len(one.withdrawn) for one in found) == 2000


WRONG = {
    "no JSON": "announce route",
    "no object": "[]",
    "nested without end": "[" * 100_000,
    "half a line": LINES[1][:200],
    "version 6": line("state", "6.0.0", state="up"),
    "version 3.4": line("state", "3.4.8", state="up"),
    "no addresses": '{"exabgp": "5.0.0", "type": "state", "neighbor": {"state": "up"}}',
    "a name for an address": line("state", state="up").replace("127.0.0.1", "router"),
    "an update without message": line("update"),
    "an origin of its own": line("update", message={"update": {**ANNOUNCE, "attribute": {"origin": "guess"}}}),
    "a prefix with host bits": line("update", message={"update": {"withdraw": {"ipv4 unicast": ["10.0.0.1/24"]}}}),
    "true for a prefix": line("update", message={"update": {"withdraw": {"ipv4 unicast": [{"nlri": True}]}}}),
    "a number for a prefix": line("update", message={"update": {"withdraw": {"ipv4 unicast": [{"nlri": 167772160}]}}}),
    "a number for an address": line("state", state="up").replace('"127.0.0.1"', "7"),
    "a number for an originator": line(
        "update", message={"update": {**ANNOUNCE, "attribute": {"originator-id": 1, "cluster-list": ["192.0.2.1"]}}}
    ),
    "an AS number that is none": line("update", message={"update": {**ANNOUNCE, "attribute": {"as-path": [1 << 33]}}}),
    "octets that are no UPDATE": line("update", message={"header": "0xFF", "body": "0x00"}),
    "octets that are no hex": line("update", message={"header": "0xFF", "body": "0xzz"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_line_that_cannot_be_is_refused_with_what_was_expected(name):
    reader = ExabgpLines()
    with pytest.raises(WireError, match=r"expected: .*\n  mend: "):
        list(reader.read(WRONG[name]))
    assert len(list(reader.read(LINES[0]))) == 1  # those after it are read
