"""Captured records to MRT: each UPDATE and ROUTE-REFRESH a message, each session that comes or goes a change of state.

Subtypes with ADD-PATH (RFC 8050) speak of all NLRI in a message, sessions of one family: a message with NLRI of two
families of which one has path ids can't be written, and is counted as left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from bgpbridge.feed.capture import Captured
from bgpbridge.feed.frames import Record, Refresh, SessionDown, SessionUp, Updates
from bgpbridge.types import Session
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.mrt import MessageRecord, MrtPeer, StateChange
from bgpbridge.wire.mrt_write import mrt_message, mrt_state
from bgpbridge.wire.update import split_update

__all__ = ["Recording"]

IDLE, OPEN_CONFIRM, ESTABLISHED = 1, 5, 6  # RFC 6396 s4.4.1


class Recording:
    """Turns what one bridge captured into MRT records. `left_out` counts messages that no record can hold."""

    def __init__(self) -> None:
        self.left_out = 0
        self._sessions: dict[int, Session] = {}

    def records(self, captured: Captured) -> Iterator[bytes]:
        """The MRT records of one captured record: none for what happened before its session was known."""
        match captured.record:
            case SessionUp(session, resync):
                self._sessions[captured.lane] = session
                if not resync:
                    yield mrt_state(StateChange(captured.time_s, _peer(session), OPEN_CONFIRM, ESTABLISHED))
            case record:
                known = self._sessions.get(captured.lane)
                if known is not None:
                    yield from self._of_session(known, captured.lane, captured.time_s, record)

    def _of_session(self, session: Session, lane: int, time_s: float, record: Record) -> Iterator[bytes]:
        match record:
            case SessionDown():
                del self._sessions[lane]
                yield mrt_state(StateChange(time_s, _peer(session), ESTABLISHED, IDLE))
            case Updates(data):
                for message in iter_messages(data):
                    yield from self._update(time_s, session, message)
            case Refresh(message):
                yield mrt_message(MessageRecord(time_s, _peer(session), message, session.asn4))

    def _update(self, time_s: float, session: Session, message: bytes) -> Iterator[bytes]:
        add_path = self._add_path(session, message)
        if add_path is None:
            self.left_out += 1
            return
        yield mrt_message(MessageRecord(time_s, _peer(session), message, session.asn4, add_path))

    def _add_path(self, session: Session, message: bytes) -> bool | None:
        """Whether the NLRI of a message have path ids; None where some have."""
        if session.add_path in {frozenset(), session.families}:
            return bool(session.add_path)
        raw = split_update(message, session)
        families = {family for family, _, _ in raw.reach} | {prefix.family for prefix, _ in raw.unreach}
        with_ids = {family in session.add_path for family in families}
        return None if len(with_ids) == 2 else True in with_ids


def _peer(session: Session) -> MrtPeer:
    return MrtPeer(session.peer_as, session.peer_address, session.local_as, session.local_address)
