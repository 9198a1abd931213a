"""TCP as the tap reads it: big gulps into a buffer, whole UPDATEs out of it.

`Connection.reader()` of ExaBGP keeps working on top (`_reader` serves it from the buffer) for everything
that is not an UPDATE of an established session. ExaBGP's own way is one poll and two recv per message.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

from exabgp.reactor.network.error import LostConnection, NetworkError, NotConnected, error
from exabgp.reactor.network.incoming import Incoming
from exabgp.reactor.network.outgoing import Outgoing
from exabgp.reactor.network.tcp import nagle

from bgpbridge.speaker.signatures import Signatures, no_answer

__all__ = ["TapConnection", "TapIncoming", "TapOutgoing"]

_HEADER: Final = struct.Struct("!16sHB")
_MARKER: Final = b"\xff" * 16
_UPDATE: Final = 2
_ANSWER_S: Final = 20.0  # for a SYN to be answered, before we begin anew
_FIRST_PAUSE_S: Final = 1.0  # between attempts, growing
_LONGEST_PAUSE_S: Final = 15.0


class TapConnection:
    """Mixed into ExaBGP's two kinds of connection."""

    gulp = memoryview(bytearray(256 << 10))  # what one read takes, for all connections: a new buffer each time is slow
    io: socket.socket | None
    msg_size: int
    peer: str
    local: str | None
    failure: NetworkError | None = None  # met by `read_ahead`, raised at the generator's next turn
    _buffer = b""

    def _fill(self) -> bool:
        """One recv. False when nothing has come. Raises LostConnection or NetworkError."""
        if self.failure is not None:
            raise self.failure
        if self.io is None:
            raise NotConnected("the TCP connection is closed")
        try:
            octets = self.io.recv_into(self.gulp)
        except OSError as problem:
            if problem.errno in error.block:
                return False
            self.close()
            raise LostConnection(f"reading failed: {problem.strerror}") from None
        if not octets:
            self.close()
            raise LostConnection("the peer closed the TCP connection")
        data = bytes(self.gulp[:octets])
        self._buffer = self._buffer + data if self._buffer else data
        return True

    def close(self) -> None:
        """ExaBGP's."""
        super().close()  # type: ignore[misc]  # Connection, of which mypy knows nothing

    def _reader(self, number: int) -> Iterator[bytes]:
        """ExaBGP's reader of `number` octets: b"" until they are there, then the octets."""
        while len(self._buffer) < number:
            if not self._fill():
                yield b""
        data, self._buffer = self._buffer[:number], self._buffer[number:]
        yield data

    def updates(self) -> bytes | None:
        """The complete UPDATE messages at the front of what has come, b"" when there is none yet; None when
        something else comes first, another kind of message or no valid header."""
        if not self._buffer and not self._fill():
            return b""
        run = self._cut()
        if run == b"" and self._fill():  # the rest of a message: no poll would tell of it again
            run = self._cut()
        return run

    def _cut(self) -> bytes | None:
        buffer, size, offset = self._buffer, len(self._buffer), 0
        unpack, limit = _HEADER.unpack_from, self.msg_size
        other = False
        while offset + 19 <= size:
            marker, length, kind = unpack(buffer, offset)
            if kind != _UPDATE or marker != _MARKER or not 23 <= length <= limit:
                other = True
                break
            if offset + length > size:
                break
            offset += length
        if offset:
            self._buffer = buffer[offset:]
            return buffer[:offset] if self._buffer else buffer
        return None if other else b""

    def front(self) -> tuple[int, bytes]:
        """Kind of the message in front and as much of it as has come; (0, b"") when its header is damaged."""
        marker, length, kind = _HEADER.unpack_from(self._buffer)
        if marker != _MARKER or not 19 <= length <= self.msg_size:
            return 0, b""
        return kind, self._buffer[:length]

    def skip(self, octets: int) -> None:
        """Take a message that `front` has shown off the buffer."""
        self._buffer = self._buffer[octets:]

    @property
    def drained(self) -> bool:
        """All that has come was taken off, but for the beginning of a message, of whose rest poll will tell."""
        return not self._buffer or self._cut() == b""

    def more(self) -> bool:
        """Read once; True when something came."""
        return self._fill()


class TapIncoming(TapConnection, Incoming):  # type: ignore[misc]  # exabgp is untyped
    """A connection that the peer opened."""


class TapOutgoing(TapConnection, Outgoing):  # type: ignore[misc]  # exabgp is untyped
    """A connection that we open. ExaBGP's loop would send SYNs as fast as the reactor turns; this one waits
    between attempts and remembers why they failed: `issue` in full, `cause` without its figures."""

    issue = ""
    cause = ""

    def establish(self) -> Iterator[bool]:
        """False until the connection stands, then True."""
        pause = _FIRST_PAUSE_S
        while True:
            problem = self._connect()
            if problem is None:
                yield from self._await_answer()
                if self.io is not None and not self.issue:
                    self._finish()
                    yield True
                    return
            else:
                self.issue = self.cause = str(problem)
            until = time.monotonic() + pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            while time.monotonic() < until:
                yield False
            self.issue = self.cause = ""

    def _await_answer(self) -> Iterator[bool]:
        """Yield until TCP has an answer: `issue` stays empty when it is a good one."""
        assert self.io is not None
        poller = select.poll()
        poller.register(self.io, select.POLLOUT)
        until, before = time.monotonic() + _ANSWER_S, Signatures.now()
        while not poller.poll(0):
            if time.monotonic() > until:
                dropped, password = Signatures.now() - before, bool(self.md5)
                issue = no_answer(_ANSWER_S, password=password, dropped=dropped)
                self._fail(issue, f"no answer, signatures {bool(dropped.about(password=password))}")
                return
            yield False
        code = self.io.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(os.strerror(code), os.strerror(code))

    def _fail(self, issue: str, cause: str) -> None:
        self.issue, self.cause = issue, cause
        assert self.io is not None
        self.io.close()
        self.io = None

    def _finish(self) -> None:
        assert self.io is not None
        self.success()
        nagle(self.io, self.peer)
        if not self.local:
            self.local = self.io.getsockname()[0]
