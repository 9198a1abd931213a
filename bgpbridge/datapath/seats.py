"""The program on an interface without a link, for kernels before 5.9: attached by netlink (IFLA_XDP), known again by
the program, which is pinned as `<pin_path>/seats/<ifindex>`.

The kernel changes one program for another in one step here too (net/core/dev.c, dev_change_xdp_fd), so an upgrade
loses nothing. It does not guard our seat as a link does: whoever has CAP_NET_ADMIN may take it away.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

from bgpbridge.datapath import forbid
from bgpbridge.datapath.links import Holder, Mode, holders
from bgpbridge.datapath.syscalls import object_get, object_pin, program_info
from bgpbridge.errors import NetlinkError

__all__ = ["give_up", "pin_of", "remove_seats", "seat_of", "seat_pins", "seats_folder", "take"]

RTM_SETLINK, NLMSG_ERROR, NLM_F_REQUEST, NLM_F_ACK = 19, 2, 1, 4
NLA_NESTED, IFLA_XDP, IFLA_XDP_FD, IFLA_XDP_FLAGS = 0x8000, 43, 1, 3
UPDATE_IF_NOEXIST = 1
NOBODY = -1


def seats_folder(pin_path: Path) -> Path:
    """The pinned programs, one an interface."""
    return pin_path / "seats"


def pin_of(pin_path: Path, ifindex: int) -> Path:
    """The pinned program of one interface."""
    return seats_folder(pin_path) / str(ifindex)


def seat_pins(pin_path: Path) -> list[Path]:
    """All of them, by ifindex."""
    folder = seats_folder(pin_path)
    named = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return sorted(named, key=lambda path: int(path.name))


def seat_of(pin: Path) -> Holder | None:
    """Our program on the interface that a pin names, None when it is not there (any more)."""
    fd = object_get(pin)
    try:
        ours = program_info(fd).program_id
        return next((holder for holder in holders(int(pin.name)) if holder.program_id == ours), None)
    except NetlinkError:
        return None  # the interface is gone
    finally:
        os.close(fd)


def take(program: int, ifindex: int, mode: Mode, pin: Path) -> int:
    """Attach, or change our program for another one: 0, or the kernel's errno."""
    ours = pin.exists() and seat_of(pin) is not None
    pin.parent.mkdir(parents=True, exist_ok=True)
    beside = pin.with_name(f"{pin.name}n")
    beside.unlink(missing_ok=True)
    object_pin(program, beside)
    code = _set(ifindex, program, int(mode) | (0 if ours else UPDATE_IF_NOEXIST))
    if code:
        beside.unlink()
    else:
        beside.rename(pin)
    return code


def give_up(pin: Path) -> bool:
    """Off the interface, if it is ours there, and unpinned. False when it was not."""
    holder = seat_of(pin)
    if holder is not None:
        _set(int(pin.name), NOBODY, int(holder.mode))
    pin.unlink()
    return holder is not None


def _set(ifindex: int, program: int, flags: int) -> int:
    """RTM_SETLINK with IFLA_XDP; 0 or errno."""
    if flags & Mode.NATIVE and program != NOBODY and forbid.forbidden(forbid.Feature.NATIVE):
        return errno.EOPNOTSUPP
    inner = struct.pack("=HHi", 8, IFLA_XDP_FD, program) + struct.pack("=HHI", 8, IFLA_XDP_FLAGS, flags)
    nest = struct.pack("=HH", 4 + len(inner), IFLA_XDP | NLA_NESTED) + inner
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, ifindex, 0, 0) + nest
    header = struct.pack("=IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as netlink:
        netlink.send(header + body)
        answer = netlink.recv(1 << 16)
    assert struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR  # an ACK is an error of 0
    return -int(struct.unpack_from("=i", answer, 16)[0])


def remove_seats(pin_path: Path) -> None:
    """Off every interface that we sit on this way."""
    for pin in seat_pins(pin_path):
        give_up(pin)
    folder = seats_folder(pin_path)
    if folder.is_dir():
        for half_done in list(folder.iterdir()):
            half_done.unlink()
        folder.rmdir()
