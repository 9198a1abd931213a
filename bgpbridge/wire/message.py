"""BGP messages as a stream: header, framing, NOTIFICATION codes, and small builders.

RFC 4271 s4.1 (header), s4.5 (NOTIFICATION), RFC 8654 (extended messages), RFC 9003 (shutdown text). OPEN
and ROUTE-REFRESH are in `opening`. The builders serve tests, the bench and the lab; the speaker's own
messages are ExaBGP's business.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from bgpbridge.errors import WireError

__all__ = [
    "HEADER_OCTETS",
    "MARKER",
    "MAXIMUM_EXTENDED",
    "MAXIMUM_PLAIN",
    "MessageType",
    "Notification",
    "build_keepalive",
    "build_message",
    "build_notification",
    "build_update",
    "header_problem",
    "iter_messages",
    "notification_text",
    "parse_notification",
    "require",
]

MARKER = b"\xff" * 16
HEADER_OCTETS = 19
MAXIMUM_PLAIN = 4096
MAXIMUM_EXTENDED = 65535


class MessageType(enum.IntEnum):
    """RFC 4271 s4.1, RFC 2918."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


_SMALLEST = (0, 29, 23, 21, 19, 23)  # octets, by type (RFC 4271 s4, RFC 2918)
_NEVER_EXTENDED = (MessageType.OPEN, MessageType.KEEPALIVE)  # RFC 8654 s4


def header_problem(data: bytes, position: int, maximum: int) -> tuple[str, tuple[int, int]] | None:
    """What is wrong with the header at `position`, and the NOTIFICATION for it (RFC 4271 s6.1)."""
    if data[position : position + 16] != MARKER:
        return "header: marker", (1, 1)
    if len(data) - position < HEADER_OCTETS:
        return "header: length", (1, 2)
    length = data[position + 16] << 8 | data[position + 17]
    kind = data[position + 18]
    if not 1 <= kind <= 5:
        return "header: type", (1, 3)
    limit = MAXIMUM_PLAIN if kind in _NEVER_EXTENDED else maximum
    if not _SMALLEST[kind] <= length <= limit or position + length > len(data):
        return "header: length", (1, 2)
    if kind == MessageType.KEEPALIVE and length != HEADER_OCTETS:
        return "header: length", (1, 2)
    return None


def require(message: bytes, kind: MessageType) -> None:
    """Raises WireError unless this begins with the header of such a message, right in itself."""
    problem = header_problem(message, 0, MAXIMUM_EXTENDED)
    if problem or message[18] != kind:
        raise WireError(f"no {kind.name.replace('_', '-')}: {problem[0] if problem else 'another type'}")


def iter_messages(data: bytes, maximum: int = MAXIMUM_EXTENDED) -> Iterator[bytes]:
    """The whole messages in `data`, back to back. Raises WireError where they do not frame."""
    position = 0
    while position < len(data):
        problem = header_problem(data, position, maximum)
        if problem:
            raise WireError(f"no BGP message at octet {position} of {len(data)}: {problem[0]}")
        end = position + (data[position + 16] << 8 | data[position + 17])
        yield data[position:end]
        position = end


def build_message(kind: MessageType, body: bytes = b"") -> bytes:
    """Header and body."""
    length = HEADER_OCTETS + len(body)
    if length > MAXIMUM_EXTENDED:
        raise WireError(f"a message of {length} octets; RFC 8654 allows {MAXIMUM_EXTENDED}")
    return MARKER + length.to_bytes(2, "big") + bytes([kind]) + body


def build_keepalive() -> bytes:
    """KEEPALIVE."""
    return build_message(MessageType.KEEPALIVE)


def build_update(attributes: bytes = b"", nlri: bytes = b"", withdrawn: bytes = b"") -> bytes:
    """UPDATE from encoded fields (RFC 4271 s4.3). Without any: the IPv4 End-of-RIB (RFC 4724 s2)."""
    if len(attributes) > 0xFFFF or len(withdrawn) > 0xFFFF:
        raise WireError("a field of an UPDATE holds at most 65535 octets")
    body = len(withdrawn).to_bytes(2, "big") + withdrawn + len(attributes).to_bytes(2, "big") + attributes + nlri
    return build_message(MessageType.UPDATE, body)


@dataclass(frozen=True, slots=True)
class Notification:
    """RFC 4271 s4.5. `text` is the shutdown communication where there is one (RFC 9003)."""

    code: int
    subcode: int
    data: bytes = b""

    @property
    def text(self) -> str:
        """The peer's words of farewell, control characters replaced."""
        if self.code != 6 or self.subcode not in {2, 4} or not self.data:
            return ""
        words = self.data[1 : 1 + self.data[0]].decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() else "?" for letter in words)

    def __str__(self) -> str:
        said = notification_text(self.code, self.subcode)
        return f"{said}: {self.text}" if self.text else said


def build_notification(code: int, subcode: int, data: bytes = b"") -> bytes:
    """NOTIFICATION."""
    return build_message(MessageType.NOTIFICATION, bytes([code, subcode]) + data)


def parse_notification(message: bytes) -> Notification:
    """A whole NOTIFICATION message. Raises WireError."""
    require(message, MessageType.NOTIFICATION)
    return Notification(message[19], message[20], message[21:])


_CODES = {
    1: "Message Header Error",
    2: "OPEN Message Error",
    3: "UPDATE Message Error",
    4: "Hold Timer Expired",
    5: "Finite State Machine Error",
    6: "Cease",
    7: "ROUTE-REFRESH Message Error",
}
_SUBCODES = {
    (1, 1): "Connection Not Synchronized",
    (1, 2): "Bad Message Length",
    (1, 3): "Bad Message Type",
    (2, 1): "Unsupported Version Number",
    (2, 2): "Bad Peer AS",
    (2, 3): "Bad BGP Identifier",
    (2, 4): "Unsupported Optional Parameter",
    (2, 6): "Unacceptable Hold Time",
    (2, 7): "Unsupported Capability",
    (2, 11): "Role Mismatch",
    (3, 1): "Malformed Attribute List",
    (3, 2): "Unrecognized Well-known Attribute",
    (3, 3): "Missing Well-known Attribute",
    (3, 4): "Attribute Flags Error",
    (3, 5): "Attribute Length Error",
    (3, 6): "Invalid ORIGIN Attribute",
    (3, 8): "Invalid NEXT_HOP Attribute",
    (3, 9): "Optional Attribute Error",
    (3, 10): "Invalid Network Field",
    (3, 11): "Malformed AS_PATH",
    (5, 1): "Receive Unexpected Message in OpenSent State",
    (5, 2): "Receive Unexpected Message in OpenConfirm State",
    (5, 3): "Receive Unexpected Message in Established State",
    (6, 1): "Maximum Number of Prefixes Reached",
    (6, 2): "Administrative Shutdown",
    (6, 3): "Peer De-configured",
    (6, 4): "Administrative Reset",
    (6, 5): "Connection Rejected",
    (6, 6): "Other Configuration Change",
    (6, 7): "Connection Collision Resolution",
    (6, 8): "Out of Resources",
    (6, 9): "Hard Reset",
    (6, 10): "BFD Down",
    (7, 1): "Invalid Message Length",
}


def notification_text(code: int, subcode: int) -> str:
    """`Cease / Administrative Shutdown`, by IANA's registry; numbers where it has no name."""
    name = _CODES.get(code, f"code {code}")
    if subcode == 0 and (code, 0) not in _SUBCODES:
        return name
    return f"{name} / {_SUBCODES.get((code, subcode), f'subcode {subcode}')}"
