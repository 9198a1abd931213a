"""The place where things are measured and tried: a router with two uplinks, and whatever daemon is to run on it.

              ┌── eth1 ── uplink a, AS 64601 ──┐
    source ── edge (AS 64700)                   far: a tester behind each uplink, every address is at home
              └── eth2 ── uplink b, AS 64602 ──┘

bgpbridge, BIRD and FRR run on `edge` one after the other: the same namespaces, the same peers, the same octets.
The far side is one namespace with both uplinks, so one socket there sees which way each packet came. A rig that is
`wired` has a node in the cable of uplink a that loses and delays frames as it is told (`lab.shaper`), while the
carrier stays up at both ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bgpbridge.bench.feeds import Origin
from bgpbridge.bench.tester import Router, Tester
from bgpbridge.lab import namespaces, runner, shaper
from bgpbridge.lab.state import Lab
from bgpbridge.lab.topology import Bind, Daemon, Node
from bgpbridge.types import Family, IPAddress

__all__ = ["ASN", "FAR_PORTS", "Rig", "Uplink", "bridge_config", "rig", "uplink"]

ASN: Final = 64700
FAR_PORTS: Final = ("eth1", "eth2")
NUMBERS = itertools.count()
FILES: Final = {
    Daemon.BGPBRIDGE: "bgpbridge.yaml",
    Daemon.FRR: "frr.conf",
    Daemon.BIRD: "bird.conf",
    Daemon.GOBGP: "gobgpd.conf",
    Daemon.EXABGP: "exabgp.conf",
}

TOPOLOGY = """
name: {name}
topology:
  defaults:
    kind: linux
    sysctls:
      net.ipv4.ip_forward: 1
      net.ipv6.conf.all.forwarding: 1
      net.ipv4.conf.all.rp_filter: 0
      net.ipv4.conf.default.rp_filter: 0
      net.ipv6.conf.default.accept_dad: 0
      net.ipv4.icmp_ratelimit: 1000
  nodes:
    source:
      exec: [ip route add default via 10.0.3.1, ip -6 route add default via "2001:db8:2::1"]
    edge: {{}}
    far:
      # every address is at home here, so packets from others must not be taken for martians
      sysctls: {{net.ipv4.conf.all.accept_local: 1, net.ipv6.conf.all.keep_addr_on_down: 1}}
      exec:
        - ip route add local 0.0.0.0/1 dev lo table main
        - ip route add local 128.0.0.0/1 dev lo table main
        - ip -6 route add local 2000::/3 dev lo table main
{wire}  links:
    - type: veth
      endpoints:
        - {{node: source, interface: eth1, ipv4: 10.0.3.2/24, ipv6: "2001:db8:2::2/64"}}
        - {{node: edge, interface: eth3, ipv4: 10.0.3.1/24, ipv6: "2001:db8:2::1/64"}}
    - type: veth
      endpoints:
        - {{node: edge, interface: eth1, ipv4: 10.0.1.1/24, ipv6: "2001:db8:a::1/64"}}
{between}        - {{node: far, interface: eth1, ipv4: 10.0.1.2/24, ipv6: "2001:db8:a::2/64"}}
    - type: veth
      endpoints:
        - {{node: edge, interface: eth2, ipv4: 10.0.2.1/24, ipv6: "2001:db8:b::1/64"}}
        - {{node: far, interface: eth2, ipv4: 10.0.2.2/24, ipv6: "2001:db8:b::2/64"}}
"""
WIRE = "    wire: {env: {BGPBRIDGE_NODE: wire}}\n"
THROUGH_WIRE = """        - {node: wire, interface: eth1}
    - type: veth
      endpoints:
        - {node: wire, interface: eth2}
"""


@dataclass(frozen=True, slots=True)
class Uplink:
    """One provider: its name in configurations, AS, addresses of both ends, and the far end's interface."""

    name: str
    asn: int
    ours: IPAddress
    theirs: IPAddress
    interface: str

    def origin(self, longer: int = 0) -> Origin:
        """Who a feed of this provider comes from."""
        return Origin(self.asn, self.theirs, longer)


