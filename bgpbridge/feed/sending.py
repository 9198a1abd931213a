"""A replay's end of the bridge's socket. A replay may wait for the bridge: nobody's keepalives depend on it."""

from __future__ import annotations

import json
import select
import socket
from pathlib import Path

from bgpbridge.errors import UnreachableError
from bgpbridge.feed.frames import Record, SessionUp, Updates
from bgpbridge.feed.ways import DONE, HEADER, PIECE, Hello, complaint, frame

__all__ = ["Sending"]


class Sending:
    """UPDATEs of one peer that follow each other go out as one frame. `refused` says of whom nothing is taken, and
    why; nothing more is sent of them. Raises UnreachableError where there is no bridge, or none any more."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        self.refused: dict[int, str] = {}
        self._path, self._said, self._done = path, b"", False
        self._run: tuple[int, bytearray] = 0, bytearray()
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._end.connect(str(path))
            self._end.sendall(Hello("replay", keep).line())
        except OSError as error:
            self._end.close()
            raise UnreachableError(
                f"no bridge on {path} ({error.strerror})", mend="start `bgpbridge run`, or name its socket with --feed"
            ) from None

    def close(self) -> None:
        """Leave."""
        self._end.close()

    def say(self, number: int, record: Record) -> None:
        """One thing, in order."""
        if number in self.refused and not isinstance(record, SessionUp):
            return
        if not isinstance(record, Updates):
            self.flush()
            self._send(frame(number, record))
            return
        if self._run[0] != number or len(self._run[1]) + len(record.data) > PIECE:
            self.flush()
            self._run = number, bytearray()
        self._run[1].extend(record.data)

    def flush(self) -> None:
        """What waits goes out, and what the bridge has said is heard."""
        number, run = self._run
        self._run = 0, bytearray()
        if run:
            self._send(frame(number, Updates(bytes(run))))
        self._listen(0)

    def damaged(self, what: str) -> None:
        """What the bridge shall have an event of: the rest of a file cannot be read."""
        self.flush()
        text, _, mend = what.partition("\n  mend: ")
        self._send(complaint(text, mend))

    def finish(self) -> None:
        """Return when the bridge has taken in everything."""
        self.flush()
        self._send(HEADER.pack(0, DONE, 0))
        while not self._done:
            self._listen(None)

    def stay(self) -> None:
        """Until the bridge ends, or the caller is interrupted."""
        while True:
            self._listen(None)

    def _send(self, octets: bytes) -> None:
        try:
            self._end.sendall(octets)
        except OSError:
            self._listen(0)  # its reason, where it gave one
            raise self._lost() from None

    def _listen(self, wait_s: float | None) -> None:
        """What the bridge has said by then."""
        if not select.select([self._end], [], [], wait_s)[0]:
            return
        try:
            data = self._end.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            raise self._lost()
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "refused" in said:
                self.refused[said.get("number", 0)] = said["refused"]
            self._done |= "done" in said

    def _lost(self) -> UnreachableError:
        why = self.refused.get(0, "the bridge has ended")
        return UnreachableError(f"{self._path}: {why}", mend="look at `bgpbridge status`, then replay again")
