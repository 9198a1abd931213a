"""Where pins live: `<pin_path>/v<LAYOUT>/<map>` and `<pin_path>/links/<ifindex>`, on a bpffs.

The layout version is part of the path, so an old map is never read by a new layout. Links live outside of it:
a program of a new layout takes over the link of the old one by one atomic update. bpffs allows no dot in a
name, so a link is named by its interface's index and not by its name (`eth0.100`).
"""

from __future__ import annotations

import os
import re
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bgpbridge.datapath.abi import LAYOUT
from bgpbridge.datapath.links import link_detach
from bgpbridge.datapath.seats import remove_seats
from bgpbridge.datapath.syscalls import object_get, object_pin
from bgpbridge.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "layout_folder",
    "link_pin",
    "links_folder",
    "new_layout_folder",
    "other_layouts",
    "pin_program",
    "program_pin",
    "recover",
    "remove",
    "remove_other_layouts",
    "unpin_link",
]


def layout_folder(pin_path: Path) -> Path:
    """The maps of this layout."""
    return pin_path / f"v{LAYOUT}"


def links_folder(pin_path: Path) -> Path:
    """The XDP links, one an interface."""
    return pin_path / "links"


def link_pin(pin_path: Path, ifindex: int) -> Path:
    """The link of one interface."""
    return links_folder(pin_path) / str(ifindex)


def program_pin(pin_path: Path) -> Path:
    """The program that is on the interfaces: who starts after us can go on with it."""
    return pin_path / "program"


def pin_program(pin_path: Path, program: int) -> None:
    """Pin a program in the place of the one before, in one step."""
    pin = program_pin(pin_path)
    beside = pin.with_name("newprogram")
    beside.unlink(missing_ok=True)
    object_pin(program, beside)
    beside.rename(pin)


def other_layouts(pin_path: Path) -> list[Path]:
    """Map folders that other versions left."""
    if not pin_path.is_dir():
        return []
    mine = layout_folder(pin_path)
    found = (path for path in pin_path.iterdir() if re.fullmatch(r"v\d+", path.name) and path != mine)
    return sorted(found, key=lambda path: int(path.name[1:]))


@contextmanager
def new_layout_folder(pin_path: Path, *, replacing: bool = False) -> Iterator[Path]:
    """A folder to pin into, renamed to its real name at the end: a killed run leaves no half set of pins. With
    `replacing` the set that stands there gives way to it; killed in between, `recover` finds that one."""
    folder, final, aside = pin_path / f"new{LAYOUT}", layout_folder(pin_path), _aside(pin_path)
    if final.exists() and not replacing:
        raise LayoutError(f"{final} exists already", mend="adopt it, or remove it with `bgpbridge clear`")
    pin_path.mkdir(parents=True, exist_ok=True)
    _remove_folder(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
        if final.exists():
            _remove_folder(aside)
            final.rename(aside)
        folder.rename(final)
        _remove_folder(aside)
    except BaseException:
        _remove_folder(folder)
        raise


def recover(pin_path: Path) -> None:
    """The set of pins that a killed run had put aside, where it had not come to put another one in its place."""
    final, aside = layout_folder(pin_path), _aside(pin_path)
    if aside.is_dir() and not final.exists():
        aside.rename(final)


def remove_other_layouts(pin_path: Path) -> None:
    """Unpin the maps of other versions. Nothing may read them any more."""
    for folder in other_layouts(pin_path):
        _remove_folder(folder)


def _aside(pin_path: Path) -> Path:
    return pin_path / f"old{LAYOUT}"


def remove(pin_path: Path) -> None:
    """Unpin everything that is ours, links detached first: traffic is the kernel's when this returns, and maps go
    only after no program reads them."""
    remove_seats(pin_path)
    program_pin(pin_path).unlink(missing_ok=True)
    links = links_folder(pin_path)
    for pin in links.iterdir() if links.is_dir() else ():
        unpin_link(pin)
    folders = [links, layout_folder(pin_path), *other_layouts(pin_path)]
    for folder in (*folders, pin_path / f"new{LAYOUT}", _aside(pin_path)):
        _remove_folder(folder)
    if pin_path.is_dir() and not pin_path.is_mount() and not any(pin_path.iterdir()):
        pin_path.rmdir()


def unpin_link(pin: Path) -> None:
    """Detach a pinned link and unpin it. Without the first the program stays for a while: the kernel frees an
    unlinked pin after an RCU grace period, and the link behind it later still, in a work queue
    (kernel/bpf/inode.c, bpf_free_inode; kernel/bpf/syscall.c, bpf_link_put)."""
    with closing(os.fdopen(object_get(pin), "rb", buffering=0)) as link:
        link_detach(link.fileno())
    pin.unlink()


def _remove_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
