"""Every error that bgpbridge raises on purpose.

An error says three things: what happened and where (file and line, peer, interface, map), what was
expected, and how to mend it. The command line prints `str(error)` and exits with `error.exit_code`;
nobody prints a traceback for one of these.

    BridgeError
    ├── DocumentError          a YAML file of ours: configuration, policy, topology, expect file   (exit 2)
    │   └── DocumentErrors     several of them in one file, listed together
    ├── UsageError             a command or an API call that asks for something impossible         (exit 2)
    │   └── AbsentError        one that names a peer, a group or the like that there is not       (exit 2)
    ├── UnreachableError       no daemon behind the control socket                                 (exit 3)
    ├── SpeakerError           ExaBGP would not start, or is not the version whose seams we use
    ├── LaneError              a shared-memory lane that is not laid out as we expect
    ├── WireError              octets that do not frame as BGP messages or as MRT records
    ├── CapacityError          a table or a map is full; said before the commit, not found out after
    ├── DatapathError          BPF: compile, load, verify, attach, pin
    │   ├── BpfSyscallError    bpf(2) said no: command, errno, what that errno means here
    │   ├── VerifierError      the program was refused: last lines, and the whole log in `.log`
    │   └── LayoutError        pins that were left by another layout
    ├── NetlinkError           the kernel refused a netlink request as a whole
    └── LabError               a topology that cannot be brought up on this machine
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AbsentError",
    "BpfSyscallError",
    "BridgeError",
    "CapacityError",
    "DatapathError",
    "DocumentError",
    "DocumentErrors",
    "LabError",
    "LaneError",
    "LayoutError",
    "NetlinkError",
    "Place",
    "SpeakerError",
    "UnreachableError",
    "UsageError",
    "VerifierError",
    "WireError",
]


LISTED = 20  # errors of one file that are written out


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands. Lines and columns count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")


class BridgeError(Exception):
    """The root: `mend` says how to put it right, `exit_code` what the command line returns."""

    exit_code = 1

    def __init__(self, what: str, *, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}\n  mend: {self.mend}" if self.mend else self.what


class DocumentError(BridgeError):
    """A file of ours that cannot be used: carries the place and what was expected there."""

    exit_code = 2

    def __init__(self, place: Place, problem: str, *, expected: str = "", mend: str = "") -> None:
        text = f"{place}: {problem}"
        if expected:
            text += f"\n  expected: {expected}"
        super().__init__(text, mend=mend)
        self.place = place
        self.problem = problem
        self.expected = expected


class DocumentErrors(DocumentError):  # noqa: N818 - the plural says that there are several
    """Everything that is wrong with a file, in the order of its lines; it stands at the first of them. `what` lists
    them with their mends, so that whoever passes on `what` and `mend` leaves none out."""

    def __init__(self, errors: Sequence[DocumentError]) -> None:
        first = errors[0]
        super().__init__(first.place, first.problem, expected=first.expected, mend=first.mend)
        self.errors = tuple(errors)
        listed = "".join(f"{error}\n" for error in self.errors[:LISTED])
        rest = len(self.errors) - LISTED
        more = f"... and {rest} more, " if rest > 0 else ""
        self.what = f"{listed}{more}{len(self.errors)} errors in all"
        self.mend = ""


class UsageError(BridgeError):
    """A command or API call that cannot be carried out as asked."""

    exit_code = 2


class AbsentError(UsageError):
    """A command or API call that names something that is not there."""


class UnreachableError(BridgeError):
    """No daemon answers on the control socket."""

    exit_code = 3


class SpeakerError(BridgeError):
    """ExaBGP would not start, or is not a version whose seams we know."""


class LaneError(BridgeError):
    """A shared-memory lane whose header is not what this version lays out."""


class WireError(BridgeError):
    """Octets that do not frame: not BGP messages, or not an MRT file."""


class CapacityError(BridgeError):
    """A table, map or id space has no room for what was asked."""


class DatapathError(BridgeError):
    """BPF could not be compiled, loaded, attached or pinned."""


class BpfSyscallError(DatapathError):
    """bpf(2) failed: `command` as in enum bpf_cmd, `errno` as the kernel gave it."""

    def __init__(self, command: str, errno: int, *, meaning: str = "", mend: str = "") -> None:
        text = f"bpf({command}): {os.strerror(errno)}"
        super().__init__(f"{text}: {meaning}" if meaning else text, mend=mend)
        self.command = command
        self.errno = errno


class VerifierError(DatapathError):
    """The verifier refused the program. `str()` is the short form, its last words, which say why; `log` the whole of
    it, which also stands in `file` when there is one."""

    def __init__(self, program: str, log: str, *, mend: str = "", file: str = "") -> None:
        tail = "\n    ".join(log.strip().splitlines()[-4:])
        kept = f"\n    (all of it: {file})" if file else ""
        super().__init__(f"the kernel's verifier refused {program}:\n    {tail}{kept}", mend=mend)
        self.log = log
        self.file = file


class LayoutError(DatapathError):
    """Pinned maps that another version laid out, or that belong to something else."""


class NetlinkError(BridgeError):
    """The kernel refused a netlink request; `errno` positive."""

    def __init__(self, request: str, errno: int, *, said: str = "", mend: str = "") -> None:
        super().__init__(f"{request}: {os.strerror(errno)}" + (f" ({said})" if said else ""), mend=mend)
        self.errno = errno


class LabError(BridgeError):
    """A lab topology that cannot be brought up here."""
