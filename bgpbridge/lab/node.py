"""The entry point of the lab's container image: start what BGPBRIDGE_NODE names, as the namespace runner does.

The same plans (`daemons.plan`) with the places that a container has: configuration where the topology binds it,
sockets where each daemon's own tools look for them. containerlab sets CLAB_INTFS to the number of cables and
plugs them in after the container has started, so that is waited for; then offloads are set as XDP needs them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import FrameType

from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces
from bgpbridge.lab.daemons import Plan, Program, plan
from bgpbridge.lab.topology import Bind, Daemon, Node

__all__ = ["run"]

# Where each daemon's own command line tool looks for its socket when it is not told.
FOLDERS = {
    Daemon.FRR: Path("/var/run/frr"),
    Daemon.BIRD: Path("/run/bird"),
    Daemon.BGPBRIDGE: Path("/run/bgpbridge"),
}
CABLES_S = 60.0
READY_S = 30.0
LOOK_S = 0.1


def run() -> int:
    """Start the node's daemon and stay until it ends or the container is stopped. Raises LabError."""
    word = os.environ.get("BGPBRIDGE_NODE", "host")
    if word not in set(Daemon):
        raise LabError(f"BGPBRIDGE_NODE is `{word}`", mend="one of " + ", ".join(Daemon))
    daemon = Daemon(word)
    binds = tuple(Bind(path, str(path)) for path in _configured(daemon))
    node = Node(socket.gethostname(), 1, daemon, binds=binds, env=os.environ)
    folder = FOLDERS.get(daemon, Path("/run/bgpbridge-node"))
    folder.mkdir(parents=True, exist_ok=True)
    planned = plan(node, folder)
    # At once: the kernel drops a SIGTERM for which process 1 has no handler yet. When process 1 ends, all others do.
    signal.signal(signal.SIGTERM, _stop)
    _wait_for_cables(int(os.environ.get("CLAB_INTFS", "0")))
    _prepare(planned, folder)
    return _stay(_start(planned))


def _configured(daemon: Daemon) -> list[Path]:
    """The folder that a topology binds configuration into, file by file or as a whole."""
    folders = {Daemon.GOBGP: [Path("/etc/gobgp"), Path("/etc/gobgpd.conf")]}.get(daemon, [Path(f"/etc/{daemon}")])
    return [path for path in folders if path.exists()]


def _wait_for_cables(expected: int) -> None:
    """Until all cables of the topology are plugged in, and every end is as XDP needs it."""
    deadline = time.monotonic() + CABLES_S
    while len(plugged := _cables()) < expected and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    for interface in plugged:
        namespaces.tune(interface)


def _cables() -> list[str]:
    """Interfaces other than the loopback and containerlab's management."""
    return [name for _, name in socket.if_nameindex() if name not in ("lo", "eth0")]


def _prepare(planned: Plan, folder: Path) -> None:
    for path, text in planned.files.items():
        path.write_text(text)
    if planned.owner:
        for path in (folder, *planned.files):
            shutil.chown(path, planned.owner, planned.owner)
    if planned.bpffs:
        planned.bpffs.mkdir(exist_ok=True)
        if not os.path.ismount(planned.bpffs):
            subprocess.run(["mount", "-t", "bpf", "bpf", str(planned.bpffs)], check=True)


def _start(planned: Plan) -> list[subprocess.Popen[bytes]]:
    for argv in planned.checks:
        subprocess.run(argv, check=True)
    children = []
    for program in planned.programs:
        children.append(subprocess.Popen(program.argv, env={**os.environ, **program.env}))
        _wait_until_ready(program)
    for argv in planned.settle:
        subprocess.run(argv, check=True)
    return children


def _wait_until_ready(program: Program) -> None:
    deadline = time.monotonic() + READY_S
    while program.ready and not program.ready.exists():
        if time.monotonic() > deadline:
            raise LabError(f"{program.name} was not ready in {READY_S:.0f} s", mend="see the container's log")
        time.sleep(LOOK_S)


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise SystemExit(0)


def _stay(children: list[subprocess.Popen[bytes]]) -> int:
    """Until the first daemon ends; as process 1 we also collect the children of others."""
    own = {child.pid: child for child in children}
    try:
        while True:
            if not own:
                signal.pause()
            pid, status = os.wait()
            if pid in own:
                return os.waitstatus_to_exitcode(status)
    finally:
        for child in children:
            child.terminate()
