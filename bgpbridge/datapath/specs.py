"""How every map of this layout must be: type, key, value, room and flags; and what that costs in memory.

A new map (an index in front of a trie, say) is a line in `specs` and one in bpf/maps.h. `differences` is what
adoption checks of a pinned map before one octet of it is believed.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.syscalls import MapFlag, MapInfo, MapType, map_create
from bgpbridge.errors import BpfSyscallError, CapacityError, DatapathError

__all__ = [
    "MapSpec",
    "Sizes",
    "check_memory",
    "maps_arrays",
    "memory_estimate",
    "memory_of_indexes",
    "possible",
    "possible_cpus",
    "specs",
]

U32, U64 = np.dtype("<u4"), np.dtype("<u8")
# Octets of kernel memory for one route, intermediate nodes and slab rounding included: measured on 6.18
# with full tables (99 MiB for 1M IPv4 prefixes, 23 MiB for 220k IPv6 ones).
TRIE_OCTETS = {"lpm4": 104, "lpm6": 112}
HASH_OVERHEAD = 64
INDEX6_DEEPEST = 14
INDEX6_SPARE = 1 << 16
# A devmap is read-only to programs, and the kernel says so of its own accord (BPF_F_RDONLY_PROG).
SET_BY_KERNEL = 1 << 7


@dataclass(frozen=True, slots=True)
class Sizes:
    """Room, from the configuration: prefixes (datapath.max_ipv4 and max_ipv6), whether there are indexes in front of
    the tries (engine), slots of a group (group_slots, a power of two from 64 to 512); and whether user space maps the
    arrays (`possible`)."""

    max_ipv4: int = 1_200_000
    max_ipv6: int = 400_000
    indexed: bool = True
    group_slots: int = abi.GROUP_SLOTS
    mapped: bool = True

    @property
    def index6_lines(self) -> int:
        """Lines of the IPv6 index. A table of the Internet takes half a line a prefix, and as much again while all of
        it changes; prefixes that share nothing take up to 14 (and a table full of those is left to the trie)."""
        return min(2 * INDEX6_DEEPEST * self.max_ipv6, self.max_ipv6 + INDEX6_SPARE) + 1 if self.indexed else 1


@dataclass(frozen=True, slots=True)
class MapSpec:
    """How one map must be. The name is that of bpf/maps.h and of its pin. `written`: packets write it."""

    name: str
    type: MapType
    key: np.dtype[Any]
    value: np.dtype[Any]
    entries: int
    flags: int = 0
    written: bool = False

    @property
    def mapped(self) -> bool:
        """True when user space writes it by stores."""
        return bool(self.flags & MapFlag.MMAPABLE)

    def differences(self, info: MapInfo) -> list[str]:
        """What of a pinned map is not as we lay it out; empty when it is ours."""
        pairs = (
            ("type", info.type, int(self.type)),
            ("key size", info.key_size, self.key.itemsize),
            ("value size", info.value_size, self.value.itemsize),
            ("entries", info.max_entries, self.entries),
            ("flags", info.flags & ~SET_BY_KERNEL, int(self.flags)),
        )
        return [f"{what} {found}, expected {wanted}" for what, found, wanted in pairs if found != wanted]


def specs(sizes: Sizes) -> tuple[MapSpec, ...]:
    """Every map of this layout. A new one (an index, say) is a line here and in bpf/maps.h."""
    mapped, trie = MapFlag.MMAPABLE if sizes.mapped else MapFlag(0), MapFlag.NO_PREALLOC
    lines, pairs = (abi.INDEX4_LINES, abi.INDEX6_SLOTS // 2) if sizes.indexed else (1, 1)
    return (
        MapSpec("lpm4", MapType.LPM_TRIE, abi.LPM4_KEY, U32, sizes.max_ipv4, trie),
        MapSpec("lpm6", MapType.LPM_TRIE, abi.LPM6_KEY, U32, sizes.max_ipv6, trie),
        MapSpec("index4", MapType.ARRAY, U32, abi.INDEX4_LINE, lines, mapped),
        MapSpec("index6_dir", MapType.ARRAY, U32, abi.INDEX6_PAIR, pairs, mapped),
        MapSpec("index6_lines", MapType.ARRAY, U32, abi.INDEX6_LINE, sizes.index6_lines, mapped),
        MapSpec("groups", MapType.ARRAY, U32, abi.GROUP, abi.MAX_GROUPS, mapped),
        MapSpec("group_slots", MapType.ARRAY, U32, abi.SLOT_LINE, abi.MAX_GROUPS * sizes.group_slots // 4, mapped),
        MapSpec("group_sources", MapType.ARRAY, U32, U64, abi.MAX_GROUPS, mapped),
        MapSpec("adjacencies", MapType.ARRAY, U32, abi.ADJACENCY, abi.MAX_ADJACENCIES, mapped),
        MapSpec("control", MapType.ARRAY, U32, abi.CONTROL, 1, mapped),
        MapSpec("interfaces", MapType.HASH, U64, abi.INTERFACE, abi.MAX_INTERFACES),
        MapSpec("tx_ports", MapType.DEVMAP_HASH, U32, U32, abi.MAX_INTERFACES),
        MapSpec("counters", MapType.PERCPU_ARRAY, U32, abi.COUNTER, len(abi.Reason), written=True),
        MapSpec("adjacency_counters", MapType.PERCPU_ARRAY, U32, abi.COUNTER, abi.MAX_ADJACENCIES, written=True),
        MapSpec("group_counters", MapType.PERCPU_ARRAY, U32, abi.COUNTER, abi.MAX_GROUPS, written=True),
        MapSpec("punt_buckets", MapType.PERCPU_ARRAY, U32, U64, len(abi.Reason), written=True),
        MapSpec("rtt_starts", MapType.LRU_HASH, U64, abi.RTT_START, abi.RTT_STARTS, written=True),
        MapSpec("rtt_rings", MapType.ARRAY, U32, abi.RTT_RING, possible_cpus(), mapped, written=True),
        MapSpec("trace_filter", MapType.ARRAY, U32, abi.TRACE_FILTER, 1),
        MapSpec("trace_rings", MapType.ARRAY, U32, abi.TRACE_RING, possible_cpus(), mapped, written=True),
    )


def possible(sizes: Sizes) -> Sizes:
    """The same on this kernel: one that maps no arrays (before 5.5) has no indexes, which live by stores. Raises
    DatapathError on one whose devmaps are no hashes (before 5.4): XDP there cannot leave a packet to the kernel whose
    egress it does not know."""
    if not _makes(MapType.DEVMAP_HASH, 0):
        raise DatapathError(
            "this kernel is too old to forward by XDP: it has no devmap_hash (Linux 5.4)",
            mend="boot a newer kernel, or leave datapath.interfaces empty: the kernel forwards alone",
        )
    return sizes if maps_arrays() else replace(sizes, indexed=False, mapped=False)


def maps_arrays() -> bool:
    """Whether user space can map arrays and store into them (Linux 5.5), found out by making one."""
    return _makes(MapType.ARRAY, MapFlag.MMAPABLE)


def _makes(kind: MapType, flags: int) -> bool:
    value = U32.itemsize if kind is MapType.DEVMAP_HASH else U64.itemsize
    try:
        fd = map_create(kind, U32.itemsize, value, 1, flags, "probe")
    except BpfSyscallError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    os.close(fd)
    return True


def possible_cpus() -> int:
    """CPUs that may ever be online: per-CPU values are arrays of this many."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip()
    return int(text.split(",")[-1].split("-")[-1]) + 1


