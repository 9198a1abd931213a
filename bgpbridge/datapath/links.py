"""XDP links: the kernel object that holds a program on an interface, pinned so that it outlives the process.

A link is updated to another program in one atomic step; nothing is ever detached to be attached again. Who
sits on an interface, and in which mode, is asked over netlink (IFLA_XDP): bpf(2) itself does not tell.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgpbridge.datapath.syscalls import Command, bpf, error_of, object_info, program_by_id, program_info, try_bpf
from bgpbridge.errors import BpfSyscallError, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Holder", "LinkInfo", "Mode", "holders", "link_create", "link_detach", "link_info", "link_update"]

ATTACH_TYPE_XDP = 37
LINK_TYPE_XDP = 6
REPLACE = 4
RTM_GETLINK, RTM_NEWLINK, NLMSG_ERROR = 18, 16, 2
IFLA_XDP = 43
NLA_TYPE = 0x3FFF


class Mode(enum.IntFlag):
    """XDP_FLAGS_* of an attachment: in the driver, or in the stack after the driver (slower, any device)."""

    GENERIC = 1 << 1
    NATIVE = 1 << 2

    @property
    def label(self) -> str:
        """The word in status and configuration."""
        return "native" if self is Mode.NATIVE else "generic"


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """struct bpf_link_info of an XDP link. `ifindex` 0: its interface is gone."""

    link_id: int
    program_id: int
    ifindex: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that sits on an interface."""

    mode: Mode
    program_id: int
    name: str


def link_create(program: int, ifindex: int, mode: Mode) -> tuple[int, int]:
    """Attach: (link fd, 0), or (-1, errno) when the kernel says no."""
    attr = struct.pack("=IIII", program, ifindex, ATTACH_TYPE_XDP, int(mode))
    fd, _, code = try_bpf(Command.LINK_CREATE, attr)
    return (-1, code) if code else (fd, 0)


def link_update(link: int, program: int) -> None:
    """Put another program under the link; each packet meets the old one or the new one."""
    bpf(Command.LINK_UPDATE, struct.pack("=IIII", link, program, 0, 0))


def link_detach(link: int) -> None:
    """Detach at once, whatever pins and handles the link still has. Fine when the interface has gone already, or when
    this is no link at all (EINVAL)."""
    _, _, code = try_bpf(Command.LINK_DETACH, struct.pack("=I", link))
    if code not in (0, errno.ENOLINK, errno.EINVAL):
        raise error_of(Command.LINK_DETACH, code)


def link_info(link: int) -> LinkInfo | None:
    """What a link holds; None when it is no XDP link."""
    kind, link_id, program_id, _, ifindex = struct.unpack_from("=5I", object_info(link))
    return LinkInfo(link_id, program_id, ifindex) if kind == LINK_TYPE_XDP else None


def holders(ifindex: int) -> tuple[Holder, ...]:
    """The programs on an interface, ours or others'. Raises NetlinkError when there is no such interface."""
    found = dict(attributes(_xdp_attribute(ifindex)))
    modes = ((Mode.NATIVE, 5), (Mode.GENERIC, 6))  # IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID
    ids = [(mode, struct.unpack("=I", found[kind])[0]) for mode, kind in modes if kind in found]
    return tuple(Holder(mode, program_id, _program_name(program_id)) for mode, program_id in ids)


def _program_name(program_id: int) -> str:
    """The name of a program by its id; a question mark when we may not look or it has just gone."""
    try:
        fd = program_by_id(program_id)
    except BpfSyscallError:
        return "?"
    with contextlib.closing(os.fdopen(fd, "rb", buffering=0)):
        return program_info(fd).name


def _xdp_attribute(ifindex: int) -> bytes:
    """The IFLA_XDP nest of one interface."""
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, ifindex, 0, 0)
    header = struct.pack("=IHHII", 16 + len(body), RTM_GETLINK, 1, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(header + body)
        answer = netlink.recv(1 << 16)
    kind = struct.unpack_from("=H", answer, 4)[0]
    if kind == NLMSG_ERROR:
        raise NetlinkError(f"interface {ifindex}", -struct.unpack_from("=i", answer, 16)[0])
    return dict(attributes(answer[32 : struct.unpack_from("=I", answer)[0]])).get(IFLA_XDP, b"")


def attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each netlink attribute in a row."""
    at = 0
    while at + 4 <= len(octets):
        length, kind = struct.unpack_from("=HH", octets, at)
        if length < 4:
            return
        yield kind & NLA_TYPE, octets[at + 4 : at + length]
        at += (length + 3) & ~3
