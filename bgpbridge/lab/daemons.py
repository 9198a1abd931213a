"""How a node's daemon is started: the same in a namespace of ours and in a container of the lab's image.

`plan` is a function of values: it says which files to write, which programs to start in which order, how one
sees that each is ready, and what has to be run once all are. Every program gets its configuration and its
sockets by explicit paths in the node's folder, so that many nodes live side by side without mount namespaces.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import bgpbridge
from bgpbridge.documents import parse, read_text
from bgpbridge.errors import LabError
from bgpbridge.lab.topology import Daemon, Node

__all__ = ["Plan", "Program", "plan"]

FRR = Path("/usr/lib/frr")
EXABGP_4 = Path("/usr/sbin/exabgp")
OURS = {"PYTHONPATH": str(Path(bgpbridge.__file__).parent.parent)}  # what a program of ours is found by
# Started when the node binds no `daemons` file; those of them that its configuration does not need stay away.
FRR_BY_LINE = {
    "bfdd": r"bfd\s*$",
    "bgpd": r"router bgp\b",
    "ospfd": r"router ospf\b",
    "ospf6d": r"router ospf6\b",
    "staticd": r"(ip|ipv6) route ",
}


@dataclass(frozen=True, slots=True)
class Program:
    """One process of a node. It is ready when the socket `ready` is there."""

    name: str
    argv: tuple[str, ...]
    ready: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything there is to do for a node's daemon, in the order of the fields."""

    packages: Mapping[Path, str] = field(default_factory=dict)  # program that must exist: Debian package
    owner: str | None = None  # the user who must be able to write into the node's folder
    files: Mapping[Path, str] = field(default_factory=dict)
    checks: tuple[tuple[str, ...], ...] = ()  # commands that fail, with the reason, when a configuration is wrong
    bpffs: Path | None = None  # where a BPF file system has to be mounted
    programs: tuple[Program, ...] = ()
    settle: tuple[tuple[str, ...], ...] = ()  # commands to run once all programs are ready
    tools: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # a command's first word: what it stands for


def plan(node: Node, folder: Path) -> Plan:
    """The plan for a node whose sockets and files live in `folder`. Raises LabError, DocumentError."""
    return _PLANS[node.daemon](node, folder)


def _config(node: Node, *targets: str) -> Path:
    path = node.bound(*targets)
    if path is None:
        mend = f"bind a file to {targets[0]} in the topology"
        raise LabError(f"node {node.name} runs {node.daemon} and has no configuration", mend=mend)
    return path


def _host(node: Node, folder: Path) -> Plan:
    """Nothing but what `exec` says."""
    del node, folder
    return Plan()


def _frr(node: Node, folder: Path) -> Plan:
    config = _config(node, "/etc/frr/frr.conf")
    empty, zserv = folder / "empty.conf", folder / "zserv.api"
    programs = tuple(
        Program(
            name,
            (str(FRR / name), "-f", str(empty), "-i", str(folder / f"{name}.pid"), "-z", str(zserv))
            + ("-P", "0", "--vty_socket", str(folder), "--log", "stdout", "--log-level", "informational")
            + (("-s", "90000000") if name == "zebra" else ())
            + (("--bfdctl", str(folder / "bfdd.sock")) if name == "bfdd" else ()),
            zserv if name == "zebra" else folder / f"{name}.vty",
        )
        for name in frr_daemons(read_text(config), _text(node.bound("/etc/frr/daemons")))
    )
    vtysh = ("vtysh", "--vty_socket", str(folder))
    return Plan(
        packages={FRR / "zebra": "frr"},
        owner="frr",
        checks=(("vtysh", "-C", "-f", str(config)),),
        files={empty: "", folder / "vtysh.conf": "no service integrated-vtysh-config\n"},
        programs=programs,
        settle=((*vtysh, "-f", str(config)),),
        tools={"vtysh": vtysh},
    )


def frr_daemons(config: str, chosen: str | None) -> tuple[str, ...]:
    """The FRR daemons to start, zebra first: those that a `daemons` file says `yes` to, else those that the
    configuration has work for."""
    if chosen is not None:
        named = re.findall(r"^\s*(\w+)=yes", chosen, re.MULTILINE)
        extra = [name for name in named if name.endswith("d") and name != "zebra" and (FRR / name).exists()]
        return ("zebra", *dict.fromkeys([*extra, "staticd"]))
    lines = FRR_BY_LINE.items()
    needed = [name for name, line in lines if re.search(rf"^\s*{line}", config, re.MULTILINE)]
    return ("zebra", *needed)


def _bird(node: Node, folder: Path) -> Plan:
    config, control = _config(node, "/etc/bird/bird.conf", "/etc/bird.conf"), folder / "bird.ctl"
    argv = ("bird", "-f", "-c", str(config), "-s", str(control), "-P", str(folder / "bird.pid"))
    tools = {name: (name, "-s", str(control)) for name in ("birdc", "birdcl")}
    return Plan(
        packages={Path("/usr/sbin/bird"): "bird2"},
        checks=(("bird", "-p", "-c", str(config)),),
        programs=(Program("bird", argv, control),),
        tools=tools,
    )


