"""One connection to an RTR cache as a state machine: octets and time in, octets out (RFC 8210 s8).

    ASKED ──── Cache Response ──▶ RECEIVING ── End of Data ──▶ WAITING ── refresh, Serial Notify ──▶ ASKED
      │ Cache Reset: the same query again, for everything         ▲
      └──── "no data available": ask again after the retry ───────┘

What comes takes effect at End of Data, all at once: a connection that breaks in the middle leaves what was there. The
connection ends by `RtrEnded`, which carries the last octets to send.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from bgpbridge.errors import BridgeError
from bgpbridge.rpki.rtr_data import RtrData
from bgpbridge.rpki.rtr_pdus import (
    Code,
    Kind,
    Pdu,
    PduReader,
    RtrError,
    error_report,
    error_text,
    prefix_of,
    reset_query,
    serial_query,
    timers_of,
)
from bgpbridge.types import Family

__all__ = ["Phase", "RtrEnded", "RtrSession"]

ANSWER_LIMIT_S = 60.0  # silence in the midst of an answer; RFC 8210 names no time
WHOLE_LIMIT_S = 600.0  # for all of an answer; the internet's VRPs take seconds
MAX_VRPS = 4_000_000  # seven times what the internet had in 2025


class Phase(enum.StrEnum):
    """What we wait for."""

    ASKED = "asked"
    RECEIVING = "receiving"
    WAITING = "waiting"


class RtrEnded(BridgeError):  # noqa: N818 - the end of a connection, by whomever
    """This connection is over. `last_words` are octets to send first; `downgrade` says to speak version 0 next."""

    def __init__(self, what: str, *, last_words: bytes = b"", downgrade: bool = False) -> None:
        super().__init__(what)
        self.last_words = last_words
        self.downgrade = downgrade


class RtrSession:
    """From the first query on. `data` is what is kept over connections, and is changed here."""

    def __init__(self, data: RtrData, version: int, now_s: float) -> None:
        self.data = data
        self.version = version
        self.agreed = False  # on the version: the cache has answered (s7)
        self.phase = Phase.WAITING
        self.synchronised = False
        self.resets = 0  # how often the cache could not tell what changed
        self._at = now_s  # WAITING: when to ask; else when the cache last said something
        self._asked_at = now_s
        self._reader = PduReader()
        self._reset = True
        self._session = 0
        self._staged: dict[Family, dict[bytes, bool]] = {}
        self._notified = False

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self.phase is Phase.WAITING:
            return self._at
        return min(self._at + ANSWER_LIMIT_S, self._asked_at + WHOLE_LIMIT_S)

    def tick(self, now_s: float) -> bytes:
        """What to send because time has passed. Raises RtrEnded for an answer that does not come."""
        if now_s < self.deadline:
            return b""
        if self.phase is not Phase.WAITING:
            if now_s >= self._asked_at + WHOLE_LIMIT_S:
                raise RtrEnded(f"the cache has not ended its answer within {WHOLE_LIMIT_S:.0f} s")
            raise RtrEnded(f"the cache has been silent for {ANSWER_LIMIT_S:.0f} s in the midst of an answer")
        return self._ask(now_s)

    def receive(self, octets: bytes, now_s: float) -> bytes:
        """What to send because something came. Raises RtrEnded."""
        answer = b""
        if self.phase is not Phase.WAITING:
            self._at = now_s
        try:
            for pdu in self._reader.feed(octets):
                answer += self._take(pdu, now_s)
        except RtrError as error:
            self.data.doubt()
            words = error_report(self.version, error.code, error.pdu, error.what)
            raise RtrEnded(error.what, last_words=answer + words) from None
        return answer

    def _take(self, pdu: Pdu, now_s: float) -> bytes:
        if pdu.kind is Kind.ERROR_REPORT:
            return self._error(pdu, now_s)
        if not self.agreed:
            if pdu.kind is Kind.SERIAL_NOTIFY:
                return b""  # s7: it may have been sent before our query came
            self._agree(pdu)
        if pdu.version != self.version:
            code = Code.UNEXPECTED_VERSION if self.version else Code.UNSUPPORTED_VERSION
            raise RtrError(code, f"version {pdu.version} after {self.version} was agreed on", pdu.octets)
        return _TAKE[pdu.kind](self, pdu, now_s)

    def _agree(self, pdu: Pdu) -> None:
        """The first answer settles the version (s7). A session id means something in its version only (s5.1), so an
        answer to a Serial Query in an older version is of no use."""
        if pdu.version < self.version and not self._reset:
            raise RtrEnded(f"the cache now speaks version {pdu.version}", downgrade=True)
        self.version, self.agreed = min(self.version, pdu.version), True

    def _ask(self, now_s: float) -> bytes:
        key = self.data.key
        self.phase, self._at, self._asked_at, self._notified = Phase.ASKED, now_s, now_s, False
        self._staged = {family: {} for family in Family}
        self._reset = key is None or key[0] != self.version
        if key is None or self._reset:
            return reset_query(self.version)
        self._session = key[1]
        return serial_query(self.version, key[1], key[2])

    def _notify(self, pdu: Pdu, now_s: float) -> bytes:
        if self.phase is not Phase.WAITING:
            self._notified = True
            return b""
        key = self.data.key
        if key is not None and key[0] == self.version:
            self._same_session(pdu, key[1])
            if key[2] == pdu.serial:
                return b""
        return self._ask(now_s)

    def _cache_response(self, pdu: Pdu, _now_s: float) -> bytes:
        self._expect(Phase.ASKED, pdu)
        if not self._reset:
            self._same_session(pdu, self._session)
        self.phase, self._session = Phase.RECEIVING, pdu.session
        return b""

    def _cache_reset(self, pdu: Pdu, now_s: float) -> bytes:
        """The cache cannot tell what changed (s5.9): what we have stays until all of it has come anew."""
        self._expect(Phase.ASKED, pdu)
        if self._reset:
            raise RtrError(Code.CORRUPT_DATA, "Cache Reset in answer to a Reset Query", pdu.octets)
        self.data.doubt()
        self.resets += 1
        return self._ask(now_s)

    def _prefix(self, pdu: Pdu, _now_s: float) -> bytes:
        self._expect(Phase.RECEIVING, pdu)
        payload = prefix_of(pdu)
        staged = self._staged[payload.family]
        there = staged.get(payload.row)
        if there is None:
            there = not self._reset and payload.row in self.data.rows[payload.family]
        if there and payload.announce:
            raise RtrError(Code.DUPLICATE_ANNOUNCEMENT, "a VRP was announced twice", pdu.octets)
        if not there and not payload.announce:
            raise RtrError(Code.WITHDRAWAL_OF_UNKNOWN, "a VRP was withdrawn that is not there", pdu.octets)
        staged[payload.row] = payload.announce
        if len(staged) > MAX_VRPS:
            raise RtrError(Code.INTERNAL_ERROR, f"more than {MAX_VRPS:,} VRPs", pdu.octets)
        return b""

    def _router_key(self, pdu: Pdu, _now_s: float) -> bytes:
        """For BGPsec (s5.10), of which we have none."""
        self._expect(Phase.RECEIVING, pdu)
        return b""

    def _end_of_data(self, pdu: Pdu, now_s: float) -> bytes:
        self._expect(Phase.RECEIVING, pdu)
        self._same_session(pdu, self._session)
        data = self.data
        if self._reset:
            data.replace({f: {row for row, there in rows.items() if there} for f, rows in self._staged.items()})
        else:
            data.change((f, row, there) for f, rows in self._staged.items() for row, there in rows.items())
        self._staged = {}
        data.heed(timers_of(pdu))
        data.key, data.fresh_at = (self.version, self._session, pdu.serial), now_s
        self.synchronised = True
        self.phase, self._at = Phase.WAITING, now_s + data.timers.refresh_s
        return self._ask(now_s) if self._notified else b""

    def _error(self, pdu: Pdu, now_s: float) -> bytes:
        """An Error Report is never answered by one (s5.11). One in answer to a Serial Query is how some caches say that
        they do not know the session any more: stayrtr, which was restarted, reports corrupt data (s5.1)."""
        text = f"the cache reports: {error_text(pdu)}"
        if pdu.session == Code.NO_DATA_AVAILABLE and self.phase is not Phase.WAITING:
            self.version, self.agreed = min(self.version, pdu.version), True
            self.phase, self._at = Phase.WAITING, now_s + self.data.timers.retry_s
            return b""
        self.data.doubt()
        raise RtrEnded(text, downgrade=pdu.session == Code.UNSUPPORTED_VERSION and self.version > 0)

    def _expect(self, phase: Phase, pdu: Pdu) -> None:
        if self.phase is not phase:
            raise RtrError(Code.CORRUPT_DATA, f"{pdu.kind.name} came out of turn ({self.phase})", pdu.octets)

    def _same_session(self, pdu: Pdu, expected: int) -> None:
        """RFC 8210 s5.1: another session id ends the connection, and all that the cache told goes with it."""
        if pdu.session != expected:
            self.data.flush()
            problem = f"{pdu.kind.name} has session id {pdu.session}, expected {expected}"
            raise RtrError(Code.CORRUPT_DATA, problem, pdu.octets)


_TAKE: Mapping[Kind, Callable[[RtrSession, Pdu, float], bytes]] = {
    Kind.SERIAL_NOTIFY: RtrSession._notify,
    Kind.CACHE_RESPONSE: RtrSession._cache_response,
    Kind.IPV4_PREFIX: RtrSession._prefix,
    Kind.IPV6_PREFIX: RtrSession._prefix,
    Kind.END_OF_DATA: RtrSession._end_of_data,
    Kind.CACHE_RESET: RtrSession._cache_reset,
    Kind.ROUTER_KEY: RtrSession._router_key,
}
