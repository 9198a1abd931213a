"""How a lab is put together, step by step, and how everything of it is removed.

Namespaces and sysctls first, then cables, then the commands of the topology, then daemons: all nodes' at the same
time, each node's in order. `clear` removes what the state names, and what lives in the lab's namespaces besides.

All of it is done with signals held back (`interrupts.held`); between its steps, and in every wait that is not short,
`make` looks whether it was asked to stop.
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
from bgpbridge.lab import interrupts, namespaces, processes, state
from bgpbridge.lab.daemons import Plan, Program, plan
from bgpbridge.lab.processes import Process
from bgpbridge.lab.state import Lab
from bgpbridge.lab.sweep import sweep
from bgpbridge.lab.topology import Node, Topology

__all__ = ["Say", "Stop", "clear", "launch", "make", "need", "prepare", "start"]

AS_IN_A_CONTAINER = {"net.ipv4.ip_forward": "1"}  # where Docker runs every network namespace begins so
READY_S = 30.0
LOOK_S = 0.02  # how often to look for a socket; there is no event for a file of a program that is not ours
Say = Callable[[str], None]
Stop = Callable[[], bool]


def make(lab: Lab, topology: Topology, say: Say) -> None:
    """Everything, and the state with it. Raises LabError, also when a signal asks to stop; what was made by then is
    in the state, or carries a sign of the lab."""
    plans = {node.name: plan(node, lab.node_folder(node.name)) for node in topology.nodes}
    need(plans.values())
    lab.mounts = [str(item.bpffs) for item in plans.values() if item.bpffs]
    state.write(lab)
    say(f"{len(lab.own_namespaces)} namespaces, {len(topology.links)} cables")
    for node in topology.nodes:
        _go_on(interrupts.asked)
        if not node.host:
            namespaces.create(lab.namespaces[node.name])
            namespaces.set_sysctls(lab.namespaces[node.name], {**AS_IN_A_CONTAINER, **node.sysctls})
    for number, link in enumerate(topology.links):
        _go_on(interrupts.asked)
        namespaces.plug(link, lab.namespaces, number)
    for node in topology.nodes:
        prepare(lab, node, plans[node.name])
    say(f"daemons: {', '.join(sorted({str(node.daemon) for node in topology.nodes if plans[node.name].programs}))}")
    _launch_all(lab, plans)
    lab.up = True
    state.write(lab)
    _go_on(interrupts.asked)


def _go_on(stop: Stop) -> None:
    if stop():
        raise LabError("told to stop")


def _launch_all(lab: Lab, plans: Mapping[str, Plan]) -> None:
    """All nodes at the same time; the first failure, or a signal, makes all others give up. None is left at work."""
    enough = threading.Event()

    def stop() -> bool:
        return enough.is_set() or interrupts.asked()

    with ThreadPoolExecutor(max_workers=8) as pool:
        try:
            for done in as_completed([pool.submit(launch, lab, node, item, stop) for node, item in plans.items()]):
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
        command = ["mount", "-t", "bpf", "bpf", str(planned.bpffs)]
        subprocess.run(command, check=True, start_new_session=True, env=namespaces.marked(lab.namespace(node.name)))
    for text in node.exec:
        _must(lab, node.name, shlex.split(text))


def launch(lab: Lab, node: str, planned: Plan, stop: Stop = interrupts.asked) -> None:
    """Check the configuration, start the programs, run what settles them. Raises LabError, also when told to stop."""
    for argv in planned.checks:
        _must(lab, node, argv, stop)
    for program in planned.programs:
        start(lab, node, program, stop)
    for argv in planned.settle:
        _must(lab, node, argv, stop)


def _must(lab: Lab, node: str, argv: Sequence[str], stop: Stop = interrupts.asked) -> None:
    _go_on(stop)
    done = processes.run(argv, namespace=lab.namespace(node), stop=stop)
    if done.returncode:
        _go_on(stop)
        said = "\n    ".join(done.stdout.strip().splitlines()[-8:])
        raise LabError(f"node {node}: {shlex.join(argv)} ended with {done.returncode}\n    {said}")


def start(lab: Lab, node: str, program: Program, stop: Stop = interrupts.asked) -> None:
    """Start a program, note it, and wait until it is ready."""
    _go_on(stop)
    log = lab.node_folder(node) / f"{program.name}.log"
    if program.ready:
        program.ready.unlink(missing_ok=True)
    pid = processes.start(program.argv, namespace=lab.namespace(node), log=log, env=program.env)
    lab.processes.append(Process(node, program.name, pid, processes.started_at(pid) or 0))
    deadline = time.monotonic() + READY_S
    while program.ready and not program.ready.exists():
        _go_on(stop)
        code = processes.exit_code(pid)
        if code is not None or time.monotonic() > deadline:
            why = f"ended with {code}" if code is not None else f"not ready in {READY_S:.0f} s"
            tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-8:])
            by_hand = shlex.join(program.argv)
            raise LabError(f"node {node}: {program.name} {why}\n    {tail}", mend=f"run it by hand: {by_hand}")
        time.sleep(LOOK_S)


def clear(lab: Lab) -> None:
    """Remove everything a lab has made; what is gone already is passed over. Raises LabError when a process does not
    end; the state stays then."""
    lab.up = False
    with contextlib.suppress(FileNotFoundError):
        state.write(lab)
    names = lab.own_namespaces
    processes.end(process.pid for process in lab.processes if process.alive)
    for node in lab.guests:  # what bgpbridge leaves there on purpose when it ends
        namespaces.clear_ours(lab.namespaces[node])
    sweep(names)
    for name in filter(namespaces.exists, names):  # all of them first: one that goes takes cables of others along
        namespaces.empty(name)
    for name in names:
        namespaces.delete(name)
    for mount in lab.mounts:
        while os.path.ismount(mount):
            subprocess.run(["umount", "--lazy", mount], check=True, start_new_session=True)
    shutil.rmtree(state.folder(lab.name), ignore_errors=True)
