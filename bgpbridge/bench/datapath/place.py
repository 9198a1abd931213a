"""Where packets go: three namespaces and cables of veth, nothing else on the way.

    sender g0 ── r0 router r1 ── s0 sink       r1: the way of every route, by 16 next hops
                           r2 ── s1            r2: the other uplink

The sender's frames are made by a program (bpf/bench/traffic.c) on whatever CPU it is run; the router and the sink take
them in the softirq that follows, on the same CPU. Each port has a queue for every CPU, so CPUs have nothing in common
but the tables.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from bgpbridge.bench.datapath.table import GROUPS
from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces
from bgpbridge.types import Family, IPAddress

__all__ = ["PORTS", "Place", "gateway", "mac", "place", "usual_cpus"]

T = TypeVar("T")
PORTS: Final = {"g0": 201, "r0": 202, "r1": 203, "s0": 204, "r2": 205, "s1": 206}
CABLES: Final = (("g0", "r0"), ("r1", "s0"), ("r2", "s1"))
NUMBERS = itertools.count()
ROUTING: Final = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.forwarding": "1",
}


def mac(port: str) -> bytes:
    """A locally administered address for each port."""
    return bytes((2, 0, 0, 0, 0, PORTS[port]))


def gateway(family: Family, number: int) -> IPAddress:
    """The next hops behind r1."""
    if family is Family.IPV4:
        return ipaddress.IPv4Address("10.0.1.2") + number
    return ipaddress.IPv6Address("fd00:1::2") + number


def usual_cpus() -> list[int]:
    """The CPUs that this process may use; the last one sends."""
    return sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Place:
    """The namespaces by name."""

    sender: str
    router: str
    sink: str

    def owner(self, port: str) -> str:
        """Whose port it is."""
        return {"g": self.sender, "r": self.router, "s": self.sink}[port[0]]

    def at(self, port: str, work: Callable[[], T]) -> T:
        """Do something in the namespace of a port."""
        return namespaces.inside(self.owner(port), work)

    def lay(self) -> None:
        """Cables, addresses, neighbours."""
        for end, other in CABLES:
            _ip(f"link add {self._end(end)} type veth peer {self._end(other)}")
        for port in PORTS:
            _ip(f"link set {port} up", self.owner(port))
        for name, number in (("r0", 0), ("r1", 1), ("r2", 2)):
            _ip(f"address add 10.0.{number}.1/24 dev {name}", self.router)
            _ip(f"address add fd00:{number}::1/64 dev {name} nodad", self.router)
        for port in PORTS:
            self.at(port, partial(namespaces.tune, port))
        for family in Family:
            for number in range(GROUPS):
                words = f"neighbour add {gateway(family, number)} dev r1 lladdr {mac('s0').hex(':')} nud permanent"
                _ip(words, self.router)

    def _end(self, port: str) -> str:
        queues = os.cpu_count()
        return (
            f"name {port} index {PORTS[port]} numtxqueues {queues} numrxqueues {queues} "
            f"netns {self.owner(port)} address {mac(port).hex(':')}"
        )


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """The namespaces for the time of a block."""
    number = f"bench{os.getpid()}d{next(NUMBERS)}"
    made = Place(*(f"{number}{letter}" for letter in "grs"))
    names = (made.router, made.sender, made.sink)
    try:
        for name in names:
            namespaces.create(name)
        namespaces.set_sysctls(made.router, ROUTING)
        made.lay()
        yield made
    finally:
        for name in names:
            namespaces.delete(name)


def _ip(words: str, name: str | None = None) -> None:
    command = ["ip", *(["-n", name] if name else []), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {words}: {done.stderr.strip()}", mend="benches of the datapath need root")
