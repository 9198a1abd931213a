"""Messages out of public captures, some of them of fuzzed or broken speakers.

UNUSABLE names every UPDATE that is more than an attribute discard, with its reason; all others are fine
under four-octet or two-octet AS numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.errors import WireError
from bgpbridge.types import Family, Session, Verdict
from bgpbridge.wire.message import MessageType, iter_messages, parse_notification
from bgpbridge.wire.opening import RefreshKind, parse_open, parse_route_refresh
from bgpbridge.wire.oracle import difference
from bgpbridge.wire.update import decode_update

Vectors = list[dict[str, Any]]

# capture -> reasons in its order; the oobr ones are fuzzed, the bgpsec ones carry BGPsec_PATH for AS_PATH
UNUSABLE = {
    "pmacct/tests/302-BGP-IPv6-multiple-sources/traffic-00.pcap": ["header: length"],
    "pmacct/tests/302-BGP-IPv6-multiple-sources/traffic-01.pcap": ["header: length"],
    "tcpdump-master/bgp-addpath.pcap": ["withdrawn: invalid prefix"],
    "tcpdump-master/bgp-aigp-oobr.pcap": [
        "unknown: not optional",
        "unknown: not optional",
        "update: attribute error without NLRI",
        "header: length",
    ],
    "tcpdump-master/bgp-as-path-oobr.pcap": [
        "update: path attributes do not fit",
        "update: attribute error without NLRI",
        "unknown: not optional",
        "unknown: not optional",
        "unknown: not optional",
    ],
    "tcpdump-master/bgp-bgpsec.pcap": ["as_path: missing"] * 14,
    "tcpdump-master/bgp-ub.pcap": ["unknown: not optional"],
    "tcpdump-master/bgp_vpn_rt-oobr.pcap": ["update: path attributes do not fit"] * 2,
    "tcpdump-master/bgpsec_invalid_signature_block_length.pcap": ["as_path: missing"],
}


@pytest.fixture(scope="module")
def vectors(shared_data: Path) -> Vectors:
    return [json.loads(line) for line in (shared_data / "vectors/pcap-messages.jsonl").read_text().splitlines()]


def of_kind(vectors: Vectors, kind: MessageType) -> list[tuple[str, bytes]]:
    return [(v["id"].split("#")[0], bytes.fromhex(v["hex"])) for v in vectors if v["kind"] == kind]


def test_updates_that_cannot_be_used_are_the_known_ones(vectors: Vectors, make_session: Callable[..., Session]) -> None:
    found: dict[str, list[str]] = {}
    for capture, message in of_kind(vectors, MessageType.UPDATE):
        sessions = [make_session(asn4=asn4, extended_next_hop=True) for asn4 in (True, False)]
        update = min((decode_update(message, session) for session in sessions), key=lambda update: update.verdict)
        if update.verdict >= Verdict.TREAT_AS_WITHDRAW:
            found.setdefault(capture, []).append(update.findings[-1].reason)
    assert found == UNUSABLE


def test_bulk_reads_every_update_as_the_scalar_way_does(vectors: Vectors, make_session: Callable[..., Session]) -> None:
    for asn4 in (True, False):
        for add_path in (frozenset(), frozenset({Family.IPV4}), frozenset(Family)):
            session = make_session(asn4=asn4, add_path=add_path, extended_next_hop=True, peer_as=65001)
            for capture, message in of_kind(vectors, MessageType.UPDATE):
                assert difference([message], session) == "", (capture, message.hex())


def test_bulk_reads_whole_captures_as_the_scalar_way_does(
    vectors: Vectors, make_session: Callable[..., Session]
) -> None:
    captures: dict[str, list[bytes]] = {}
    for capture, message in of_kind(vectors, MessageType.UPDATE):
        if int.from_bytes(message[16:18], "big") == len(message):
            captures.setdefault(capture, []).append(message)
    for capture, messages in captures.items():
        assert difference(messages, make_session(extended_next_hop=True)) == "", capture


def test_opens_parse_and_name_their_capabilities(vectors: Vectors) -> None:
    opens = [parse_open(message) for _, message in of_kind(vectors, MessageType.OPEN)]
    assert len(opens) == 21
    assert any(opened.asn4 and opened.asn > 65535 for opened in opens)
    assert any(Family.IPV6 in opened.families for opened in opens)
    assert any(opened.add_path(3) for opened in opens)


def test_notifications_have_words(vectors: Vectors) -> None:
    texts = [str(parse_notification(message)) for _, message in of_kind(vectors, MessageType.NOTIFICATION)]
    assert len(texts) == 7
    assert all("code" not in text for text in texts)
    assert any("Administrative Shutdown: " in text for text in texts)


def test_route_refreshes_and_keepalives(vectors: Vectors) -> None:
    for _, message in of_kind(vectors, MessageType.ROUTE_REFRESH):
        assert parse_route_refresh(message).kind in RefreshKind
    for _, message in of_kind(vectors, MessageType.KEEPALIVE):
        assert list(iter_messages(message)) == [message]


def test_what_does_not_frame_raises(vectors: Vectors) -> None:
    torn = [bytes.fromhex(v["hex"]) for v in vectors if not v["length_ok"]]
    assert torn
    for message in torn:
        with pytest.raises(WireError):
            list(iter_messages(message))
