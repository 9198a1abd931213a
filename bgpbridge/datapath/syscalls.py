"""bpf(2) itself: one typed call, errors that say what the errno means, and what every BPF object shares.

No compiler and no libbpf stand between the daemon and its maps: a map is an fd, and everything that is done
to one is a system call on it. `elements` builds on this for keys and values, `links` for XDP links, `testrun`
for BPF_PROG_TEST_RUN. ctypes releases the GIL during a call, so a worker thread may do the bulk.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import os
import platform
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bgpbridge.datapath import forbid
from bgpbridge.errors import BpfSyscallError, DatapathError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Command",
    "MapFlag",
    "MapInfo",
    "MapType",
    "ProgramInfo",
    "bpf",
    "error_of",
    "map_create",
    "map_info",
    "missing_capabilities",
    "object_get",
    "object_info",
    "object_pin",
    "program_by_id",
    "program_info",
    "program_map_ids",
    "try_bpf",
]

NR_BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
ATTR_OCTETS = 144
MOST_MAPS = 64  # of one program, as many as BPF allows
_libc = ctypes.CDLL(None, use_errno=True)


class Command(enum.IntEnum):
    """enum bpf_cmd, as far as we use it."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_DETACH = 34


class MapType(enum.IntEnum):
    """enum bpf_map_type, as far as we use it."""

    HASH = 1
    ARRAY = 2
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    DEVMAP_HASH = 25


class MapFlag(enum.IntFlag):
    """Flags of BPF_MAP_CREATE."""

    NO_PREALLOC = 1
    MMAPABLE = 1 << 10


class _Capability(enum.IntEnum):
    """Bits of CapEff (linux/capability.h)."""

    CAP_NET_ADMIN = 12
    CAP_SYS_ADMIN = 21
    CAP_PERFMON = 38
    CAP_BPF = 39


MEANING = {
    errno.E2BIG: "the table is full, or a value is larger than this kernel's limit",
    errno.ENOSPC: "the map is full",
    errno.ENOENT: "there is no such element or pin",
    errno.EEXIST: "it exists already",
    errno.ENOMEM: "no memory left for it",
    errno.ENODEV: "no such interface in this network namespace",
    errno.EBUSY: "somebody else holds it, or it changes too fast",
    errno.EINVAL: "this kernel does not know the request in this form",
    errno.EOPNOTSUPP: "this object or driver cannot do that",
}


