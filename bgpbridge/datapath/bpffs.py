"""A bpffs for the pins: whether `pin_path` is on one, and mounting one where we may.

We mount only over the conventional /sys/fs/bpf, or on a folder of our own that is empty: never over files.
Beware of `ip netns exec`: it remounts /sys, and pins made inside are gone after it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from bgpbridge.errors import DatapathError

__all__ = ["ensure_bpffs", "is_bpffs"]

BPF_FS_MAGIC = 0xCAFE4A11
CONVENTIONAL = Path("/sys/fs/bpf")
_libc = ctypes.CDLL(None, use_errno=True)


def is_bpffs(path: Path) -> bool:
    """True when `path` exists and is on a bpffs: statfs(2) with the magic of linux/magic.h."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statfs(os.fsencode(path), buffer):
        return False
    return int.from_bytes(buffer.raw[:8], "little") & 0xFFFFFFFF == BPF_FS_MAGIC


def nearest_existing(path: Path) -> Path:
    """The path itself, or the closest parent that exists."""
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def ensure_bpffs(pin_path: Path) -> bool:
    """See to it that pins can be made under `pin_path`; True when a bpffs was mounted for that. Raises
    DatapathError when there is none and we may not, or should not, mount one."""
    nearest = nearest_existing(pin_path)
    if is_bpffs(nearest):
        return False
    target = CONVENTIONAL if pin_path.is_relative_to(CONVENTIONAL) and CONVENTIONAL.is_dir() else pin_path
    if target != CONVENTIONAL:
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _no_bpffs(pin_path, str(error)) from None
    if any(target.iterdir()):
        raise _no_bpffs(pin_path, f"{target} is not empty, so nothing is mounted over it")
    if _libc.mount(b"bpf", os.fsencode(target), b"bpf", 0, b"mode=0700"):
        raise _no_bpffs(pin_path, f"mount on {target}: {os.strerror(ctypes.get_errno())}")
    return True


def _no_bpffs(pin_path: Path, why: str) -> DatapathError:
    return DatapathError(
        f"pins need a bpffs, and {pin_path} is on none: {why}",
        mend="mount one as root (`mount -t bpf bpf /sys/fs/bpf`), or set datapath.pin_path to a folder on one",
    )
