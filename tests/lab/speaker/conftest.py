"""A speaker in a namespace, routers in others, one cable to each, and what the speaker's lanes have told.

Router n has 10.9.n.2/24 and fd09:n::2/64 towards the speaker's 10.9.n.1 and fd09:n::1.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.config.model import Config
from bgpbridge.feed.frames import Notice, Record, SessionDown, SessionUp, Updates
from bgpbridge.feed.lane import Layout
from bgpbridge.feed.reader import LaneReader
from bgpbridge.lab import namespaces, processes
from bgpbridge.lab.sweep import sweep
from bgpbridge.pipeline.peers import number_peers
from bgpbridge.speaker.launch import SpeakerProcess
from bgpbridge.speaker.render import render

NUMBERS = itertools.count()
FRR = Path("/usr/lib/frr")
MARKER = b"\xff" * 16


class Rig:
    def __init__(self) -> None:
        self.stem = f"bb{os.getpid()}y{next(NUMBERS)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.stem}-"))
        self.folder.chmod(0o755)
        self.started: list[int] = []
        self.routers: list[str] = []
        self.raws: list[RawRouter] = []
        self.index: dict[str, int] = {}
        self.process: SpeakerProcess | None = None
        self.reader: LaneReader | None = None
        self.told: dict[int, list[Record]] = {}
        self.here = f"{self.stem}s"

    # networks and daemons

    def router(self) -> tuple[str, int]:
        """A new namespace with a cable to the speaker's: its name and its number n."""
        number = len(self.routers) + 1
        name = f"{self.stem}r{number}"
        self.routers.append(name)
        namespaces.create(name)
        self.sh(f"ip link add name s{number} netns {self.here} type veth peer name r0 netns {name}")
        for where, link, last in ((self.here, f"s{number}", 1), (name, "r0", 2)):
            self.sh(f"ip -n {where} addr add 10.9.{number}.{last}/24 dev {link}")
            self.sh(f"ip -n {where} addr add fd09:{number}::{last}/64 dev {link} nodad")
            self.sh(f"ip -n {where} link set {link} up")
            self.sh(f"nsenter --net={namespaces.where(where)} ethtool -K {link} tx off", check=False)
        return name, number

    def sh(self, command: str, *, check: bool = True) -> str:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=30, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, name: str, argv: list[str]) -> None:
        log = self.folder / f"{argv[0].rpartition('/')[2]}.log"
        self.started.append(processes.start(argv, namespace=name, log=log))

    def frr(self, name: str, config: str) -> Callable[[str], str]:
        """bgpd and zebra; gives a function that asks vtysh."""
        folder = self.folder / f"{name}-frr"
        folder.mkdir()
        (folder / "bgpd.conf").write_text(config)
        (folder / "vtysh.conf").write_text("")
        shutil.chown(folder, "frr", "frr")
        common = ["-i", f"{folder}/%s.pid", "-z", f"{folder}/zserv.api", "--vty_socket", str(folder), "-P", "0"]
        for daemon in ("zebra", "bgpd"):
            words = [word.replace("%s", daemon) for word in common]
            source = str(folder / "bgpd.conf") if daemon == "bgpd" else "/dev/null"
            self.start(name, [str(FRR / daemon), "-f", source, *words, "--log", "stdout"])
            self.wait_for(lambda daemon=daemon: (folder / f"{daemon}.vty").exists())
        return lambda command: self.sh(f"vtysh --vty_socket {folder} -c '{command}'")

    def bird(self, name: str, config: str) -> Callable[[str], str]:
        folder = self.folder / f"{name}-bird"
        folder.mkdir()
        (folder / "bird.conf").write_text(config)
        control = folder / "bird.ctl"
        self.start(name, ["bird", "-f", "-c", str(folder / "bird.conf"), "-s", str(control), "-P", f"{folder}/pid"])
        self.wait_for(control.exists)
        return lambda command: self.sh(f"birdc -s {control} '{command}'")

    def gobgp(self, name: str, config: str) -> Callable[[str], str]:
        folder = self.folder / f"{name}-gobgp"
        folder.mkdir()
        (folder / "gobgpd.yaml").write_text(config)
        api = folder / "api.sock"
        argv = ["gobgpd", "-f", str(folder / "gobgpd.yaml"), "-t", "yaml", "-p", "--pprof-disable"]
        self.start(name, [*argv, "--api-hosts", f"unix://{api}"])
        self.wait_for(api.exists)
        return lambda command: self.sh(f"gobgp --target unix://{api} {command}")

    @staticmethod
    def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
        """For conditions of other programs' files, which nothing tells us about."""
        until = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until, "waited in vain"
            select.select([], [], [], 0.05)

    # the speaker

    def render(self, config: dict[str, Any], passwords: dict[str, str] | None = None) -> str:
        router = {"asn": 65000, "router_id": "10.9.0.1"}
        made = Config.model_validate({"router": router, **config})
        numbers = self.index = number_peers(made, self.index, 32)
        return render(made, numbers, passwords or {})

    def speaker(self, config: dict[str, Any], passwords: dict[str, str] | None = None, lane_mib: int = 4) -> None:
        layout = Layout(32, lane_mib << 20)
        path = self.folder / "run" / "speaker.conf"
        self.process = SpeakerProcess(path, user="nobody", layout=layout, log_level="debug")
        path.parent.chmod(0o755) if path.parent.exists() else None
        self.process.configure(self.render(config, passwords))
        self.start_speaker()
        self.reader = self.process.handles.reader(from_tail=True)
        self.sender = self.process.handles.sender()

    def start_speaker(self) -> None:
        assert self.process is not None
        namespaces.inside(self.here, self.process.start)

    def collect(self, *, skip: frozenset[int] = frozenset()) -> None:
        """Take what waits in the lanes, but those in `skip`."""
        assert self.reader is not None
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.reader.bell)
        for lane in self.reader.lanes:
            if lane.index not in skip and lane.backlog():
                self.told.setdefault(lane.index, []).extend(lane.take(1 << 30))
                lane.done()

    def until(self, condition: Callable[[], Any], timeout_s: float = 25, *, skip: frozenset[int] = frozenset()) -> Any:
        """Collect until the condition holds."""
        assert self.reader is not None
        end = time.monotonic() + timeout_s
        while True:
            self.collect(skip=skip)
            if found := condition():
                return found
            left = end - time.monotonic()
            assert left > 0, f"waited in vain; told: {self.summary()}; log: {self.log()}"
            select.select([self.reader.bell], [], [], min(left, 0.2))

    def log(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in self.folder.glob("*.log"))

    def summary(self) -> dict[int, list[str]]:
        return {
            number: [
                f"Updates({len(record.data)})" if isinstance(record, Updates) else str(record) for record in records
            ]
            for number, records in self.told.items()
        }

    def events(self, name: str, kind: type[Record]) -> list[Any]:
        return [record for record in self.told.get(self.index[name], []) if isinstance(record, kind)]

    def notices(self) -> list[Notice]:
        return [record for record in self.told.get(0, []) if isinstance(record, Notice)]

    def up(self, name: str, timeout_s: float = 25) -> SessionUp:
        """Wait until the last event of a peer is a SESSION_UP."""

        def is_up() -> Any:
            events = [e for e in self.told.get(self.index[name], []) if isinstance(e, SessionUp | SessionDown)]
            return events[-1] if events and isinstance(events[-1], SessionUp) else None

        found: SessionUp = self.until(is_up, timeout_s)
        return found

    def down(self, name: str, timeout_s: float = 25) -> SessionDown:
        def is_down() -> Any:
            events = [e for e in self.told.get(self.index[name], []) if isinstance(e, SessionUp | SessionDown)]
            return events[-1] if events and isinstance(events[-1], SessionDown) else None

        found: SessionDown = self.until(is_down, timeout_s)
        return found

    def octets(self, name: str) -> bytes:
        """All UPDATE octets of a peer."""
        return b"".join(record.data for record in self.events(name, Updates))

    def raw(self, namespace: str, source: str, target: str) -> RawRouter:
        """A raw router connects, as soon as somebody listens there."""
        found: list[RawRouter] = []

        def attempt() -> bool:
            with contextlib.suppress(ConnectionRefusedError):
                found.append(RawRouter.connect(namespace, source, target))
            return bool(found)

        self.wait_for(attempt)
        self.raws.append(found[0])
        return found[0]

    def remove(self) -> None:
        """All of it, also where a part of that fails."""
        names = [*self.routers, self.here]
        with contextlib.ExitStack() as last:
            last.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for name in names:
                last.callback(namespaces.delete, name)
            if self.process is not None:
                last.callback(self.process.close)
            last.callback(sweep, names)
            if self.reader is not None:
                last.callback(self.reader.close)
                last.callback(self.sender.close)
            if self.process is not None:
                last.callback(self.process.stop, 3)
            for router in self.raws:
                last.callback(router.close)


