"""`bgpbridge run` as an operator meets it on a bad day: what it refuses, in which words, and what outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpbridge.api.client import Client
from bgpbridge.datapath.pins import layout_folder
from bgpbridge.errors import UnreachableError

pytestmark = pytest.mark.root

WAIT_S = 40.0
TEXT = """
router: {{asn: 65000, router_id: 192.0.2.1}}
datapath: {{interfaces: [near0], pin_path: {folder}/bpf/bb, max_ipv4: {size}, max_ipv6: 2048{more}}}
runtime: {{directory: {folder}/run}}
http: {http}
peers: [{{name: far, address: 192.0.2.2, asn: 65001, import: accept}}]
"""


class Daemon:
    """A daemon in the near namespace, with files and a bpffs of its own."""

    def __init__(self, pair: Any, folder: Path) -> None:
        self.pair, self.folder = pair, folder
        self.path, self.log = folder / "bgpbridge.yaml", folder / "log"
        self.client = Client(folder / "run" / "control.sock")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.write()

    def write(self, *, size: int = 2048, more: str = "", http: str = "null") -> None:
        text = TEXT.format(folder=self.folder, size=size, more=more, http=http)
        self.path.write_text(text, encoding="utf-8")

    def words(self, *before: str) -> list[str]:
        enter = ["nsenter", f"--net=/run/netns/{self.pair.near}", "--", *before]
        return [*enter, sys.executable, "-m", "bgpbridge", "run", "-c", str(self.path)]

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """Start, and wait until it answers."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(self.words(*before), stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        self.until(lambda: self.status(process))
        return process

    def status(self, process: subprocess.Popen[bytes]) -> Any:
        assert process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/v1/status")
        except UnreachableError:
            return None

    def until(self, holds: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + WAIT_S
        while not (found := holds()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return found

    def refused(self, code: int) -> str:
        """Run a daemon that must end by itself; what it said."""
        done = subprocess.run(self.words(), capture_output=True, text=True, check=False, timeout=WAIT_S)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(WAIT_S)

    def xdp(self) -> bool:
        return "xdp" in self.pair.ip("link show dev near0")

    def events(self, kind: str) -> list[str]:
        return [event["text"] for event in self.client.get("/v1/events", {"limit": "500"}) if event["kind"] == kind]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.stop(process)
        text = self.log.read_text() if self.log.exists() else ""
        subprocess.run(["umount", "-l", str(self.folder / "bpf")], check=False)
        assert "Traceback" not in text


@contextlib.contextmanager
def installed(pair: Any, folder: Path) -> Iterator[Daemon]:
    (folder / "bpf").mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder / "bpf")], check=True)
    made = Daemon(pair, folder)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def daemon(pair: Any, tmp_path: Path) -> Iterator[Daemon]:
    """One that is not started yet."""
    with installed(pair, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def lasting(lasting_pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that runs, beside pins of a layout that is not ours, for those who try to disturb it."""
    with installed(lasting_pair, tmp_path_factory.mktemp("lasting")) as made:
        (made.folder / "bpf" / "bb" / "v4711").mkdir(parents=True)
        made.start()
        yield made


@pytest.fixture
def running(lasting: Daemon) -> Iterator[Daemon]:
    """The lasting daemon, with its own configuration; still the same process at the end."""
    yield lasting
    lasting.write()
    assert lasting.status(lasting.processes[0])


def below(pid: int) -> list[int]:
    """All processes under one."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(word) for word in path.read_text().split()] if path.exists() else []
    return children + [deeper for child in children for deeper in below(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_a_stopped_daemon_leaves_is_adopted_made_anew_or_refused_in_words(daemon: Daemon) -> None:
    process = daemon.start()
    children = below(process.pid)
    assert daemon.stop(process) == 0
    assert not any(map(alive, children))
    assert daemon.xdp()
    pins = layout_folder(daemon.folder / "bpf" / "bb")
    assert pins.is_dir()

    daemon.write(size=4096)
    process = daemon.start()
    assert "lpm4 is not laid out as ours: entries 2048, expected 4096" in daemon.events("maps-remade")[0]
    assert daemon.xdp()
    assert daemon.stop(process) == 0

    process = daemon.start()
    assert "adopted" in daemon.events("xdp-attached")[0]
    assert not daemon.events("maps-remade")
    assert daemon.stop(process) == 0

    (pins / "groups").unlink()
    said = daemon.refused(1)
    assert "groups is missing beside its sisters" in said
    assert "bgpbridge clear" in said


def test_a_second_daemon_is_refused_and_the_first_goes_on(running: Daemon) -> None:
    process = running.processes[0]
    said = running.refused(2)
    assert f"another bgpbridge (process {process.pid}) already runs" in said
    assert running.status(process)


def test_a_second_daemon_with_other_folders_but_the_same_protocol_is_refused(running: Daemon) -> None:
    process, folder = running.processes[0], running.folder
    text = running.path.read_text().replace(f"{folder}/run", f"{folder}/other").replace("/bpf/bb", "/bpf/other")
    running.path.write_text(text, encoding="utf-8")
    said = running.refused(2)
    assert f"another bgpbridge (process {process.pid}) holds the kernel's routes of protocol 203" in said
    assert "kernel.nexthop_id_base" in said
    clear = [*running.words()[:-3], "clear", "-c", str(running.path)]
    cleared = subprocess.run(clear, capture_output=True, text=True, check=False, timeout=60)
    assert cleared.returncode == 2, cleared.stderr
    assert "holds the kernel's routes" in cleared.stderr
    assert running.status(process)


def test_a_reload_of_a_broken_file_keeps_the_old_state(running: Daemon) -> None:
    process = running.processes[0]
    before = running.status(process)["process"]
    for text in ("", "router: {asn: 65000", "router: {asn: 65000, router_id: 192.0.2.1, colour: red}"):
        running.path.write_text(text, encoding="utf-8")
        count = len(running.events("reload-refused"))
        process.send_signal(signal.SIGHUP)
        running.until(lambda count=count: len(running.events("reload-refused")) > count)
    assert running.status(process)["process"] == before
    assert [peer["name"] for peer in running.client.get("/v1/peers")] == ["far"]
    running.write()
    process.send_signal(signal.SIGHUP)
    running.until(lambda: running.events("reloaded"))


def test_pins_of_another_layout_are_told_of_and_go_when_nothing_reads_them(running: Daemon) -> None:
    assert "packets go by the kernel until" in running.events("other-layout")[0]
    assert not (running.folder / "bpf" / "bb" / "v4711").is_dir()


def test_a_killed_supervisor_leaves_no_orphans_and_no_lock(daemon: Daemon) -> None:
    process = daemon.start()
    daemon.until(lambda: len(below(process.pid)) >= 2)
    children = below(process.pid)
    process.kill()
    process.wait()
    daemon.until(lambda: not any(map(alive, children)))
    assert daemon.xdp()
    daemon.start()


def test_an_http_port_that_is_taken_is_said(daemon: Daemon) -> None:
    daemon.write(http="{port: 9479}")

    async def take() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 9479))
            taken.listen()
            said = daemon.refused(1)
        assert "HTTP cannot listen on 127.0.0.1 port 9479" in said
        assert "mend: set another http.port" in said

    daemon.pair.inside(take)


def test_without_bcc_the_program_comes_ahead_of_time_through_libbpf(daemon: Daemon) -> None:
    bcc = "/usr/lib/python3/dist-packages/bcc"
    if not Path(bcc).is_dir():
        pytest.skip(f"no {bcc} to hide")
    process = daemon.start("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {bcc} && exec "$@"', "sh")
    [text] = daemon.events("datapath-loaded")
    assert text.startswith("by libbpf")
    assert "because BCC is not installed" in text
    assert daemon.status(process)["loader"] == "libbpf"
    assert daemon.xdp()


def test_forward_rules_refuse_unless_told_otherwise(daemon: Daemon) -> None:
    rules = "table inet filter { chain forward { type filter hook forward priority 0; ip daddr 203.0.113.9 drop; }; }"
    enter = ["nsenter", f"--net=/run/netns/{daemon.pair.near}", "--"]
    subprocess.run([*enter, "nft", "-f", "-"], input=rules, text=True, check=True)
    said = daemon.refused(1)
    assert "netfilter rules on FORWARD would be bypassed by XDP" in said
    assert "datapath.allow_netfilter_bypass: true" in said
    assert not daemon.xdp()
    daemon.write(more=", allow_netfilter_bypass: true")
    daemon.start()
    assert daemon.xdp()


def test_sigterm_during_the_start_ends_it_and_leaves_nobody(daemon: Daemon) -> None:
    for wait_s in (0.2, 0.8, 1.4):
        process = subprocess.Popen(daemon.words(), stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(wait_s)
        children = below(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) in (0, -signal.SIGTERM)
        daemon.until(lambda children=children: not any(map(alive, children)))
    daemon.start()


def test_without_root_it_says_so(daemon: Daemon) -> None:
    if not os.access(sys.executable, os.X_OK):
        pytest.skip("another user cannot run this Python")
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "bgpbridge", "run"]
    daemon.folder.chmod(0o755)
    text = "router: {asn: 65000, router_id: 192.0.2.1}\n"
    with open(f"/tmp/bb{os.getpid()}.yaml", "w", encoding="utf-8") as file:  # noqa: PTH123 - readable by anyone
        file.write(text)
    try:
        done = subprocess.run([*words, "-c", file.name], capture_output=True, text=True, check=False, timeout=WAIT_S)
    finally:
        Path(file.name).unlink()
    assert done.returncode == 1, done.stderr
    assert "bgpbridge run needs root" in done.stderr
    assert "use sudo" in done.stderr
