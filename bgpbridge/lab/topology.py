"""A topology: nodes with everything they inherit, links with both ends, ready to be brought up.

Values come together as containerlab does it (clab/topology.go of that project): a node's own words before
its group's, its kind's and the defaults'; maps are merged key by key, `exec` runs the general before the
particular, and of two binds to one place the particular one counts.
"""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bgpbridge.documents import Problem, did_you_mean, raise_problems
from bgpbridge.lab import clab
from bgpbridge.lab.links import End, Link, ends_of, link_of, link_problems

__all__ = ["CONTAINER", "Bind", "Daemon", "End", "Link", "Node", "Topology", "load"]


SHARED, CONTAINER = "container:", "clab-"


class Daemon(enum.StrEnum):
    """What a node runs: the value of BGPBRIDGE_NODE."""

    BGPBRIDGE = "bgpbridge"
    FRR = "frr"
    BIRD = "bird"
    GOBGP = "gobgp"
    EXABGP = "exabgp"
    STAYRTR = "stayrtr"
    WIRE = "wire"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of ours, and where the node sees it."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Node:
    """One node with all that it inherits. `number` counts from 1 in the order of the file."""

    name: str
    number: int
    daemon: Daemon
    image: str = ""
    binds: tuple[Bind, ...] = ()
    exec: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    """Whose network this node shares (`network-mode: container:HOST`): a node of this file, or the container
    `clab-LAB-NODE` of a lab that is up. Empty for a node with a network of its own."""

    def bound(self, *targets: str) -> Path | None:
        """Our file behind the first of these places that is bound, alone or inside a bound folder."""
        for target in targets:
            for bind in self.binds:
                if bind.target == target:
                    return bind.source
                if target.startswith(bind.target.rstrip("/") + "/"):
                    inside = bind.source / target[len(bind.target.rstrip("/")) + 1 :]
                    if inside.exists():
                        return inside
        return None


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab as its file describes it."""

    name: str
    file: Path
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    def node(self, name: str) -> Node | None:
        """The node of that name."""
        return next((node for node in self.nodes if node.name == name), None)

    def interfaces(self, node: str) -> tuple[str, ...]:
        """The interfaces that links give to a node, in the order of the file."""
        ends = (end for link in self.links for end in (link.a, link.b))
        return tuple(end.interface for end in ends if end.node == node)


def load(path: Path) -> Topology:
    """Read a containerlab file. Raises DocumentError with the place of everything that cannot be meant here."""
    path = path.resolve()
    file, document = clab.read(path)
    nodes = tuple(_node(name, number, file.topology, path.parent) for number, name in enumerate(file.topology.nodes, 1))
    problems = [*_node_problems(file.topology, nodes), *link_problems(file.topology)]
    raise_problems(document, problems)
    links = tuple(link_of(link, {node.name: node.number for node in nodes}) for link in file.topology.links)
    return Topology(file.name, path, nodes, links)


def _layers(name: str, topology: clab.TopologyKeys) -> tuple[clab.NodeKeys, ...]:
    """What speaks for a node, the general first."""
    own = topology.nodes[name] or clab.NodeKeys()
    group = topology.groups.get(own.group or topology.defaults.group or "", clab.NodeKeys())
    kind = own.kind or group.kind or topology.defaults.kind or ""
    return topology.defaults, topology.kinds.get(kind, clab.NodeKeys()), group, own


def _kind(name: str, topology: clab.TopologyKeys) -> str:
    defaults, _, group, own = _layers(name, topology)
    return own.kind or group.kind or defaults.kind or ""


def _node(name: str, number: int, topology: clab.TopologyKeys, folder: Path) -> Node:
    layers = _layers(name, topology)
    binds = {bind.target: bind for layer in layers for bind in (_bind(text, folder) for text in layer.binds)}
    env = {key: value for layer in layers for key, value in layer.env.items()}
    image = next((layer.image for layer in reversed(layers) if layer.image), "")
    return Node(
        name=name,
        number=number,
        daemon=_daemon(env.get("BGPBRIDGE_NODE", ""), tuple(binds), image),
        image=image,
        binds=tuple(binds.values()),
        exec=tuple(dict.fromkeys(command for layer in layers for command in layer.exec)),
        env=env,
        labels={key: value for layer in layers for key, value in layer.labels.items()},
        sysctls={key: value for layer in layers for key, value in layer.sysctls.items()},
        host=_host(layers),
    )


def _host(layers: tuple[clab.NodeKeys, ...]) -> str:
    mode = next((layer.network_mode for layer in reversed(layers) if layer.network_mode), "")
    return mode.removeprefix(SHARED) if mode.startswith(SHARED) else ""


def _bind(text: str, folder: Path) -> Bind:
    source, _, rest = text.partition(":")
    return Bind(folder / Path(source).expanduser(), rest.partition(":")[0] or source)


def _daemon(word: str, targets: tuple[str, ...], image: str) -> Daemon:
    """BGPBRIDGE_NODE when the file says it; else what the binds and the image of other people's files tell."""
    if word in set(Daemon):
        return Daemon(word)
    for daemon in (Daemon.FRR, Daemon.BIRD, Daemon.GOBGP, Daemon.EXABGP):
        if any(target.startswith((f"/etc/{daemon}", f"/usr/local/etc/{daemon}")) for target in targets):
            return daemon
    return next((daemon for daemon in (Daemon.FRR, Daemon.BIRD, Daemon.GOBGP) if daemon in image), Daemon.HOST)


