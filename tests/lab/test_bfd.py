"""BFD with real neighbours: FRR's bfdd and BIRD, each in a namespace behind a veth, and a cut that the link hides."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgpbridge.errors import BridgeError, UsageError
from bgpbridge.health.bfd import Bfd
from bgpbridge.health.bfd_engine import BfdPeer, Key
from bgpbridge.health.bfd_packet import BfdState, ControlPacket, encode
from bgpbridge.health.bfd_timers import BfdTimers
from bgpbridge.health.bfd_words import BfdStatus

from .conftest import Pair, enter

pytestmark = [pytest.mark.root, pytest.mark.alone]

QUICK = BfdTimers(50_000, 50_000, 3)
V4 = BfdPeer("near0", ip_address("192.0.2.1"), ip_address("192.0.2.2"), QUICK)
V6 = BfdPeer("near0", ip_address("2001:db8::1"), ip_address("2001:db8::2"), QUICK)
LINK_LOCAL = BfdPeer("near0", ip_address("fe80::1"), ip_address("fe80::2"), QUICK)
FRR = Path("/usr/lib/frr")
FRR_PEER = """
  peer {peer} local-address {local} interface far0
    receive-interval 50
    transmit-interval 50
    detect-multiplier 3
"""
BIRD_CONF = """
log stderr all;
protocol device {}
protocol bfd {
  interface "far0" { interval 50 ms; multiplier 3; };
  neighbor 192.0.2.1 dev "far0" local 192.0.2.2;
  neighbor 2001:db8::1 dev "far0" local 2001:db8::2;
}
"""


class Neighbour:
    """A daemon on the far side. `admin_down` and `states` speak its own language."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self.pair, self.folder = pair, folder
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, words: list[str]) -> None:
        command = ["nsenter", f"--net=/run/netns/{self.pair.far}", "--", *words]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


class Frr(Neighbour):
    when_disabled = ("neighbour-said-down", False)

    def start(self) -> None:
        self.folder.chmod(0o777)
        config = self.folder / "frr.conf"
        peers = [FRR_PEER.format(peer=f"{net}1", local=f"{net}2") for net in ("192.0.2.", "2001:db8::")]
        config.write_text("bfd\n" + "\n".join(peers))
        zserv = str(self.folder / "zserv.api")
        for name, more in (("zebra", []), ("bfdd", ["--bfdctl", str(self.folder / "bfdd.sock")])):
            words = [str(FRR / name), "-d", "-f", str(config if name == "bfdd" else os.devnull), "-P", "0", "-z", zserv]
            words += ["-i", str(self.folder / f"{name}.pid"), "--vty_socket", str(self.folder), *more]
            subprocess.run(["nsenter", f"--net=/run/netns/{self.pair.far}", "--", *words], check=True, timeout=20)

    def vtysh(self, *commands: str) -> str:
        words = ["vtysh", "--vty_socket", str(self.folder), *(w for c in commands for w in ("-c", c))]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout

    def states(self) -> dict[str, str]:
        peers = json.loads(self.vtysh("show bfd peers json"))
        return {peer["peer"]: peer["status"] for peer in peers}

    def intervals(self, tx_ms: int, rx_ms: int) -> None:
        self.vtysh(
            "conf t", "bfd", "peer 192.0.2.1 local-address 192.0.2.2 interface far0",
            f"transmit-interval {tx_ms}", f"receive-interval {rx_ms}",
        )  # fmt: skip

    def admin(self, *, down: bool) -> None:
        self.vtysh(
            "conf t", "bfd", "peer 192.0.2.1 local-address 192.0.2.2 interface far0",
            "shutdown" if down else "no shutdown",
        )  # fmt: skip

    def stop(self) -> None:
        for name in ("bfdd", "zebra"):
            path = self.folder / f"{name}.pid"
            if path.exists():
                os.kill(int(path.read_text()), signal.SIGTERM)


