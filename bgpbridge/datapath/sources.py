"""The BPF sources as files: where they are, what identifies them, and how both compilers are called.

`source_hash` names a build: an object in the cache, or shipped in the package, is used only under the hash of
the very sources and flags that it was made from.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bgpbridge import resources
from bgpbridge.errors import DatapathError

__all__ = ["PROGRAM", "Sources", "bpf_folder"]

PROGRAM = "bgpbridge"
AHEAD_FLAGS = ("-O2", "-g", "-target", "bpf", "-Wall", "-Wextra", "-Werror")


def bpf_folder() -> Path:
    """The folder of the BPF sources: the wheel's copy, else the checkout's bpf/."""
    return resources.bpf_sources()


@dataclass(frozen=True)
class Sources:
    """One set of BPF sources, and the file of it that is compiled (`unit`, without `.c`): the datapath, or a program of
    the benches."""

    folder: Path
    unit: str = PROGRAM

    @classmethod
    def ours(cls) -> Sources:
        """The sources that belong to this package. Raises DatapathError when they are not there."""
        sources = cls(bpf_folder())
        if not sources.main.is_file():
            raise DatapathError(
                f"no BPF sources at {sources.folder}", mend="reinstall bgpbridge: the wheel carries them"
            )
        return sources

    @property
    def main(self) -> Path:
        """The file with the entry point."""
        return self.folder / f"{self.unit}.c"

    @property
    def shim(self) -> Path:
        """What BCC takes for a kernel source tree."""
        return self.folder / "shim"

    @property
    def include_flags(self) -> tuple[str, ...]:
        """Our headers, then those of linux-libc-dev (Debian keeps asm/ under the multiarch folder)."""
        return (f"-I{self.folder}", "-I/usr/include", f"-I/usr/include/{platform.machine()}-linux-gnu")

    @property
    def ahead_command(self) -> tuple[str, ...]:
        """Clang's command line but for the output."""
        return ("clang", *AHEAD_FLAGS, *self.include_flags[:1], *self.include_flags[2:], "-c", str(self.main), "-o")

    @cached_property
    def source_hash(self) -> str:
        """Twelve hex digits over our files and flags. A unit in a folder below may include the datapath itself."""
        digest = hashlib.sha256(repr(AHEAD_FLAGS).encode())
        headers = {*self.folder.glob("*.h"), *self.main.parent.glob("*.h")}
        for path in sorted({*headers, self.folder / f"{PROGRAM}.c", self.main}):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:12]
