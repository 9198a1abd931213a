"""A process of ours beside the bridge, with a socketpair for orders and answers: how it is started, heard and ended.

It gets the package where we found it and nothing else of our environment: it needs none of our secrets.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

from bgpbridge import resources
from bgpbridge.errors import BridgeError

__all__ = ["ended", "launch", "receive"]

KEPT = ("PATH", "LANG", "LC_ALL")


def launch(module: str, called: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a module, which gets the number of its end of the socket as its only argument; the process and our end,
    which does not block. `called` is what an operator calls the process. Raises BridgeError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment["PYTHONPATH"] = resources.search_path()
    command = [sys.executable, "-m", module, str(theirs.fileno())]
    try:
        process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), env=environment, cwd="/", stdin=subprocess.DEVNULL
        )
    except OSError as error:
        ours.close()
        raise BridgeError(f"{called} could not be started: {error}") from None
    finally:
        theirs.close()
    return process, ours


def receive(control: socket.socket, room: int) -> bytes | None:
    """The next message; None while there is none, empty when the process has gone."""
    try:
        return control.recv(room)
    except BlockingIOError:
        return None
    except OSError:
        return b""


async def ended(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Wait until it has ended, which its closed socket told it to; kill it when the grace is over."""
    try:
        await asyncio.to_thread(process.wait, grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)