class Bird(Neighbour):
    when_disabled = ("detection-time-expired", True)  # it says nothing and falls silent

    def start(self) -> None:
        self.configure(BIRD_CONF)
        self.launch(["bird", "-f", "-c", str(self.folder / "bird.conf"), "-s", str(self.folder / "ctl")])

    def configure(self, text: str) -> None:
        (self.folder / "bird.conf").write_text(text)

    def birdc(self, *words: str) -> str:
        command = ["birdc", "-s", str(self.folder / "ctl"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout

    def states(self) -> dict[str, str]:
        found = re.findall(r"^(\S+)\s+far0\s+(\w+)", self.birdc("show", "bfd", "sessions"), re.MULTILINE)
        return {peer: state.lower() for peer, state in found}

    def intervals(self, tx_ms: int, rx_ms: int) -> None:
        self.configure(BIRD_CONF.replace("interval 50 ms", f"min tx interval {tx_ms} ms; min rx interval {rx_ms} ms"))
        self.birdc("configure")

    def admin(self, *, down: bool) -> None:
        self.birdc("disable" if down else "enable", "bfd1")


class Watch:
    """What the sessions say; `until` waits for it."""

    def __init__(self) -> None:
        self.latest: dict[Key, BfdStatus] = {}
        self.all: list[BfdStatus] = []
        self.heard = asyncio.Event()

    def __call__(self, status: BfdStatus) -> None:
        self.latest[status.interface, status.peer] = status
        self.all.append(status)
        self.heard.set()

    async def until(self, key: Key, holds: Callable[[BfdStatus], bool]) -> BfdStatus:
        async with asyncio.timeout(20):
            while key not in self.latest or not holds(self.latest[key]):
                self.heard.clear()
                await self.heard.wait()
        return self.latest[key]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 -- it is another process that is asked
            await asyncio.sleep(0.05)


def drop(pair: Pair, *, on: bool) -> None:
    """Packets are lost both ways and the link does not know: each side sends to a MAC address that nobody has."""
    for where, link, last in ((pair.far, "far0", 1), (pair.near, "near0", 2)):
        for address in (f"192.0.2.{last}", f"2001:db8::{last}"):
            if on:
                pair.ip(f"neigh replace {address} lladdr 02:00:00:00:de:ad dev {link} nud permanent", where)
            else:
                pair.ip(f"neigh del {address} dev {link}", where)


@pytest.fixture(params=[Frr, Bird])
def neighbour(
    request: pytest.FixtureRequest, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Frr | Bird]:
    folder = tmp_path_factory.mktemp("far")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    made: Frr | Bird = request.param(pair, folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_up_changed_cut_held_and_back(pair: Pair, neighbour: Frr | Bird) -> None:
    async def scenario() -> None:
        watch = Watch()
        bfd = Bfd(watch)
        await bfd.start()
        for peer in (V4, V6):
            await bfd.add(peer)
        for peer in (V4, V6):
            await watch.until(peer.key, lambda status: status.up)

        async def settled() -> bool:
            shown = await bfd.sessions()
            return all((one.transmit_us, one.detect_us) == (50_000, 150_000) for one in shown)

        await eventually(settled)
        assert set(neighbour.states().values()) == {"up"}

        # Other intervals on either side: the session stays, both sides take them.
        told = len(watch.all)
        await bfd.change(V4.key, BfdTimers(80_000, 120_000, 5))
        neighbour.intervals(100, 70)

        async def changed() -> bool:
            shown = {one.peer: one for one in await bfd.sessions()}[str(V4.peer)]
            return (shown.transmit_us, shown.detect_us) == (80_000, 360_000)

        await eventually(changed)
        assert watch.all[told:] == []
        await bfd.change(V4.key, QUICK)
        neighbour.intervals(50, 50)
        await eventually(settled)

        # A cut that no link shows.
        cut_us = time.monotonic_ns() // 1000
        await asyncio.to_thread(drop, pair, on=True)
        for peer in (V4, V6):
            down = await watch.until(peer.key, lambda status: status.state == "down")
            assert (down.diagnostic, down.failed) == ("detection-time-expired", True)
            print(f"{peer.peer}: cut found {(down.at_us - cut_us) / 1000:.1f} ms after it was begun,", end=" ")
            print(f"after {down.detection_us / 1000:.1f} ms of silence")
        await asyncio.to_thread(drop, pair, on=False)
        for peer in (V4, V6):
            await watch.until(peer.key, lambda status: status.up)

        # AdminDown: theirs, then ours.
        neighbour.admin(down=True)
        theirs = await watch.until(V4.key, lambda status: status.state == "down")
        assert (theirs.diagnostic, theirs.failed) == neighbour.when_disabled
        neighbour.admin(down=False)
        await watch.until(V4.key, lambda status: status.up)
        await bfd.hold(V4.key, down=True)

        async def seen() -> bool:
            return neighbour.states()[str(V4.local)] == "down"

        await eventually(seen)
        await bfd.hold(V4.key, down=False)
        await watch.until(V4.key, lambda status: status.up)
        assert await bfd.refused() == {}
        await bfd.stop()

    pair.inside(scenario)


def test_a_process_that_dies_is_no_failure_of_a_path(pair: Pair, neighbour: Frr | Bird) -> None:
    async def scenario() -> None:
        watch = Watch()
        bfd = Bfd(watch)
        await bfd.start()
        await bfd.add(V4)
        await watch.until(V4.key, lambda status: status.up)
        os.kill(bfd.pid, signal.SIGKILL)
        unknown = await watch.until(V4.key, lambda status: not status.known)
        assert (unknown.up, unknown.failed) == (False, False)
        await watch.until(V4.key, lambda status: status.up)
        assert bfd.starts == 2
        await bfd.stop()

    pair.inside(scenario)


def forged(pair: Pair, packet: bytes, *, ttl: int, source: str, port: int = 50_000) -> None:
    """Send a control packet from the far side, by hand."""

    def work() -> None:
        enter(pair.far)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sender.bind((source, port))
            sender.sendto(packet, ("192.0.2.1", 3784))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_what_is_refused_is_counted_or_never_seen(pair: Pair) -> None:
    down = encode(ControlPacket(BfdState.DOWN, 5, 0, 1_000_000, 50_000, 3))
    pair.ip("addr add 192.0.2.9/24 dev far0", pair.far)

    async def scenario() -> None:
        watch = Watch()
        bfd = Bfd(watch)
        await bfd.start()
        await bfd.add(V4)
        for ttl, source in ((254, "192.0.2.2"), (255, "192.0.2.9")):  # the kernel drops these for us
            await asyncio.to_thread(forged, pair, down, ttl=ttl, source=source)
        for state, discriminator in ((BfdState.UP, 6), (BfdState.INIT, 0)):  # and these: not what we told the peer
            wrong = encode(ControlPacket(state, 5, discriminator, 50_000, 50_000, 3))
            await asyncio.to_thread(forged, pair, wrong, ttl=255, source="192.0.2.2")
        await asyncio.to_thread(forged, pair, b"\x40" + down[1:], ttl=255, source="192.0.2.2")

        async def counted() -> bool:
            return await bfd.refused() == {"version": 1}

        await eventually(counted)
        assert watch.all == []
        await asyncio.to_thread(forged, pair, down, ttl=255, source="192.0.2.2")
        await watch.until(V4.key, lambda status: status.state == "init")
        await bfd.stop()

    pair.inside(scenario)


def test_what_cannot_be_had_says_why(pair: Pair) -> None:
    async def scenario() -> None:
        bfd = Bfd(Watch())
        await bfd.start()
        for wrong, said in (
            (replace(V4, interface="nowhere"), "nowhere"),
            (replace(V4, local=ip_address("192.0.2.77")), "192.0.2.77"),
        ):
            with pytest.raises(BridgeError, match=said):
                await bfd.add(wrong)
        await bfd.add(V4)
        with pytest.raises(UsageError, match="there already"):
            await bfd.add(V4)
        with pytest.raises(UsageError, match="no such session"):
            await bfd.remove(V6.key)
        await bfd.add(LINK_LOCAL)
        await bfd.remove(V4.key)
        other = Bfd(Watch())
        await other.start()
        with pytest.raises(BridgeError, match="3784"):
            await other.add(replace(LINK_LOCAL, timers=BfdTimers()))
        await other.stop()
        await bfd.stop()

    pair.inside(scenario)


def test_two_of_ours_over_link_local_addresses(pair: Pair) -> None:
    theirs = BfdPeer("far0", LINK_LOCAL.peer, LINK_LOCAL.local, QUICK, passive=True)

    async def far(ready: threading.Event, over: threading.Event) -> None:
        bfd = Bfd(Watch())
        await bfd.start()
        await bfd.add(theirs)
        ready.set()
        await asyncio.to_thread(over.wait, 40)
        await bfd.stop()

    async def near() -> None:
        watch = Watch()
        bfd = Bfd(watch)
        await bfd.start()
        await bfd.add(LINK_LOCAL)
        await watch.until(LINK_LOCAL.key, lambda status: status.up)
        over.set()  # the other ends its session: AdminDown, which is no failure
        down = await watch.until(LINK_LOCAL.key, lambda status: status.state == "down")
        assert (down.remote_state, down.failed) == ("admin-down", False)
        await bfd.stop()

    ready, over = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(pair.inside, lambda: far(ready, over), pair.far)
        assert ready.wait(20)
        try:
            pair.inside(near)
        finally:
            over.set()
        done.result()
