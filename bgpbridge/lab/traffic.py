"""Numbered UDP packets through a lab, and what became of them.

A sender in one node's namespace, a receiver in another's, a process each so that neither waits for the other.
Both are bounded: the sender by count and time, the receiver by time. `Stream` starts and stops the two and gives
the Report; `python -m bgpbridge.lab.traffic` is what they run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

import bgpbridge
from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces
from bgpbridge.lab.measure import ARRIVAL, Report, measure
from bgpbridge.lab.state import Lab

__all__ = ["Stream", "StreamSpec"]

PORT = 7000
LONGEST_S = 300
BUFFER = 16 << 20  # octets of socket buffer: what comes while the receiver is not scheduled is kept
QUIET_S = 0.2  # the receiver is done when it was told to stop and nothing has come for so long
HEADER = struct.Struct("!QQ")  # sequence number, time of sending in ns


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """`rate_pps` packets a second in all, to the addresses in turn. `octets` is the size of the UDP payload."""

    source: str
    sink: str
    addresses: tuple[str, ...]
    rate_pps: int = 5000
    octets: int = 64


class Stream:
    """A stream under way. Use `start`, then `stop` for the report."""

    def __init__(self, folder: Path, sender: subprocess.Popen[str], receiver: subprocess.Popen[str]) -> None:
        self._folder = folder
        self._sender = sender
        self._receiver = receiver

    @classmethod
    def start(cls, lab: Lab, spec: StreamSpec, name: str = "stream") -> Stream:
        """Receiver first, then the sender; returns when packets flow. Raises LabError."""
        folder = lab.node_folder(spec.sink) / name
        folder.mkdir(parents=True, exist_ok=True)
        receiver = _child(lab.namespace(spec.sink), ["receive", str(folder)])
        options = ["--rate", str(spec.rate_pps), "--octets", str(spec.octets)]
        sender = _child(lab.namespace(spec.source), ["send", str(folder), *spec.addresses, *options])
        return cls(folder, sender, receiver)

    def abandon(self) -> None:
        """End what is left of it, whatever it has measured."""
        for child in (self._sender, self._receiver):
            if child.poll() is None:
                child.kill()
                child.communicate(timeout=30)

    def stop(self) -> Report:
        """End the stream, let the last packets arrive, and measure."""
        for child in (self._sender, self._receiver):
            child.send_signal(signal.SIGTERM)
            said = child.communicate(timeout=30)[0]
            if child.returncode:
                raise LabError(f"traffic: {said.strip() or f'ended with {child.returncode}'}")
        names = json.loads((self._folder / "interfaces.json").read_text())
        return measure(
            np.load(self._folder / "sent.npy"),
            np.load(self._folder / "received.npy"),
            {int(index): name for index, name in names.items()},
        )


def _child(namespace: str, words: Sequence[str]) -> subprocess.Popen[str]:
    """Start a half in a namespace and wait for its word that it is ready."""
    child = subprocess.Popen(
        ["nsenter", f"--net={namespaces.where(namespace)}", "--", sys.executable, "-P", "-m", __name__, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **namespaces.marked(namespace),
            "PYTHONPATH": str(Path(bgpbridge.__file__).parent.parent),
            "OPENBLAS_NUM_THREADS": "1",
        },
        start_new_session=True,
    )
    assert child.stdout is not None
    word = child.stdout.readline().strip()
    if word != "ready":
        rest = child.communicate(timeout=10)[0]
        raise LabError(f"traffic {words[0]} would not start: {word} {rest.strip()}")
    return child


# --- the two halves, in processes of their own -----------------------------------------------------------------


class _Told:
    """Set by SIGTERM or SIGINT: finish in good order."""

    def __init__(self) -> None:
        self.stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.stop = True


def _send(folder: Path, addresses: Sequence[str], rate_pps: int, octets: int) -> None:
    told = _Told()
    targets = [(address, PORT) for address in addresses]
    sockets = [_sender_socket(address) for address in addresses]
    padding = bytes(max(0, octets - HEADER.size))
    limit = rate_pps * LONGEST_S
    sent_ns = np.zeros(limit, np.uint64)
    print("ready", flush=True)  # noqa: T201 -- the word that the starter waits for
    began = time.monotonic_ns()
    number = 0
    while number < limit and not told.stop:
        due = began + number * 1_000_000_000 // rate_pps
        ahead = due - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead / 1e9)
        now, turn = time.monotonic_ns(), number % len(targets)
        with contextlib.suppress(OSError):  # no route, or the cable is out: it stays unsent
            sockets[turn].sendto(HEADER.pack(number, now) + padding, targets[turn])
            sent_ns[number] = now
        number += 1
    np.save(folder / "sent.npy", sent_ns[:number])


def _sender_socket(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _receive(folder: Path) -> None:
    told = _Told()
    listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    listener.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE, asm-generic/socket.h
    listener.bind(("::", PORT))
    listener.settimeout(QUIET_S)
    (folder / "interfaces.json").write_text(json.dumps(dict(socket.if_nameindex())))
    print("ready", flush=True)  # noqa: T201 -- the word that the starter waits for
    rows: list[tuple[int, int, int, int]] = []
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        try:
            data, control, _, _ = listener.recvmsg(2048, 64)
        except TimeoutError:
            if told.stop:
                break
            continue
        now = time.monotonic_ns()
        # struct in6_pktinfo: address, interface index; an IPv4 packet comes as a mapped address.
        rows.append((*HEADER.unpack_from(data), now, int.from_bytes(control[0][2][16:20], sys.byteorder)))
    np.save(folder / "received.npy", np.array(rows, ARRIVAL))


def main(words: Sequence[str] | None = None) -> int:
    """`send FOLDER ADDRESS...` or `receive FOLDER`, until SIGTERM."""
    parser = argparse.ArgumentParser(prog="bgpbridge.lab.traffic")
    parser.add_argument("half", choices=["send", "receive"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("addresses", nargs="*")
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--octets", type=int, default=64)
    chosen = parser.parse_args(words)
    if chosen.half == "send":
        _send(chosen.folder, chosen.addresses, chosen.rate, chosen.octets)
    else:
        _receive(chosen.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
