"""A classic BPF filter that keeps word of our own writes off the watcher's socket.

Every multicast message carries the port id of the socket that asked for the change (octet 12 of the header; 0 =
the kernel itself). The kernel FIB writes a million routes: without the filter each comes back as an event, the
socket overruns, and the one event that matters drowns. With it a full load costs the watcher nothing.

Classic BPF loads in network order while netlink is in the machine's, hence the swaps.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Collection

__all__ = ["attach", "own_filter"]

LD_W_ABS, LD_H_ABS, LD_B_ABS, JEQ, RET = 0x20, 0x28, 0x30, 0x15, 0x06
AT_TYPE, AT_PORT, AT_PROTOCOL = 4, 12, 21  # octets of nlmsghdr, and of the rtmsg behind it
RTM_NEWROUTE = 24
ACCEPT, DROP = 0xFFFFFFFF, 0
MOST_PORTS = 200  # a jump is one octet

Instruction = tuple[int, int, int, int]


def own_filter(ports: Collection[int], protocol: int) -> list[Instruction]:
    """Drop what comes from `ports`. While no port is known: new routes of our protocol, whoever wrote them."""
    assert len(ports) <= MOST_PORTS
    if not ports:
        return [
            (LD_H_ABS, 0, 0, AT_TYPE),
            (JEQ, 0, 2, _as_loaded(RTM_NEWROUTE, 2)),
            (LD_B_ABS, 0, 0, AT_PROTOCOL),
            (JEQ, 1, 0, protocol),
            (RET, 0, 0, ACCEPT),
            (RET, 0, 0, DROP),
        ]
    tests = [(JEQ, len(ports) - n, 0, _as_loaded(port, 4)) for n, port in enumerate(sorted(ports))]
    return [(LD_W_ABS, 0, 0, AT_PORT), *tests, (RET, 0, 0, ACCEPT), (RET, 0, 0, DROP)]


def attach(sock: socket.socket, program: list[Instruction]) -> None:
    """Attach or replace the socket's filter; the change is atomic (SO_ATTACH_FILTER)."""
    array = (_SockFilter * len(program))(*(_SockFilter(*instruction) for instruction in program))
    whole = _SockFprog(len(program), ctypes.cast(array, ctypes.POINTER(_SockFilter)))
    sock.setsockopt(socket.SOL_SOCKET, 26, bytes(whole))


class _SockFilter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_SockFilter)))


def _as_loaded(value: int, octets: int) -> int:
    return int.from_bytes(value.to_bytes(octets, sys.byteorder), "big")
