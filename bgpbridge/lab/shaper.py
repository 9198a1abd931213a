"""A cable that is long, or bad: a node of a lab that carries frames between two of its interfaces and delays or loses
some, as it is told while it runs. For kernels without netem.

    python -m bgpbridge.lab.shaper run SOCKET eth1 eth2          in the namespace of the node
    python -m bgpbridge.lab.shaper shape SOCKET --delay-ms 25 --loss-percent 20 [--towards eth2]

In a topology it is a node with `BGPBRIDGE_NODE: wire` between two others; `shape --delay-ms 25` is then a command of
that node. Delay and loss are those of each direction, so a round trip takes twice the delay. Frames keep their order.
Carrier is not carried: a cable that is pulled on one side stays up on the other, as behind a switch.

Frames pass through packet sockets (packet(7)) with the virtio header, so that what the kernel has merged (GRO) or left
to be cut (TSO) passes whole. Up to some 20,000 frames a second; VLAN tags are not carried.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["Direction", "Shape", "change", "main", "serve"]

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23  # include/uapi/linux/if_packet.h
ETH_P_ALL = 3
LARGEST = 1 << 17  # octets of a frame that was merged, with room
BATCH = 64
QUEUED_MOST = 20_000
BUFFER = 4 << 20
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Shape:
    """What is done to the frames of one direction: each is late by `delay_ms`, give or take `jitter_ms`."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.delay_ms <= 10_000 and 0 <= self.jitter_ms <= 10_000):
            raise ValueError("delay and jitter are 0 to 10000 ms")
        if not 0 <= self.loss_percent <= 100:
            raise ValueError("loss is 0 to 100 percent")


@dataclass(slots=True)
class Direction:
    """Frames on their way to one interface. Pure: frames and times are handed in. `dropped` counts what was lost by
    order, `overflowed` what the queue had no room for."""

    shape: Shape = Shape()
    rng: random.Random = field(default_factory=random.Random)
    carried: int = 0
    dropped: int = 0
    overflowed: int = 0
    _queue: deque[tuple[float, bytes]] = field(default_factory=deque)

    def put(self, frame: bytes, now_s: float) -> None:
        """A frame that has come in."""
        if self.rng.random() * 100 < self.shape.loss_percent:
            self.dropped += 1
        elif len(self._queue) >= QUEUED_MOST:
            self.overflowed += 1
        else:
            late_ms = self.shape.delay_ms + self.rng.uniform(-1, 1) * self.shape.jitter_ms
            due = now_s + max(0.0, late_ms) / 1000
            self._queue.append((max(due, self._queue[-1][0]) if self._queue else due, frame))

    def due_s(self) -> float | None:
        """When the next frame has to go; None when there is none."""
        return self._queue[0][0] if self._queue else None

    def take(self, now_s: float) -> Iterator[bytes]:
        """The frames that have to go by now, in the order in which they came."""
        while self._queue and self._queue[0][0] <= now_s:
            self.carried += 1
            yield self._queue.popleft()[1]


def _opened(interface: str) -> socket.socket:
    """A packet socket that hears what comes in by an interface and nothing that goes out."""
    quiet = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    if quiet.exists():
        quiet.write_text("1")  # a cable has no address, and says nothing of its own
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    opened.bind((interface, ETH_P_ALL))
    return opened


class _Wire:
    """Two interfaces, a direction to each, and the socket by which it is told."""

    def __init__(self, interfaces: Sequence[str], control: socket.socket) -> None:
        self.control = control
        self.ends = {_opened(name): name for name in interfaces}
        one, other = self.ends
        self.across = {one: other, other: one}
        self.towards = {end: Direction() for end in self.ends}

    def run(self) -> None:
        """Carry frames until the process ends."""
        while True:
            due = [at for at in (direction.due_s() for direction in self.towards.values()) if at is not None]
            wait = max(0.0, min(due) - time.monotonic()) if due else None
            ready, _, _ = select.select([self.control, *self.ends], [], [], wait)
            for heard in ready:
                if heard is self.control:
                    self._told()
                else:
                    self._hear(heard)
            for end, direction in self.towards.items():
                for frame in direction.take(time.monotonic()):
                    with contextlib.suppress(OSError):  # no carrier, or no room: lost, as on any cable
                        end.send(frame)

    def _hear(self, end: socket.socket) -> None:
        direction = self.towards[self.across[end]]
        with contextlib.suppress(OSError):  # nothing left; or the link was set down, which is told once
            for _ in range(BATCH):
                direction.put(end.recv(LARGEST), time.monotonic())

    def _told(self) -> None:
        client, _ = self.control.accept()
        with client, contextlib.suppress(OSError):
            client.settimeout(ANSWER_S)
            client.send(json.dumps(self._change(json.loads(client.recv(4096)))).encode())

    def _change(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Set what is named, for the direction that is named or for both; the whole state."""
        only = wanted.pop("towards", None)
        if only is not None and only not in self.ends.values():
            return {"error": f"{only} is no interface of this wire: " + ", ".join(self.ends.values())}
        try:
            shapes = {
                end: replace(self.towards[end].shape, **wanted)
                for end, name in self.ends.items()
                if only in (None, name)
            }
        except (TypeError, ValueError) as error:
            return {"error": str(error)}
        for end, shape in shapes.items():
            self.towards[end].shape = shape
        return {name: self._state(self.towards[end]) for end, name in self.ends.items()}

    @staticmethod
    def _state(direction: Direction) -> dict[str, Any]:
        counted = {name: getattr(direction, name) for name in ("carried", "dropped", "overflowed")}
        return {**asdict(direction.shape), **counted}


def serve(path: Path, interfaces: Sequence[str]) -> None:
    """Be the wire between two interfaces of this namespace; told by the socket at `path`. Does not return."""
    unready = path.with_suffix(".new")
    unready.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as control:
        control.bind(str(unready))
        control.listen(8)
        wire = _Wire(interfaces, control)
        unready.rename(path)  # who sees the file can connect, and frames are carried
        wire.run()


def change(path: Path, **wanted: float | str) -> dict[str, Any]:
    """Tell a wire: `delay_ms`, `jitter_ms`, `loss_percent`, and `towards` for one direction only. What is not named
    stays. The state of both directions, by the interface that each leads to. Raises OSError, ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as asker:
        asker.settimeout(ANSWER_S)
        asker.connect(str(path))
        asker.send(json.dumps(wanted).encode())
        state: dict[str, Any] = json.loads(asker.recv(4096))
    if "error" in state:
        raise ValueError(state["error"])
    return state


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the docstring above. Exit code 1 with the reason when the wire cannot be told."""
    parser = argparse.ArgumentParser(prog="shaper", description="delay and lose frames between two interfaces")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="carry frames between two interfaces")
    run.add_argument("socket", type=Path)
    run.add_argument("interfaces", nargs=2)
    shape = commands.add_parser("shape", help="change delay and loss of a wire that runs; say how it is")
    shape.add_argument("socket", type=Path)
    for name in ("delay-ms", "jitter-ms", "loss-percent"):
        shape.add_argument(f"--{name}", type=float)
    shape.add_argument("--towards", metavar="INTERFACE", help="only frames that go out there")
    given = vars(parser.parse_args(argv))
    path, command = given.pop("socket"), given.pop("command")
    if command == "run":
        serve(path, given["interfaces"])
    try:
        state = change(path, **{name: value for name, value in given.items() if value is not None})
    except (OSError, ValueError) as error:
        sys.stderr.write(f"shaper: {path}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(state) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
