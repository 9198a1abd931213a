"""The program on its interfaces: native where the driver can, generic otherwise, and a reason for the second.

Each interface has one pinned link (pins.link_pin): it outlives the bridge, is adopted by the next one and is
moved to a new program by one update. A kernel without links gets the program by netlink (`seats`). Who else
sits on an interface is named, never pushed off.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bgpbridge.datapath import pins, seats
from bgpbridge.datapath.links import Mode, holders, link_create, link_info, link_update
from bgpbridge.datapath.offloads import expose_tags
from bgpbridge.datapath.syscalls import Command, error_of, object_get, object_pin
from bgpbridge.errors import BpfSyscallError, DatapathError, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Attached", "Wanted", "attach", "attached", "detach", "detach_all", "is_here"]

WHY_NOT_NATIVE = {
    errno.EOPNOTSUPP: "its driver has no native XDP",
    errno.ERANGE: "its MTU is too large for native XDP",
    errno.EINVAL: "its driver refused (MTU, channels or offloads)",
    errno.ENOMEM: "its driver has too few queues or no memory",
    errno.ENOSPC: "its driver has too few queues",
}


NO_LINKS = "attached by netlink: this kernel has no XDP links"


class Wanted(enum.StrEnum):
    """datapath.mode in the configuration."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"


MODES = {
    Wanted.AUTO: [Mode.NATIVE, Mode.GENERIC],
    Wanted.NATIVE: [Mode.NATIVE],
    Wanted.GENERIC: [Mode.GENERIC],
}


@dataclass(frozen=True, slots=True)
class Attached:
    """The program on one interface. `note` says why it is not native, `adopted` that the link was there,
    `warning` what the program cannot see there (offloads)."""

    ifindex: int
    name: str
    mode: Mode
    program_id: int
    adopted: bool = False
    note: str = ""
    warning: str = ""


def attach(program: int, ifindex: int, pin_path: Path, wanted: Wanted = Wanted.AUTO) -> Attached:
    """Put the program on an interface, or under the link that we have there already. Raises DatapathError
    with the holder's name when somebody else sits on it."""
    name = _name(ifindex)
    warning = expose_tags(name)
    pin = pins.link_pin(pin_path, ifindex)
    with _pinned(pin) as link:
        if link is not None:
            link_update(link, program)
            return replace(_adopted(link, name, wanted), warning=warning)
    if seats.pin_of(pin_path, ifindex).exists():
        return replace(_by_netlink(program, ifindex, name, wanted, pin_path), warning=warning)
    try:
        link_fd, note = _create(program, ifindex, name, wanted)
    except _NoLinks:
        return replace(_by_netlink(program, ifindex, name, wanted, pin_path), warning=warning)
    try:
        pin.parent.mkdir(parents=True, exist_ok=True)
        object_pin(link_fd, pin)
        return replace(_describe(link_fd, name, note=note), warning=warning)
    finally:
        os.close(link_fd)


def attached(pin_path: Path) -> list[Attached]:
    """Every interface that we sit on, by our pins. Pins whose interface is gone are left out."""
    found = []
    for pin in _link_pins(pin_path):
        with _pinned(pin) as link:
            if link is not None and (name := _name_or_none(int(pin.name))) is not None:
                found.append(_describe(link, name, adopted=True))
    for pin in seats.seat_pins(pin_path):
        holder, name = seats.seat_of(pin), _name_or_none(int(pin.name))
        if holder is not None and name is not None:
            found.append(Attached(int(pin.name), name, holder.mode, holder.program_id, True, NO_LINKS))
    return found


def detach(ifindex: int, pin_path: Path) -> bool:
    """Take the program off an interface; its packets are the kernel's at once. False if we were not there."""
    seat = seats.pin_of(pin_path, ifindex)
    if seat.exists():
        return seats.give_up(seat)
    pin = pins.link_pin(pin_path, ifindex)
    with _pinned(pin) as link:
        if link is None:
            return False
        pins.unpin_link(pin)
    return True


def detach_all(pin_path: Path) -> list[int]:
    """Off every interface; the ifindexes that we were on."""
    ours = [*_link_pins(pin_path), *seats.seat_pins(pin_path)]
    return [int(pin.name) for pin in ours if detach(int(pin.name), pin_path)]


def _link_pins(pin_path: Path) -> list[Path]:
    folder = pins.links_folder(pin_path)
    return sorted(folder.iterdir(), key=lambda path: int(path.name)) if folder.is_dir() else []


