"""BCC as compiler and loader, behind a short-lived child (bcc_child): the daemon never holds LLVM.

The maps exist already; the child inherits their fds, which BCC puts into the instructions. It needs no kernel
headers: bpf/shim stands in for them (BCC_KERNEL_SOURCE), with linux-libc-dev's UAPI headers.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bgpbridge.datapath.bcc_child import NO_BCC, NOT_COMPILED, REFUSED
from bgpbridge.datapath.forbid import Feature, forbidden
from bgpbridge.datapath.sources import PROGRAM, Sources
from bgpbridge.errors import DatapathError, VerifierError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["load"]

CHILD = Path(__file__).with_name("bcc_child.py")
TIMEOUT_S = 60.0
SYSTEM_PYTHON = "/usr/bin/python3"
NO_BCC_MEND = "install Debian's python3-bpfcc (PyPI's bcc is another program), or set datapath.loader: libbpf"


def load(sources: Sources, fds: Mapping[str, int]) -> int:
    """The program as an fd of this process. Raises DatapathError: no BCC, not compiled; VerifierError."""
    if forbidden(Feature.BCC):
        raise _explain(NO_BCC, "BGPBRIDGE_FORBID")
    first, *others = dict.fromkeys((sys.executable, SYSTEM_PYTHON))
    code, said, fd = _run_child(first, sources, fds)
    for python in others:
        if code != NO_BCC or not Path(python).exists():
            break
        code, said, fd = _run_child(python, sources, fds)
    if fd is not None:
        return fd
    raise _explain(code, said)


def _run_child(python: str, sources: Sources, fds: Mapping[str, int]) -> tuple[int, str, int | None]:
    """Exit code, what was said on stderr, and the program's fd if one came."""
    ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with childs:
            process = subprocess.Popen(
                (python, "-I", str(CHILD), str(childs.fileno())),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(childs.fileno(), *fds.values()),
                env={**os.environ, "BCC_KERNEL_SOURCE": str(sources.shim)},
                text=True,
                errors="replace",
            )
        try:
            _, said = process.communicate(_request(sources, fds), timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return -1, f"no answer within {TIMEOUT_S:.0f} s", None
        received = socket.recv_fds(ours, 16, 1)[1]
    if not received:
        return process.returncode, said, None
    os.set_inheritable(received[0], False)
    return process.returncode, said, received[0]


def _request(sources: Sources, fds: Mapping[str, int]) -> str:
    cflags = ["-DBGPBRIDGE_BCC", *sources.include_flags, *(f"-DFD_{name}={fd}" for name, fd in fds.items())]
    return json.dumps({"source": str(sources.main), "cflags": cflags, "program": PROGRAM}) + "\n"


def _explain(code: int, said: str) -> DatapathError:
    tail = "\n    ".join(said.strip().splitlines()[-4:])
    if code == NO_BCC:
        return DatapathError(f"BCC is not installed: {tail}", mend=NO_BCC_MEND)
    if code == NOT_COMPILED:
        return DatapathError(
            f"BCC could not compile the program:\n    {tail}",
            mend="install linux-libc-dev; `datapath.loader: libbpf` takes clang instead of BCC",
        )
    if code == REFUSED:
        return VerifierError(PROGRAM, said, mend="run as root or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
    return DatapathError(f"the BCC child ended with {code}:\n    {tail}", mend="try `datapath.loader: libbpf`")
