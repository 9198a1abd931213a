"""Frames at full rate through a router of namespaces: sender s0 -> r0 router r1 -> k0 sink, all by XDP.

The sender is BPF_PROG_TEST_RUN in live mode (Linux 5.18) over a program that says XDP_TX: the kernel sends one frame
again and again out of s0. The sink counts and drops. So every packet that r0 has received and k0 has not is lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgpbridge.datapath.frames import mac
from bgpbridge.datapath.links import Mode, link_create
from bgpbridge.datapath.syscalls import Command, bpf

S0, R0, R1, K0 = (mac(f"02:00:00:00:00:{n:02x}") for n in (1, 2, 3, 4))
PROG_LOAD, XDP_PROGRAM = 5, 6
DROP, TX = 1, 3
LIVE_FRAMES = 2
HEAD = 36  # octets: Ethernet, IPv4, ports
AT_ONCE = 20_000
HARD_LIMIT = 30_000_000


def verdict_program(verdict: int, head: bytes = b"") -> int:
    """An XDP program that says always the same; `head` (a multiple of 4 octets) is written over each frame first: the
    kernel sends its pages again as the router has left them."""
    end = struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    words = [int.from_bytes(head[at : at + 4], "little", signed=True) for at in range(0, len(head), 4)]
    stores = [struct.pack("=BBhi", 0x62, 2, at * 4, word) for at, word in enumerate(words)]
    check = (
        struct.pack("=BBhi", 0x61, 0x12, 0, 0),  # r2 = data
        struct.pack("=BBhi", 0x61, 0x13, 4, 0),  # r3 = data_end
        struct.pack("=BBhi", 0xBF, 0x24, 0, 0),  # r4 = r2
        struct.pack("=BBhi", 0x07, 4, 0, len(head)),  # r4 += len(head)
        struct.pack("=BBhi", 0x2D, 0x34, len(stores), 0),  # if r4 > r3 skip the stores
    )
    code = b"".join((*check, *stores, end)) if head else end
    octets, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("=IIQQ", XDP_PROGRAM, len(code) // 8, ctypes.addressof(octets), ctypes.addressof(licence))
    return bpf(PROG_LOAD, attr)[0]


def send_live(program: int, frame: bytes, ifindex: int, count: int) -> None:
    """Send a frame `count` times out of an interface of this thread's namespace."""
    data = ctypes.create_string_buffer(frame, len(frame))
    context = ctypes.create_string_buffer(struct.pack("=6I", 0, len(frame), 0, ifindex, 0, 0), 24)
    attr = struct.pack(
        "=IIIIQQIIIIQQIII",
        *(program, 0, len(frame), 0, ctypes.addressof(data), 0, count, 0),
        *(24, 0, ctypes.addressof(context), 0, LIVE_FRAMES, 0, 0),
    )
    bpf(Command.PROG_TEST_RUN, attr)


def gro_on(interface: str) -> None:
    """ETHTOOL_SGRO."""
    value = ctypes.create_string_buffer(struct.pack("=II", 0x2C, 1))
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + bytes(16)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8946, request)


@dataclass
class Path3:
    """The three namespaces, and the frames that go through."""

    sender: Any
    router: Any
    sink: Any
    frame: bytes = b""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def received(self, space: Any, interface: str) -> int:
        with space.inside():
            text = Path("/proc/thread-self/net/dev").read_text()
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{interface}:"))
        return int(line.split(":")[1].split()[1])

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Frames at full rate meanwhile."""
        self._stop.clear()
        thread = threading.Thread(target=self._send, args=(self.sender.index("s0"),))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _send(self, index: int) -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # this thread: all polls in turn on one CPU
        with self.sender.inside():
            program = verdict_program(TX, self.frame[:HEAD])
            for _ in range(HARD_LIMIT // AT_ONCE):
                if self._stop.is_set():
                    break
                send_live(program, self.frame, index, AT_ONCE)
            os.close(program)

    def lost(self) -> tuple[int, int]:
        """(packets that came into the router, those of them that have not come out)."""
        came, until = self.received(self.router, "r0"), time.monotonic() + 2
        while (out := self.received(self.sink, "k0")) < came and time.monotonic() < until:
            time.sleep(0.01)
        return came, came - out


@contextlib.contextmanager
def path_of(spaces: Any) -> Iterator[Path3]:
    """The namespaces, joined; the sink drops by XDP, so that r1 may be redirected to."""
    sender, router, sink = (spaces(name) for name in "srk")
    for space in (sender, router, sink):
        with space.inside():
            for key in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{key}/disable_ipv6").write_text("1\n")  # no packets of its own
    for space, name, peer_space, peer in ((sender, "s0", router, "r0"), (router, "r1", sink, "k0")):
        space.ip(f"link add {name} type veth peer name {peer} netns {peer_space.name}")
    macs = {"s0": (sender, S0), "r0": (router, R0), "r1": (router, R1), "k0": (sink, K0)}
    with router.inside():
        gro_on("r0")  # else a veth without native XDP takes no frames from XDP
    with ExitStack() as held:
        for name, (space, address) in macs.items():
            space.ip(f"link set {name} address {address.hex(':')} arp off")
            space.ip(f"link set {name} up")
        for space, name in ((sink, "k0"), (sender, "s0")):
            with space.inside():
                program = verdict_program(DROP)
                link, code = link_create(program, space.index(name), Mode.NATIVE)
                assert not code
                held.callback(os.close, link)
                os.close(program)
        yield Path3(sender, router, sink)
