"""Those who are measured: bgpbridge, BIRD and FRR, each with the configuration that does the same and no more.

All listen for two providers and announce nothing. The peers get what their manuals advise for speed: BIRD scans the
kernel's table rarely and has a large netlink buffer, FRR has no advertisement interval.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpbridge.bench.rig import ASN, Rig, bridge_config, uplink
from bgpbridge.errors import LabError
from bgpbridge.lab import processes
from bgpbridge.lab.topology import Daemon

__all__ = ["SUBJECTS", "Subject", "configuration", "running"]

SUBJECTS: Final = (Daemon.BGPBRIDGE, Daemon.BIRD, Daemon.FRR)
PROTOCOLS: Final = {Daemon.BGPBRIDGE: "203", Daemon.BIRD: "bird", Daemon.FRR: "bgp"}
QUIET_SHARE: Final = 0.05
WINDOW_S: Final = 0.4

BIRD_PEER = """
protocol bgp up_{letter} {{
  local {ours} as {asn};
  neighbor {theirs} as {peer};
  passive on; error wait time 1, 1; connect delay time 1;
  ipv4 {{ import all; export none; }};
  {more}
}}
"""
BIRD = """
router id 10.0.0.1;
protocol device {{ scan time 60; }}
protocol kernel {{ scan time 3600; persist off; netlink rx buffer 67108864; ipv4 {{ import none; export all; }}; }}
{peers}
"""
FRR_PEER = """ neighbor {theirs} remote-as {peer}
 neighbor {theirs} passive
 neighbor {theirs} advertisement-interval 0
 neighbor {theirs} route-map nothing out
 {more}
"""
FRR = """frr defaults traditional
route-map nothing deny 10
router bgp {asn}
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
{peers}
"""


def configuration(daemon: Daemon, whole: str = "", each: str = "") -> str:
    """What a subject is started with; for BIRD and FRR `whole` goes before it and `each` to every peer, with `{theirs}`
    for the peer's address."""
    if daemon is Daemon.BGPBRIDGE:
        return bridge_config()
    frame, peer = (BIRD, BIRD_PEER) if daemon is Daemon.BIRD else (FRR, FRR_PEER)
    ups = {letter: uplink(letter) for letter in "ab"}
    peers = [
        peer.format(
            letter=letter, ours=up.ours, theirs=up.theirs, asn=ASN, peer=up.asn, more=each.format(theirs=up.theirs)
        )
        for letter, up in ups.items()
    ]
    return whole + frame.format(asn=ASN, peers="".join(peers))


@dataclass(slots=True)
class Subject:
    """A daemon that runs on the edge of a rig."""

    place: Rig
    daemon: Daemon

    @property
    def pids(self) -> list[int]:
        """All its processes: nothing else runs in the edge's namespace."""
        return processes.in_namespace(self.place.inside("edge"))

    def cpu_ns(self) -> int:
        """Processor time of all its threads so far."""
        total = 0
        for pid in self.pids:
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(task.read_text().split()[0])
        return total

    def mapped_octets(self) -> int:
        """Of `pss_octets`, BPF arrays: the kernel's memory, which stays when the processes end."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                parts = re.split(r"^[0-9a-f]+-[0-9a-f]+ ", Path(f"/proc/{pid}/smaps").read_text(), flags=re.MULTILINE)
                ours = [part for part in parts if "anon_inode:bpf-map" in part.partition("\n")[0]]
                total += sum(int(kib) << 10 for part in ours for kib in re.findall(r"^Pss: +(\d+)", part, re.MULTILINE))
        return total

    def pss_octets(self) -> int:
        """Memory of all its processes, shared pages by their share, BPF arrays that they have mapped among them; not
        what else the kernel has (routes, tries)."""
        return self.weight()[0]

    def weight(self) -> tuple[int, int]:
        """`pss_octets`, and how many of them are shared memory (lanes)."""
        total, shared = 0, 0
        for pid in self.pids:
            with contextlib.suppress(OSError):  # it has just ended
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kib = {name: int(size) for name, size in re.findall(r"^(Pss|Pss_Shmem): +(\d+)", text, re.MULTILINE)}
                total, shared = total + (kib.get("Pss", 0) << 10), shared + (kib.get("Pss_Shmem", 0) << 10)
        return total, shared

    def cpu_share(self, window_s: float) -> float:
        """Processor time over the next `window_s`, as a share of one core."""
        began, before = time.monotonic(), self.cpu_ns()
        time.sleep(window_s)
        return (self.cpu_ns() - before) / 1e9 / (time.monotonic() - began)

    def settle(self, timeout_s: float = 20.0) -> None:
        """Wait until it has nothing to do: under QUIET_SHARE of a core for WINDOW_S."""
        deadline = time.monotonic() + timeout_s
        while self.cpu_share(WINDOW_S) > QUIET_SHARE:
            if time.monotonic() > deadline:
                raise LabError(f"{self.daemon} is not at rest within {timeout_s:.0f} s")


@contextlib.contextmanager
def running(place: Rig, daemon: Daemon, text: str = "") -> Iterator[Subject]:
    """A subject for the time of a block, with a configuration `text` of its own where one is given; of its processes,
    routes and pins nothing is left."""
    name = place.start(daemon, text or configuration(daemon))
    try:
        yield Subject(place, daemon)
    finally:
        place.stop(name)
        for what in (f"route flush protocol {PROTOCOLS[daemon]}", "nexthop flush"):
            command = ["ip", "-n", place.inside("edge"), *what.split()]
            subprocess.run(command, capture_output=True, check=False, timeout=120)
        pins = place.lab.node_folder(name) / "bpf" / "bgpbridge"
        if pins.exists():
            shutil.rmtree(pins)
