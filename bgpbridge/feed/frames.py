"""The records of a lane: raw UPDATE runs and, in order with them, what happened to the session.

A record is a kind (one octet in the lane's record header) and a payload. UPDATES and REFRESH carry BGP
messages as they came; the others carry JSON, because they are rare and because the other side may be of
another version for a moment. The speaker is the less privileged side: `decode` trusts nothing and raises
LaneError on anything that it does not know.
"""

from __future__ import annotations

import enum
import ipaddress
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bgpbridge.errors import LaneError
from bgpbridge.types import Family, Role, Session, parse_address

__all__ = [
    "DownReason",
    "Notice",
    "NoticeKind",
    "Record",
    "RecordKind",
    "Refresh",
    "RefreshKind",
    "SessionDown",
    "SessionUp",
    "Updates",
    "decode",
    "encode",
]


class RecordKind(enum.IntEnum):
    """The kind octet of a record."""

    UPDATES = 1
    SESSION_UP = 2
    SESSION_DOWN = 3
    REFRESH = 4
    NOTICE = 5


class DownReason(enum.StrEnum):
    """Why a session ended. RFC 4724 s4.2 keeps routes only after a plain loss of TCP (`graceful`)."""

    TCP_CLOSED = "tcp closed"
    NOTIFICATION_SENT = "notification sent"
    NOTIFICATION_RECEIVED = "notification received"
    HOLD_TIMER = "hold timer expired"
    REPLACED = "replaced by a new connection"
    CONFIGURATION = "configuration changed"
    REMOVED = "peer removed"
    SHUTDOWN = "speaker shut down"
    SPEAKER_DIED = "speaker died"
    INTERNAL = "internal error in the speaker"


class RefreshKind(enum.IntEnum):
    """The message subtype of ROUTE-REFRESH (RFC 7313 s3.2)."""

    REQUEST = 0
    BORR = 1
    EORR = 2


class NoticeKind(enum.StrEnum):
    """What a notice is about; also its metric label."""

    CONNECTION_REFUSED = "connection refused"
    OPEN_REFUSED = "open refused"
    LISTEN_FAILED = "listen failed"
    CONNECT_FAILED = "connect failed"
    SIGNATURE_REFUSED = "signature refused"
    FLAPPING = "flapping"
    RELOADED = "reloaded"
    RELOAD_REFUSED = "reload refused"
    COMMAND_REFUSED = "command refused"
    NO_REFRESH = "no route refresh"
    STARTED = "started"


