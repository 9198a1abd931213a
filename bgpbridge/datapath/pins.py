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
from bgpbridge.datapath.syscalls import object_get
from bgpbridge.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["layout_folder", "link_pin", "links_folder", "new_layout_folder", "other_layouts", "remove", "unpin_link"]


def layout_folder(pin_path: Path) -> Path:
    """The maps of this layout."""
    return pin_path / f"v{LAYOUT}"


def links_folder(pin_path: Path) -> Path:
    """The XDP links, one an interface."""
    return pin_path / "links"


def link_pin(pin_path: Path, ifindex: int) -> Path:
    """The link of one interface."""
    return links_folder(pin_path) / str(ifindex)


def other_layouts(pin_path: Path) -> list[Path]:
    """Map folders that other versions left."""
    if not pin_path.is_dir():
        return []
    mine = layout_folder(pin_path)
    return sorted(path for path in pin_path.iterdir() if re.fullmatch(r"v\d+", path.name) and path != mine)


@contextmanager
def new_layout_folder(pin_path: Path) -> Iterator[Path]:
    """A folder to pin into, renamed to its real name at the end: a killed run leaves no half set of pins."""
    folder, final = pin_path / f"new{LAYOUT}", layout_folder(pin_path)
    if final.exists():
        raise LayoutError(f"{final} exists already", mend="adopt it, or remove it with `bgpbridge clear`")
    pin_path.mkdir(parents=True, exist_ok=True)
    _remove_folder(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
        folder.rename(final)
    except BaseException:
        _remove_folder(folder)
        raise


def remove(pin_path: Path) -> None:
    """Unpin everything that is ours, links detached first: traffic is the kernel's when this returns, and maps go
    only after no program reads them."""
    links = links_folder(pin_path)
    for pin in links.iterdir() if links.is_dir() else ():
        unpin_link(pin)
    folders = [links, layout_folder(pin_path), *other_layouts(pin_path)]
    for folder in (*folders, pin_path / f"new{LAYOUT}"):
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
