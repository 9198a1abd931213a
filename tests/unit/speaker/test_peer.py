"""The tap's peer where ExaBGP's own would end in a traceback."""

from __future__ import annotations

import socket
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
