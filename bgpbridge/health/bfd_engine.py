"""All BFD sessions of a process: sockets, discriminators, and whose turn it is.

One thread calls `turn` for ever (`bfd_child`). A turn first takes what has come, so that a packet which waited for us
counts, then does what is due. What one listener may take of a turn is bounded: a flood on one interface delays the
others by `BURST` packets, not more.
"""

from __future__ import annotations

import heapq
import secrets
import selectors
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bgpbridge.errors import BridgeError, CapacityError, UsageError
from bgpbridge.health.bfd_packet import ControlPacket, Refusal, decode, encode
from bgpbridge.health.bfd_session import BfdChange, BfdSession
from bgpbridge.health.bfd_sockets import TTL, Arrival, Listener, Sender
from bgpbridge.health.bfd_timers import BfdTimers
from bgpbridge.types import Family, IPAddress

__all__ = ["MOST_SESSIONS", "BfdPeer", "Engine", "Entry", "Key", "monotonic_us"]

MOST_SESSIONS = 256
BURST = 64  # datagrams of one listener in one turn
IDLE_S = 60.0

Key = tuple[str, str]  # interface, peer's address


def monotonic_us() -> int:
    """The clock that sessions are driven by."""
    return time.monotonic_ns() // 1000


@dataclass(frozen=True, slots=True)
class BfdPeer:
    """With whom to have a session: one for each peer address and interface."""

    interface: str
    local: IPAddress
    peer: IPAddress
    timers: BfdTimers = field(default_factory=BfdTimers)
    passive: bool = False

    def __post_init__(self) -> None:
        if self.local.version != self.peer.version:
            raise UsageError(
                f"BFD: {self.local} can't speak to {self.peer}", mend="give two addresses of the same family"
            )

    @property
    def key(self) -> Key:
        """What the session is known by."""
        return self.interface, str(self.peer)


@dataclass(slots=True)
class Entry:
    """A session with its sender; `due_us` is the time for which it stands in the queue, -1 when in none."""

    peer: BfdPeer
    session: BfdSession
    sender: Sender
    due_us: int = -1
    send_errno: int = 0


