"""BIRD alone in a namespace, one BGP session over its loopback: what its filters say of a table, and how long it
takes over it. No routes reach a kernel. Next hops are looked up in an empty table, not in the one that they fill."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgpbridge.bench.tester import Router, Tester
from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces, processes

__all__ = ["BirdAlone", "bird_alone"]

HERE, FEEDER = "127.0.0.1", "127.0.0.2"
START_S: Final = 10.0
LOOK_S: Final = 0.01
NUMBERS = itertools.count()

CONFIG = """
log stderr {{ warning, error, fatal, bug }};
router id 192.0.2.250;
{filters}
ipv4 table nothing;
protocol device {{ scan time 3600; }}
protocol bgp feed {{
  local {here} as {asn};
  neighbor {feeder} as {asn};
  multihop; passive on; hold time 240;
  ipv4 {{ {import_}; export none; gateway recursive; igp table nothing; }};
}}
"""


@dataclass(slots=True)
class BirdAlone:
    """A running BIRD. `asn` is that of both ends of its one session (iBGP)."""

    namespace: str
    folder: Path
    asn: int

    def ask(self, command: str, timeout_s: float = 60.0) -> str:
        """What BIRD answers on its control socket, the codes taken off. Raises LabError when it refuses."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as control:
            control.settimeout(timeout_s)
            control.connect(str(self.folder / "bird.ctl"))
            stream = control.makefile("rw", encoding="utf-8")
            stream.readline()  # 0001 BIRD 2.x ready.
            stream.write(f"{command}\n")
            stream.flush()
            return "\n".join(_answer(stream, command))

    def configure(self, filters: str, import_: str) -> None:
        """Another configuration; returns when BIRD says that it is on its way."""
        path = self.folder / "bird.conf"
        path.write_text(CONFIG.format(filters=filters, import_=import_, here=HERE, feeder=FEEDER, asn=self.asn))
        if (self.folder / "bird.ctl").exists():
            self.ask(f'configure "{path}"')

    def feed(self, table: bytes) -> Tester:
        """A neighbour that announces this table, not started yet."""
        here, feeder = map(ipaddress.ip_address, (HERE, FEEDER))
        return Tester(Router(self.asn, feeder, here), self.namespace, table=table)

    def routes(self) -> tuple[int, int]:
        """How many routes its filter takes, and how many it refuses and keeps aside (0 without `keep filtered`)."""
        said = self.ask("show protocols all feed")
        found = re.search(r"Routes:\s+(\d+) imported,(?: (\d+) filtered,)?", said)
        return (int(found[1]), int(found[2] or 0)) if found else (0, 0)

    def updates(self) -> int:
        """How many announcements it has judged since the session began."""
        found = re.search(r"Import updates:\s+(\d+)", self.ask("show protocols all feed"))
        return int(found[1]) if found else 0

    def until(self, holds: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Look again and again. Raises LabError with `what` has not come."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise LabError(f"BIRD: {what} within {timeout_s:.0f} s")
            time.sleep(LOOK_S)


def _answer(stream: Iterator[str], command: str) -> Iterator[str]:
    """Lines of one reply: a code and `-` or a blank before each, a blank alone for the code of the line before."""
    for line in stream:
        text = line.rstrip("\n")
        if text.startswith(" "):
            yield text[1:]
            continue
        code, more, said = text[:4], text[4:5], text[5:]
        if code >= "8000":
            raise LabError(f"BIRD refuses `{command}`: {said}")
        if said:
            yield said
        if more == " ":
            return
    raise LabError(f"BIRD hung up on `{command}`")


@contextlib.contextmanager
def bird_alone(asn: int, filters: str, import_: str) -> Iterator[BirdAlone]:
    """BIRD for the time of a block; nothing is left of it. `import_` is the channel's import clause and options."""
    name = f"bb-bird{os.getpid()}x{next(NUMBERS)}"
    with tempfile.TemporaryDirectory(prefix="bgpbridge-bird-") as text:
        folder = Path(text)
        bird = BirdAlone(name, folder, asn)
        bird.configure(filters, import_)
        namespaces.create(name)
        try:
            argv = ["bird", "-f", "-c", str(folder / "bird.conf"), "-s", str(folder / "bird.ctl")]
            log = folder / "bird.log"
            pid = processes.start([*argv, "-P", str(folder / "bird.pid")], namespace=name, log=log)
            try:
                _ready(bird, pid, log)
                yield bird
            finally:
                _end(pid)
        finally:
            namespaces.delete(name)


def _ready(bird: BirdAlone, pid: int, log: Path) -> None:
    def there() -> bool:
        if processes.exit_code(pid) is not None:
            raise LabError(f"BIRD ended: {log.read_text().strip()}")
        return (bird.folder / "bird.ctl").exists()

    bird.until(there, START_S, "no control socket")


def _end(pid: int) -> None:
    """SIGKILL: there is nothing to save, and tearing a table down takes seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
