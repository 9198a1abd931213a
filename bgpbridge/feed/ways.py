"""What a process that feeds a running bridge says on its socket: `bgpbridge pipe`.

The feeder begins with one line of JSON (version, which way it is, whether its routes stay when it leaves). Frames
follow: octets of the payload (4), kind (1), the feeder's own number of the neighbour (2), payload, where kind and
payload are those of a lane (`feed.frames`), or DONE and COMPLAINT. SESSION_UP says by its addresses which peer a number
stands for. The bridge answers in lines of JSON: it takes no more (`refused`), or wants tables again (`resync`), or has
taken in everything (`done`). Nothing that a feeder says is believed: kinds, lengths and the framing of UPDATEs are
checked before a lane sees them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from bgpbridge.errors import LaneError
from bgpbridge.feed.frames import Record, RecordKind, Refresh, SessionDown, SessionUp, Updates, decode, encode
from bgpbridge.types import Session
from bgpbridge.wire.message import MARKER, MessageType

__all__ = [
    "COMPLAINT",
    "DONE",
    "HEADER",
    "LARGEST",
    "PIECE",
    "Hello",
    "answer",
    "complaint",
    "complaint_of",
    "frame",
    "pieces",
    "record_of",
]

VERSION: Final = 1
RELEASE: Final = "install the same release of bgpbridge for both"
HEADER: Final = struct.Struct("!IBH")
LARGEST: Final = 512 << 10  # octets of a payload; half of the smallest lane
PIECE: Final = 256 << 10  # octets of UPDATEs that a feeder puts into one frame
DONE: Final = 0  # the kind of an empty frame: the feeder has said all, and asks to be told when it is taken in
COMPLAINT: Final = 255  # the kind of a frame that says what the feeder could not read, in words for an operator
LONGEST_TEXT: Final = 2000  # characters of such words


@dataclass(frozen=True, slots=True)
class Hello:
    """How a feeder begins. `keep`: its sessions count as up when it has left."""

    way: str
    keep: bool = False

    def line(self) -> bytes:
        """For the socket."""
        return json.dumps({"bgpbridge": VERSION, "way": self.way, "keep": self.keep}).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Hello:
        """The reverse. Raises LaneError."""
        try:
            said: dict[str, Any] = json.loads(line)
            version, way, keep = said["bgpbridge"], said["way"], bool(said.get("keep", False))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise LaneError("what connects is no feeder of ours", mend="use `bgpbridge pipe`") from None
        if version != VERSION or way not in ("pipe", "replay"):  # no set: `way` may be anything
            raise LaneError(
                f"a feeder of version {version!r:.40} by the way of {way!r:.40}; this bridge takes version {VERSION}",
                mend="install the same release of bgpbridge for both",
            )
        return cls(way, keep)


def frame(number: int, record: Record) -> bytes:
    """A record of a neighbour, for the socket."""
    kind, payload = encode(record)
    return HEADER.pack(len(payload), kind, number) + payload


def complaint(text: str, mend: str) -> bytes:
    """What the feeder could not read, for the socket."""
    payload = json.dumps({"text": text[:LONGEST_TEXT], "mend": mend[:LONGEST_TEXT]}).encode()
    return HEADER.pack(len(payload), COMPLAINT, 0) + payload


def complaint_of(payload: bytes) -> str:
    """The reverse: one text, of characters that can be written. Raises LaneError."""
    try:
        said = json.loads(payload)
        text, mend = str(said["text"]), str(said["mend"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LaneError("a feeder sent a complaint that cannot be read", mend=RELEASE) from None
    whole = f"{text[:LONGEST_TEXT]}\n  mend: {mend[:LONGEST_TEXT]}"
    return whole.encode("utf-8", "replace").decode()


def answer(**said: Any) -> bytes:
    """A line of the bridge's."""
    return json.dumps(said).encode() + b"\n"


def pieces(messages: list[bytes]) -> list[Updates]:
    """Whole messages in runs that fit frames."""
    runs: list[Updates] = []
    run = bytearray()
    for message in messages:
        if len(run) + len(message) > PIECE:
            runs.append(Updates(bytes(run)))
            run.clear()
        run += message
    return [*runs, Updates(bytes(run))] if run else runs


def record_of(kind: int, payload: bytes) -> Record:
    """The record of a frame. Raises LaneError for one that no feeder has to say."""
    if kind not in {RecordKind.UPDATES, RecordKind.SESSION_UP, RecordKind.SESSION_DOWN, RecordKind.REFRESH}:
        raise LaneError(f"a feeder sent a frame of kind {kind}", mend="install the same release of bgpbridge for both")
    record = decode(kind, payload)
    match record:
        case Updates(data) if not _whole(data):
            raise LaneError("a feeder sent octets that are no UPDATE messages", mend="restart it; this one is dropped")
        case SessionUp(session) if not _possible(session):
            raise LaneError("a feeder sent a session of numbers that BGP has not", mend=RELEASE)
        case SessionDown(_, code, subcode) if not (0 <= code <= 255 and 0 <= subcode <= 255):
            raise LaneError("a feeder sent a NOTIFICATION of numbers that BGP has not", mend=RELEASE)
        case Updates() | SessionUp() | SessionDown() | Refresh():
            return record
    raise LaneError("a feeder sent a notice", mend="restart it")


def _possible(session: Session) -> bool:
    """True for numbers that fit their fields (RFC 4271 s4.2, RFC 4724 s3)."""
    bounded = (session.local_as, 1 << 32), (session.peer_as, 1 << 32), (session.hold_time_s, 1 << 16)
    return all(0 <= number < end for number, end in (*bounded, (session.graceful_restart_s or 0, 1 << 12)))


def _whole(data: bytes) -> bool:
    """True for UPDATE messages, back to back."""
    at, end = 0, len(data)
    while at + 23 <= end:
        length = data[at + 16] << 8 | data[at + 17]
        if length < 23 or data[at + 18] != MessageType.UPDATE or not data.startswith(MARKER, at):
            return False
        at += length
    return at == end and end > 0
