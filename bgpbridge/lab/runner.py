"""Labs up, down, listed, and commands run in their nodes: the functions behind `bgpbridge lab`.

Everything that `up` makes is in the state file before it is made or bears the name of a namespace that is, so `down`
(now, or after a run that was killed) finds it all: processes, namespaces, mounts, the folder. What is made is made
with signals held back, and cleared so: a signal ends a lab between two steps and never within one.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bgpbridge.errors import LabError
from bgpbridge.lab import interrupts, making, namespaces, processes, state
from bgpbridge.lab.daemons import Plan, plan
from bgpbridge.lab.interrupts import interruptible
from bgpbridge.lab.making import Say
from bgpbridge.lab.state import Lab
from bgpbridge.lab.topology import CONTAINER, Node, Topology, load

__all__ = [
    "command",
    "down",
    "exec_in",
    "find",
    "kill",
    "labs",
    "name_of",
    "restart",
    "running",
    "start_daemon",
    "stop_daemons",
    "up",
]


WAIT_S = 60.0  # for another command that is at work on our lab as we leave


def _silent(text: str) -> None:
    """For callers who do not want to hear what is being done."""
    del text


def up(file: Path, name: str | None = None, *, ours: bool = False, say: Say = _silent) -> Lab:
    """Bring a topology up. `ours`: it goes when this process goes. What an earlier run left is cleared first.

    Raises DocumentError for the file, LabError for what this machine refuses; nothing is left behind then, nor when
    a signal comes before the lab is up.
    """
    topology = load(file)
    lab = Lab(
        name=name or topology.name,
        file=str(topology.file),
        namespaces=_namespaces(name or topology.name, topology),
        runner=state.this_process() if ours else None,
        guests=[node.name for node in topology.nodes if node.host and not topology.node(node.host)],
    )
    with interrupts.held(), state.held(lab.name):
        before = state.read(lab.name)
        if before and before.alive:
            raise LabError(f"lab {lab.name} is up already", mend=f"bgpbridge lab down {lab.name}")
        if before:
            say(f"clearing what an earlier run of {lab.name} left")
            making.clear(before)
        try:
            making.make(lab, topology, say)
        except BaseException:
            making.clear(lab)
            raise
    return lab


def _namespaces(lab: str, topology: Topology) -> dict[str, str]:
    """The namespace of each node: its own, or that of the node whose network it shares."""
    own = {node.name: _namespace(lab, node.name) for node in topology.nodes if not node.host}
    return {
        node.name: own[node.name] if not node.host else own.get(node.host) or _elsewhere(node.host)
        for node in topology.nodes
    }


def _elsewhere(container: str) -> str:
    """The namespace of a node of another lab, by the name that containerlab gives its container."""
    for lab in state.known():
        for node, namespace in lab.namespaces.items():
            if lab.alive and container == f"{CONTAINER}{lab.name}-{node}":
                return namespace
    raise LabError(f"no lab that is up has a container {container}", mend="bring that lab up first: bgpbridge lab up")


def down(name: str) -> None:
    """Take a lab down, whole or half made. Raises LabError when there is none."""
    with interrupts.held(), state.held(name):
        lab = state.read(name)
        if lab is None:
            raise LabError(f"there is no lab {name}", mend="bgpbridge lab list")
        making.clear(lab)


@contextlib.contextmanager
def running(file: Path, name: str | None = None, *, say: Say = _silent) -> Iterator[Lab]:
    """A lab for the time of a block; afterwards nothing of it is left, however the block ends. SIGTERM and SIGHUP end
    it as Ctrl-C does. Who has an `interruptible` block around it is safe to the last bytecode (see interrupts)."""
    name = name or load(file).name
    with interruptible(), interrupts.held():
        lab = up(file, name, ours=True, say=say)
        with interrupts.undone(partial(_leave, name)), interrupts.released():
            yield lab


def _leave(name: str) -> None:
    """Take our lab down, if nobody else has. Another's of the same name, come up since, is left alone."""
    with interrupts.held(), state.held(name, WAIT_S):
        left = state.read(name)
        if left and (left.runner == state.this_process() or not left.alive):
            making.clear(left)