def missing_capabilities() -> tuple[str, ...]:
    """The capabilities that the datapath needs and this process lacks, by name. CAP_SYS_ADMIN stands in for
    CAP_BPF and CAP_PERFMON, as it does in the kernel."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  (a proc file, read at once)
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    if effective >> _Capability.CAP_SYS_ADMIN & 1:
        wanted = [_Capability.CAP_NET_ADMIN]
    else:
        wanted = [_Capability.CAP_BPF, _Capability.CAP_NET_ADMIN, _Capability.CAP_PERFMON]
    return tuple(capability.name for capability in wanted if not effective >> capability & 1)


def _refused(command: Command, code: int) -> BpfSyscallError:
    if code in (errno.EPERM, errno.EACCES) and (missing := missing_capabilities()):
        names = " and ".join(missing)
        return BpfSyscallError(
            command.name,
            code,
            meaning=f"this process lacks {names}",
            mend=f"run as root, or give the service {names} (systemd: AmbientCapabilities=)",
        )
    return BpfSyscallError(command.name, code, meaning=MEANING.get(code, ""))


def bpf(command: Command, attr: bytes | bytearray) -> tuple[int, bytearray]:
    """One call, `attr` zero-padded. Returns (result, attr as the kernel left it); raises BpfSyscallError."""
    result, attr_out, code = try_bpf(command, attr)
    if code:
        raise _refused(command, code)
    return result, attr_out


def try_bpf(command: int, attr: bytes | bytearray) -> tuple[int, bytearray, int]:
    """As `bpf`, but hands the errno back (0 on success): for callers to whom a refusal is an answer."""
    if NR_BPF is None:
        raise DatapathError(f"no bpf(2) number known for {platform.machine()}", mend="run on x86_64 or aarch64")
    buffer = bytearray(ATTR_OCTETS)
    buffer[: len(attr)] = attr
    if forbid.active and (forbidden := forbid.answer(command, attr)):
        return -1, buffer, forbidden
    view = (ctypes.c_char * ATTR_OCTETS).from_buffer(buffer)
    result = int(_libc.syscall(NR_BPF, int(command), view, ATTR_OCTETS))
    return result, buffer, ctypes.get_errno() if result < 0 else 0


def error_of(command: Command, code: int) -> BpfSyscallError:
    """The error that `bpf` would have raised for this errno."""
    return _refused(command, code)


@dataclass(frozen=True, slots=True)
class MapInfo:
    """struct bpf_map_info, as far as a layout check needs it."""

    type: int
    map_id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """struct bpf_prog_info: enough to say who holds an interface, and whether two programs are one. `verified`: the
    instructions that the verifier went through, of which it takes a million; 0 before Linux 5.16."""

    type: int
    program_id: int
    tag: str
    jited_octets: int
    translated_octets: int
    name: str
    verified: int = 0


def map_create(
    kind: MapType, key: int, value: int, entries: int, flags: int = 0, name: str = "", *, inner: int = 0
) -> int:
    """BPF_MAP_CREATE: an fd. Sizes in octets; `name` is cut to the 15 characters that the kernel keeps; `inner` is the
    fd of a map like those that a map of maps will hold."""
    attr = struct.pack("=7I16s", kind, key, value, entries, flags, inner, 0, name.encode()[:15])
    return bpf(Command.MAP_CREATE, attr)[0]


def object_pin(fd: int, path: Path) -> None:
    """Pin a map, program or link at a path on a bpffs."""
    buffer = ctypes.create_string_buffer(os.fsencode(path))
    bpf(Command.OBJ_PIN, struct.pack("=QII", ctypes.addressof(buffer), fd, 0))


def object_get(path: Path) -> int:
    """An fd of what is pinned at `path`."""
    buffer = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(Command.OBJ_GET, struct.pack("=QII", ctypes.addressof(buffer), 0, 0))[0]


def object_info(fd: int, octets: int = 256) -> bytes:
    """BPF_OBJ_GET_INFO_BY_FD, raw: the structure of the object's kind, zero-padded to `octets`."""
    buffer = ctypes.create_string_buffer(octets)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, octets, ctypes.addressof(buffer)))
    return buffer.raw


def map_info(fd: int) -> MapInfo:
    """What the kernel says of a map."""
    kind, map_id, key, value, entries, flags, name = struct.unpack_from("=6I16s", object_info(fd))
    return MapInfo(kind, map_id, key, value, entries, flags, name.rstrip(b"\0").decode())


def program_info(fd: int) -> ProgramInfo:
    """What the kernel says of a program. Offsets of struct bpf_prog_info: name at 64, verified_insns at 216."""
    raw = object_info(fd)
    kind, program_id, tag, jited, translated = struct.unpack_from("=II8sII", raw)
    (verified,) = struct.unpack_from("=I", raw, 216)
    return ProgramInfo(kind, program_id, tag.hex(), jited, translated, raw[64:80].rstrip(b"\0").decode(), verified)


def program_map_ids(fd: int) -> frozenset[int]:
    """The maps that a program reads or writes. Offsets of struct bpf_prog_info: their number at 52, where to at 56."""
    ids = (ctypes.c_uint32 * MOST_MAPS)()
    info = bytearray(256)
    struct.pack_into("=IQ", info, 52, MOST_MAPS, ctypes.addressof(ids))
    buffer = (ctypes.c_char * 256).from_buffer(info)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, 256, ctypes.addressof(buffer)))
    return frozenset(ids[: min(MOST_MAPS, struct.unpack_from("=I", info, 52)[0])])


def program_by_id(program_id: int) -> int:
    """An fd of a loaded program (CAP_SYS_ADMIN asked for by the kernel)."""
    return bpf(Command.PROG_GET_FD_BY_ID, struct.pack("=III", program_id, 0, 0))[0]