def _gobgp(node: Node, folder: Path) -> Plan:
    config = _config(
        node, "/etc/gobgp/gobgpd.yaml", "/etc/gobgp/gobgpd.conf", "/etc/gobgpd.conf", "/etc/gobgp/gobgp.toml"
    )
    form = "yaml" if config.suffix in (".yaml", ".yml") else "toml"
    api = folder / "gobgp.sock"
    # The port is where the tool looks by itself, inside a container; the socket shows that gobgpd is ready.
    hosts = f"unix://{api},127.0.0.1:50051"
    argv = ("gobgpd", "-f", str(config), "-t", form, "-p", "--pprof-disable", "--api-hosts", hosts)
    return Plan(
        packages={Path("/usr/bin/gobgpd"): "gobgpd"},
        checks=(("gobgpd", "-d", "-f", str(config), "-t", form),),
        programs=(Program("gobgpd", argv, api),),
        tools={"gobgp": ("gobgp", "--target", f"unix://{api}")},
    )


def _exabgp(node: Node, folder: Path) -> Plan:
    """PyPI's 5.0, or Debian's 4.2 where BGPBRIDGE_EXABGP says so. Its `bgpbridge pipe` feeds the bridge of the node
    whose network this one shares."""
    config = _config(node, "/etc/exabgp/exabgp.conf")
    env = {**OURS, "exabgp_api_cli": "false", "exabgp_log_destination": "stderr", "exabgp_daemon_user": "root"}
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    if Path(OURS["PYTHONPATH"]).name in {"site-packages", "dist-packages"}:
        del env["PYTHONPATH"]  # installed: 4.2 would find the 5.0 that stands beside us
    if node.host:
        env["BGPBRIDGE_FEED"] = str(folder.parent / node.host / "feed.sock")
    if node.env.get("BGPBRIDGE_EXABGP", "").startswith("4"):
        argv: tuple[str, ...] = (str(EXABGP_4), str(config))
        return Plan(packages={EXABGP_4: "exabgp"}, programs=(Program("exabgp", argv, env=env),))
    argv = (sys.executable, "-m", "exabgp", "server", str(config))
    return Plan(programs=(Program("exabgp", argv, env=env),))


def _bgpbridge(node: Node, folder: Path) -> Plan:
    source = _config(node, "/etc/bgpbridge/bgpbridge.yaml", "/etc/bgpbridge.yaml")
    config, control, bpffs = folder / "bgpbridge.yaml", folder / "control.sock", folder / "bpf"
    # -P: the folder that we happen to stand in is no place to import from.
    command = (sys.executable, "-P", "-m", "bgpbridge")
    by_hand = ("env", f"PYTHONPATH={OURS['PYTHONPATH']}", f"BGPBRIDGE_CONFIG={config}", *command)
    return Plan(
        files={config: localised(source, folder, bpffs)},
        checks=((*by_hand, "check", str(config)),),
        bpffs=bpffs,
        programs=(Program("bgpbridge", (*command, "run", "-c", str(config)), control, OURS),),
        tools={"bgpbridge": (*by_hand, "-s", str(control))},
    )


def _stayrtr(node: Node, folder: Path) -> Plan:
    """An RTR cache (RFC 8210) on port 8282. It serves a copy of the VRPs, so that a lab may change them."""
    source, copy = _config(node, "/etc/stayrtr/vrps.json"), folder / "vrps.json"
    argv = ("stayrtr", "-bind", ":8282", "-cache", str(copy), "-checktime=false", "-metrics.addr", "", "-refresh", "1")
    return Plan(
        packages={Path("/usr/bin/stayrtr"): "stayrtr"},
        files={copy: read_text(source)},
        programs=(Program("stayrtr", argv),),
    )


def _wire(node: Node, folder: Path) -> Plan:
    """A cable with delay and loss between eth1 and eth2 (`shaper`); `shape` is its command."""
    del node
    told = folder / "shaper.sock"
    module = (sys.executable, "-P", "-m", "bgpbridge.lab.shaper")
    shape = ("env", f"PYTHONPATH={OURS['PYTHONPATH']}", *module, "shape", str(told))
    return Plan(
        programs=(Program("shaper", (*module, "run", str(told), "eth1", "eth2"), told, OURS),), tools={"shape": shape}
    )


def localised(source: Path, folder: Path, bpffs: Path) -> str:
    """The bridge's configuration with the lab's own folder and pins, so that labs live side by side. Paths that
    are relative to the file are made absolute: the copy stands elsewhere."""
    data: dict[str, Any] = parse(read_text(source), str(source)).data
    if not isinstance(data, dict):
        raise LabError(f"{source} holds no keys", mend="see configs/ for examples")
    data["runtime"] = {**(data.get("runtime") or {}), "directory": str(folder)}
    data["datapath"] = {**(data.get("datapath") or {}), "pin_path": str(bpffs / "bgpbridge")}
    if isinstance(data.get("policies"), list):
        data["policies"] = [str(source.parent / str(name)) for name in data["policies"]]
    for file in (data.get("rpki") or {}).get("files") or []:
        file["path"] = str(source.parent / str(file["path"]))
    for peer in [data.get("peer_defaults"), *(data.get("peers") or [])]:
        password = peer.get("password") if isinstance(peer, dict) else None
        if isinstance(password, dict) and "file" in password:
            password["file"] = str(source.parent / str(password["file"]))
    note = f"# Made by `bgpbridge lab up` from {source}: the lab's own paths are set.\n"
    return note + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def _text(path: Path | None) -> str | None:
    return read_text(path) if path else None


_PLANS = {
    Daemon.BGPBRIDGE: _bgpbridge,
    Daemon.FRR: _frr,
    Daemon.BIRD: _bird,
    Daemon.GOBGP: _gobgp,
    Daemon.EXABGP: _exabgp,
    Daemon.STAYRTR: _stayrtr,
    Daemon.WIRE: _wire,
    Daemon.HOST: _host,
}
