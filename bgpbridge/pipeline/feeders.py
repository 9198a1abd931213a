"""Peers that do not come by our own speaker: fed by `bgpbridge pipe` (a stock ExaBGP) or `bgpbridge replay --live`.

A feeder connects to a unix socket and says what `feed.ways` lays down. The bridge puts it into the peer's lane, which
no speaker writes to, so that everything behind (order, policies, limits, stale routes, record) is the same for all
ways. A lane that is full leaves the feeder's socket unread; nothing is dropped and nothing waits in memory of ours.

Sessions of such peers are not ours to end. Where our own speaker would send a NOTIFICATION (RFC 7606, max-prefix), the
peer's session counts as ended here, what still comes is left out, and the feeder is asked for the table again when the
time is over or an operator says so.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bgpbridge.errors import BridgeError, LaneError, UsageError
from bgpbridge.events import EventLog, Severity
from bgpbridge.feed.control import Command, Hold, RequestRefresh, Teardown
from bgpbridge.feed.frames import DownReason, Record, SessionDown, SessionUp, encode
from bgpbridge.feed.reader import LaneReader
from bgpbridge.feed.ways import COMPLAINT, DONE, HEADER, LARGEST, Hello, answer, complaint_of, record_of
from bgpbridge.pipeline.fed import Fed, Feeder
from bgpbridge.pipeline.peers import PeerState, PeerTable

__all__ = ["Feeders"]


COMPLAINTS = 20  # events of one feeder about what it cannot read
LONGEST = 160  # characters of them in a line of `status`


class Feeders:
    """The socket, and the lanes that are filled from it."""

    def __init__(self, path: Path, user: str | None, peers: PeerTable, events: EventLog) -> None:
        self._path, self._user, self._peers, self._events = path, user, peers, events
        self.refused: Counter[tuple[str, str]] = Counter()  # by way, and what it was: a line, a neighbour
        self._fed: dict[int, Fed] = {}
        self._feeders: set[Feeder] = set()
        self._socket: socket.socket | None = None
        self._reader: LaneReader | None = None

    # -- start and end ----------------------------------------------------------------------------------

    def open(self, reader: LaneReader) -> None:
        """Listen: for root, and for the user of `runtime.feed_user`. Raises UsageError for a user that there is
        not, BridgeError where the socket cannot be made."""
        self._reader = reader
        owner = _uid(self._user) if self._user is not None else None
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)
            listening.bind(str(self._path))
            if owner is not None:
                os.chown(self._path, owner, -1)
            listening.listen()
        except OSError as error:
            listening.close()
            raise BridgeError(
                f"{self._path}: {error.strerror}", mend="name another folder in runtime.directory"
            ) from None
        finally:
            os.umask(before)
        self._socket = listening

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)

    async def serve(self) -> None:
        """Take feeders until cancelled."""
        assert self._socket is not None
        self._socket.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                connection, _ = await loop.sock_accept(self._socket)
                reader, writer = await asyncio.open_unix_connection(sock=connection)
                group.create_task(self._attend(reader, writer), name="feeder")

    def troubles(self) -> Iterator[str]:
        """A line for each feeder that is there and brought what could not be read."""
        for feeder in self._feeders:
            if feeder.unread:
                yield f"{feeder.hello.way} brings what can't be read: {feeder.unread[:LONGEST]} (`bgpbridge events`)"

    # -- peers ------------------------------------------------------------------------------------------

    def add(self, peer: PeerState) -> None:
        """A peer that comes by another way has its lane filled from here."""
        if peer.config.source == "session" or self._reader is None or peer.index in self._fed:
            return

        def room() -> None:
            fed.room.set()
            fed.flush()

        fed = Fed(self._reader.lanes[peer.index].feed_from_here(room), self._ring)
        self._fed[peer.index] = fed

    def remove(self, index: int) -> None:
        """The peer is configured no longer."""
        fed = self._fed.pop(index, None)
        if fed is None or self._reader is None:
            return
        if fed.timer is not None:
            fed.timer.cancel()
        fed.room.set()
        fed.end(SessionDown(DownReason.REMOVED))
        self._reader.lanes[index].feed_from_speaker()

    def renew(self, peer: PeerState) -> None:
        """What the peer is has changed (its address, its families): its session begins anew."""
        fed = self._fed.get(peer.index)
        if fed is not None and (fed.feeder is not None or fed.kept):
            fed.feeder, fed.kept = None, False
            fed.room.set()
            fed.end(SessionDown(DownReason.CONFIGURATION))

    def ask_again(self) -> None:
        """Peers are others than before: each feeder says again whom it has."""
        for feeder in self._feeders:
            feeder.say(answer(resync=None))

    def order(self, command: Command) -> bool:
        """A command for the speaker that is about a peer of ours. False: it is not."""
        if not isinstance(command, Teardown | Hold | RequestRefresh):
            return False
        fed = self._fed.get(command.peer)
        if fed is None:
            return False
        match command:
            case Teardown():
                fed.hold(command.hold_s)
                reason = DownReason.NOTIFICATION_SENT
                fed.end(SessionDown(reason, command.code, command.subcode, command.text))
            case Hold(_, seconds) if seconds:
                fed.hold(seconds)
            case Hold():
                fed.release()
            case RequestRefresh():
                fed.again()
        return True

    # -- feeders ----------------------------------------------------------------------------------------

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        feeder: Feeder | None = None
        try:
            feeder = Feeder(Hello.read(await reader.readuntil(b"\n")), writer)
            self._feeders.add(feeder)
            await self._listen(feeder, reader)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # it has left
        except LaneError as error:
            writer.write(answer(refused=error.what, mend=error.mend))
            self._events.add("feed-refused", str(self._path), str(error), Severity.WARNING)
        finally:
            if feeder is not None:
                self._left(feeder)
            with suppress(ConnectionError):
                writer.close()

    async def _listen(self, feeder: Feeder, reader: asyncio.StreamReader) -> None:
        while True:
            length, kind, number = HEADER.unpack(await reader.readexactly(HEADER.size))
            if length > LARGEST:
                raise LaneError(f"a frame of {length} octets", mend="install the same release of bgpbridge for both")
            payload = await reader.readexactly(length)
            if kind == DONE:
                await self._finish(feeder)
                continue
            if kind == COMPLAINT:
                self._complained(feeder, complaint_of(payload))
                continue
            await self._take(feeder, number, record_of(kind, payload))

    def _complained(self, feeder: Feeder, text: str) -> None:
        """Lines that a pipe could not read: it says the first of each kind of fault."""
        feeder.complaints += 1
        feeder.unread = feeder.unread or text.splitlines()[0]
        self.refused[feeder.hello.way, "line"] += 1
        if feeder.complaints <= COMPLAINTS:
            self._events.add("feed-line-refused", feeder.hello.way, text, Severity.WARNING)

    async def _finish(self, feeder: Feeder) -> None:
        """All of its peers' lanes are read; what is in them is in the tables."""
        for index in set(feeder.peers.values()) - {0}:
            fed = self._fed.get(index)
            while fed is not None and fed.feeder is feeder and fed.lane.backlog():
                fed.room.clear()
                if fed.lane.backlog():
                    await fed.room.wait()
        feeder.say(answer(done=True))

    async def _take(self, feeder: Feeder, number: int, record: Record) -> None:
        if isinstance(record, SessionUp):
            feeder.peers[number] = self._whose(feeder, number, record)
        index = feeder.peers.get(number, 0)
        fed = self._fed.get(index)
        peer = self._peers.at(index)
        if fed is None or peer is None or fed.feeder is not feeder or fed.held:
            return
        if isinstance(record, SessionUp):
            families = record.session.families & frozenset(peer.config.families)
            local_as = peer.local_asn if feeder.hello.way == "replay" else record.session.local_as
            session = dataclasses.replace(record.session, peer=index, families=families, local_as=local_as)
            record = dataclasses.replace(record, session=session)
        await self._put(feeder, index, fed, record)

    async def _put(self, feeder: Feeder, index: int, fed: Fed, record: Record) -> None:
        kind, payload = encode(record)
        while fed.ending is not None or not fed.lane.put(kind, payload):
            fed.room.clear()
            if fed.lane.backlog():
                await fed.room.wait()
            if fed.held or fed.feeder is not feeder or self._fed.get(index) is not fed:
                return
        self._ring()

    def _whose(self, feeder: Feeder, number: int, record: SessionUp) -> int:
        """The peer that a session is of, 0 for one that this feeder may not feed; and why, as an event."""
        session, way = record.session, feeder.hello.way
        peer = next((one for one in self._peers if one.config.address == session.peer_address), None)
        whole = f"AS {session.peer_as}, {session.peer_address}"
        why = ""
        if peer is None or peer.config.source != way:
            why = f"no peer with `source: {way}` has this address; add one, or leave this neighbour out of the feed"
        elif not peer.fits(session):
            why = f"peer {peer.name} is configured with AS {peer.config.asn}; make `asn` the same on both sides"
        elif peer.index in self._fed:
            fed = self._fed[peer.index]
            if fed.feeder is None or fed.feeder is feeder:
                if fed.kept:  # what an earlier replay has left
                    fed.kept = False
                    fed.end(SessionDown(DownReason.REPLACED))
                fed.feeder, fed.number = feeder, number
                return peer.index
            why = f"another feeder has peer {peer.name}; end one of the two"
        if feeder.peers.get(number, -1) != 0:
            self.refused[way, "neighbour"] += 1
            self._events.add("feed-neighbour-refused", way, f"{whole}: {why}", Severity.WARNING)
            feeder.say(answer(refused=f"{whole}: {why}", number=number))
        return 0

    def _left(self, feeder: Feeder) -> None:
        """The feeder is gone. Routes of a pipe are kept as stale, those of a replay go, unless it said otherwise."""
        self._feeders.discard(feeder)
        pipe = feeder.hello.way == "pipe"
        for fed in self._fed.values():
            if fed.feeder is not feeder:
                continue
            fed.feeder = None
            if pipe:
                fed.end(SessionDown(DownReason.SPEAKER_DIED, text="the pipe ended", graceful=True))
            elif feeder.hello.keep:
                fed.kept = True
            else:
                fed.end(SessionDown(DownReason.TCP_CLOSED, text="the replay ended"))

    def _ring(self) -> None:
        assert self._reader is not None
        os.eventfd_write(self._reader.bell, 1)


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(
            f"runtime.feed_user: there is no user {name} on this machine", mend="name the user that your ExaBGP runs as"
        ) from None
