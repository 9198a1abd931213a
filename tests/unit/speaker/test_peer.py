"""The tap's peer where ExaBGP's own would end in a traceback."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import pytest
from exabgp.reactor.network.error import LostConnection

from bgpbridge.speaker.peer import TapPeer


def test_a_connection_that_ends_as_the_session_comes_up_is_a_lost_connection() -> None:
    """Seen with two daemons at one router: it closes by collision while the last KEEPALIVE is being read."""
    peer = TapPeer.__new__(TapPeer)
    with socket.socket() as never_connected:
        capabilities = SimpleNamespace(announced=lambda _: False)
        agreed = SimpleNamespace(
            local_as=1,
            peer_as=2,
            received_open=SimpleNamespace(capabilities=capabilities),
            sent_open=SimpleNamespace(capabilities=capabilities),
        )
        neighbor = SimpleNamespace(families=list)
        peer.proto = SimpleNamespace(
            negotiated=agreed, connection=SimpleNamespace(io=never_connected), neighbor=neighbor
        )
        peer.neighbor = {"description": "peer=0 listen=179 name=isp-a"}
        with pytest.raises(LostConnection, match="as the session came up"):
            next(peer._main())


@pytest.fixture
def settled() -> TapPeer:
    """A peer whose session is up since long ago."""
    peer = TapPeer.__new__(TapPeer)
    peer._teardown = peer._neighbor = peer._order = None
    peer.session, peer.proto, peer._since_s = object(), object(), time.monotonic() - 60.0
    peer.neighbor = Neighbor(refresh=[])
    return peer


class Neighbor(dict[str, object]):
    def __init__(self, refresh: list[object]) -> None:
        super().__init__(passive=True)
        self.refresh = refresh


def test_a_settled_session_needs_no_turns(settled: TapPeer) -> None:
    assert settled.calm


def test_an_order_is_carried_out_at_the_next_turn(settled: TapPeer) -> None:
    settled.order_end(6, 2, "", b"")
    assert not settled.calm


def test_a_route_refresh_that_is_to_be_sent_does_not_wait(settled: TapPeer) -> None:
    settled.neighbor.refresh.append("ipv4 unicast")
    assert not settled.calm


def test_a_session_that_has_just_come_up_has_turns(settled: TapPeer) -> None:
    settled._since_s = time.monotonic()
    assert not settled.calm


def test_a_peer_that_is_connected_but_not_up_has_turns_and_one_that_we_wait_for_has_none(settled: TapPeer) -> None:
    settled.session = None
    assert not settled.calm
    settled.proto = None
    assert settled.calm
    settled.neighbor["passive"] = False  # it is we who connect
    assert not settled.calm