class RawRouter:
    """A BGP speaker of a few lines, for what real ones never do: floods, silence, odd messages."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(20)
        self.buffer = b""

    @classmethod
    def connect(cls, namespace: str, source: str, target: str, port: int = 179) -> RawRouter:
        def make() -> socket.socket:
            sock = socket.socket()
            try:
                sock.settimeout(20)
                sock.bind((source, 0))
                sock.connect((target, port))
            except BaseException:
                sock.close()
                raise
            return sock

        return cls(namespaces.inside(namespace, make))

    def message(self, kind: int, body: bytes = b"") -> bytes:
        return MARKER + struct.pack("!HB", 19 + len(body), kind) + body

    def send(self, kind: int, body: bytes = b"") -> None:
        self.sock.sendall(self.message(kind, body))

    def receive(self) -> tuple[int, bytes]:
        """The next message: kind and body. (0, b"") at the end."""
        while len(self.buffer) < 19 or len(self.buffer) < struct.unpack_from("!H", self.buffer, 16)[0]:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""  # closed with octets of ours unread: an end as well
            if not data:
                return 0, b""
            self.buffer += data
        length, kind = struct.unpack_from("!HB", self.buffer, 16)
        body, self.buffer = self.buffer[19:length], self.buffer[length:]
        return kind, body

    def expect(self, kind: int) -> bytes:
        """Skip to the next message of a kind."""
        while True:
            found, body = self.receive()
            assert found, f"the connection ended before a message of kind {kind}"
            if found == kind:
                return body

    def open(self, asn: int, hold_time_s: int = 90, capabilities: bytes | None = None) -> None:
        """OPEN, its answer, KEEPALIVE, its answer."""
        if capabilities is None:
            capabilities = bytes.fromhex("010400010001") + bytes.fromhex("0200") + bytes.fromhex("4600")
            capabilities += b"\x41\x04" + struct.pack("!I", asn)
        parameter = bytes([2, len(capabilities)]) + capabilities if capabilities else b""
        body = struct.pack("!BHH4sB", 4, min(asn, 23456), hold_time_s, b"\x0a\x09\xff\x01", len(parameter))
        self.send(1, body + parameter)
        self.expect(1)
        self.send(4)
        self.expect(4)

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        namespaces.create(made.here)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def make_rig() -> Iterator[Callable[[], Rig]]:
    """Makes rigs that stay until the tests of a file are over."""
    with contextlib.ExitStack() as last:

        def make() -> Rig:
            made = Rig()
            last.callback(made.remove)
            namespaces.create(made.here)
            return made

        yield make
