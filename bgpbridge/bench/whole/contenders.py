"""The five that a whole table is given to, and how each is started on the edge of a rig and taken away again.

GoBGP installs routes through Debian's zebra, ExaBGP through `ip -batch` (`exabgp_ip`). What is left in the kernel goes
with the links of both uplinks: taking a million routes out one by one would take longer than loading them.
"""

from __future__ import annotations

import contextlib
import enum
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bgpbridge.api.client import Client
from bgpbridge.bench.rig import FAR_PORTS, Rig, Uplink
from bgpbridge.bench.subjects import Subject
from bgpbridge.bench.whole import configurations
from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces
from bgpbridge.lab.topology import Daemon

__all__ = ["SLOW", "Contender", "Who", "contending"]

ZEBRA: Final = "zebra"
UP_S: Final = 10.0


class Who(enum.StrEnum):
    """A subject, by the name that it has in records."""

    OURS = "bgpbridge"
    BIRD = "bird"
    FRR = "frr"
    GOBGP = "gobgp"
    EXABGP = "exabgp-ip"


SLOW: Final = frozenset({Who.FRR, Who.GOBGP, Who.EXABGP})  # once, where the others run three times
DAEMONS: Final = {
    Who.OURS: Daemon.BGPBRIDGE,
    Who.BIRD: Daemon.BIRD,
    Who.FRR: Daemon.FRR,
    Who.GOBGP: Daemon.GOBGP,
    Who.EXABGP: Daemon.EXABGP,
}


@dataclass(slots=True)
class Contender(Subject):
    """A subject that runs on the edge. `name` is its node."""

    who: Who = Who.OURS
    name: str = ""

    @property
    def ours(self) -> bool:
        """Whether there is an XDP plane to look at, and an audit."""
        return self.who is Who.OURS

    @property
    def folder(self) -> Path:
        """Where its files and sockets are."""
        return self.place.lab.node_folder(self.name)

    @property
    def client(self) -> Client:
        """The bridge's control socket."""
        return Client(self.folder / "control.sock")

    def rests(self, timeout_s: float) -> bool:
        """Wait until it has nothing to do; False when it still has after so long."""
        try:
            self.settle(timeout_s)
        except LabError:
            return False
        return True

    def maps_octets(self) -> int:
        """What the kernel says of the BPF maps that the processes hold, each map once."""
        found: dict[str, int] = {}
        for pid in self.pids:
            for path in Path(f"/proc/{pid}/fdinfo").glob("*"):
                with contextlib.suppress(OSError):
                    words = dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
                    if "map_id" in words:
                        found[words["map_id"]] = int(words.get("memlock", "0"))
        return sum(found.values())


@contextlib.contextmanager
def contending(place: Rig, who: Who, peers: Sequence[Uplink], prefixes: int = 0, text: str = "") -> Iterator[Contender]:
    """A subject with these peers for the time of a block, with a configuration `text` of its own where one is given.
    Nothing of it is left."""
    names = [ZEBRA] if who is Who.GOBGP else []
    try:
        if who is Who.GOBGP:
            _give_loopback_an_address(place)
            place.start(Daemon.FRR, configurations.ZEBRA, ZEBRA)
        socket = place.lab.node_folder(ZEBRA) / "zserv.api"
        names.insert(0, str(who))
        place.start(DAEMONS[who], text or configurations.of(who, peers, socket, prefixes), str(who))
        yield Contender(place, DAEMONS[who], who, str(who))
    finally:
        for name in names:
            place.stop(name)
        _clear(place, place.lab.node_folder(str(who)))


def _give_loopback_an_address(place: Rig) -> None:
    """GoBGP 3.10 takes names of interfaces for 20 octets long where FRR 8.4 writes 16: it refuses to read those with a
    link-layer address, which costs nothing, and panics over one that has none."""
    command = ["ip", "-n", place.inside("edge"), "link", "set", "lo", "address", "02:00:00:00:00:01"]
    subprocess.run(command, check=True, capture_output=True, timeout=10)


def _clear(place: Rig, folder: Path) -> None:
    """Routes and nexthop objects go with the links, the XDP program with its pins."""
    edge, far = place.inside("edge"), place.inside("far")
    pins = folder / "bpf" / "bgpbridge"
    if pins.exists():
        shutil.rmtree(pins)
    for port in FAR_PORTS:
        namespaces.set_link(edge, port, up=False)
    subprocess.run(["ip", "-n", edge, "nexthop", "flush"], capture_output=True, check=False, timeout=120)
    for port in FAR_PORTS:
        namespaces.set_link(edge, port, up=True)
    for port in FAR_PORTS:
        _until_up(edge, port)
        for name in (edge, far):
            namespaces.inside(name, partial(namespaces.tune, port))


def _until_up(name: str, port: str) -> None:
    deadline = time.monotonic() + UP_S
    while namespaces.link_state(name, port) != "up":
        if time.monotonic() > deadline:
            raise LabError(f"{port} of {name} has not come up within {UP_S:.0f} s")
        time.sleep(0.02)
