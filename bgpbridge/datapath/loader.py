"""The XDP program, compiled and verified over given maps: by BCC, or ahead of time through libbpf.

`datapath.loader` chooses: `bcc`, `libbpf`, or `auto`, which tries them in that order and keeps in `note` why
the first was not it. Both come from the same source (bpf/compat.h) and run over the same maps.
"""

from __future__ import annotations

import enum
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgpbridge.datapath import ahead, loader_bcc, loader_libbpf
from bgpbridge.datapath.sources import PROGRAM, Sources
from bgpbridge.datapath.syscalls import ProgramInfo, missing_capabilities, program_info
from bgpbridge.errors import DatapathError, VerifierError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Loader", "Program", "load"]

VERIFIER_LOG = "verifier.log"


class Loader(enum.StrEnum):
    """datapath.loader in the configuration."""

    AUTO = "auto"
    BCC = "bcc"
    LIBBPF = "libbpf"


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program. Its fd is the caller's to close; a link keeps the program without it."""

    fd: int
    loader: Loader
    info: ProgramInfo
    load_s: float
    note: str = ""

    def close(self) -> None:
        """Give the fd back."""
        os.close(self.fd)


def load(fds: Mapping[str, int], loader: Loader = Loader.AUTO, sources: Sources | None = None) -> Program:
    """Compile (where needed), verify and load. `fds` are the maps by name (Maps.fds). Takes 0.3 to 0.8 s by
    BCC, 15 ms ahead of time; call it from a worker thread. Raises DatapathError or VerifierError."""
    if missing := missing_capabilities():
        names = " and ".join(missing)
        raise DatapathError(f"loading BPF needs {names}, which this process lacks", mend=f"run as root or add {names}")
    try:
        return _load(fds, loader, sources or Sources.ours())
    except VerifierError as error:
        raise VerifierError(PROGRAM, error.log, mend=error.mend, file=_written(error.log)) from None


def _load(fds: Mapping[str, int], loader: Loader, sources: Sources) -> Program:
    if loader is not Loader.AUTO:
        return _load_by(loader, sources, fds)
    try:
        return _load_by(Loader.BCC, sources, fds)
    except DatapathError as error:
        first = error
    try:
        return _load_by(Loader.LIBBPF, sources, fds, note=f"libbpf, because {first.what.splitlines()[0]}")
    except VerifierError:
        raise
    except DatapathError as error:
        raise DatapathError(
            f"neither loader works.\n  bcc: {first.what}\n  libbpf: {error.what}", mend=first.mend or error.mend
        ) from error


def _written(log: str) -> str:
    """The file that holds the verifier's words, for root alone; empty where none could be written."""
    path = ahead.cache_folder() / VERIFIER_LOG
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(log, encoding="utf-8")
    except OSError:
        return ""
    return str(path)


def _load_by(loader: Loader, sources: Sources, fds: Mapping[str, int], note: str = "") -> Program:
    start = time.monotonic()
    by_bcc = loader is Loader.BCC
    fd = loader_bcc.load(sources, fds) if by_bcc else loader_libbpf.load(ahead.object_file(sources), fds)
    return Program(fd, loader, program_info(fd), time.monotonic() - start, note)
