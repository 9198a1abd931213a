"""The runtime folder: one daemon at a time, and where its socket, speaker file and state live. Pins have a lock of
their own: two daemons with two runtime folders would write into the same maps."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from bgpbridge.errors import BridgeError, UsageError

__all__ = ["RuntimeFolder", "hold_pins"]

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