@contextlib.contextmanager
def _pinned(pin: Path) -> Iterator[int | None]:
    """The pinned link of an interface that still is; a link whose interface has gone (or goes by another index, in
    another namespace) is detached and unpinned."""
    if not pin.exists():
        yield None
        return
    link = object_get(pin)
    try:
        info = link_info(link)
        if info is None or info.ifindex != int(pin.name):
            pins.unpin_link(pin)
            yield None
        else:
            yield link
    finally:
        os.close(link)


def _describe(link: int, name: str, *, adopted: bool = False, note: str = "") -> Attached:
    info = link_info(link)
    assert info is not None
    modes = [holder.mode for holder in holders(info.ifindex) if holder.program_id == info.program_id]
    mode = modes[0] if modes else Mode.GENERIC
    return Attached(info.ifindex, name, mode, info.program_id, adopted, note)


def _adopted(link: int, name: str, wanted: Wanted) -> Attached:
    """A link keeps the mode that it was made in: say so where the configuration asks for the other one."""
    found = _describe(link, name, adopted=True)
    if wanted is Wanted.AUTO or wanted == found.mode.label:
        return found
    return replace(found, note=f"stays {found.mode.label} until it is detached (`bgpbridge clear`)")


def _create(program: int, ifindex: int, name: str, wanted: Wanted) -> tuple[int, str]:
    """A link in the best mode allowed, with the reason when that is not native."""
    if wanted is Wanted.GENERIC:
        return _create_in(Mode.GENERIC, program, ifindex, name), "datapath.mode is generic"
    link, code = link_create(program, ifindex, Mode.NATIVE)
    if not code:
        return link, ""
    why = WHY_NOT_NATIVE.get(code)
    if why is None:
        raise _refusal(code, ifindex, name)
    if wanted is Wanted.NATIVE:
        if code == errno.EINVAL:
            raise _NoLinks  # or so it may be: the older way tells
        raise DatapathError(f"{name}: {why}", mend="set datapath.mode: auto, which falls back to generic XDP")
    return _create_in(Mode.GENERIC, program, ifindex, name), why


def _create_in(mode: Mode, program: int, ifindex: int, name: str) -> int:
    link, code = link_create(program, ifindex, mode)
    if code == errno.EINVAL:  # generic XDP has no such answer: it is the command that is not known
        raise _NoLinks
    if code:
        raise _refusal(code, ifindex, name)
    return link


class _NoLinks(Exception):  # noqa: N818 - no error: there is the older way
    """This kernel makes no XDP links."""


def _by_netlink(program: int, ifindex: int, name: str, wanted: Wanted, pin_path: Path) -> Attached:
    """The older way, in the best mode allowed; a seat that we have keeps its mode."""
    pin = seats.pin_of(pin_path, ifindex)
    had = seats.seat_of(pin) if pin.exists() else None
    modes = [had.mode] if had is not None else MODES[wanted]
    note, code = NO_LINKS, 0
    for mode in modes:
        code = seats.take(program, ifindex, mode, pin)
        if not code:
            found = next(holder for holder in holders(ifindex) if holder.mode is mode)
            return Attached(ifindex, name, mode, found.program_id, had is not None, note)
        note = f"{WHY_NOT_NATIVE.get(code, os.strerror(code))}; {NO_LINKS}"
        if code not in WHY_NOT_NATIVE:
            break
    if code in WHY_NOT_NATIVE and wanted is Wanted.NATIVE:
        mend = "set datapath.mode: auto, which falls back to generic XDP"
        raise DatapathError(f"{name}: {WHY_NOT_NATIVE[code]}", mend=mend)
    raise _refusal(code, ifindex, name)


def _refusal(code: int, ifindex: int, name: str) -> DatapathError:
    """What an errno of BPF_LINK_CREATE means for this interface."""
    if code not in (errno.EBUSY, errno.EEXIST):
        refused = error_of(Command.LINK_CREATE, code)
        return BpfSyscallError("LINK_CREATE", code, meaning=f"on {name}; {refused.what}", mend=refused.mend)
    held = (
        ", ".join(f"program {h.program_id} ({h.name}, {h.mode.label})" for h in holders(ifindex)) or "another program"
    )
    return DatapathError(
        f"{name} is held by {held or 'another program'}",
        mend=f"detach it (`ip link set dev {name} xdp off`, or end what pinned its link), or leave {name} out of "
        "datapath.interfaces; a bgpbridge with another pin path also counts",
    )


def is_here(ifindex: int) -> bool:
    """Whether there is such an interface in this network namespace."""
    return _name_or_none(ifindex) is not None


def _name(ifindex: int) -> str:
    name = _name_or_none(ifindex)
    if name is None:
        raise NetlinkError(f"interface {ifindex}", errno.ENODEV)
    return name


def _name_or_none(ifindex: int) -> str | None:
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return None
