"""The tester against a router of a few lines, over loopback."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bgpbridge.bench import tester as testing  # as a module: pytest would take a class Tester for tests
from bgpbridge.bench.tester import Router, end_of_rib
from bgpbridge.errors import LabError
from bgpbridge.types import Family
from bgpbridge.wire.message import MessageType, build_keepalive, build_notification, build_update
from bgpbridge.wire.opening import (
    RefreshKind,
    build_open,
    build_route_refresh,
    capability_asn4,
    parse_open,
)

TABLE = build_update(withdrawn=bytes([24, 198, 51, 100]))


class Neighbour:
    """The other end: it accepts, opens, and hands out what it hears."""

    def __init__(self, listener: socket.socket) -> None:
        self.socket, _ = listener.accept()
        self.socket.settimeout(5)

    def hear(self) -> bytes:
        head = self._exactly(19)
        return head + self._exactly(int.from_bytes(head[16:18], "big") - 19)

    def _exactly(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            octets += self.socket.recv(count - len(octets)) or pytest.fail("the tester closed")
        return octets

    def establish(self, hold_time_s: int = 90) -> bytes:
        opening = self.hear()
        said = build_open(64700, ipaddress.IPv4Address("10.0.0.1"), hold_time_s, (capability_asn4(64700),))
        self.socket.sendall(said + build_keepalive())
        assert self.hear() == build_keepalive()
        return opening


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        yield listening


@pytest.fixture
def router(listener: socket.socket) -> Router:
    loopback = ipaddress.ip_address("127.0.0.1")
    return Router(64601, loopback, loopback, port=listener.getsockname()[1])


def test_a_session_comes_up_and_the_table_and_its_end_follow(listener: socket.socket, router: Router) -> None:
    with testing.Tester(router, table=TABLE) as tester:
        neighbour = Neighbour(listener)
        opening = parse_open(neighbour.establish())
        assert (opening.asn, opening.families) == (64601, {Family.IPV4})
        assert neighbour.hear() == TABLE
        assert neighbour.hear() == end_of_rib(Family.IPV4)
        tester.until_up(5)
        tester.send(TABLE)
        assert neighbour.hear() == TABLE
        neighbour.socket.close()


def test_a_refresh_is_answered_with_the_table_between_its_marks(listener: socket.socket, router: Router) -> None:
    with testing.Tester(router, table=TABLE):
        neighbour = Neighbour(listener)
        neighbour.establish()
        heard = [neighbour.hear() for _ in range(2)]
        neighbour.socket.sendall(build_route_refresh(Family.IPV4))
        heard = [neighbour.hear() for _ in range(3)]
        marks = [build_route_refresh(Family.IPV4, kind) for kind in (RefreshKind.BEGIN, RefreshKind.END)]
        assert heard == [marks[0], TABLE, marks[1]]
        neighbour.socket.close()


def test_keepalives_go_out_unless_it_is_mute(listener: socket.socket, router: Router) -> None:
    with testing.Tester(replace(router, hold_time_s=3)):
        neighbour = Neighbour(listener)
        neighbour.establish(3)
        assert neighbour.hear() == end_of_rib(Family.IPV4)
        assert neighbour.hear() == build_keepalive()
        neighbour.socket.close()


def test_a_notification_is_why_the_session_ended_and_it_comes_again(listener: socket.socket, router: Router) -> None:
    with testing.Tester(router) as tester:
        first = Neighbour(listener)
        first.establish()
        tester.until_up(5)
        first.socket.sendall(build_notification(6, 2))
        assert tester.until_ended(5) == "NOTIFICATION Cease / Administrative Shutdown"
        second = Neighbour(listener)
        second.establish()
        tester.until_up(5, sessions=2)
        first.socket.close()
        second.socket.close()


def test_a_dropped_session_is_over_for_both_and_sending_says_so(listener: socket.socket, router: Router) -> None:
    with testing.Tester(router) as tester:
        neighbour = Neighbour(listener)
        neighbour.establish()
        tester.until_up(5)
        assert neighbour.hear()[18] == MessageType.UPDATE
        tester.drop()
        assert neighbour.socket.recv(1) == b""
        tester.until_ended(5)
        with pytest.raises(LabError, match="has no session"):
            tester.send(TABLE)
        neighbour.socket.close()


def test_no_neighbour_is_told_and_no_thread_stays(router: Router, listener: socket.socket) -> None:
    before = threading.active_count()
    listener.close()
    with testing.Tester(router, again=False) as tester, pytest.raises(LabError, match="Connection refused"):
        tester.until_up(0.5)
    assert threading.active_count() == before


def test_graceful_restart_is_offered_with_its_families(router: Router) -> None:
    offers = dict(parse_open(replace(router, restart_s=30, restarting=True).opening()).capabilities)
    assert offers[64].hex() == "801e" + "00010180"
    assert end_of_rib(Family.IPV6).hex().endswith("800f03000201")
