"""Network namespaces and the cables between them.

Names are those of `ip netns`, so that `ip -n bb-quickstart-edge link` works by hand. Work inside a namespace is
done by a thread that enters it (setns(2) changes the calling thread only) or by a child that nsenter starts;
never by `ip netns exec`, which mounts /sys anew and so hides BPF pins.

Every veth end gets transmit checksums off (nobody fills in what it leaves open) and GRO on: a veth takes the
frames that XDP redirects to it only when it has GRO or a program of its own.

Whatever is started for a namespace carries its name in the environment (`marked`): so it is found before it has
entered the namespace, and is out of reach of the terminal's Ctrl-C, which would stop it half way.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from bgpbridge.errors import LabError, NetlinkError
from bgpbridge.lab.links import Link

__all__ = [
    "MARK",
    "clear_ours",
    "create",
    "delete",
    "empty",
    "exists",
    "inside",
    "link_state",
    "marked",
    "plug",
    "set_link",
    "set_sysctls",
    "tune",
    "where",
]

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
ETHTOOL_STXCSUM = 0x17  # include/uapi/linux/ethtool.h
ETHTOOL_SGRO = 0x2C
FIRST_IFINDEX = 100
CLEAR_S = 120.0
MARK = "BGPBRIDGE_NAMESPACE"
_NAMED = Path("/run/netns")


def where(name: str) -> Path:
    """The file that stands for the namespace."""
    return _NAMED / name


def exists(name: str) -> bool:
    """True when there is such a namespace."""
    return where(name).exists()


def marked(name: str) -> dict[str, str]:
    """The environment of a process that is started for a namespace."""
    return {**os.environ, MARK: name}


def create(name: str) -> None:
    """A new namespace with its loopback up."""
    _ip([f"netns add {name}"], mark=name)
    _ip(["link set lo up"], name)


def delete(name: str) -> None:
    """The namespace and the cables in it; nothing when it is already gone."""
    if exists(name):
        empty(name)
        _ip([f"netns del {name}"], mark=name)


def empty(name: str) -> None:
    """Take routes out before the namespace goes, or one at the other end of its cables. Left to itself the kernel
    removes the nexthop objects first, each with a search of the whole table: with a full table and some thousand of
    them that is minutes, under the lock that every other netlink request on the machine waits for. `ip route flush`
    goes in the order of the table, which is slow as well; our own routes, of which there may be many, are taken out
    as `bgpbridge clear` does."""
    clear_ours(name)
    for what in ("-4 route flush table main", "-6 route flush table main", "nexthop flush"):
        command = ["ip", "-n", name, *what.split()]
        subprocess.run(command, capture_output=True, check=False, start_new_session=True, env=marked(name))


def clear_ours(name: str) -> None:
    """Take out the routes and nexthop objects that a bgpbridge has left in a namespace, if it is still there."""
    if exists(name):
        with contextlib.suppress(NetlinkError, TimeoutError):  # then the kernel takes its time
            inside(name, _clear_ours)


def _clear_ours() -> None:
    from bgpbridge.fib.kernel import KernelFib  # noqa: PLC0415 - a third of a second for those who never come here

    kernel = KernelFib()
    kernel.start()
    try:
        kernel.clear().result(CLEAR_S)
    finally:
        kernel.stop()


def plug(link: Link, names: Mapping[str, str], number: int) -> None:
    """A veth pair between two nodes, up, with its addresses; `names` are the namespaces of the nodes.

    No two ends of a lab have the same ifindex (`number` counts its cables): where both ends of a veth have, the
    kernel takes the loss of its carrier for nothing urgent and may tell it a second late (net/core/link_watch.c).
    """
    ends = (link.a, link.b)
    one, other = (
        f"name {end.interface} index {FIRST_IFINDEX + 2 * number + side} netns {names[end.node]} "
        f"mtu {link.mtu} address {end.mac}"
        for side, end in enumerate(ends)
    )
    _ip([f"link add {one} type veth peer {other}"], mark=names[link.a.node])
    for end in ends:
        addresses = [f"address add {address} dev {end.interface}" for address in end.addresses]
        _ip([f"link set {end.interface} up", *addresses], names[end.node])
    for end in ends:
        inside(names[end.node], partial(tune, end.interface))


def set_link(name: str, interface: str, *, up: bool) -> None:
    """Pull the cable or put it back, as seen from one end."""
    _ip([f"link set {interface} {'up' if up else 'down'}"], name)


def link_state(name: str, interface: str) -> str:
    """The operational state as the kernel words it: `up`, `down`, `lowerlayerdown`."""
    done = subprocess.run(
        ["nsenter", f"--net={where(name)}", "ip", "-o", "link", "show", interface],
        capture_output=True,
        text=True,
        check=False,
    )
    words = done.stdout.split()
    return words[words.index("state") + 1].lower() if "state" in words else "absent"


def set_sysctls(name: str, sysctls: Mapping[str, str]) -> None:
    """Kernel parameters of the namespace, by their dotted names. Raises LabError for one that is refused."""

    def write() -> None:
        for key, value in sysctls.items():
            # A dot inside an interface's name is written as a slash, as sysctl(8) has it.
            path = Path("/proc/sys") / key.replace(".", "\0").replace("/", ".").replace("\0", "/")
            try:
                path.write_text(value)
            except OSError as error:
                raise LabError(f"sysctl {key}={value}: {error.strerror}", mend="is the name right?") from None

    inside(name, write)


def inside(name: str, work: Callable[[], T]) -> T:
    """Do `work` in the namespace, in a thread of its own, and give its result or raise its error. Sockets
    that it opens stay in the namespace."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter(name)
            results.append(work())
        except BaseException as error:  # noqa: BLE001 -- handed to the caller's thread, whatever it is
            errors.append(error)

    thread = threading.Thread(target=run, name=f"inside {name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(name: str) -> None:
    try:
        handle = os.open(where(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LabError(f"there is no namespace {name}", mend="is the lab up?") from None
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
            raise LabError(f"setns({name}): {os.strerror(ctypes.get_errno())}", mend="labs need root")
    finally:
        os.close(handle)


def tune(interface: str) -> None:
    """Transmit checksums off and GRO on, where the interface has such switches (in this namespace).

    GRO is switched off and on while the link is up: only that moment tells the other end that it may redirect
    frames here (drivers/net/veth.c, veth_set_features); set on a link that is down, redirected frames are lost.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asker:
        for command, value in ((ETHTOOL_STXCSUM, 0), (ETHTOOL_SGRO, 0), (ETHTOOL_SGRO, 1)):
            buffer = ctypes.create_string_buffer(struct.pack("=II", command, value), 8)
            request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(buffer))
            with contextlib.suppress(OSError):  # not a veth, or a driver that has no such switch
                fcntl.ioctl(asker, SIOCETHTOOL, request)


def _ip(commands: Iterable[str], name: str | None = None, *, mark: str = "") -> None:
    """`ip -batch`, in the namespace `name` or for the one in `mark`. Raises LabError with the kernel's words."""
    text = "\n".join(commands)
    command = ["ip", *(["-n", name] if name else []), "-batch", "-"]
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        env=marked(name or mark),
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise LabError(f"ip {text.splitlines()[0]}: {said[0] if said else 'failed'}", mend=_mend(done.stderr))


def _mend(said: str) -> str:
    if "not permitted" in said:
        return "labs need root: run it with sudo"
    if "File exists" in said:
        return "a lab of this name is up, or was left: bgpbridge lab down NAME"
    return ""