def memory_of_indexes(sizes: Sizes) -> int:
    """Octets of kernel memory of the indexes: taken at the start, whatever stands in them."""
    return sum(spec.value.itemsize * spec.entries for spec in specs(sizes) if spec.name.startswith("index"))


def memory_estimate(sizes: Sizes) -> int:
    """Octets of kernel memory when every map is full."""
    total = 0
    for spec in specs(sizes):
        if spec.type is MapType.LPM_TRIE:
            each = TRIE_OCTETS[spec.name]
        elif spec.type is MapType.PERCPU_ARRAY:
            each = spec.value.itemsize * possible_cpus()
        else:
            each = spec.value.itemsize + (0 if spec.type is MapType.ARRAY else HASH_OVERHEAD)
        total += each * spec.entries
    return total


def memory_available() -> int:
    """MemAvailable in octets."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def check_memory(sizes: Sizes) -> None:
    """Raise CapacityError when full tables would not fit into memory: said before, not found out after."""
    need, have = memory_estimate(sizes), memory_available()
    if need > have:
        raise CapacityError(
            f"full tables of {sizes.max_ipv4} IPv4 and {sizes.max_ipv6} IPv6 prefixes need {need >> 20} MiB "
            f"of kernel memory; {have >> 20} MiB are available",
            mend="lower datapath.max_ipv4 or datapath.max_ipv6, or add memory",
        )