class Engine:
    """Sessions by key and by discriminator. `report` is told of each change as it happens."""

    def __init__(
        self, report: Callable[[Entry, BfdChange], None], *, clock_us: Callable[[], int] = monotonic_us
    ) -> None:
        self.entries: dict[Key, Entry] = {}
        self.refused: Counter[Refusal] = Counter()
        self.selector = selectors.DefaultSelector()
        self._report = report
        self._clock_us = clock_us
        self._by_discriminator: dict[int, Entry] = {}
        self._listeners: dict[tuple[str, Family], Listener] = {}
        self._queue: list[tuple[int, int]] = []  # (due, discriminator)

    # What is asked of it

    def add(self, peer: BfdPeer) -> None:
        """Begin a session. Raises UsageError, CapacityError, BridgeError."""
        if peer.key in self.entries:
            raise UsageError(f"BFD with {peer.peer} on {peer.interface} is there already", mend="change it instead")
        if len(self.entries) >= MOST_SESSIONS:
            raise CapacityError(f"BFD: {MOST_SESSIONS} sessions are the most", mend="give up one that matters less")
        listener = self._listener(peer.interface, Family.of(peer.peer))
        try:
            taken = {entry.sender.port for entry in self.entries.values()}
            sender = Sender(peer.interface, peer.local, peer.peer, taken)
        except BridgeError:
            self._settle(listener)
            raise
        session = BfdSession(self._discriminator(), peer.timers, self._clock_us(), passive=peer.passive)
        entry = Entry(peer, session, sender)
        self.entries[peer.key] = self._by_discriminator[session.discriminator] = entry
        self._settle(listener)
        self._serve(entry, self._clock_us())

    def remove(self, key: Key) -> None:
        """End a session: the peer hears AdminDown, which is no failure of the path. Raises UsageError."""
        entry = self._entry(key)
        entry.session.admin_down(self._clock_us())
        self._serve(entry, self._clock_us())
        del self.entries[key], self._by_discriminator[entry.session.discriminator]
        entry.sender.close()
        self._settle(self._listeners[key[0], Family.of(entry.peer.peer)])

    def change(self, key: Key, timers: BfdTimers) -> None:
        """Other timers for a session that goes on. Raises UsageError."""
        entry = self._entry(key)
        entry.session.change_timers(timers, self._clock_us())
        self._serve(entry, self._clock_us())

    def hold(self, key: Key, *, down: bool) -> None:
        """AdminDown, or no longer. Raises UsageError."""
        entry = self._entry(key)
        now_us = self._clock_us()
        if down:
            entry.session.admin_down(now_us)
        else:
            entry.session.admin_up(now_us)
        self._serve(entry, now_us)

    def close(self) -> None:
        """End all sessions."""
        for key in list(self.entries):
            self.remove(key)
        self.selector.close()

    # The turn

    def wait_s(self) -> float:
        """How long nothing is due."""
        if not self._queue:
            return IDLE_S
        return max(0.0, (self._queue[0][0] - self._clock_us()) / 1e6)

    def turn(self, ready: list[Listener]) -> None:
        """Take from these listeners, then do what is due."""
        for listener in ready:
            for _ in range(BURST):
                arrival = listener.receive()
                if arrival is None:
                    break
                self._take(listener, arrival)
        while self._queue and self._queue[0][0] <= self._clock_us():
            due_us, discriminator = heapq.heappop(self._queue)
            entry = self._by_discriminator.get(discriminator)
            if entry is not None and entry.due_us == due_us:
                entry.due_us = -1
                self._serve(entry, self._clock_us())

    def _take(self, listener: Listener, arrival: Arrival) -> None:
        """One datagram to its session (RFC 5880 s6.8.6, RFC 5881 s3 and s5)."""
        if arrival.ttl != TTL:
            self.refused[Refusal.TTL] += 1
            return
        packet = decode(arrival.payload)
        if isinstance(packet, Refusal):
            self.refused[packet] += 1
            return
        entry = self.entries.get((listener.interface, arrival.sender))
        if entry is None:
            self.refused[Refusal.STRANGER] += 1
        elif packet.your_discriminator not in {0, entry.session.discriminator}:
            self.refused[Refusal.DISCRIMINATOR] += 1
        else:
            now_us = self._clock_us()
            answer = entry.session.receive(packet, now_us)
            if answer is not None:
                self._send(entry, answer)
            self._serve(entry, now_us)

    def _serve(self, entry: Entry, now_us: int) -> None:
        """Do what is due for a session, tell of its changes, queue it for the next time."""
        due_us = entry.session.due_us
        if due_us is not None and due_us <= now_us:
            packet = entry.session.tick(now_us)
            if packet is not None:
                self._send(entry, packet)
            due_us = entry.session.due_us
        for change in entry.session.take_changes():
            self._report(entry, change)
        if due_us is not None and (entry.due_us < 0 or due_us < entry.due_us):
            entry.due_us = due_us
            heapq.heappush(self._queue, (due_us, entry.session.discriminator))

    @staticmethod
    def _send(entry: Entry, packet: ControlPacket) -> None:
        entry.send_errno = entry.sender.send(encode(packet))

    # How

    def _entry(self, key: Key) -> Entry:
        entry = self.entries.get(key)
        if entry is None:
            raise UsageError(f"BFD with {key[1]} on {key[0]}: there is no such session", mend="add it first")
        return entry

    def _discriminator(self) -> int:
        """Random, not zero, not in use (RFC 5880 s6.8.1, s10)."""
        while True:
            drawn = secrets.randbits(32)
            if drawn and drawn not in self._by_discriminator:
                return drawn

    def _listener(self, interface: str, family: Family) -> Listener:
        known = self._listeners.get((interface, family))
        if known is None:
            known = self._listeners[interface, family] = Listener(interface, family)
            self.selector.register(known.socket, selectors.EVENT_READ, known)
        return known

    def _settle(self, listener: Listener) -> None:
        """Let the listener hear exactly the peers that it still has; close it when there are none."""
        mine = {
            entry.peer.peer: entry.session.discriminator
            for entry in self.entries.values()
            if (entry.peer.interface, Family.of(entry.peer.peer)) == (listener.interface, listener.family)
        }
        if mine:
            listener.admit(mine)
            return
        self.selector.unregister(listener.socket)
        listener.close()
        del self._listeners[listener.interface, listener.family]
