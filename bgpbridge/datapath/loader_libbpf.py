"""libbpf as loader of an object made ahead of time (`ahead`): no compiler in sight at run time.

libbpf.so.1 is there wherever BCC is, and small where BCC is not. Every map of the object is replaced by the
one that user space made (bpf_map__reuse_fd), so libbpf itself creates none.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import TYPE_CHECKING

from bgpbridge.datapath.forbid import Feature, forbidden
from bgpbridge.datapath.sources import PROGRAM
from bgpbridge.errors import DatapathError, VerifierError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["load", "load_all"]

LOG_OCTETS = 1 << 20
MEND = "install libbpf1, or set datapath.loader: bcc"


@cache
def _libbpf() -> ctypes.CDLL:
    """Libbpf with its prototypes, quiet: what it has to say comes through the log buffer."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise DatapathError(f"no libbpf: {error}", mend=MEND) from None
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    prototypes: dict[str, tuple[type, tuple[type, ...]]] = {
        "bpf_object__open_file": (pointer, (text, pointer)),
        "bpf_object__find_map_by_name": (pointer, (pointer, text)),
        "bpf_object__find_program_by_name": (pointer, (pointer, text)),
        "bpf_object__next_map": (pointer, (pointer, pointer)),
        "bpf_object__load": (number, (pointer,)),
        "bpf_object__close": (type(None), (pointer,)),
        "bpf_map__name": (text, (pointer,)),
        "bpf_map__reuse_fd": (number, (pointer, number)),
        "bpf_program__set_log_buf": (number, (pointer, text, ctypes.c_size_t)),
        "bpf_program__fd": (number, (pointer,)),
        "libbpf_set_print": (pointer, (pointer,)),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = (None if result is type(None) else result), arguments
    library.libbpf_set_print(None)
    return library


def load(path: Path, fds: Mapping[str, int]) -> int:
    """The program of the object at `path`, over the given maps, as an fd. Raises DatapathError, VerifierError."""
    return load_all(path, fds, (PROGRAM,))[PROGRAM]


def load_all(path: Path, fds: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """The same for an object of several programs, by name."""
    if forbidden(Feature.LIBBPF):
        raise DatapathError("no libbpf: BGPBRIDGE_FORBID", mend=MEND)
    library = _libbpf()
    opened = library.bpf_object__open_file(os.fsencode(path), None)
    if not opened:
        raise DatapathError(f"{path} is not a BPF object: {os.strerror(ctypes.get_errno())}", mend="remove the file")
    try:
        _reuse_maps(library, opened, fds, path)
        programs = {name: library.bpf_object__find_program_by_name(opened, name.encode()) for name in names}
        if missing := [name for name, program in programs.items() if not program]:
            raise DatapathError(f"{path} holds no program {missing[0]}", mend="remove the file")
        logs = {name: ctypes.create_string_buffer(LOG_OCTETS) for name in names}
        for name, program in programs.items():
            library.bpf_program__set_log_buf(program, logs[name], LOG_OCTETS)
        if code := library.bpf_object__load(opened):
            refused = next((name for name, log in logs.items() if log.value), names[0])
            said = logs[refused].value.decode(errors="replace") or os.strerror(-code)
            raise VerifierError(refused, said, mend="run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
        # closing the object closes its fds: keep our own
        return {name: os.dup(library.bpf_program__fd(program)) for name, program in programs.items()}
    finally:
        library.bpf_object__close(opened)


def _reuse_maps(library: ctypes.CDLL, opened: int, fds: Mapping[str, int], path: Path) -> None:
    current = library.bpf_object__next_map(opened, None)
    while current:
        name = library.bpf_map__name(current).decode()
        if name not in fds:
            raise DatapathError(f"{path} wants a map {name}, which is not ours", mend="remove the file")
        if code := library.bpf_map__reuse_fd(current, fds[name]):
            raise DatapathError(f"libbpf would not take over map {name}: {os.strerror(-code)}", mend=MEND)
        current = library.bpf_object__next_map(opened, current)
