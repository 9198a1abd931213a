"""The process between a stock ExaBGP and a running bridge: JSON lines in on stdin, frames out on the bridge's socket.

ExaBGP must never wait for us: it writes to its processes from the loop that sends keepalives, and loses its sessions
when that blocks. So stdin is always read, whatever the bridge does. While there is no bridge, what comes is read for
the state of the sessions and otherwise forgotten; when there is one again, sessions are told anew and ExaBGP is asked
for a route refresh (RFC 2918). A bridge that is too slow by ROOM octets is treated like one that is not there.
Commands for ExaBGP are few, go out only when its pipe takes them, and the answers to them are read like every other
line.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bgpbridge.feed.exabgp_json import ENCODER, ExabgpLines, LineError, Neighbour, start_of
from bgpbridge.feed.frames import DownReason, SessionDown, SessionUp, Updates
from bgpbridge.feed.ways import Hello, complaint, frame, pieces
from bgpbridge.types import Session
from bgpbridge.wire.message import iter_messages

__all__ = ["Pipe", "why_no_bridge"]

ROOM = 64 << 20  # octets that may wait for the bridge
COMMANDS = 64 << 10  # octets that may wait for ExaBGP
LONGEST_LINE = 16 << 20
GULP = 1 << 20
AGAIN_S = 1.0  # between two tries to reach the bridge
FAREWELL_S = 2.0
COMPLAINTS = 20  # refused lines that are told one by one; of the rest only every hundredth
CAUSES = 20  # of which the bridge is told the first line
NEIGHBOURS = 0xFFFF


class Pipe:
    """`run` until ExaBGP closes stdin. `tell` says what an operator should know, in ExaBGP's log."""

    def __init__(self, path: Path, tell: Callable[[str], None], source: int = 0, sink: int = 1) -> None:
        self._path, self._tell, self._source, self._sink = path, tell, source, sink
        self._lines = ExabgpLines()
        self._numbers: dict[Neighbour, int] = {}
        self._waiting = bytearray()  # half a line
        self._skipping = False
        self._run: tuple[int, list[bytes]] = (0, [])  # UPDATEs of one neighbour that go out as one frame
        self._bridge: socket.socket | None = None
        self._out = bytearray()
        self._said = bytearray()
        self._commands = bytearray()
        self._try_at = 0.0
        self._away = False
        self._refused = 0
        self._causes: dict[str, bytes] = {}  # the first line that was refused for each cause, as a frame
        self._loop = selectors.DefaultSelector()

    def run(self) -> None:
        """Everything, until end of file."""
        os.set_blocking(self._source, False)
        os.set_blocking(self._sink, False)
        self._loop.register(self._source, selectors.EVENT_READ, self._read)
        self._connect()
        self._refresh("")
        while self._source in self._loop.get_map():
            for key, events in self._loop.select(self._patience()):
                if self._is_open(key):
                    key.data(events)
            self._connect()
        self._farewell()

    def _is_open(self, key: selectors.SelectorKey) -> bool:
        """False when what came before it in the same look has closed it. Asked by number: a closed socket has none."""
        now = self._loop.get_map().get(key.fd)
        return now is not None and now.fileobj is key.fileobj

    def _patience(self) -> float | None:
        return None if self._bridge is not None else max(0.0, self._try_at - time.monotonic())

    # -- ExaBGP -----------------------------------------------------------------------------------------

    def _read(self, _: int) -> None:
        try:
            data = os.read(self._source, GULP)
        except BlockingIOError:
            return
        if not data:
            self._loop.unregister(self._source)
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            whole = bytes(self._waiting) + line
            self._waiting.clear()
            if not self._skipping:
                self._line(whole.decode("utf-8", "replace").strip())
            self._skipping = False
        if not self._skipping:
            self._waiting += rest
        if len(self._waiting) > LONGEST_LINE:
            what = f"a line of more than {LONGEST_LINE >> 20} MiB is left out (line: {start_of(self._waiting)})"
            self._complain("length", f"{what}; expected: a line for each message", ENCODER)
            self._waiting.clear()
            self._skipping = True
        self._flush_run()
        self._send()

    def _line(self, line: str) -> None:
        if not line or line == "done" or line.startswith('{ "answer"'):
            return
        if line in {"error", "shutdown"}:
            if self._lines.sessions():  # at the start we ask before any session is up
                self._tell(f"ExaBGP answered a command with `{line}`")
            return
        try:
            for heard in self._lines.read(line):
                number = self._numbers.setdefault(heard.neighbour, len(self._numbers) + 1)
                if number > NEIGHBOURS:
                    continue
                if isinstance(heard.record, SessionUp) and heard.record.resync:
                    self._refresh(str(heard.neighbour.peer_address))
                if self._bridge is None:
                    continue
                if isinstance(heard.record, Updates):
                    self._updates(number, heard.record.data)
                    continue
                self._flush_run()
                self._out += frame(number, heard.record)
        except LineError as error:
            self._complain(error.cause, error.what, error.mend)

    def _updates(self, number: int, data: bytes) -> None:
        if self._run[0] != number:
            self._flush_run()
            self._run = number, []
        self._run[1].extend(iter_messages(data))

    def _flush_run(self) -> None:
        number, messages = self._run
        self._run = 0, []
        for run in pieces(messages):
            self._out += frame(number, run)

    def _complain(self, cause: str, what: str, mend: str) -> None:
        """In ExaBGP's log, and the first line of each cause to the bridge."""
        self._refused += 1
        if self._refused <= COMPLAINTS or not self._refused % 100:
            self._tell(f"refused ({self._refused}): {what}\n  mend: {mend}")
        if cause not in self._causes and len(self._causes) < CAUSES:
            self._causes[cause] = complaint(what, mend)
            if self._bridge is not None:
                self._flush_run()
                self._out += self._causes[cause]

    def _refresh(self, address: str) -> None:
        """Ask for the tables again: of one neighbour, or of all."""
        whom = f"neighbor {address} " if address else ""
        text = "".join(f"{whom}announce route-refresh {family} unicast\n" for family in ("ipv4", "ipv6")).encode()
        if text not in self._commands and len(self._commands) + len(text) <= COMMANDS:
            self._commands += text
        self._command()

    def _command(self, _: int = 0) -> None:
        """What ExaBGP's pipe takes now; the rest when it takes more."""
        try:
            while self._commands:
                del self._commands[: os.write(self._sink, self._commands)]
        except BlockingIOError:
            pass
        except OSError:
            self._commands.clear()  # ExaBGP reads no more; end of file will follow
        waits = self._sink in self._loop.get_map()
        if self._commands and not waits:
            self._loop.register(self._sink, selectors.EVENT_WRITE, self._command)
        elif not self._commands and waits:
            self._loop.unregister(self._sink)

    # -- the bridge -------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._bridge is not None or time.monotonic() < self._try_at:
            return
        self._try_at = time.monotonic() + AGAIN_S
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        end.setblocking(False)
        try:
            end.connect(str(self._path))
        except OSError as error:
            end.close()
            if not self._away:
                self._tell(why_no_bridge(self._path, error))
            self._away = True
            return
        if self._away:
            self._tell(f"the bridge on {self._path} is there; asking for the routes again")
        self._away = False
        self._bridge = end
        self._out += Hello("pipe").line() + b"".join(self._causes.values())
        self._loop.register(end, selectors.EVENT_READ, self._talk)
        self._again(None)

    def _again(self, numbers: list[int] | None) -> None:
        """Sessions that are up, told anew, and their tables asked for."""
        for neighbour, session in self._lines.sessions().items():
            number = self._numbers[neighbour]
            if numbers is None or number in numbers:
                self._out += frame(number, SessionUp(session, resync=True))
                self._ask(neighbour, session)
        self._send()

    def _ask(self, neighbour: Neighbour, session: Session) -> None:
        if session.route_refresh:
            self._refresh(str(neighbour.peer_address))
        else:
            self._tell(
                f"{neighbour.peer_address} cannot refresh routes: what it sent before needs a reset of its session"
            )

    def _send(self) -> None:
        if self._bridge is None:
            self._out.clear()
            return
        try:
            while self._out:
                del self._out[: self._bridge.send(memoryview(bytes(self._out[:GULP])))]
        except BlockingIOError:
            pass
        except OSError:
            self._lose("the bridge has ended")
            return
        if len(self._out) > ROOM:
            self._lose(f"the bridge is {ROOM >> 20} MiB behind; it gets the tables again")
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._loop.modify(self._bridge, wanted, self._talk)

    def _talk(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send()
        if self._bridge is None or not events & selectors.EVENT_READ:
            return
        try:
            data = self._bridge.recv(GULP)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._said += data
        *lines, rest = bytes(self._said).split(b"\n")
        self._said = bytearray(rest)
        for line in lines:
            self._hear(json.loads(line))
        if not data:
            self._lose("the bridge has ended")

    def _hear(self, said: dict[str, Any]) -> None:
        if "refused" in said:
            mend = f"; mend: {said['mend']}" if said.get("mend") else ""
            self._tell(f"the bridge refuses: {said['refused']}{mend}")
        if "resync" in said:
            self._flush_run()
            self._again(said["resync"])

    def _lose(self, why: str) -> None:
        assert self._bridge is not None
        self._loop.unregister(self._bridge)
        self._bridge.close()
        self._bridge, self._run = None, (0, [])
        self._out.clear()
        self._said.clear()
        self._tell(why)
        self._away = True
        self._try_at = time.monotonic() + AGAIN_S

    def _farewell(self) -> None:
        """ExaBGP has ended: its sessions are over, and the bridge keeps their routes as stale."""
        if self._bridge is None:
            return
        down = SessionDown(DownReason.SPEAKER_DIED, text="ExaBGP ended", graceful=True)
        for neighbour in self._lines.sessions():
            self._out += frame(self._numbers[neighbour], down)
        self._bridge.settimeout(FAREWELL_S)
        try:
            self._bridge.sendall(self._out)
        except OSError:
            self._tell("the bridge did not take in the end; it finds out by the closed socket")
        self._bridge.close()


def why_no_bridge(path: Path, error: OSError) -> str:
    """Why there is none; a socket that is another user's is the one case that waiting does not mend."""
    if error.errno not in {errno.EACCES, errno.EPERM}:
        return f"no bridge on {path} ({error.strerror}); ExaBGP goes on, and so do we when there is one"
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = f"the one with number {os.geteuid()}"
    return (
        f"{path}: {error.strerror} for user {user}; ExaBGP goes on, and we try again\n"
        f"  mend: `runtime: {{feed_user: {user}}}` in the bridge's configuration, and a restart of the bridge"
    )
