"""The process below which check commands run: hears orders, forks a warden for each (`warden`), and nothing else.

It keeps three capabilities: to become another user (SETUID, SETGID) and to end that user's processes (KILL). When the
bridge goes it ends, and every warden with its command.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

from bgpbridge.capabilities import Capability, limit_bounding, limit_permitted, no_new_privileges
from bgpbridge.health.warden import adopt_orphans, end_all, watch_over

__all__ = ["main"]

ROOM = 1 << 16
KEPT = frozenset({Capability.KILL, Capability.SETGID, Capability.SETUID})


def main() -> None:
    """Entry point: the number of the control socket is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the bridge's to answer
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wardens end by themselves and answer by themselves
    if os.geteuid() == 0:
        limit_bounding(KEPT)
    limit_permitted(KEPT)
    no_new_privileges()
    os.umask(0o077)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    adopt_orphans()
    gc.disable()
    while octets := _next(control):
        _order(control, octets)
    end_all()


def _next(control: socket.socket) -> bytes:
    """The next order; empty when nobody is left to give any."""
    try:
        return control.recv(ROOM)
    except OSError:
        return b""


def _order(control: socket.socket, octets: bytes) -> None:
    order = json.loads(octets)
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        trouble = f"no process to be had: {os.strerror(error.errno or 0)}"
        control.send(json.dumps({"id": order["id"], "trouble": trouble}).encode())
        return
    if child == 0:
        code = 1
        try:
            watch_over(control, order, parent)
            code = 0
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
