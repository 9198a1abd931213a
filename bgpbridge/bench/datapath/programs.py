"""The benches' own programs (bpf/bench) and their maps, over the maps of a datapath.

The layouts are those of bpf/bench/bench.h. Programs are made ahead of time and loaded by libbpf, the datapath's own as
well, so that one compiler has made all that are compared.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bgpbridge.bench.datapath.table import IPV6_ADDRESS, Addresses
from bgpbridge.datapath import ahead, loader_libbpf
from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.sources import PROGRAM, Sources
from bgpbridge.datapath.specs import possible_cpus
from bgpbridge.datapath.syscalls import MapFlag, MapType, map_create
from bgpbridge.types import Family

__all__ = ["DELAY_BUCKETS", "UNCOUNTED", "UNTRACED", "Programs", "programs"]

U32, U64 = np.dtype("<u4"), np.dtype("<u8")
WALK = np.dtype(
    [("first", U32), ("count", U32), ("mask", U32), ("ifindex", U32), ("ns", U64), ("sum", U64), ("found", U64)]
)
STREAM = np.dtype([("macs0", U64), ("macs1", U32), ("mask", U32), ("check", U32), ("mean_ns", U32)])
SENDER = np.dtype([("next", U64), ("due_ns", U64), ("sent", U64)])
ARRIVAL = np.dtype([("ifindex", U32), ("reserved", U32), ("ns", U64)])
DELAY_BUCKETS: Final = 2048
UNCOUNTED: Final = "bgpbridge without counters"
UNTRACED: Final = "bgpbridge without trace"
UNITS: Final = {
    PROGRAM: (PROGRAM,),
    "bench/walk": tuple(f"walk{family}_{what}" for family in (4, 6) for what in ("none", "table", "kernel")),
    "bench/traffic": ("send_ipv4", "send_ipv6", "sink", "sink_delays", "fib_forward"),
}


@dataclass(slots=True)
class Programs:
    """Programs as fds by name, the benches' maps as arrays."""

    maps: Maps
    fds: dict[str, int]
    by_name: dict[str, BpfMap]
    walk: npt.NDArray[Any] = field(init=False, repr=False)
    stream: npt.NDArray[Any] = field(init=False, repr=False)
    arrival: npt.NDArray[Any] = field(init=False, repr=False)
    delays: npt.NDArray[Any] = field(init=False, repr=False)
    _lists: dict[Family, npt.NDArray[Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.walk = self.by_name["bench_walks"].mapped()
        self.stream = self.by_name["bench_streams"].mapped()
        self.arrival = self.by_name["bench_arrivals"].mapped()
        self.delays = self.by_name["bench_delays"].mapped()
        four, six = self.by_name["bench_ipv4"].mapped().view(">u4"), self.by_name["bench_ipv6"].mapped()
        self._lists = {Family.IPV4: four, Family.IPV6: six}

    def list_destinations(self, addresses: Addresses, family: Family) -> None:
        """What walks look up and streams are sent to: a power of two of addresses."""
        self._lists[family][: len(addresses)] = addresses
        self.walk["mask"] = self.stream["mask"] = len(addresses) - 1

    def sunk(self) -> int:
        """Frames that the sinks have counted, over all CPUs."""
        return int(self._per_cpu("bench_sunk").sum())

    def sent(self) -> int:
        """Frames that the senders have sent, over all CPUs."""
        return int(self._per_cpu("bench_senders")["sent"].sum())

    def start_from(self, due_ns: int) -> None:
        """Senders begin at this moment, each CPU at another place of the list."""
        senders = np.zeros(possible_cpus(), SENDER)
        senders["next"] = np.arange(len(senders)) * (int(self.stream["mask"][0]) + 1) // len(senders)
        senders["due_ns"] = due_ns
        self.by_name["bench_senders"].update(0, senders)

    def _per_cpu(self, name: str) -> npt.NDArray[Any]:
        found = self.by_name[name].lookup(np.zeros(1, U32))
        assert found is not None
        return found


@contextlib.contextmanager
def programs(maps: Maps, walked: int) -> Iterator[Programs]:
    """All of them for the time of a block, with lists of up to `walked` addresses."""
    made: dict[str, BpfMap] = {}
    fds: dict[str, int] = {}
    try:
        for bpf_map in _maps(walked):
            made[bpf_map.name] = bpf_map
        every = {**maps.fds, **{name: bpf_map.fd for name, bpf_map in made.items()}}
        for unit, names in UNITS.items():
            fds |= loader_libbpf.load_all(_object(unit), every, names)
        fds[UNCOUNTED] = loader_libbpf.load(_object("bench/uncounted"), every)
        fds[UNTRACED] = loader_libbpf.load(_object("bench/untraced"), every)
        yield Programs(maps, fds, made)
    finally:
        for fd in fds.values():
            os.close(fd)
        for bpf_map in made.values():
            bpf_map.close()


def _object(unit: str) -> Any:
    return ahead.object_file(Sources(Sources.ours().folder, unit))


def _maps(walked: int) -> Iterator[BpfMap]:
    mapped = MapFlag.MMAPABLE
    wanted = (
        ("bench_ipv4", MapType.ARRAY, U64, walked // 2, mapped),
        ("bench_ipv6", MapType.ARRAY, IPV6_ADDRESS, walked, mapped),
        ("bench_walks", MapType.ARRAY, WALK, 1, mapped),
        ("bench_streams", MapType.ARRAY, STREAM, 1, mapped),
        ("bench_senders", MapType.PERCPU_ARRAY, SENDER, 1, 0),
        ("bench_sunk", MapType.PERCPU_ARRAY, U64, 1, 0),
        ("bench_arrivals", MapType.ARRAY, ARRIVAL, 1, mapped),
        ("bench_delays", MapType.ARRAY, U64, DELAY_BUCKETS, mapped),
    )
    for name, kind, value, entries, flags in wanted:
        fd = map_create(kind, U32.itemsize, value.itemsize, entries, flags, name)
        yield BpfMap(fd, name, U32, value, entries, possible_cpus() if kind is MapType.PERCPU_ARRAY else 0)
