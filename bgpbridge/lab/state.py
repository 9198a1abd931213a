"""What a lab has made on this machine, written down before it is made.

/run/bgpbridge-lab/NAME/state.json names everything, so that `down` finds it all whatever became of the run that
made it. A lab is *alive* when it came up as a whole and whoever was to take it down again still runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bgpbridge.errors import LabError
from bgpbridge.lab.processes import Process, started_at

__all__ = ["RUN", "Lab", "folder", "held", "known", "read", "write"]

RUN = Path("/run/bgpbridge-lab")
LOOK_S = 0.02  # how often to try a lock that another process has


@dataclass(slots=True)
class Lab:
    """A lab on this machine. `runner` is the process that will take it down itself, None for `lab up`."""

    name: str
    file: str
    namespaces: dict[str, str]  # node: namespace
    mounts: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    runner: Process | None = None
    up: bool = False
    guests: list[str] = field(default_factory=list)
    """Nodes that live in the namespace of another lab's node, which this lab neither makes nor removes."""

    @property
    def alive(self) -> bool:
        """True while it is whole and wanted; everything else is left-overs."""
        return self.up and (self.runner is None or self.runner.alive)

    def namespace(self, node: str) -> str:
        """The namespace of a node. Raises LabError for a node that is not in this lab."""
        if node not in self.namespaces:
            raise LabError(f"lab {self.name} has no node {node}", mend=f"it has {', '.join(self.namespaces)}")
        return self.namespaces[node]

    @property
    def own_namespaces(self) -> set[str]:
        """The namespaces that this lab makes and removes."""
        return {namespace for node, namespace in self.namespaces.items() if node not in self.guests}

    def node_folder(self, node: str) -> Path:
        """Where a node's sockets, logs and generated files are."""
        return folder(self.name) / node


def folder(name: str) -> Path:
    """The folder of a lab."""
    return RUN / name


def this_process() -> Process:
    """Ourselves, as a runner."""
    return Process("", "runner", os.getpid(), started_at(os.getpid()) or 0)


def write(lab: Lab) -> None:
    """Write the state; a reader sees the old or the new one, never a part."""
    path = folder(lab.name) / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(lab), indent=1))
    temporary.replace(path)


def read(name: str) -> Lab | None:
    """The state of a lab; None when there is none. A folder without a state (a run that was killed as it began or
    ended), or with a file that is no state, counts as left-overs of that name."""
    path = folder(name) / "state.json"
    try:
        data = json.loads(path.read_text())
        processes = [Process(**item) for item in data.pop("processes")]
        runner = Process(**data.pop("runner")) if data["runner"] else data.pop("runner")
        return Lab(**data, processes=processes, runner=runner)
    except FileNotFoundError:
        return Lab(name, "", {}) if folder(name).is_dir() else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return Lab(name, "", {})


def known() -> list[Lab]:
    """All labs that have a folder here, by name."""
    names = sorted(path.name for path in RUN.glob("*") if path.is_dir())
    return [lab for lab in map(read, names) if lab is not None]


@contextlib.contextmanager
def held(name: str, wait_s: float = 1.0) -> Iterator[None]:
    """The lab is ours while in here: two commands on one lab come one after the other. Raises LabError when another
    one is at work, and still is after `wait_s`."""
    path, deadline = RUN / f".{name}.lock", time.monotonic() + wait_s
    while (lock := _lock(path)) is None:
        if time.monotonic() >= deadline:
            raise LabError(f"another command is at work on lab {name}", mend="wait for it, or end it")
        time.sleep(LOOK_S)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
        with contextlib.suppress(OSError):
            RUN.rmdir()


def _lock(path: Path) -> int | None:
    """The lock, or None while another process has it, or has just taken the file or its folder away."""
    try:
        RUN.mkdir(mode=0o755, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise LabError(f"{RUN} cannot be written", mend="labs need root: run it with sudo") from None
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None
