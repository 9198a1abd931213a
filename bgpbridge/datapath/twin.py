"""A second instance of the program for `bgpbridge packet`: the same instructions over the same tables, but what packets
write (counters, samples, notes) goes into maps of its own. So a test run disturbs nothing that an operator sees, and
what live traffic counts meanwhile does not disturb the answer.

That both are one program is not believed but seen: the kernel's tag is a hash over the instructions, without the maps.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bgpbridge.datapath.abi import ControlFlag
from bgpbridge.datapath.loader import load
from bgpbridge.datapath.maps import open_map
from bgpbridge.datapath.specs import MapSpec, Sizes, specs
from bgpbridge.datapath.syscalls import MapType, map_create
from bgpbridge.datapath.testrun import RawRun, run_raw
from bgpbridge.datapath.trace import EVERYTHING, TraceRings
from bgpbridge.errors import BpfSyscallError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from bgpbridge.datapath.elements import BpfMap
    from bgpbridge.datapath.loader import Program
    from bgpbridge.datapath.maps import Maps
    from bgpbridge.datapath.trace import Noted

__all__ = ["LARGEST", "SMALLEST", "Answer", "Twin", "held"]

SMALLEST, LARGEST = 14, 3498  # octets of a frame that a test run takes: one page, less what the kernel needs of it
OWN = frozenset({"control", "trace_filter"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the program did with a frame: its verdict and the frame as it would leave, and why."""

    run: RawRun
    noted: Noted


def _own(sizes: Sizes) -> list[MapSpec]:
    """What is not shared. Where a counter is not there the program does without."""
    return [
        replace(spec, entries=1) if spec.type is MapType.PERCPU_ARRAY else spec
        for spec in specs(sizes)
        if spec.written or spec.name in OWN
    ]


def held(maps: Maps) -> dict[str, int]:
    """These maps by descriptors of one's own, which an upgrade to other maps does not close."""
    return {name: os.dup(fd) for name, fd in maps.fds.items()}


@dataclass(slots=True)
class Twin:
    """The second instance, loaded. Whoever loaded it closes it."""

    live: Maps
    program: Program
    maps: dict[str, BpfMap]
    control: npt.NDArray[Any]
    rings: TraceRings

    @classmethod
    def load(cls, live: Maps, program: Program, fds: Mapping[str, int] | None = None) -> Twin:
        """By the loader that loaded `program`; in a thread, for it takes as long. `fds` are the live maps' (`held`),
        and are closed: those of `live` itself may go meanwhile. Raises DatapathError."""
        given = held(live) if fds is None else fds
        made: dict[str, BpfMap] = {}
        try:
            return cls._load(live, program, given, made)
        except BaseException:
            for own in made.values():
                own.close()
            raise
        finally:
            for fd in given.values():
                os.close(fd)

    @classmethod
    def _load(cls, live: Maps, program: Program, given: Mapping[str, int], made: dict[str, BpfMap]) -> Twin:
        for spec in _own(Sizes()):
            fd = map_create(spec.type, spec.key.itemsize, spec.value.itemsize, spec.entries, spec.flags, spec.name)
            made[spec.name] = open_map(fd, spec)
        second = load({**given, **{name: own.fd for name, own in made.items()}}, program.loader)
        EVERYTHING.store(made["trace_filter"])
        return cls(live, second, made, made["control"].mapped(), TraceRings(made["trace_rings"].mapped()))

    def is_of(self, program: Program) -> bool:
        """Whether this is `program`, instruction by instruction."""
        return self.program.info.tag == program.info.tag

    def run(self, frame: bytes, ifindex: int) -> Answer:
        """One frame as if it had come in by an interface of this network namespace. Raises UsageError for a frame
        that cannot be tried."""
        if not SMALLEST <= len(frame) <= LARGEST:
            what = f"a frame of {len(frame)} octets cannot be tried"
            raise UsageError(what, mend=f"a test run takes {SMALLEST} to {LARGEST} octets, Ethernet header included")
        self.control[:] = self.live.control
        self.control["flags"] |= int(ControlFlag.TRACE)
        self.rings.begin()
        try:
            done = run_raw(self.program.fd, frame, ifindex=ifindex)
        except BpfSyscallError as error:
            if error.errno != errno.ENODEV:
                raise
            raise UsageError(f"there is no interface {ifindex} any more", mend="`ip link` lists them") from None
        (batch,) = self.rings.take()
        return Answer(done, batch.noted[0])

    def close(self) -> None:
        """Give program and maps back."""
        self.program.close()
        for own in self.maps.values():
            own.close()
