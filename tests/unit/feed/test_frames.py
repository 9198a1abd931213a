"""Records survive the way through octets; nonsense becomes LaneError."""

from __future__ import annotations

import ipaddress

import pytest

from bgpbridge.errors import LaneError
from bgpbridge.feed.frames import (
    DownReason,
    Notice,
    NoticeKind,
    Record,
    RecordKind,
    Refresh,
    RefreshKind,
    SessionDown,
    SessionUp,
    Updates,
    decode,
    encode,
)
from bgpbridge.types import Family, Session

SESSION = Session(
    peer=3,
    local_as=65000,
    peer_as=4200000001,
    local_address=ipaddress.ip_address("2001:db8::1"),
    peer_address=ipaddress.ip_address("2001:db8::2"),
    router_id=ipaddress.IPv4Address("192.0.2.1"),
    hold_time_s=9,
    asn4=False,
    families=frozenset(Family),
    add_path=frozenset({Family.IPV6}),
    extended_message=True,
    extended_next_hop=True,
    route_refresh=True,
    enhanced_refresh=True,
    graceful_restart_s=120,
    graceful_families=frozenset({Family.IPV4}),
)
BORR = b"\xff" * 16 + bytes([0, 23, 5, 0, 2, 1, 1])


@pytest.mark.parametrize(
    "record",
    [
        Updates(b"\xff" * 23),
        SessionUp(SESSION, True, True, frozenset({Family.IPV4})),
        SessionUp(SESSION),
        SessionDown(DownReason.NOTIFICATION_RECEIVED, 6, 2, "sch\u00f6n", False),
        SessionDown(DownReason.SPEAKER_DIED, graceful=True),
        Refresh(BORR),
        Notice(NoticeKind.OPEN_REFUSED, "wrong AS", 3, 7, 2),
    ],
)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert decode(*encode(record)) == record


def test_a_refresh_says_what_it_is_about() -> None:
    refresh = Refresh(BORR)
    assert (refresh.family, refresh.kind) == (Family.IPV6, RefreshKind.BORR)
    assert Refresh(BORR[:-1] + b"\x80").family is None


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (0, b""),
        (6, b""),
        (RecordKind.SESSION_UP, b""),
        (RecordKind.SESSION_UP, b"{}"),
        (RecordKind.SESSION_UP, b'{"session": 1, "forwarding": []}'),
        (RecordKind.SESSION_UP, b"[" * 100_000),
        (RecordKind.SESSION_DOWN, b'{"reason": "boredom"}'),
        (RecordKind.REFRESH, BORR[:-1]),
        (RecordKind.REFRESH, BORR[:21] + b"\x09\x01"),
        (RecordKind.NOTICE, b"\xff"),
        (RecordKind.NOTICE, b"null"),
    ],
)
def test_nonsense_is_a_lane_error(kind: int, payload: bytes) -> None:
    with pytest.raises(LaneError, match="a lane holds"):
        decode(kind, payload)
