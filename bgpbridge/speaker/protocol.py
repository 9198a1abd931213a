"""The protocol as the tap runs it: once ESTABLISHED, runs of UPDATE messages go to the lane as raw octets.

ExaBGP then decodes no UPDATE. KEEPALIVE, NOTIFICATION, requests to refresh and damaged headers still go its
way, message by message. BoRR and EoRR (RFC 7313) go to the lane, in order with the UPDATEs around them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from exabgp.bgp.message import _NOP, Notify
from exabgp.reactor.network.error import NetworkError
from exabgp.reactor.protocol import _UPDATE, Protocol

from bgpbridge.feed.frames import RefreshKind
from bgpbridge.speaker.connection import TapOutgoing
from bgpbridge.speaker.roles import mismatch
from bgpbridge.speaker.signatures import TELL_AGAIN_S

if TYPE_CHECKING:
    from bgpbridge.speaker.connection import TapConnection
    from bgpbridge.speaker.peer import TapPeer

__all__ = ["TapProtocol"]

_OPEN: Final = 1
_ROUTE_REFRESH: Final = 5
_REFRESH_OCTETS: Final = 23


class TapProtocol(Protocol):  # type: ignore[misc]  # exabgp is untyped
    """One session's messages."""

    peer: TapPeer
    connection: TapConnection | None
    _inside = False  # ExaBGP's own reader is in the middle of a message

    def connect(self) -> Iterator[bool]:
        """ExaBGP's, and why attempts fail to the operator: once for a cause, and now and then while it lasts."""
        told, again_at = "", 0.0
        for connected in super().connect():
            cause = getattr(self.connection, "cause", "")
            if cause and (cause != told or time.monotonic() > again_at):
                assert isinstance(self.connection, TapOutgoing)
                told, again_at = cause, time.monotonic() + TELL_AGAIN_S
                self.peer.connect_failed(self.connection.issue)
            yield connected

    def validate_open(self) -> None:
        """ExaBGP's, and the roles of both sides (RFC 9234 s4.2)."""
        super().validate_open()
        words = self.peer.words
        if mismatch(words.role, self.negotiated.received_open.capabilities, strict=words.strict):
            raise Notify(2, 11)

    def read_message(self) -> Iterator[Any]:
        """ExaBGP's generator: messages, _NOP while there is none, _UPDATE for a run that the lane has."""
        peer = self.peer
        if peer.session is None:
            yield from super().read_message()
            return
        if peer.outbox.full(peer.number):
            peer.rest()
            yield _NOP
            return
        peer.resting = False
        assert self.connection is not None
        run = self.connection.updates()
        if run is None:
            yield from self._other()
        elif run:
            peer.outbox.updates(peer.number, run)
            yield _UPDATE
        else:
            yield _NOP

    def read_ahead(self) -> bool:
        """Hand UPDATEs on when the socket has become readable, before the reactor has made its round. True when that
        was all that has come."""
        peer, connection = self.peer, self.connection
        if peer.session is None or self._inside or connection is None or connection.io is None:
            return False
        if connection.failure is not None or peer.outbox.full(peer.number):
            return False
        try:
            run = connection.updates()
        except NetworkError as failure:
            connection.failure = failure
            return False
        if not run:
            return False
        peer.outbox.updates(peer.number, run)
        peer.heard()
        return connection.drained

    def _other(self) -> Iterator[Any]:
        """The message in front is no UPDATE."""
        assert self.connection is not None
        kind, message = self.connection.front()
        if kind == _OPEN:
            raise Notify(5, 3)  # RFC 6608: unexpected message in Established
        if kind == _ROUTE_REFRESH:
            if len(message) < _REFRESH_OCTETS and self._unfinished(message):
                yield _UPDATE if self.connection.more() else _NOP
                return
            if len(message) == _REFRESH_OCTETS and message[21] != RefreshKind.REQUEST:
                self.connection.skip(_REFRESH_OCTETS)
                self._demarcation(message)
                yield _UPDATE
                return
        self._inside = True
        try:
            yield from super().read_message()
        finally:
            self._inside = False

    @staticmethod
    def _unfinished(message: bytes) -> bool:
        return len(message) < int.from_bytes(message[16:18], "big")

    def _demarcation(self, message: bytes) -> None:
        """BoRR or EoRR. Unknown subtypes, families and sessions without the capability are to be ignored
        (RFC 7313 s4.2, s5); ExaBGP would answer a BoRR by sending its table."""
        session = self.peer.session
        assert session is not None
        afi, safi = int.from_bytes(message[19:21], "big"), message[22]
        known = message[21] in (RefreshKind.BORR, RefreshKind.EORR) and safi == 1 and afi in session.families
        if known and session.enhanced_refresh:
            self.peer.outbox.refresh(self.peer.number, message)
