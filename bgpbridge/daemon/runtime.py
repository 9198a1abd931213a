"""The runtime folder: one daemon at a time, and where its socket, speaker file and state live.

Pins and the kernel's routes have locks of their own: two daemons with two runtime folders would write into the same
maps, or each take the routes of the other for its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bgpbridge.errors import BridgeError, UsageError

__all__ = ["RuntimeFolder", "hold_pins", "hold_protocol"]

TAKEN = frozenset({errno.EWOULDBLOCK, errno.EACCES})


@dataclass(frozen=True, slots=True)
class RuntimeFolder:
    """`runtime.directory` of the configuration. `hold` makes it ours for as long as this process lives."""

    path: Path

    @property
    def control_socket(self) -> Path:
        """Where the control API listens."""
        return self.path / "control.sock"

    @property
    def state(self) -> Path:
        """What a restarted bridge reads to know its own groups again."""
        return self.path / "groups.json"

    @property
    def program(self) -> Path:
        """From which sources the program on the interfaces was made."""
        return self.path / "program.json"

    @property
    def speaker_config(self) -> Path:
        """ExaBGP's file, rendered from ours; readable by the speaker's user alone."""
        return self.path / "speaker" / "exabgp.conf"

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def hold(self) -> int:
        """Make the folder and lock it. The returned descriptor holds the lock; it is not inherited.

        Raises UsageError when another daemon holds it, BridgeError when the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BridgeError(
                f"runtime folder {self.path}: {error.strerror}",
                mend="run as root, or name a folder that you may write in runtime.directory",
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            holder = os.read(lock, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise UsageError(
                f"another bgpbridge (process {holder}) already runs with {self.path}",
                mend="stop it first, or give this one its own runtime.directory, pin_path and kernel.protocol",
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        return lock


def hold_pins(pin_path: Path) -> int:
    """Lock the folder of the pins, made where it is missing. The returned descriptor holds the lock; it is not
    inherited.

    Raises UsageError when another daemon holds it, BridgeError when the folder cannot be made or opened.
    """
    try:
        pin_path.mkdir(parents=True, exist_ok=True)
        lock = os.open(pin_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BridgeError(
            f"pins in {pin_path}: {error.strerror}", mend="name a folder on a bpffs in datapath.pin_path"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno not in TAKEN:
            raise
        raise UsageError(
            f"another bgpbridge forwards by the pins in {pin_path}",
            mend="stop it first, or give this one its own datapath.pin_path, kernel.protocol, kernel.metric "
            "and kernel.nexthop_id_base",
        ) from None
    return lock


def hold_protocol(protocol: int) -> int:
    """Lock a protocol number of this network namespace's kernel routes. The returned descriptor holds the lock; it is
    not inherited. The lock is the name of an abstract unix socket: those belong to the network namespace, as the routes
    do, and go with the process.

    Raises UsageError when another daemon holds it.
    """
    name = f"bgpbridge/kernel.protocol/{protocol}"
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        lock.bind(f"\0{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise UsageError(
            f"{_holder(name)} holds the kernel's routes of protocol {protocol} in this network namespace",
            mend="stop it first, or give this one its own kernel.protocol, kernel.metric and kernel.nexthop_id_base",
        ) from None
    return lock.detach()


def _holder(name: str) -> str:
    """The process that has the abstract socket of this name open (proc_net(5), unix), in words."""
    lines = [line.split() for line in Path("/proc/self/net/unix").read_text(encoding="utf-8").splitlines()]
    sockets = {f"socket:[{fields[6]}]" for fields in lines if fields[-1] == f"@{name}"}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if any(str(fd.readlink()) in sockets for fd in (process / "fd").iterdir()):
                return f"another bgpbridge (process {process.name})"
    return "another bgpbridge (whose process cannot be seen from here)"
