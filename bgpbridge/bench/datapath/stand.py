"""What every part of the datapath benches works with: a place, programs, planes, and senders on CPUs of their own."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Final

from bgpbridge.bench.datapath.place import PORTS, Place, mac, place, usual_cpus
from bgpbridge.bench.datapath.planes import Planes
from bgpbridge.bench.datapath.programs import Programs, programs
from bgpbridge.bench.datapath.table import Addresses, Table, made_table
from bgpbridge.bench.plan import Plan
from bgpbridge.datapath.frames import checksum
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.syscalls import Command, error_of, try_bpf
from bgpbridge.datapath.testrun import XDP_MD
from bgpbridge.errors import LabError
from bgpbridge.types import Family

LIBC = ctypes.CDLL(None)
__all__ = ["BATCH", "OCTETS", "Stand", "stand", "undisturbed"]

LIVE_FRAMES: Final = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES of linux/bpf.h
OCTETS: Final = {Family.IPV4: 60, Family.IPV6: 78}  # the shortest frames that there are with a time in them
BATCH: Final = 64  # frames that a driver hands on at once (NAPI_POLL_WEIGHT)
CALLS: Final = 1 << 24  # of a sender, unless it is stopped before: half a minute for the slowest router
POLLS: Final = 1 << 27  # the same of one that mostly finds nothing due
STOP: Final = signal.SIGUSR1
WARM_UP_S: Final = 0.05
JOIN_S: Final = 0.01
LATE_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Stand:
    """Everything, for the time of a suite. `cpus` are those that may send, the first choice last."""

    plan: Plan
    place: Place
    maps: Maps
    programs: Programs
    planes: Planes
    cpus: Sequence[int]

    def table(self, family: Family) -> Table:
        """The whole table of a family."""
        return self.planes.tables[family]

    def aim(self, addresses: Addresses, family: Family) -> None:
        """What is looked up and sent to from now on."""
        self.programs.list_destinations(addresses, family)

    @contextlib.contextmanager
    def sending(self, family: Family, cpus: Sequence[int], batch: int = BATCH) -> Iterator[None]:
        """Senders on these CPUs, as quick as they can or as `stream` says, from some time before the block on. What
        one of them raises is raised. A sender is one long run: between two the kernel waits for RCU, for much longer
        than a packet takes. A signal ends it."""
        self._frame_head()
        self.programs.start_from(time.monotonic_ns())
        program = self.programs.fds[f"send_{family.label}"]
        calls = POLLS if self.programs.stream["mean_ns"][0] else CALLS
        senders = [_Sender(cpu, partial(_send, program, bytes(OCTETS[family]), calls, batch)) for cpu in cpus]
        before = self.programs.sunk()
        for sender in senders:
            sender.start(self.place)
        try:
            deadline = time.monotonic_ns() + LATE_NS
            while self.programs.sunk() == before and time.monotonic_ns() < deadline:
                time.sleep(JOIN_S)
            time.sleep(WARM_UP_S)
            yield
        finally:
            for sender in senders:
                sender.stop()
        for sender in senders:
            sender.thread.result()

    def rate(self, family: Family, seconds: float, cpus: Sequence[int] | None = None, batch: int = BATCH) -> float:
        """Millions of frames a second that the sinks count, while senders send as `stream` says."""
        with self.sending(family, self.cpus[-1:] if cpus is None else cpus, batch):
            return self.counted(seconds)

    def counted(self, seconds: float) -> float:
        """Millions of frames a second over the next `seconds`. Raises LabError when none comes for long: where others
        compute as well, a sender may have to wait."""
        began, before = time.monotonic_ns(), self.programs.sunk()
        time.sleep(seconds)
        while not (packets := self.programs.sunk() - before):
            if time.monotonic_ns() - began > LATE_NS:
                raise LabError("no packet reached the sink", mend="see the counters of the programs with bpftool")
            time.sleep(seconds)
        return packets * 1e3 / (time.monotonic_ns() - began)

    def _frame_head(self) -> None:
        """MACs, and what of the IPv4 header's sum does not depend on the destination."""
        head = mac("r0") + mac("g0")
        self.programs.stream["macs0"] = int.from_bytes(head[:8], "little")
        self.programs.stream["macs1"] = int.from_bytes(head[8:], "little")
        octets = OCTETS[Family.IPV4] - 14
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, octets, 0, 0, 64, 17, 0, bytes((198, 18, 0, 2)), bytes(4))
        self.programs.stream["check"] = int.from_bytes((~checksum(ip) & 0xFFFF).to_bytes(2, "big"), "little")


class _Sender:
    """A thread on one CPU, in the sender's namespace."""

    def __init__(self, cpu: int, work: Callable[[], None]) -> None:
        self.thread: Future[None] = Future()
        self._cpu, self._work, self._number = cpu, work, 0

    def start(self, place: Place) -> None:
        """Begin."""
        threading.Thread(target=self._run, args=(place,)).start()

    def stop(self) -> None:
        """End the run that is under way, and wait for it."""
        while not self.thread.done():
            if self._number:
                LIBC.tgkill(os.getpid(), self._number, STOP)
            wait([self.thread], JOIN_S)

    def _run(self, place: Place) -> None:
        try:
            place.at("g0", self._there)
            self.thread.set_result(None)
        except BaseException as error:  # noqa: BLE001 -- raised again by who waits for the sender
            self.thread.set_exception(error)

    def _there(self) -> None:
        os.sched_setaffinity(0, {self._cpu})
        self._number = threading.get_native_id()
        with undisturbed():
            self._work()


def _send(program: int, frame: bytes, calls: int, batch: int) -> None:
    """Live frames, out by g0, until all calls are made or a signal comes."""
    data = ctypes.create_string_buffer(frame, len(frame))
    context = ctypes.create_string_buffer(XDP_MD.pack(0, len(frame), 0, PORTS["g0"], 0, 0), XDP_MD.size)
    attr = struct.pack(
        "=IIIIQQIIIIQQIII",
        *(program, 0, len(frame), 0, ctypes.addressof(data), 0, calls, 0),
        *(XDP_MD.size, 0, ctypes.addressof(context), 0, LIVE_FRAMES, 0, batch),
    )
    _, _, code = try_bpf(Command.PROG_TEST_RUN, attr)
    if code not in (0, errno.EINTR):
        raise error_of(Command.PROG_TEST_RUN, code)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """This thread goes before every usual process of the machine (SCHED_FIFO): one that only wants its CPU for a moment
    would leave the softirqs of a sender to ksoftirqd, which is slower by far. For parts of a second at a time."""
    usual = os.sched_getscheduler(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, usual, os.sched_param(0))


@contextlib.contextmanager
def stand(plan: Plan) -> Iterator[Stand]:
    """The place with both planes, no routes in them yet. This thread leaves the last CPU to the senders."""
    cpus = usual_cpus()
    tables = {Family.IPV4: made_table(Family.IPV4, plan.ipv4), Family.IPV6: made_table(Family.IPV6, plan.ipv6)}
    maps = Maps.create(Sizes())
    try:
        with place() as made, programs(maps, plan.walked) as loaded:
            planes = Planes(made, maps, tables)
            made.at("r0", planes.start)
            os.sched_setaffinity(0, set(cpus[:-1] or cpus))
            usual = signal.signal(STOP, lambda *_: None)  # only its coming matters: a run of the sender ends
            try:
                yield Stand(plan, made, maps, loaded, planes, cpus)
            finally:
                signal.signal(STOP, usual)
                os.sched_setaffinity(0, set(cpus))
                planes.stop()
    finally:
        maps.close()
