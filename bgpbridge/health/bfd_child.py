"""The process that has the BFD sessions: one thread, no privileges, a short slice, nothing that takes long.

A process and not a thread of the bridge: while the bridge computes in Python, a thread beside it gets the interpreter
5 ms late at every system call, and a garbage collection of a full table holds it for longer than 3 x 50 ms
(docs/decisions/bfd-has-a-process.md). When the bridge goes, however it goes, the peers hear AdminDown: that the
bridge restarts says nothing of the path (RFC 5882 s3.2), and packets are forwarded meanwhile.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections import deque
from dataclasses import asdict
from typing import Any

from bgpbridge.capabilities import limit_permitted, no_new_privileges
from bgpbridge.errors import BridgeError
from bgpbridge.health.bfd_engine import Engine, Entry, Key
from bgpbridge.health.bfd_session import BfdChange
from bgpbridge.health.bfd_sockets import Listener
from bgpbridge.health.bfd_words import ROOM, pack, peer_from, status_of, timers_from, unpack
from bgpbridge.scheduling import ask_short_slice

__all__ = ["Child", "main"]


class Child:
    """Carries out orders that come through `control` and tells of changes, until the other end closes."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.control.setblocking(False)
        self.engine = Engine(self._changed)
        self.engine.selector.register(control, 1, None)
        self._last: dict[Key, BfdChange] = {}
        self._unsaid: dict[Key, None] = {}  # sessions whose news could not be said yet: only the latest matters
        self._answers: deque[bytes] = deque()

    def run(self) -> None:
        """Until the bridge has gone."""
        while True:
            wait_s = self.engine.wait_s()
            ready = [key.data for key, _ in self.engine.selector.select(min(wait_s, 0.01) if self._behind else wait_s)]
            self.engine.turn([listener for listener in ready if isinstance(listener, Listener)])
            if None in ready and not self._take_orders():
                break
            self._say()
        self.engine.close()

    @property
    def _behind(self) -> bool:
        return bool(self._answers or self._unsaid)

    def _take_orders(self) -> bool:
        """False when nobody is left to give any."""
        try:
            octets = self.control.recv(ROOM)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not octets:
            return False
        order = unpack(octets)
        answer: dict[str, Any] = {"id": order["id"]}
        try:
            answer["value"] = self._carry_out(order)
        except BridgeError as error:
            answer["error"] = [error.what, error.mend, type(error).__name__]
        self._answers.append(pack(answer))
        return True

    def _carry_out(self, order: dict[str, Any]) -> Any:
        what = order["do"]
        if what == "add":
            self.engine.add(peer_from(order["peer"]))
        elif what == "show":
            return self._show(tuple(order["key"]))
        elif what == "refused":
            return {refusal.name.lower(): count for refusal, count in self.engine.refused.items()}
        else:
            self._alter(what, tuple(order["key"]), order)
        return None

    def _alter(self, what: str, key: Key, order: dict[str, Any]) -> None:
        if what == "remove":
            self.engine.remove(key)
            self._last.pop(key, None)
            self._unsaid.pop(key, None)
        elif what == "change":
            self.engine.change(key, timers_from(order["timers"]))
        else:
            self.engine.hold(key, down=order["down"])

    def _changed(self, entry: Entry, change: BfdChange) -> None:
        self._last[entry.peer.key] = change
        self._unsaid[entry.peer.key] = None

    def _show(self, key: Key) -> dict[str, Any] | None:
        entry, last = self.engine.entries.get(key), self._last.get(key)
        if entry is None:
            return None
        return asdict(status_of(entry, last.at_us if last else 0, last.detection_us if last else 0))

    def _say(self) -> None:
        """Answers and news, as far as the other end has room. It never makes us wait."""
        try:
            while self._answers:
                self.control.send(self._answers[0])
                self._answers.popleft()
            for key in list(self._unsaid):
                self.control.send(pack({"status": self._show(key)}))
                del self._unsaid[key]
        except OSError:  # no room yet; or nobody there, which the next reading tells
            return


def main() -> None:
    """Entry point: the number of the control socket is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the bridge's to answer
    no_new_privileges()
    limit_permitted(set())
    ask_short_slice()
    control = socket.socket(fileno=int(sys.argv[1]))
    child = Child(control)
    gc.freeze()
    child.run()


if __name__ == "__main__":
    main()
