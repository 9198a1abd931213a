"""What a process that feeds a running bridge says on its socket: `bgpbridge pipe`.

The feeder begins with one line of JSON (version, which way it is, whether its routes stay when it leaves). Frames
follow: octets of the payload (4), kind (1), the feeder's own number of the neighbour (2), payload, where kind and
payload are those of a lane (`feed.frames`). SESSION_UP says by its addresses which peer a number stands for. The
bridge answers in lines of JSON: it takes no more (`refused`), or wants tables again (`resync`), or has taken in
everything (`done`). Nothing that a feeder says is believed: kinds, lengths and the framing of UPDATEs are checked
before a lane sees them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from bgpbridge.errors import LaneError
from bgpbridge.feed.frames import Record, RecordKind, Refresh, SessionDown, SessionUp, Updates, decode, encode
from bgpbridge.wire.message import MARKER, MessageType

__all__ = ["DONE", "HEADER", "LARGEST", "PIECE", "Hello", "answer", "frame", "pieces", "record_of"]

VERSION: Final = 1
HEADER: Final = struct.Struct("!IBH")
LARGEST: Final = 512 << 10  # octets of a payload; half of the smallest lane
PIECE: Final = 256 << 10  # octets of UPDATEs that a feeder puts into one frame
DONE: Final = 0  # the kind of an empty frame: the feeder has said all, and asks to be told when it is taken in


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
        if version != VERSION or way not in {"pipe", "replay"}:
            raise LaneError(
                f"a feeder of version {version} by the way of {way}; this bridge takes version {VERSION}",
                mend="install the same release of bgpbridge for both",
            )
        return cls(way, keep)


def frame(number: int, record: Record) -> bytes:
    """A record of a neighbour, for the socket."""
    kind, payload = encode(record)
    return HEADER.pack(len(payload), kind, number) + payload


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
        case Updates() | SessionUp() | SessionDown() | Refresh():
            return record
    raise LaneError("a feeder sent a notice", mend="restart it")


def _whole(data: bytes) -> bool:
    """True for UPDATE messages, back to back."""
    at, end = 0, len(data)
    while at + 23 <= end:
        length = data[at + 16] << 8 | data[at + 17]
        if length < 23 or data[at + 18] != MessageType.UPDATE or not data.startswith(MARKER, at):
            return False
        at += length
    return at == end and end > 0
