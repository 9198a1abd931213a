"""ExaBGP's reactor with our parts in it.

Its loop stays: every turn gives each peer a turn, then the commands, then poll. Replaced are the wait (a
closed descriptor would make it spin and sleep; readable ones are handed over at once), the listening, and
the reload, which answers and never takes a damaged file.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from exabgp.reactor import loop
from exabgp.reactor.interrupt import Signal

from bgpbridge.feed.control import ControlReceiver
from bgpbridge.feed.frames import NoticeKind
from bgpbridge.speaker.connection import TapConnection
from bgpbridge.speaker.listener import TapListener, wishes
from bgpbridge.speaker.outbox import Outbox
from bgpbridge.speaker.peer import TapPeer
from bgpbridge.speaker.processes import TapProcesses
from bgpbridge.speaker.rehearsal import Rehearsal
from bgpbridge.speaker.signatures import SignatureWatch
from bgpbridge.speaker.words import PeerWords

__all__ = ["TapReactor"]

_LISTEN_AGAIN_S: Final = 5.0
WARM_MS: Final = 2  # between two rehearsals
WARM_S: Final = 0.1  # after the last UPDATE
_CALM_MS: Final = 500  # ExaBGP's timers count whole seconds
_READABLE: Final = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR


class _Poller:
    """select.poll that takes it easy when a descriptor is already gone."""

    def __init__(self) -> None:
        self._poll = select.poll()

    def register(self, fd: int, events: int) -> None:
        self._poll.register(fd, events)

    def unregister(self, fd: int) -> None:
        try:
            self._poll.unregister(fd)
        except (KeyError, ValueError):
            return

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        return self._poll.poll(timeout_ms)


class TapReactor(loop.Reactor):  # type: ignore[misc]  # exabgp is untyped
    """The speaker's main loop."""

    _warm_until = 0.0

    def __init__(self, configuration: Any, outbox: Outbox, control: ControlReceiver, space: int) -> None:
        super().__init__(configuration)
        self.outbox = outbox
        self._serving: dict[int, TapPeer] = {}  # established sessions by descriptor
        TapConnection.gulp = memoryview(bytearray(outbox.read_octets))
        self.listener: TapListener | None = TapListener(self)
        self._poller = _Poller()
        self._parts = partial(TapProcesses, self, control, space)
        self._listen_at: float | None = None
        self._signatures = SignatureWatch()
        self._woken = -1
        self._rehearsal = Rehearsal()

    def run(self) -> int:
        """Until SIGTERM. The exit status."""
        loop.Processes = self._parts
        loop.Peer = TapPeer
        self._woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller.register(self._woken, select.POLLIN)
        signal.set_wakeup_fd(waking)  # else poll(2) goes on to its end after a signal (PEP 475)
        return int(super().run())

    def tapped(self) -> list[TapPeer]:
        """All peers."""
        return list(self._peers.values())

    # waiting ------------------------------------------------------------------------------------------

    def _wait_for_io(self, sleeptime: int) -> Iterator[int]:
        """Readable descriptors. Their UPDATEs are in the lane before the reactor's next round. While all is calm and
        nothing but UPDATEs comes the wait goes on: a round of the reactor costs ten times what an UPDATE does."""
        calm = bool(sleeptime) and self._calm()
        left_ms = _CALM_MS if calm else sleeptime
        now = time.monotonic()
        until = now + left_ms / 1000
        going = True
        while going:
            going = False
            for fd, event in self._poll(left_ms, now) if calm else self._poller.poll(left_ms):
                if fd == self._woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(fd, 64)
                elif event & select.POLLNVAL:
                    self._poller.unregister(fd)
                elif event & _READABLE:
                    handled = self._read_ahead(fd)
                    if handled and calm and event == select.POLLIN:
                        going = True
                        continue
                    yield fd
                calm = False
            now = time.monotonic()
            left_ms = int((until - now) * 1000)
            going = going and calm and left_ms > 0
            if going:
                self._warm_until = now + WARM_S

    def _poll(self, left_ms: int, now: float) -> list[tuple[int, int]]:
        """The poller's. While UPDATEs come now and then the wait is made of short ones, between which the way of an
        UPDATE is gone once more."""
        until = now + left_ms / 1000
        while now < self._warm_until and left_ms > WARM_MS:
            found = self._poller.poll(WARM_MS)
            if found:
                return found
            self._rehearsal()
            now = time.monotonic()
            left_ms = max(0, int((until - now) * 1000))
        return self._poller.poll(left_ms)

    def _calm(self) -> bool:
        """Nothing is under way that goes on by itself: what comes next comes by a descriptor, or is a timer's."""
        return not self.outbox.waiting and self.asynchronous.ready() and all(peer.calm for peer in self._peers.values())

    def _read_ahead(self, fd: int) -> bool:
        """True when there is nothing left to do for whoever this descriptor is."""
        peer = self._serving.get(fd)
        return peer is not None and peer.session is not None and bool(peer.proto.read_ahead())

    def serve(self, fd: int, peer: TapPeer) -> None:
        """This descriptor is an established session's, until `release`."""
        self._serving[fd] = peer

    def release(self, fd: int) -> None:
        """The session is over: its number will soon be another's."""
        self._serving.pop(fd, None)
        self.forget(fd)

    def forget(self, fd: int) -> None:
        """Do not poll this descriptor any more: it is about to be closed, or its lane is full."""
        if fd != -1:
            self._poller.unregister(fd)

    # listening ----------------------------------------------------------------------------------------

    def listener_descriptors(self) -> list[int]:
        """For the poll."""
        return self.listener.descriptors() if self.listener is not None else []

    def _listen_for_neighbors(self) -> bool:
        """True in any case: a port that is taken must not keep the other sessions from coming up."""
        if self.listener is not None:
            complete = self.listener.reconcile(wishes(self.tapped()))
            self._listen_at = None if complete else time.monotonic() + _LISTEN_AGAIN_S
        return True

    def retry_listening(self) -> None:
        """Try again what failed, every five seconds."""
        if self._listen_at is not None and time.monotonic() >= self._listen_at:
            self._listen_for_neighbors()

    def look_at_signatures(self) -> None:
        """Tell of passive peers whose segments the kernel drops."""
        self._signatures.look(self._peers.values())

    # reload and end -----------------------------------------------------------------------------------

    def reload(self) -> bool:
        """ExaBGP's; also by SIGUSR1."""
        return self.reload_for(0)

    def reload_for(self, token: int) -> bool:
        """Read the file again and change only what changed. The answer is a notice."""
        if not super().reload():
            reason = str(self.configuration.error).strip() or "the file cannot be read"
            self.outbox.notice(NoticeKind.RELOAD_REFUSED, reason, token=token, subject=reason)
            return False
        for peer in self.tapped():
            if not self.outbox.has_lane(peer.words.number):
                self.outbox.notice(NoticeKind.RELOAD_REFUSED, f"{peer.words.name} has no lane", token=token)
                peer.remove()
        gc.collect()
        gc.freeze()  # nothing that lives now dies soon; later collections need not look at it
        self.outbox.notice(NoticeKind.RELOADED, f"{len(self.configuration.neighbors)} peers", token=token, always=True)
        return True

    def successor(self, name: str) -> Any:
        """The neighbor that our peer of this name is in the configuration that was read last; None when it is in there
        no more. ExaBGP takes one with another AS number or address for another one."""
        found = self.configuration.neighbors.values()
        return next((one for one in found if PeerWords.from_text(one["description"]).name == name), None)

    def _pending_adjribout(self) -> bool:
        """ExaBGP drops a SIGUSR1 that comes while any peer, even one that is down, has something to be
        sent. Nothing asks for that here."""
        return False

    def orphaned(self) -> None:
        """Supervisor and bridge are both gone: nobody can ever command us again, and the next speaker
        needs our port."""
        if self.signal.received != Signal.SHUTDOWN:
            self._termination("supervisor and bridge are gone", self.Exit.normal)
