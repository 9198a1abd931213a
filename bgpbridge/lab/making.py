"""How a lab is put together, step by step, and how everything of it is removed.

Namespaces and sysctls first, then cables, then the commands of the topology, then daemons: all nodes' at the same
time, each node's in order. `clear` removes what the state names, and what lives in the lab's namespaces besides.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces, processes, state
from bgpbridge.lab.daemons import Plan, Program, plan
from bgpbridge.lab.processes import Process
from bgpbridge.lab.state import Lab
from bgpbridge.lab.topology import Node, Topology

__all__ = ["Say", "clear", "launch", "make", "need", "prepare", "start"]

READY_S = 30.0
LOOK_S = 0.02  # how often to look for a socket; there is no event for a file of a program that is not ours
Say = Callable[[str], None]


def make(lab: Lab, topology: Topology, say: Say) -> None:
    """Everything, and the state with it. Raises LabError; what was made by then is in the state."""
    plans = {node.name: plan(node, lab.node_folder(node.name)) for node in topology.nodes}
    need(plans.values())
    lab.mounts = [str(item.bpffs) for item in plans.values() if item.bpffs]
    state.write(lab)
    say(f"{len(topology.nodes)} namespaces, {len(topology.links)} cables")
    for node in topology.nodes:
        namespaces.create(lab.namespaces[node.name])
        namespaces.set_sysctls(lab.namespaces[node.name], node.sysctls)
    for number, link in enumerate(topology.links):
        namespaces.plug(link, lab.namespaces, number)
    for node in topology.nodes:
        prepare(lab, node, plans[node.name])
    say(f"daemons: {', '.join(sorted({str(node.daemon) for node in topology.nodes if plans[node.name].programs}))}")
    _launch_all(lab, plans)
    lab.up = True
    state.write(lab)


def _launch_all(lab: Lab, plans: Mapping[str, Plan]) -> None:
    """All nodes at the same time; the first failure, or a Ctrl-C, ends the waiting of all others."""
    enough = threading.Event()
    with ThreadPoolExecutor(max_workers=8) as pool:
        try:
            for done in as_completed([pool.submit(launch, lab, node, item, enough) for node, item in plans.items()]):
                done.result()
        except BaseException:
            enough.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def need(plans: Iterable[Plan]) -> None:
    """Raises LabError when a program that a plan runs is not installed."""
    missing = {package for item in plans for path, package in item.packages.items() if not path.exists()}
    if missing:
        names = " ".join(sorted(missing))
        raise LabError(
            f"this lab's routers are not installed: {names}", mend=f"make install, or apt-get install {names}"
        )


def prepare(lab: Lab, node: Node, planned: Plan) -> None:
    """Files, mounts, and the commands of the topology."""
    folder = lab.node_folder(node.name)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in planned.files.items():
        path.write_text(text)
    if planned.owner:
        for path in (folder, *planned.files):
            shutil.chown(path, planned.owner, planned.owner)
    if planned.bpffs and not os.path.ismount(planned.bpffs):
        planned.bpffs.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "bpf", "bpf", str(planned.bpffs)], check=True)
    for text in node.exec:
        _must(lab, node.name, shlex.split(text))


def launch(lab: Lab, node: str, planned: Plan, enough: threading.Event | None = None) -> None:
    """Check the configuration, start the programs, run what settles them; ends early when there is `enough`."""
    enough = enough or threading.Event()
    for argv in planned.checks:
        _must(lab, node, argv)
    for program in planned.programs:
        start(lab, node, program, enough)
    for argv in planned.settle:
        _must(lab, node, argv)


def _must(lab: Lab, node: str, argv: Sequence[str]) -> None:
    enter = ["nsenter", f"--net={namespaces.where(lab.namespace(node))}", "--"]
    done = subprocess.run([*enter, *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise LabError(f"node {node}: {shlex.join(argv)} ended with {done.returncode}\n    {said}")


def start(lab: Lab, node: str, program: Program, enough: threading.Event | None = None) -> None:
    """Start a program, note it, and wait until it is ready."""
    log = lab.node_folder(node) / f"{program.name}.log"
    if program.ready:
        program.ready.unlink(missing_ok=True)
    pid = processes.start(program.argv, namespace=lab.namespace(node), log=log, env=program.env)
    lab.processes.append(Process(node, program.name, pid, processes.started_at(pid) or 0))
    deadline = time.monotonic() + READY_S
    enough = enough or threading.Event()
    while program.ready and not program.ready.exists() and not enough.wait(LOOK_S):
        code = processes.exit_code(pid)
        if code is not None or time.monotonic() > deadline:
            why = f"ended with {code}" if code is not None else f"not ready in {READY_S:.0f} s"
            tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-8:])
            by_hand = shlex.join(program.argv)
            raise LabError(f"node {node}: {program.name} {why}\n    {tail}", mend=f"run it by hand: {by_hand}")


def clear(lab: Lab) -> None:
    """Remove everything a lab has made; what is gone already is passed over."""
    lab.up = False
    with contextlib.suppress(FileNotFoundError):
        state.write(lab)
    processes.end(process.pid for process in lab.processes if process.alive)
    # Children of daemons, and programs that were started in the moment before a kill, are in no list.
    processes.end({pid for name in lab.namespaces.values() for pid in processes.in_namespace(name)})
    for name in lab.namespaces.values():
        namespaces.delete(name)
    for mount in lab.mounts:
        if os.path.ismount(mount):
            subprocess.run(["umount", "--lazy", mount], check=True)
    shutil.rmtree(state.folder(lab.name), ignore_errors=True)
