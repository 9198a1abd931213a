"""In place of ExaBGP's child processes: the lanes and the control socket. Nothing is ever forked.

The reactor polls what `fds` lists and calls `received` once a turn.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Final

from exabgp.reactor.api.processes import Processes

from bgpbridge.errors import WireError
from bgpbridge.feed.control import (
    Command,
    ControlReceiver,
    Hold,
    Reload,
    RequestRefresh,
    Resync,
    Teardown,
    decode_command,
)
from bgpbridge.feed.frames import NoticeKind

__all__ = ["TapProcesses"]

_AT_ONCE: Final = 64  # commands per turn


class TapProcesses(Processes):  # type: ignore[misc]  # exabgp is untyped
    """Commands in; everything else ExaBGP would do here is left out."""

    def __init__(self, reactor: Any, control: ControlReceiver, space: int) -> None:
        self._reactor = reactor
        self._control = control
        self._space = space
        super().__init__()

    def start(self, configuration: Any, restart: bool = False) -> None:
        """No child process."""

    def terminate(self) -> None:
        """Nothing to end."""

    def received(self) -> Iterator[Any]:
        """Called every turn of the reactor; yields nothing to it."""
        self.fds = [self._space, *self._reactor.listener_descriptors()]
        if not self._control.closed:
            self.fds.append(self._control.fileno())
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._space)
        self._reactor.outbox.retry()
        self._reactor.outbox.give_back()
        self._reactor.retry_listening()
        self._reactor.look_at_signatures()
        for _ in range(_AT_ONCE):
            datagram = self._control.receive()
            if datagram is None:
                break
            self._command(datagram)
        if self._control.closed:
            self._reactor.orphaned()
        return iter(())

    def _command(self, datagram: bytes) -> None:
        try:
            command = decode_command(datagram)
        except WireError as problem:
            self._refuse(problem.what, 0)
            return
        self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case Reload(token):
                self._reactor.reload_for(token)
            case Resync(token):
                for peer in self._reactor.tapped():
                    self._resync(peer, token)
            case Teardown(number, code, subcode, text, data, hold_s, token):
                if (peer := self._established(number, token)) is not None:
                    peer.hold(hold_s)
                    peer.order_end(code, subcode, text, data)
            case Hold(number, seconds):
                for peer in self._reactor.tapped():
                    if peer.number == number:
                        peer.hold(seconds)
            case RequestRefresh(number, family, token):
                if (peer := self._established(number, token)) is not None:
                    self._ask_again(peer, family, token)

    def _established(self, number: int, token: int) -> Any:
        for peer in self._reactor.tapped():
            if peer.session is not None and peer.session.peer == number:
                return peer
        self._refuse(f"no session is up with peer {number}", token)
        return None

    def _resync(self, peer: Any, token: int) -> None:
        """A peer that cannot send its table again must begin anew: the bridge has lost what it had."""
        if peer.session is None or peer.resync():
            return
        text = "it offers no route refresh: its session is reset to get its table again"
        self._reactor.outbox.notice(NoticeKind.NO_REFRESH, text, peer=peer.number, token=token)
        peer.order_end(6, 4, "bgpbridge lost its tables and the session has no route refresh", b"")

    def _ask_again(self, peer: Any, family: Any, token: int) -> None:
        if peer.session.route_refresh and family in peer.session.families:
            peer.request_refresh(family)
            return
        text = f"it offers no route refresh for {family.label}"
        self._reactor.outbox.notice(NoticeKind.NO_REFRESH, text, peer=peer.number, token=token)

    def _refuse(self, text: str, token: int) -> None:
        self._reactor.outbox.notice(NoticeKind.COMMAND_REFUSED, text, token=token)