def _node_problems(topology: clab.TopologyKeys, nodes: tuple[Node, ...]) -> list[Problem]:
    found = []
    for node in nodes:
        path = ("topology", "nodes", node.name)
        kind = _kind(node.name, topology)
        if kind != "linux":
            problem = f"node {node.name} is of kind `{kind}`" if kind else f"node {node.name} has no kind"
            mend = "in namespaces only `kind: linux` can be brought up; for other kinds run containerlab itself"
            found.append(Problem((*path, "kind"), problem, "kind: linux", mend))
        word = node.env.get("BGPBRIDGE_NODE")
        if word is not None and word not in set(Daemon):
            meant = did_you_mean(word, list(Daemon))
            mend = f"did you mean `{meant}`?" if meant else ""
            expected = "one of " + ", ".join(Daemon)
            found.append(Problem((*path, "env"), f"BGPBRIDGE_NODE is `{word}`", expected, mend))
        for bind in node.binds:
            if not bind.source.exists():
                mend = "paths are taken from the folder of this file"
                found.append(Problem((*path, "binds"), f"node {node.name}: there is no {bind.source}", mend=mend))
        found += _host_problems(path, node, topology)
        found += [_exec_problem(path, node, command) for command in node.exec if not _splits(command)]
    return found


def _host_problems(path: tuple[str, ...], node: Node, topology: clab.TopologyKeys) -> Iterator[Problem]:
    if not node.host:
        return
    where = (*path, "network-mode")
    other = topology.nodes.get(node.host)
    if node.host not in topology.nodes and not node.host.startswith(CONTAINER):
        meant = did_you_mean(node.host, list(topology.nodes))
        mend = f"did you mean `{meant}`?" if meant else ""
        yield Problem(where, f"there is no node {node.host}", f"a node of this file, or {CONTAINER}LAB-NODE", mend)
    elif node.host == node.name or (other and other.network_mode):
        yield Problem(where, f"{node.host} has no network of its own", "a node that has one")
    if any(name == node.name for link in topology.links for name, _ in ends_of(link)):
        mend = f"give the link to {node.host}"
        yield Problem(where, f"node {node.name} shares a network and has a link as well", mend=mend)


def _splits(command: str) -> bool:
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def _exec_problem(path: tuple[str, ...], node: Node, command: str) -> Problem:
    return Problem((*path, "exec"), f"node {node.name}: not a command: {command}", "words, quotes closed")
