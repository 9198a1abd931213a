"""The sockets of the probes: how they are opened, and the kernel's timestamps (Documentation/networking/timestamping).

All need CAP_NET_RAW, and work in the network namespace of the thread that opens them.

Timestamps of software, of sending and of receiving, are wall-clock time. A step of the wall clock between the two would
make a round trip of any length; so `round_trip_s` takes them only while both clocks ran alike, and when their
difference fits between our own monotonic times before and after. Where the kernel gives none (drivers without, and the
first packets after it was asked to), ours are taken, which hold some tenths of a millisecond of our own waking up.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bgpbridge.errors import BridgeError

__all__ = [
    "Moment",
    "Received",
    "drain",
    "icmp_receiver",
    "now",
    "packet_sender",
    "port_pair",
    "round_trip_s",
    "routed_sender",
    "stamp_received",
    "tcp_receiver",
]

SO_TIMESTAMPING_NEW, SO_BINDTOIFINDEX, SO_ATTACH_FILTER = 65, 62, 26  # asm-generic/socket.h
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE = 1 << 1, 1 << 3, 1 << 4  # linux/net_tstamp.h
STAMPS = struct.Struct("=6q")  # struct scm_timestamping64: software, unused, hardware
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
LARGEST = 2048
DATAGRAMS_A_TURN = 64
RECEIVE_BUFFER = 1 << 18
TRIES = 32
CLOCKS_ALIKE_NS = 1_000_000  # the most that adjtime(3) slews in 2 s


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by two clocks, in nanoseconds: monotonic, and wall clock as in timestamps."""

    mono_ns: int
    wall_ns: int


def now() -> Moment:
    """Both clocks at once."""
    return Moment(time.monotonic_ns(), time.time_ns())


def round_trip_s(sent: Moment, got: Moment, tx_ns: int | None, rx_ns: int | None) -> tuple[float, bool]:
    """The round trip in seconds, and whether both its ends are the kernel's. `sent` was before the packet was handed
    over, `got` after the answer was read: between them it was on its way."""
    bracket = got.mono_ns - sent.mono_ns
    drift = (got.wall_ns - got.mono_ns) - (sent.wall_ns - sent.mono_ns)
    if tx_ns is not None and rx_ns is not None and abs(drift) < CLOCKS_ALIKE_NS and 0 <= rx_ns - tx_ns <= bracket:
        return (rx_ns - tx_ns) / 1e9, True
    return bracket / 1e9, False


@dataclass(frozen=True, slots=True)
class Received:
    """A datagram, who sent it, and the kernel's wall-clock time of it in nanoseconds if it gave one."""

    octets: bytes
    address: tuple[Any, ...]
    stamp_ns: int | None


def drain(opened: socket.socket, flags: int = 0) -> Iterator[Received]:
    """What has come, or with MSG_ERRQUEUE what was sent: a bounded number at once. Ends when nothing is left."""
    for _ in range(DATAGRAMS_A_TURN):
        if opened.fileno() < 0:
            return  # closed by the one that the last datagram was given to
        try:
            octets, ancillary, _, address = opened.recvmsg(LARGEST, 512, flags | socket.MSG_DONTWAIT)
        except OSError:  # nothing left; or an error of a former send, which reading has cleared
            opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return
        yield Received(octets, address, _stamp(ancillary))


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING_NEW) and len(data) >= STAMPS.size:
            seconds, nanoseconds, *_ = STAMPS.unpack_from(data)
            return int(seconds * 1_000_000_000 + nanoseconds) or None
    return None


def packet_sender() -> socket.socket:
    """Sends whole IP packets to a MAC address on an interface; receives nothing (protocol 0)."""
    return _stamped(_open(socket.AF_PACKET, socket.SOCK_DGRAM, 0), TX_SOFTWARE)


def routed_sender(version: int, ifindex: int) -> socket.socket:
    """Sends whole IP packets by the kernel's routes over one interface, and by no other. Raises OSError when there is
    no such interface."""
    opened = _open(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, ifindex)
    except OSError:
        opened.close()
        raise
    return _stamped(opened, TX_SOFTWARE)


def icmp_receiver(version: int) -> socket.socket:
    """Hears echo replies, unreachable and time exceeded; the kernel throws everything else away before us."""
    if version == 4:
        opened = _open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        passed = 1 << 0 | 1 << 3 | 1 << 11
        opened.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~passed & 0xFFFFFFFF))
    else:
        opened = _open(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        for kind in (1, 3, 129):
            blocked[kind // 32] &= ~(1 << kind % 32)
        opened.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *blocked))
    return _stamped(opened, RX_SOFTWARE)


def tcp_receiver(version: int, own_port: int) -> socket.socket:
    """Hears the segments to one port of ours. A classic BPF filter, so that no other connection of this machine costs
    more than three instructions; it stands before the first segment can come."""
    opened = _open(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP)
    # Raw sockets see the IPv4 header, and none of IPv6 (net/ipv4/raw.c, net/ipv6/raw.c).
    load = [(0xB1, 0, 0, 0), (0x48, 0, 0, 2)] if version == 4 else [(0x28, 0, 0, 2)]
    code = [*load, (0x15, 0, 1, own_port), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    _attach(opened, code)
    for _ in drain(opened):
        pass  # came between the two calls
    return _stamped(opened, RX_SOFTWARE)


def port_pair(kind: socket.SocketKind) -> tuple[int, socket.socket, socket.socket]:
    """A port of ours with both its sockets, IPv4 and IPv6: bound, so that nobody else gets it. Raises BridgeError."""
    for _ in range(TRIES):
        four = _open(socket.AF_INET, kind, 0)
        six = _open(socket.AF_INET6, kind, 0)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        four.bind(("0.0.0.0", 0))  # noqa: S104 - answers come to whichever address an exit's probes bear
        port = four.getsockname()[1]
        with contextlib.suppress(OSError):  # taken in the other family: another one
            six.bind(("::", port))
            return port, four, six
        four.close()
        six.close()
    raise BridgeError("no port is free in both families for probes", mend="widen net.ipv4.ip_local_port_range")


def stamp_received(opened: socket.socket) -> socket.socket:
    """The same socket, with timestamps of receiving."""
    return _stamped(opened, RX_SOFTWARE)


def _attach(opened: socket.socket, code: list[tuple[int, int, int, int]]) -> None:
    """A classic BPF program (linux/filter.h, struct sock_fprog)."""
    octets = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    program = ctypes.create_string_buffer(octets)
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(code), ctypes.addressof(program)))


def _stamped(opened: socket.socket, direction: int) -> socket.socket:
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING_NEW, direction | SOFTWARE)
    return opened


def _open(family: int, kind: int, protocol: int) -> socket.socket:
    try:
        opened = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        mend = "probes need CAP_NET_RAW" if error.errno in {errno.EPERM, errno.EACCES} else ""
        raise BridgeError(f"no socket for probes: {os.strerror(error.errno or 0)}", mend=mend) from None
    if family != socket.AF_PACKET:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return opened
