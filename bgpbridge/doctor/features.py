"""What the kernel can do for the datapath, found out by trying it, whatever version it calls itself; and what happens
where it cannot. `BGPBRIDGE_FORBID` (datapath/forbid.py) makes this machine answer as a poorer one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator

import numpy as np

from bgpbridge.datapath.elements import NO_BATCHES
from bgpbridge.datapath.links import Mode, link_create
from bgpbridge.datapath.specs import maps_arrays
from bgpbridge.datapath.syscalls import Command, MapType, map_create, try_bpf
from bgpbridge.doctor.finding import Finding, Level
from bgpbridge.errors import BpfSyscallError, DatapathError

__all__ = ["check_features"]

NETWORK_NAMESPACE = 0x40000000  # unshare(2); doctor runs by hand, outside the unit and its filter
LOOPBACK = 1
PROG_LOAD, XDP_PROGRAM = 5, 6
PASS = struct.pack("=BBhi", 0xB7, 0, 0, 2) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = XDP_PASS; exit
RTM_GETNEXTHOP, NLM_F_DUMP, NLMSG_ERROR = 106, 0x301, 2
_libc = ctypes.CDLL(None, use_errno=True)


def check_features() -> Iterator[Finding]:
    """One line a feature. Without the rights to try, that is said once."""
    try:
        yield from _maps()
        yield _links()
    except (BpfSyscallError, DatapathError) as error:
        yield Finding("bpf", Level.FAIL, error.what, error.mend or "run doctor as root")
    yield _nexthops()


def _maps() -> Iterator[Finding]:
    if _made(MapType.DEVMAP_HASH, 4):
        yield Finding("devmap-hash", Level.OK, "egress ports by ifindex")
    else:
        seen = "none: XDP cannot leave to the kernel what it does not know the egress of, so it is not attached"
        yield Finding("devmap-hash", Level.FAIL, seen, "boot Linux 5.4 or later, or leave datapath.interfaces empty")
    if maps_arrays():
        yield Finding("mapped-arrays", Level.OK, "a change is a store, indexes in front of the tries")
    else:
        seen = "none: the tries answer alone (`engine: lpm`), a change is a system call, no handshakes are measured"
        yield Finding("mapped-arrays", Level.WARN, seen, "boot Linux 5.5 or later")
    if _batches():
        yield Finding("batches", Level.OK, "256 routes a system call")
    else:
        yield Finding("batches", Level.WARN, "none: a system call for each route", "boot Linux 5.6 or later")


def _made(kind: MapType, value: int) -> bool:
    try:
        os.close(map_create(kind, 4, value, 1, 0, "doctor"))
    except BpfSyscallError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _batches() -> bool:
    fd = map_create(MapType.HASH, 4, 8, 1, 0, "doctor")
    try:
        room, cursor = np.zeros(2, np.uint64), np.zeros(1, np.uint64)
        pointers = [int(array.ctypes.data) for array in (cursor, room[:1], room[1:])]
        attr = struct.pack("=QQQQIIQQ", 0, *pointers, 1, fd, 0, 0)
        return try_bpf(Command.MAP_LOOKUP_BATCH, attr)[2] not in NO_BATCHES
    finally:
        os.close(fd)


def _links() -> Finding:
    """A link on the loopback of a namespace that only lives for this."""
    said: list[int] = []
    asker = threading.Thread(target=lambda: said.append(_try_link()))
    asker.start()
    asker.join()
    if said == [0]:
        return Finding("xdp-links", Level.OK, "one for each interface")
    if said == [errno.EINVAL]:
        seen = "none: attached by netlink, which anybody with CAP_NET_ADMIN can take away"
        return Finding("xdp-links", Level.WARN, seen, "boot Linux 5.9 or later")
    why = os.strerror(said[0]) if said else "the attempt failed"
    return Finding("xdp-links", Level.WARN, f"could not be tried: {why}", "run doctor as root")


def _try_link() -> int:
    if _libc.unshare(NETWORK_NAMESPACE):
        return ctypes.get_errno()
    code_, license_ = ctypes.create_string_buffer(PASS, len(PASS)), ctypes.create_string_buffer(b"GPL")
    count = len(PASS) // 8
    attr = struct.pack("=IIQQ", XDP_PROGRAM, count, ctypes.addressof(code_), ctypes.addressof(license_))
    program, _, code = try_bpf(PROG_LOAD, attr)
    if code:
        return code
    link, code = link_create(program, LOOPBACK, Mode.GENERIC)
    for fd in (program, link):
        if fd >= 0:
            os.close(fd)
    return code


def _nexthops() -> Finding:
    """Whether the kernel knows nexthop objects: a dump of them is asked for."""
    body = struct.pack("=BBBBI", socket.AF_UNSPEC, 0, 0, 0, 0)
    header = struct.pack("=IHHII", 16 + len(body), RTM_GETNEXTHOP, NLM_F_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as netlink:
        netlink.send(header + body)
        answer = netlink.recv(1 << 16)
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind == NLMSG_ERROR and code:
        mend = "boot Linux 5.3 or later, or set kernel.enabled: false (XDP alone; what it passes is then dropped)"
        return Finding("nexthop-objects", Level.FAIL, "none: the kernel's routes cannot follow in time", mend)
    return Finding("nexthop-objects", Level.OK, "a next hop that goes moves all its routes at once")
