"""How a supervisor starts the speaker, and what it must do when the speaker or the bridge dies.

The supervisor owns the `Handles`: the lane memory, two eventfds and the control pair. They outlive both
sides. Speaker and bridge inherit them by number; the bridge finds its own in the environment
(`Handles.from_environment`).

- Bridge dies: nothing to do here. Start another with the same handles; it reads `memory.read_peers()`,
  makes a LaneReader and sends Resync.
- Speaker dies (`pidfd` readable, or `poll()` says so): `SpeakerProcess.start()` again. It closes the dead
  one's generation first, so the bridge sees SESSION_DOWN("speaker died", graceful) for its peers; call
  `ended()` at once where the new start is delayed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpbridge import resources
from bgpbridge.errors import SpeakerError
from bgpbridge.feed.control import ControlSender, control_pair
from bgpbridge.feed.lane import LaneMemory, Layout
from bgpbridge.feed.reader import LaneReader

__all__ = ["HANDLES_VARIABLE", "Handles", "SpeakerProcess", "replace_file"]

HANDLES_VARIABLE: Final = "BGPBRIDGE_HANDLES"
_PASSED_ON: Final = ("PATH", "PYTHON", "LANG", "LC_", "TZ", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Handles:
    """The bridge's side of the feed, as file descriptor numbers."""

    layout: Layout
    lanes: int
    bell: int
    space: int
    control: int

    def environment(self) -> dict[str, str]:
        """For the environment of a bridge process; pass `descriptors` to it as well."""
        numbers = {"lanes": self.lanes, "bell": self.bell, "space": self.space, "control": self.control}
        return {HANDLES_VARIABLE: json.dumps({"layout": self.layout.to_json(), **numbers})}

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a bridge process must inherit (`pass_fds`)."""
        return (self.lanes, self.bell, self.space, self.control)

    @classmethod
    def from_environment(cls) -> Handles | None:
        """The handles that a supervisor passed on, None if there is none. Raises LaneError on another
        version's, SpeakerError when the variable holds something else."""
        text = os.environ.get(HANDLES_VARIABLE)
        if not text:
            return None
        try:
            data = json.loads(text)
            layout = Layout.from_json(data["layout"])
            handles = cls(layout, int(data["lanes"]), int(data["bell"]), int(data["space"]), int(data["control"]))
            for number in handles.descriptors:
                os.set_inheritable(number, False)
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise SpeakerError(f"{HANDLES_VARIABLE} holds no usable handles: {error!r}") from None
        return handles

    def reader(self, *, from_tail: bool = False) -> LaneReader:
        """The lanes of this bridge."""
        return LaneReader(self.lanes, self.layout, self.bell, self.space, from_tail=from_tail)

    def sender(self) -> ControlSender:
        """The control channel of this bridge."""
        return ControlSender(socket.socket(fileno=os.dup(self.control)))


def replace_file(path: Path, text: str, user: str | None) -> None:
    """Write `text` to `path` in one step: readable by `user` alone (mode 0600), whole or not at all. Raises
    SpeakerError with the old file as it was."""
    try:
        _replace_file(path, text, user)
    except OSError as error:
        raise SpeakerError(
            f"the speaker's configuration {path} cannot be written: {error.strerror}",
            mend="make room there, or name another runtime.directory",
        ) from None


def _replace_file(path: Path, text: str, user: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            if user is not None and os.geteuid() == 0:
                entry = _user(user)
                os.fchown(file.fileno(), entry.pw_uid, entry.pw_gid)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise SpeakerError(
            f"no user {name!r} on this machine to run the speaker as",
            mend="name another one in speaker.user, or create it: useradd --system " + name,
        ) from None


class SpeakerProcess:
    """The speaker as a child, restartable on the same handles."""

    def __init__(self, config_file: Path, *, user: str, layout: Layout, log_level: str = "warning") -> None:
        """`config_file` is the rendered configuration (speaker.render); `user` counts when we are root."""
        self._config_file = config_file
        self._user = user
        self._log_level = log_level
        self._lanes = LaneMemory.create(layout)
        self._memory = LaneMemory(self._lanes, layout)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._space = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bridge_end, self._speaker_end = control_pair()
        self._child: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self.handles = Handles(layout, self._lanes, self._bell, self._space, self._bridge_end.fileno())

    @property
    def memory(self) -> LaneMemory:
        """The lanes, for the table of peers."""
        return self._memory

    @property
    def pid(self) -> int:
        """Of the running speaker; 0 when there is none."""
        return self._child.pid if self._child else 0

    @property
    def pidfd(self) -> int:
        """Readable when the speaker has ended (asyncio: `loop.add_reader`). -1 when there is none."""
        return self._pidfd

    def configure(self, text: str) -> None:
        """Put a rendered configuration in the file's place. A running speaker takes it on Reload."""
        replace_file(self._config_file, text, self._user)

    def start(self) -> None:
        """Start the speaker. `configure` first. Raises SpeakerError."""
        self.ended()
        _drain(self._speaker_end)
        if os.geteuid() == 0:
            _user(self._user)
        inherited = (self._lanes, self._bell, self._space, self._speaker_end.fileno())
        try:
            self._child = subprocess.Popen(
                self._arguments(), pass_fds=inherited, env=_environment(), cwd="/", stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise SpeakerError(f"the speaker could not be started: {error}") from None
        self._pidfd = os.pidfd_open(self._child.pid)

    def _arguments(self) -> list[str]:
        numbers = {
            "--lanes": self._lanes,
            "--bell": self._bell,
            "--space": self._space,
            "--control": self._speaker_end.fileno(),
        }
        options = [word for name, number in numbers.items() for word in (name, str(number))]
        words = ["--config", str(self._config_file.absolute()), "--layout", self.handles.layout.to_json()]
        return [
            *(sys.executable, "-m", "bgpbridge.speaker.main"),
            *words,
            *options,
            *("--user", self._user, "--log-level", self._log_level),
        ]

    def poll(self) -> int | None:
        """The exit status of a speaker that has ended, else None."""
        return self._child.poll() if self._child else None

    def ended(self) -> None:
        """The speaker is gone (or must go): reap it, close its generation, ring the bridge's bell."""
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._child.wait()
            self._child = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._memory.close_generation()
        os.eventfd_write(self._bell, 1)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask it to end its sessions and go (SIGTERM), kill it when it does not within `timeout_s`."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_s)
        self.ended()

    def close(self) -> None:
        """Give everything back. `stop` first."""
        self._memory.close()
        for number in (self._lanes, self._bell, self._space):
            os.close(number)
        self._bridge_end.close()
        self._speaker_end.close()


def _drain(end: socket.socket) -> None:
    """Leave out commands that were meant for a speaker that is dead."""
    with contextlib.suppress(BlockingIOError):
        while end.recv(1 << 16):
            pass


def _environment() -> dict[str, str]:
    """What Python needs of ours, and the package where we found it: the child starts in / and may have another search
    path. All else stays behind: passwords may be there that are none of the speaker's business."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    environment["PYTHONPATH"] = resources.search_path()
    return environment
