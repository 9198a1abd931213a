"""Where pins live: `<pin_path>/v<LAYOUT>/<map>` and `<pin_path>/links/<ifindex>`, on a bpffs.

The layout version is part of the path, so an old map is never read by a new layout. Links live outside of it:
a program of a new layout takes over the link of the old one by one atomic update. bpffs allows no dot in a
name, so a link is named by its interface's index and not by its name (`eth0.100`).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bgpbridge.datapath.abi import LAYOUT
from bgpbridge.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["layout_folder", "link_pin", "links_folder", "new_layout_folder", "other_layouts", "remove"]


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
    """Unpin everything that is ours. Links unpinned while nobody holds them detach: traffic goes back to the
    kernel; so links go first, and maps only after no program reads them."""
    folders = [links_folder(pin_path), layout_folder(pin_path), *other_layouts(pin_path)]
    for folder in (*folders, pin_path / f"new{LAYOUT}"):
        _remove_folder(folder)
    if pin_path.is_dir() and not pin_path.is_mount() and not any(pin_path.iterdir()):
        pin_path.rmdir()


def _remove_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
