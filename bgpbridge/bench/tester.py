"""A small, quick BGP speaker for benches and end-to-end tests: it brings a session up and sends prepared octets.

No RIB and no decoding: what it announces was built before, so that its own work is one `sendall`. A thread of its
own connects, keeps the session alive, answers route refreshes with the table, and comes back when the session was
lost, as a router would. Any number of testers live side by side; each opens its socket in a namespace.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from bgpbridge.errors import LabError, WireError
from bgpbridge.lab import namespaces
from bgpbridge.types import Family, IPAddress
from bgpbridge.wire.message import (
    HEADER_OCTETS,
    MessageType,
    Notification,
    build_keepalive,
    build_update,
    parse_notification,
)
from bgpbridge.wire.opening import (
    Capability,
    Open,
    RefreshKind,
    build_open,
    build_route_refresh,
    capability_asn4,
    capability_family,
    parse_open,
    parse_route_refresh,
)

__all__ = ["Router", "Tester", "end_of_rib"]

CONNECT_S = 1.0
AGAIN_S = 0.2  # pause between two attempts
TURN_S = 0.1  # how long a read waits before the thread looks around


def end_of_rib(family: Family) -> bytes:
    """End-of-RIB (RFC 4724 s2): an empty UPDATE, for IPv6 one with an empty MP_UNREACH_NLRI."""
    if family is Family.IPV4:
        return build_update()
    return build_update(bytes([0x80, 15, 3]) + int(family).to_bytes(2, "big") + b"\1")


@dataclass(frozen=True, slots=True)
class Router:
    """Who a tester is and what it says in its OPEN. `restart_s` None: no graceful restart (RFC 4724);
    `restarting` says that it went on forwarding over its own restart."""

    asn: int
    address: IPAddress
    neighbour: IPAddress
    families: tuple[Family, ...] = (Family.IPV4,)
    hold_time_s: int = 90
    restart_s: int | None = None
    restarting: bool = False
    refresh: bool = True
    extended_message: bool = False
    port: int = 179
    router_id: ipaddress.IPv4Address | None = None

    def opening(self) -> bytes:
        """The OPEN message."""
        offers = [capability_family(family) for family in self.families]
        offers.append(capability_asn4(self.asn))
        if self.refresh:
            offers += [(Capability.ROUTE_REFRESH, b""), (Capability.ENHANCED_REFRESH, b"")]
        if self.extended_message:
            offers.append((Capability.EXTENDED_MESSAGE, b""))
        if self.restart_s is not None:
            flags = 0x8000 if self.restarting else 0
            kept = b"".join(struct.pack("!HBB", family, 1, 0x80) for family in self.families)
            offers.append((Capability.GRACEFUL_RESTART, struct.pack("!H", flags | self.restart_s) + kept))
        return build_open(self.asn, self._identifier(), self.hold_time_s, tuple(offers))

    def _identifier(self) -> ipaddress.IPv4Address:
        if self.router_id is not None:
            return self.router_id
        return ipaddress.IPv4Address(int(self.address) & 0xFFFFFFFF)


class Tester:
    """One speaker. `table` is what it sends when a session comes up and when it is asked to refresh; an
    End-of-RIB for each family follows by itself. `again`: it connects once more after a session was lost.
    `mute`: it sends no KEEPALIVE once the session is up."""

    def __init__(self, router: Router, namespace: str | None = None, *, table: bytes = b"", again: bool = True) -> None:
        self.router, self.table = router, table
        self.peer: Open | None = None
        self.sessions = 0
        self.refreshes = 0
        self.ended: list[str] = []  # why each session or attempt ended
        self.received = 0  # octets of UPDATEs that came in
        self.alive: deque[float] = deque(maxlen=1000)  # when KEEPALIVEs came (time.monotonic())
        self._namespace, self.again, self.mute = namespace, again, False
        self._socket: socket.socket | None = None
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tester {router.address}", daemon=True)

    def start(self) -> Self:
        """Begin to connect."""
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        """A tester for the time of a block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- for the one who tests --------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """True while a session is established."""
        return self._socket is not None

    def until_up(self, timeout_s: float = 20.0, sessions: int = 1) -> Self:
        """Wait for the session (or the n-th one). Raises LabError with the reason when it does not come."""
        self._until(lambda: self.up and self.sessions >= sessions, timeout_s, "no session")
        return self

    def until_ended(self, timeout_s: float = 20.0) -> str:
        """Wait until the session is over; why it ended."""
        self._until(lambda: not self.up and bool(self.ended), timeout_s, "the session goes on")
        return self.ended[-1]

    def send(self, octets: bytes) -> None:
        """Octets into the session, whatever they are. Raises LabError when there is none."""
        with self._sending:
            if self._socket is None:
                raise LabError(f"tester {self.router.address} has no session: {self._why()}")
            self._socket.sendall(octets)

    def drop(self, *, again: bool = False) -> None:
        """End TCP without a word, as the kernel does for a process that was killed."""
        self.again = again
        with self._sending:
            if self._socket is not None:
                with contextlib.suppress(OSError):  # the neighbour was quicker
                    self._socket.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """End for good."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self.drop()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _until(self, holds: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(holds, timeout_s):
                raise LabError(f"tester {self.router.address}: {what} within {timeout_s:.0f} s; {self._why()}")

    def _why(self) -> str:
        return self.ended[-1] if self.ended else "nothing has ended yet"

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._session()
                why = "closed"
            except (OSError, WireError, LabError) as error:
                why = str(error)
            self._note(why)
            if not self.again:
                return
            self._stopping.wait(AGAIN_S)

    def _note(self, why: str) -> None:
        with self._changed:
            self._socket = None
            self.ended.append(why)
            self._changed.notify_all()

    def _session(self) -> None:
        connection = self._connect()
        with contextlib.closing(connection):
            messages = _messages(connection)
            connection.sendall(self.router.opening())
            self.peer = parse_open(_expect(messages, MessageType.OPEN))
            connection.sendall(build_keepalive())
            _expect(messages, MessageType.KEEPALIVE)
            connection.sendall(self._whole_table())
            with self._changed:
                self._socket, self.sessions = connection, self.sessions + 1
                self._changed.notify_all()
            self._serve(messages, min(self.router.hold_time_s, self.peer.hold_time_s))

    def _connect(self) -> socket.socket:
        def connect() -> socket.socket:
            source = (str(self.router.address), 0)
            return socket.create_connection((str(self.router.neighbour), self.router.port), CONNECT_S, source)

        connection = namespaces.inside(self._namespace, connect) if self._namespace else connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
        return connection

    def _serve(self, messages: Iterator[bytes | None], hold_time_s: int) -> None:
        """Until the session ends: keepalives out, refreshes answered."""
        every = hold_time_s / 3 if hold_time_s else float("inf")
        due = time.monotonic() + every
        for message in messages:
            if message is not None:
                self._heard(message)
            if time.monotonic() >= due and not self.mute:
                self.send(build_keepalive())
                due = time.monotonic() + every
            if self._stopping.is_set():
                return

    def _heard(self, message: bytes) -> None:
        kind = message[18]
        if kind == MessageType.NOTIFICATION:
            raise LabError(f"NOTIFICATION {parse_notification(message)}")
        if kind == MessageType.KEEPALIVE:
            self.alive.append(time.monotonic())
        elif kind == MessageType.UPDATE:
            self.received += len(message)
        elif kind == MessageType.ROUTE_REFRESH:
            self._refresh(message)

    def _refresh(self, message: bytes) -> None:
        """The table again, between the marks of RFC 7313 (one table for all families)."""
        asked = parse_route_refresh(message)
        if asked.kind is not RefreshKind.REQUEST or asked.family is None:
            return
        begin, end = (build_route_refresh(asked.family, kind) for kind in (RefreshKind.BEGIN, RefreshKind.END))
        self.send(begin + self.table + end)
        with self._changed:
            self.refreshes += 1
            self._changed.notify_all()

    def _whole_table(self) -> bytes:
        return self.table + b"".join(end_of_rib(family) for family in self.router.families)


def _messages(connection: socket.socket) -> Iterator[bytes | None]:
    """Messages as they come; None when nothing came for a while. Ends with the connection."""
    kept = b""
    while True:
        readable, _, _ = select.select([connection], [], [], TURN_S)
        if not readable:
            yield None
            continue
        octets = connection.recv(1 << 16)
        if not octets:
            raise LabError("the neighbour closed TCP")
        kept += octets
        while len(kept) >= HEADER_OCTETS and len(kept) >= (size := int.from_bytes(kept[16:18], "big")):
            yield kept[:size]
            kept = kept[size:]


def _expect(messages: Iterator[bytes | None], kind: MessageType) -> bytes:
    deadline = time.monotonic() + 10
    for message in messages:
        if message is not None and message[18] == kind:
            return message
        if message is not None and message[18] == MessageType.NOTIFICATION:
            said: Notification = parse_notification(message)
            raise LabError(f"NOTIFICATION {said}")
        if time.monotonic() > deadline:
            break
    raise LabError(f"no {kind.name} within 10 s")
