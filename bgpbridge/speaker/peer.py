"""A peer as the tap runs it: its session's beginning and end go to its lane, with the reason.

ExaBGP's Peer keeps the FSM. What is ours here: the session's data from both OPENs, why it ended and whether
RFC 4724 lets routes be kept, NOTIFICATIONs with any code and text, the rest while the lane is full, and
three places where ExaBGP would do harm (`remove`, `reestablish`, `handle_connection`).
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from exabgp.bgp.fsm import FSM
from exabgp.bgp.message import Notification, Notify
from exabgp.bgp.message.refresh import RouteRefresh
from exabgp.reactor.network.error import LostConnection, NetworkError
from exabgp.reactor.peer import ACTION, Peer

from bgpbridge.feed.frames import DownReason, NoticeKind, SessionDown, SessionUp
from bgpbridge.speaker.negotiated import session_up
from bgpbridge.speaker.roles import mismatch
from bgpbridge.speaker.words import PeerWords, changed

if TYPE_CHECKING:
    from bgpbridge.speaker.outbox import Outbox
    from bgpbridge.types import Family, Session

__all__ = ["TapPeer"]

_SETTLED_S: Final = 10.0  # a second connection this soon is a collision, not a router that came back
_FLAPS: Final = 5
_FLAP_WINDOW_S: Final = 60.0
_CEASE: Final = 6
_DECONFIGURED, _REJECTED, _OTHER_CHANGE = 3, 5, 6  # subcodes of it (RFC 4486 s3)
_WITH_TEXT: Final = (2, 4)  # subcodes of Cease that carry a shutdown communication (RFC 9003 s2)


class TapPeer(Peer):  # type: ignore[misc]  # exabgp is untyped
    """One configured peer."""

    def __init__(self, neighbor: Any, reactor: Any) -> None:
        super().__init__(neighbor, reactor)
        self.outbox: Outbox = reactor.outbox
        self.session: Session | None = None
        self.resting = False
        self._up: SessionUp | None = None
        self._since_s = 0.0
        self._leaving: tuple[DownReason, str] | None = None
        self._held_until = 0.0
        self._order: Notify | None = None
        self._ends: deque[float] = deque(maxlen=_FLAPS)

    @property
    def words(self) -> PeerWords:
        """What the renderer says about this peer; it may change by a reload without a new session."""
        return PeerWords.from_text(self.neighbor["description"])

    @property
    def number(self) -> int:
        """The lane. Fixed for as long as a session lasts."""
        return self.session.peer if self.session is not None else self.words.number

    @property
    def calm(self) -> bool:
        """True when it needs no turn but for its timers: its session is settled, or it is the peer that connects."""
        if self._teardown is not None or self._neighbor is not None or self._order is not None:
            return False
        if self.session is None:
            return self.proto is None and bool(self.neighbor["passive"])
        return not self.neighbor.refresh and time.monotonic() - self._since_s > _SETTLED_S

    # reading ----------------------------------------------------------------------------------------

    def heard(self) -> None:
        """The hold timer begins anew."""
        self.recv_timer.last_read = int(time.monotonic())

    def rest(self) -> None:
        """The lane is full: leave the peer's TCP unread. What it sends meanwhile is not lost but unread by
        our own doing, so its hold timer stands still; our keepalives go on."""
        self.heard()
        if not self.resting:
            self.resting = True
            self.reactor.forget(super().socket())

    def socket(self) -> int:
        """The descriptor to poll; none while resting."""
        return -1 if self.resting else int(super().socket())

    # beginning and end of a session -----------------------------------------------------------------

    def _main(self) -> Iterator[Any]:
        try:
            self._up = session_up(self.proto, self.words.number, self.words.role)
        except OSError as error:  # TCP ended between the last KEEPALIVE and now: it has no addresses any more
            raise LostConnection(f"lost as the session came up: {error.strerror}") from None
        self.session = self._up.session
        self._since_s = time.monotonic()
        self._leaving = self._order = None
        self.outbox.event(self.session.peer, self._up)
        self.reactor.serve(super().socket(), self)
        for action in super()._main():
            self._obey()
            yield action

    def _obey(self) -> None:
        """Raise the NOTIFICATION that the bridge has ordered; ExaBGP's runner sends it and ends the session."""
        order, self._order = self._order, None
        if order is not None:
            raise order

    def _close(self, message: str = "", error: Any = "") -> None:
        self.reactor.release(super().socket())
        if self.session is not None:
            number, down = self.session.peer, self._why(message, error)
            self.session = self._up = None
            self.resting = False
            self._count_end()
            self.outbox.event(number, down)
        elif isinstance(error, Notification):
            self._open_refused(error)
        super()._close(message, error)

    def _why(self, message: str, error: Any) -> SessionDown:
        """The reason, and whether routes may be kept: after a loss of TCP alone, by a peer that offered
        graceful restart (RFC 4724 s4.2), and when it is we who restart."""
        assert self.session is not None
        offered = self.session.graceful_restart_s is not None
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            reason, text = leaving
            return SessionDown(reason, text=text, graceful=reason is not DownReason.REMOVED and offered)
        if isinstance(error, Notify):
            return self._notified(error, offered)
        if isinstance(error, Notification):
            return SessionDown(DownReason.NOTIFICATION_RECEIVED, error.code, error.subcode, str(error))
        if isinstance(error, NetworkError):
            return SessionDown(DownReason.TCP_CLOSED, text=str(error), graceful=offered)
        if message.startswith("graceful"):
            return SessionDown(DownReason.CONFIGURATION, text=message, graceful=offered)
        return SessionDown(DownReason.INTERNAL, text=message, graceful=offered)

    def _notified(self, error: Any, offered: bool) -> SessionDown:
        """We sent a NOTIFICATION, or tried to. That a keepalive could not be sent is TCP's end, though ExaBGP calls it
        by the code of the hold timer; whether TCP is there now says nothing, for the peer closes as it is notified."""
        if error.code == 4 and b"keepalive" in bytes(error.data):
            return SessionDown(DownReason.TCP_CLOSED, text="a keepalive could not be sent", graceful=offered)
        reason = DownReason.HOLD_TIMER if error.code == 4 else DownReason.NOTIFICATION_SENT
        words = (
            str(error)
            if bytes(error.data).decode("latin-1").isprintable()
            else str(Notify(error.code, error.subcode, b""))
        )
        return SessionDown(reason, error.code, error.subcode, words)

    def _count_end(self) -> None:
        now = time.monotonic()
        self._ends.append(now)
        if len(self._ends) == _FLAPS and now - self._ends[0] < _FLAP_WINDOW_S:
            text = f"its session ended {_FLAPS} times in {now - self._ends[0]:.0f} s"
            self.outbox.notice(NoticeKind.FLAPPING, text, peer=self.number)

    def _open_refused(self, error: Any) -> None:
        who = "we refused" if isinstance(error, Notify) else "the peer refused"
        why = str(error)
        if (error.code, error.subcode) == (2, 2) and isinstance(error, Notify):
            why = f"its AS is {int(self.proto.negotiated.peer_as)}, configured is {self.neighbor['peer-as']}"
        if (error.code, error.subcode) == (2, 11):
            why = f"Role Mismatch (2/11, RFC 9234): {self._roles()}"
        self.outbox.notice(NoticeKind.OPEN_REFUSED, f"{who} the session: {why}", peer=self.number)

    def _roles(self) -> str:
        """What is wrong with the roles of both sides, as far as we know the peer's."""
        received = self.proto.negotiated.received_open if self.proto is not None else None
        if received is not None and (
            found := mismatch(self.words.role, received.capabilities, strict=self.words.strict)
        ):
            return found
        return f"we are {self.words.role}" if self.words.role is not None else "we say no role"

    def connect_failed(self, issue: str) -> None:
        """An attempt to connect failed."""
        address, port = self.neighbor["peer-address"], self.neighbor["connect"]
        text = f"no connection to {address} port {port}: {issue}"
        self.outbox.notice(NoticeKind.CONNECT_FAILED, text, peer=self.number)

    # orders of the bridge ---------------------------------------------------------------------------

    def order_end(self, code: int, subcode: int, text: str, data: bytes) -> None:
        """End the session with this NOTIFICATION at the peer's next turn."""
        if (code, subcode) in {(_CEASE, with_text) for with_text in _WITH_TEXT} and text:
            octets = text.encode()[:255].decode(errors="ignore").encode()
            data = bytes([len(octets)]) + octets
        self._order = Notify(code, subcode, data)

    def hold(self, seconds: float) -> None:
        """Begin no session and take none for so long (IdleHoldTime, RFC 4271 s8.1.1); 0: do again. One that is up
        stays up, one that is only being made is given up."""
        self._held_until = time.monotonic() + seconds if seconds else 0.0
        if seconds and self.session is None:
            self._reset("held off")

    @property
    def _held(self) -> bool:
        return self.session is None and time.monotonic() < self._held_until

    def run(self) -> Any:
        """ExaBGP's turn of this peer; none that begins a session while it is held off."""
        return ACTION.LATER if self.generator is None and self.proto is None and self._held else super().run()

    def resync(self) -> bool:
        """Say again that the session is up and ask for its table. False: the peer cannot send it again."""
        if self.session is None or self._up is None or not self.session.route_refresh:
            return False
        up = SessionUp(self.session, True, self._up.restarting, self._up.forwarding)
        self.outbox.event(self.session.peer, up)
        for family in sorted(self.session.families):
            self.request_refresh(family)
        return True

    def request_refresh(self, family: Family) -> None:
        """Queue a ROUTE-REFRESH for unicast of a family."""
        self.neighbor.refresh.append(RouteRefresh(int(family), 1))

    # where ExaBGP would do harm ---------------------------------------------------------------------

    def remove(self) -> None:
        """The peer is gone from the configuration, or is there with another AS number or address: say so (ExaBGP
        closes TCP without a word)."""
        new = self.reactor.successor(self.words.name)
        if new is None:
            self._leaving = DownReason.REMOVED, ""
        else:
            self._leaving = DownReason.CONFIGURATION, changed(self.neighbor, new)
        self._say(Notify(_CEASE, _DECONFIGURED if new is None else _OTHER_CHANGE))
        super().remove()

    def shutdown(self) -> None:
        """The speaker goes. With graceful restart in silence, so that the peer keeps our routes."""
        self._leaving = DownReason.SHUTDOWN, ""
        if self.session is not None and self.session.graceful_restart_s is None:
            self._say(Notify(_CEASE, 2, b""))
        super().shutdown()

    def reestablish(self, restart_neighbor: Any = None) -> None:
        """The configuration of this peer changed. ExaBGP swaps it in at the next end of a session; a peer
        that has none must not begin one with the old configuration."""
        text = changed(self.neighbor, restart_neighbor) if restart_neighbor is not None else ""
        self._leaving = (DownReason.CONFIGURATION, text) if self.session is not None else None
        self._held_until = 0.0
        super().reestablish(restart_neighbor)
        if self.proto is None and restart_neighbor is not None:
            self._reset("configuration changed")

    def handle_connection(self, connection: Any) -> Any:
        """A router that restarted hard connects anew while we still hold its old session: RFC 4724 s4.2
        wants the new connection taken and the old one closed; ExaBGP would refuse it until the hold timer."""
        settled = time.monotonic() - self._since_s > _SETTLED_S
        if self.session is not None and self.session.graceful_restart_s is not None and settled:
            self._leaving = DownReason.REPLACED, ""
            self._close("the peer connected anew")
            self.neighbor.reset_rib()
        if self._held:
            refusal = connection.notification(_CEASE, _REJECTED, "held off after a reset")
        else:
            refusal = super().handle_connection(connection)
        if refusal is not None:
            for _ in itertools.islice(refusal, 3):  # it is written at once or not at all
                pass
            connection.close()
        return refusal

    def _say(self, notify: Any) -> None:
        """Send a NOTIFICATION as far as TCP takes it now."""
        if self.proto is None or self.fsm != FSM.ESTABLISHED:
            return
        try:
            for _ in itertools.islice(self.proto.new_notification(notify), 3):
                pass
        except NetworkError:
            return  # the connection is gone, and with it whoever would read this
