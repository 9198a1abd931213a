"""The program ahead of time: clang makes an object, once per source hash; who has it needs no compiler.

Looked for in this order: `bgpbridge-<hash>.o` beside the packaged sources (a distribution may ship it), then
the cache folder, then clang. An object is believed only when its name carries the hash of the very sources
and flags, and, in the cache, when nobody but us could have written it: it runs in the kernel.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bgpbridge.errors import DatapathError

if TYPE_CHECKING:
    from bgpbridge.datapath.sources import Sources

__all__ = ["cache_folder", "object_file"]

COMPILE_TIMEOUT_S = 60.0
CLANG_MEND = "install clang, libbpf-dev and linux-libc-dev, or set datapath.loader: bcc"


def cache_folder() -> Path:
    """Where objects are kept: systemd's CACHE_DIRECTORY, root's /var/cache, else the user's cache."""
    if systemd := os.environ.get("CACHE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/cache/bgpbridge")
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bgpbridge"


def object_file(sources: Sources, cache: Path | None = None) -> Path:
    """The compiled object of these sources; compiles when there is none. Raises DatapathError."""
    name = f"{sources.main.stem}-{sources.source_hash}.o"
    shipped = sources.main.parent / name
    if shipped.is_file():
        return shipped
    cached = (cache or cache_folder()) / name
    if not _ours_alone(cached):
        _compile(sources, cached)
    return cached


def _ours_alone(path: Path) -> bool:
    """True for a file that exists, is ours (or root's) and that nobody else may write; so for its folder."""
    try:
        states = (path.lstat(), path.parent.stat())
    except FileNotFoundError:
        return False
    ours = all(state.st_uid in (0, os.geteuid()) and not state.st_mode & 0o022 for state in states)
    return ours and stat.S_ISREG(states[0].st_mode)


def _compile(sources: Sources, target: Path) -> None:
    """Clang into a file beside the target, then renamed: nobody ever reads half an object."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        try:
            done = subprocess.run(
                (*sources.ahead_command, str(made)),
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMPILE_TIMEOUT_S,
            )
        except FileNotFoundError:
            raise DatapathError("no clang to compile the program ahead of time", mend=CLANG_MEND) from None
        except subprocess.TimeoutExpired:
            raise DatapathError(f"clang did not end within {COMPILE_TIMEOUT_S:.0f} s", mend=CLANG_MEND) from None
        if done.returncode:
            tail = "\n    ".join(done.stderr.strip().splitlines()[:4])
            raise DatapathError(f"clang could not compile {sources.main}:\n    {tail}", mend=CLANG_MEND)
        made.chmod(0o644)
        made.replace(target)