def find(name: str) -> Lab:
    """A lab that is up, by its name or its file. Raises LabError."""
    lab = state.read(name_of(name))
    if lab is None or not lab.alive:
        names = ", ".join(item.name for item in state.known() if item.alive)
        raise LabError(f"no lab {name} is up", mend=f"up are: {names}" if names else "bgpbridge lab up FILE")
    return lab


def name_of(word: str) -> str:
    """The name of a lab that is named by its name or by its file."""
    return load(Path(word)).name if word.endswith((".yml", ".yaml")) else word


def labs() -> list[Lab]:
    """The labs on this machine; those with `alive` false are left-overs that `down` clears."""
    return state.known()


# --- nodes of a lab that is up -----------------------------------------------------------------------------


def command(lab: Lab, node: str, words: Sequence[str]) -> list[str]:
    """The argv that runs a command in a node. `bgpbridge`, `vtysh`, `birdc` and `gobgp` talk to the node's own
    daemon, as they would inside its container."""
    namespace = lab.namespace(node)
    tool = _plan(lab, node).tools.get(words[0], (words[0],)) if words else ("sh",)
    return ["nsenter", f"--net={namespaces.where(namespace)}", "--", *tool, *words[1:]]


def exec_in(lab: Lab, node: str, words: Sequence[str], *, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a command in a node and give its exit code and output."""
    try:
        return subprocess.run(
            command(lab, node, words),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            env=namespaces.marked(lab.namespace(node)),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{node}: {shlex.join(words)} took longer than {timeout_s:.0f} s") from None


def kill(lab: Lab, node: str, program: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to one process of a node (not to its group: its children find out by themselves): to a program
    that the lab started, by its name, or to any other by a word of its command line."""
    found = [process for process in lab.processes if (process.node, process.name) == (node, program)]
    pids = [process.pid for process in found if process.alive]
    pids = pids or [pid for pid in processes.in_namespace(lab.namespace(node)) if program in processes.words(pid)]
    if not pids:
        names = ", ".join(process.name for process in lab.processes if process.node == node) or "nothing"
        raise LabError(f"{program} does not run on node {node}", mend=f"it has started {names}")
    os.kill(pids[-1], number)


def restart(lab: Lab, node: str, program: str) -> None:
    """Start a program of a node again after it has ended; returns when it is ready."""
    found = next((item for item in _plan(lab, node).programs if item.name == program), None)
    if found is None:
        raise LabError(f"node {node} has no program {program}")
    making.start(lab, node, found)
    state.write(lab)


def start_daemon(lab: Lab, node: Node, beside: str) -> None:
    """Start a daemon that the topology does not name, in the namespace of its node `beside`, as a node with a
    folder, processes and tools of its own: so that one can try several in the same place, one after the other."""
    planned = plan(node, lab.node_folder(node.name))
    making.need([planned])
    lab.namespaces[node.name] = lab.namespace(beside)
    if planned.bpffs and str(planned.bpffs) not in lab.mounts:
        lab.mounts.append(str(planned.bpffs))
    state.write(lab)
    making.prepare(lab, node, planned)
    making.launch(lab, node.name, planned)
    state.write(lab)


def stop_daemons(lab: Lab, node: str) -> None:
    """End the programs of a node; their files stay."""
    processes.end(process.pid for process in lab.processes if process.node == node and process.alive)
    lab.processes = [process for process in lab.processes if process.node != node]
    state.write(lab)


def _namespace(lab: str, node: str) -> str:
    """At most 64 characters, so that it stays readable in a prompt; the lab's part gives way."""
    return f"bb-{lab[: max(8, 60 - len(node))]}-{node}"


def _plan(lab: Lab, node: str) -> Plan:
    found = load(Path(lab.file)).node(node)
    if found is None:
        raise LabError(f"{lab.file} has no node {node}", mend="was it changed since the lab came up?")
    return plan(found, lab.node_folder(node))