def uplink(letter: str, family: Family = Family.IPV4) -> Uplink:
    """Provider `a` or `b`."""
    number = "ab".index(letter) + 1
    pair = [f"2001:db8:{letter}::{end}" if family is Family.IPV6 else f"10.0.{number}.{end}" for end in (1, 2)]
    ours, theirs = map(ipaddress.ip_address, pair)
    name = f"up-{letter}" if family is Family.IPV4 else f"up-{letter}-v6"
    return Uplink(name, 64600 + number, ours, theirs, f"eth{number}")


def bridge_config(peers: list[dict[str, Any]] | None = None, **sections: Any) -> str:
    """Bgpbridge's configuration for the edge; `peers` are those of both uplinks unless others are given."""
    both = [uplink("a"), uplink("b")]
    standard = [{"name": up.name, "address": str(up.theirs), "asn": up.asn} for up in both]
    whole = {
        "router": {"asn": ASN, "router_id": "10.0.0.1", "name": "edge"},
        "peer_defaults": {"import": "accept", "passive": True},
        "peers": standard if peers is None else peers,
        "datapath": {"interfaces": ["eth1", "eth2", "eth3"]},
        "http": None,
    }
    return yaml.safe_dump(whole | sections, sort_keys=False)


@dataclass(slots=True)
class Rig:
    """The lab while it is up. Daemons are started on `edge` as nodes of their own name."""

    lab: Lab
    folder: Path

    def start(self, daemon: Daemon, configuration: str, name: str = "", beside: str = "edge") -> str:
        """Start a daemon on the edge, or in the namespace of another node, with a configuration; its node name. Raises
        LabError with its last words."""
        name = name or str(daemon)
        target = f"/etc/{daemon}/{FILES[daemon]}"
        path = self.folder / f"{name}.conf"
        path.write_text(configuration)
        runner.start_daemon(self.lab, Node(name, 9, daemon, binds=(Bind(path, target),)), beside)
        return name

    def stop(self, name: str) -> None:
        """End a daemon and take away the routes that it left."""
        runner.stop_daemons(self.lab, name)

    def inside(self, node: str) -> str:
        """The namespace of a node."""
        return self.lab.namespace(node)

    def tester(self, letter: str, family: Family = Family.IPV4, *, table: bytes = b"", **changes: Any) -> Tester:
        """A tester behind an uplink, not started yet. `changes` are fields of its Router."""
        up = uplink(letter, family)
        router = Router(up.asn, up.theirs, up.ours, families=(family,))
        return Tester(dataclasses.replace(router, **changes), self.inside("far"), table=table)

    def set_uplink(self, letter: str, *, up: bool) -> None:
        """Pull an uplink's cable at its far end, or put it back."""
        namespaces.set_link(self.inside("far"), uplink(letter).interface, up=up)

    def shape(self, **wanted: float | str) -> None:
        """What the wire of a `wired` rig does from now on to frames of both directions (`lab.shaper.change`)."""
        shaper.change(self.lab.node_folder("wire") / "shaper.sock", **wanted)

    def cut_wire(self, *, cut: bool) -> None:
        """The cable between the edge and the wire: the edge sees its carrier go."""
        namespaces.set_link(self.inside("wire"), "eth1", up=not cut)


@contextlib.contextmanager
def rig(name: str = "", *, wired: bool = False) -> Iterator[Rig]:
    """The rig for the time of a block; nothing is left of it afterwards, daemons included."""
    wire = {"wire": WIRE, "between": THROUGH_WIRE} if wired else {"wire": "", "between": ""}
    with tempfile.TemporaryDirectory(prefix="bgpbridge-rig-") as folder:
        path = Path(folder) / "rig.clab.yml"
        path.write_text(TOPOLOGY.format(name=name or f"rig{os.getpid()}x{next(NUMBERS)}", **wire))
        with runner.running(path) as lab:
            yield Rig(lab, Path(folder))