@dataclass(frozen=True, slots=True)
class Updates:
    """Whole UPDATE messages of one session, back to back, as they came off the wire."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SessionUp:
    """A session reached ESTABLISHED; with `resync` it was up already and its table follows again.

    `restarting` is the peer's Restart State bit and `forwarding` the families whose forwarding state it
    has kept (RFC 4724 s3). `session.enforce_first_as` is the bridge's own affair and always True here.
    """

    session: Session
    resync: bool = False
    restarting: bool = False
    forwarding: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class SessionDown:
    """A session ended. `code` and `subcode` are those of a NOTIFICATION, if there was one."""

    reason: DownReason
    code: int = 0
    subcode: int = 0
    text: str = ""
    graceful: bool = False


@dataclass(frozen=True, slots=True)
class Refresh:
    """A ROUTE-REFRESH message as it came: BoRR and EoRR of RFC 7313, in order with the UPDATEs."""

    message: bytes

    @property
    def family(self) -> Family | None:
        """The family that it is about; None for one that we do not carry."""
        afi, safi = int.from_bytes(self.message[19:21], "big"), self.message[22]
        return Family(afi) if safi == 1 and afi in (1, 2) else None

    @property
    def kind(self) -> RefreshKind:
        """Request, BoRR or EoRR."""
        return RefreshKind(self.message[21])


@dataclass(frozen=True, slots=True)
class Notice:
    """Something an operator may want to know. `peer` 0 means none; `repeated` counts what was held back.

    `token` is that of the command which the notice answers (Reload, Teardown, RequestRefresh), else 0.
    """

    kind: NoticeKind
    text: str
    peer: int = 0
    token: int = 0
    repeated: int = 0


Record = Updates | SessionUp | SessionDown | Refresh | Notice


def _families(families: Iterable[Family]) -> list[int]:
    return sorted(int(family) for family in families)


def _session_to_json(session: Session) -> dict[str, Any]:
    return {
        "peer": session.peer,
        "local_as": session.local_as,
        "peer_as": session.peer_as,
        "local_address": str(session.local_address),
        "peer_address": str(session.peer_address),
        "router_id": str(session.router_id),
        "hold_time_s": session.hold_time_s,
        "asn4": session.asn4,
        "families": _families(session.families),
        "add_path": _families(session.add_path),
        "extended_message": session.extended_message,
        "extended_next_hop": session.extended_next_hop,
        "route_refresh": session.route_refresh,
        "enhanced_refresh": session.enhanced_refresh,
        "graceful_restart_s": session.graceful_restart_s,
        "graceful_families": _families(session.graceful_families),
        "role": session.role,
        "peer_role": session.peer_role,
    }


def _session_from_json(data: dict[str, Any]) -> Session:
    def families(key: str) -> frozenset[Family]:
        return frozenset(Family(number) for number in data[key])

    graceful = data["graceful_restart_s"]
    return Session(
        peer=int(data["peer"]),
        local_as=int(data["local_as"]),
        peer_as=int(data["peer_as"]),
        local_address=parse_address(data["local_address"]),
        peer_address=parse_address(data["peer_address"]),
        router_id=ipaddress.IPv4Address(data["router_id"]),
        hold_time_s=int(data["hold_time_s"]),
        asn4=bool(data["asn4"]),
        families=families("families"),
        add_path=families("add_path"),
        extended_message=bool(data["extended_message"]),
        extended_next_hop=bool(data["extended_next_hop"]),
        route_refresh=bool(data["route_refresh"]),
        enhanced_refresh=bool(data["enhanced_refresh"]),
        graceful_restart_s=None if graceful is None else int(graceful),
        graceful_families=families("graceful_families"),
        role=_role(data["role"]),
        peer_role=_role(data["peer_role"]),
    )


def _role(name: str | None) -> Role | None:
    return None if name is None else Role(name)


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def encode(record: Record) -> tuple[RecordKind, bytes]:
    """The kind and the payload of a record."""
    match record:
        case Updates(data):
            return RecordKind.UPDATES, data
        case Refresh(message):
            return RecordKind.REFRESH, message
        case SessionUp(session, resync, restarting, forwarding):
            return RecordKind.SESSION_UP, _json(
                {
                    "session": _session_to_json(session),
                    "resync": resync,
                    "restarting": restarting,
                    "forwarding": _families(forwarding),
                }
            )
        case SessionDown(reason, code, subcode, text, graceful):
            return RecordKind.SESSION_DOWN, _json(
                {"reason": reason.value, "code": code, "subcode": subcode, "text": text, "graceful": graceful}
            )
        case Notice(kind, text, peer, token, repeated):
            return RecordKind.NOTICE, _json(
                {"kind": kind.value, "text": text, "peer": peer, "token": token, "repeated": repeated}
            )


def _decode_updates(payload: bytes) -> Record:
    return Updates(payload)


def _decode_refresh(payload: bytes) -> Record:
    if len(payload) != 23 or payload[21] > max(RefreshKind):
        raise ValueError("not a ROUTE-REFRESH message")
    return Refresh(payload)


def _decode_up(payload: bytes) -> Record:
    data = json.loads(payload)
    forwarding = frozenset(Family(number) for number in data["forwarding"])
    return SessionUp(_session_from_json(data["session"]), bool(data["resync"]), bool(data["restarting"]), forwarding)


def _decode_down(payload: bytes) -> Record:
    data = json.loads(payload)
    return SessionDown(
        DownReason(data["reason"]), int(data["code"]), int(data["subcode"]), str(data["text"]), bool(data["graceful"])
    )


def _decode_notice(payload: bytes) -> Record:
    data = json.loads(payload)
    return Notice(
        NoticeKind(data["kind"]), str(data["text"]), int(data["peer"]), int(data["token"]), int(data["repeated"])
    )


_DECODERS: dict[int, Callable[[bytes], Record]] = {
    RecordKind.UPDATES: _decode_updates,
    RecordKind.SESSION_UP: _decode_up,
    RecordKind.SESSION_DOWN: _decode_down,
    RecordKind.REFRESH: _decode_refresh,
    RecordKind.NOTICE: _decode_notice,
}


def decode(kind: int, payload: bytes) -> Record:
    """A record from its kind and payload. Raises LaneError when it is none of ours."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise LaneError(f"a lane holds a record of kind {kind}; known are 1 to {max(_DECODERS)}", mend=_MEND)
    try:
        return decoder(payload)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        name = RecordKind(kind).name
        raise LaneError(f"a lane holds a {name} record that cannot be read: {error!r:.300}", mend=_MEND) from None


_MEND = "speaker and bridge are of different versions, or the memory was damaged: restart the speaker"
