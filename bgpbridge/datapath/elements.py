"""Keys and values of one map: single elements, batches and whole dumps as numpy columns.

Keys and values are numpy arrays of the map's own dtypes, so what a caller writes is what the program reads.
A single update is 3-9 us here, a batch 0.3-1 us an element; 256 elements to a call are enough to get there.

A batch that stops half way is an answer, not an exception: `Batch.done` counts the elements that are in the
map, `Batch.error` says why the next one is not. The FIB keeps that as a state of the route.
"""

from __future__ import annotations

import enum
import errno
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bgpbridge.datapath.growing import Growing
from bgpbridge.datapath.syscalls import Command, MapType, bpf, error_of, map_info, try_bpf

if TYPE_CHECKING:
    from bgpbridge.errors import BpfSyscallError

__all__ = ["Batch", "BpfMap", "Update"]

Rows = npt.NDArray[Any]
DUMP_CHUNK = 4096
ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
# what a kernel says that knows no batches at all, or none for this kind of map (ENOTSUPP, 524)
NO_BATCHES = frozenset({errno.EINVAL, errno.EOPNOTSUPP, 524})


class Update(enum.IntEnum):
    """Flags of an update."""

    ANY = 0
    NOEXIST = 1
    EXIST = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """How far a batch came: `done` elements are written (or gone); `error` tells about the next one."""

    done: int
    error: BpfSyscallError | None = None


def _address(rows: Rows) -> int:
    return int(rows.ctypes.data)


@dataclass(frozen=True, slots=True)
class BpfMap:
    """One map by its fd, with the dtypes of key and value. `per_cpu` is the number of possible CPUs for a
    per-CPU map (values are then arrays of that many), else 0. Whoever made it closes it; before that each of `closing`
    is called."""

    fd: int
    name: str
    key: np.dtype[Any]
    value: np.dtype[Any]
    max_entries: int
    per_cpu: int = 0
    closing: list[Callable[[], None]] = field(default_factory=list, repr=False, compare=False)

    def lookup(self, key: Rows) -> Rows | None:
        """The value under one key (an array of one key, or a scalar of the key's dtype); None if absent."""
        keys = self._rows(key, self.key)
        values = self._empty(1)
        attr = struct.pack("=IIQQQ", self.fd, 0, _address(keys), _address(values), 0)
        _, _, code = try_bpf(Command.MAP_LOOKUP_ELEM, attr)
        if code == errno.ENOENT:
            return None
        if code:
            raise error_of(Command.MAP_LOOKUP_ELEM, code)
        found: Rows = values[0]
        return found

    def update(self, key: Any, value: Any, how: Update = Update.ANY) -> None:
        """Write one element. Raises BpfSyscallError; ENOSPC (E2BIG for a hash) means that the map is full."""
        keys, values = self._rows(key, self.key), self._rows(value, self.value)
        bpf(Command.MAP_UPDATE_ELEM, struct.pack("=IIQQQ", self.fd, 0, _address(keys), _address(values), how))

    def delete(self, key: Any) -> bool:
        """Take one element out; False if it was not there."""
        keys = self._rows(key, self.key)
        _, _, code = try_bpf(Command.MAP_DELETE_ELEM, struct.pack("=IIQQQ", self.fd, 0, _address(keys), 0, 0))
        if code not in (0, errno.ENOENT):
            raise error_of(Command.MAP_DELETE_ELEM, code)
        return code == 0

    def update_batch(self, keys: Rows, values: Rows) -> Batch:
        """Write elements in order, new or over old ones, until the end or the first refusal."""
        keys, values = self._rows(keys, self.key), self._rows(values, self.value)
        done, code = self._batch(Command.MAP_UPDATE_BATCH, keys, _address(values))
        return Batch(done, error_of(Command.MAP_UPDATE_BATCH, code) if code else None)

    def delete_batch(self, keys: Rows) -> Batch:
        """Take elements out in order. One that is not there counts as gone."""
        keys, total = self._rows(keys, self.key), 0
        while total < len(keys):
            done, code = self._batch(Command.MAP_DELETE_BATCH, keys[total:], 0)
            total += done
            if code == errno.ENOENT:
                total += 1
            elif code:
                return Batch(total, error_of(Command.MAP_DELETE_BATCH, code))
        return Batch(total)

    def dump(self, chunk: int = DUMP_CHUNK) -> tuple[Rows, Rows]:
        """Every element as (keys, values). Elements that come or go meanwhile may or may not be seen."""
        keys, values = [np.empty(0, self.key)], [self._empty(0)]
        for part_keys, part_values in self.chunks(chunk):
            keys.append(part_keys.copy())
            values.append(part_values.copy())
        return np.concatenate(keys), np.concatenate(values)

    def chunks(self, chunk: int = DUMP_CHUNK) -> Iterator[tuple[Rows, Rows]]:
        """The same in parts, each of which is there until the next one is asked for."""
        # the cursor is a key for most maps and a bucket number for hashes: room for either
        cursor = [np.zeros(max(self.key.itemsize, 8), np.uint8) for _ in range(2)]
        first, keys, values = True, np.empty(chunk, self.key), self._empty(chunk)
        while True:
            pointers = (0 if first else _address(cursor[0]), _address(cursor[1]))
            count, code = self._lookup_batch(pointers, keys, values)
            if code == errno.ENOSPC and count == 0:  # a hash bucket longer than the chunk
                keys, values = np.empty(2 * len(keys), self.key), self._empty(2 * len(keys))
                continue
            if code in NO_BATCHES and first:
                yield self._dump_one_by_one()
                return
            if code not in (0, errno.ENOENT):
                raise error_of(Command.MAP_LOOKUP_BATCH, code)
            yield keys[:count], values[:count]
            if code == errno.ENOENT:
                return
            cursor.reverse()
            first = False

    def array(self) -> Rows:
        """Every element of an array, in order, for who cannot map it."""
        keys, values = np.empty(self.max_entries, self.key), self._empty(self.max_entries)
        cursor = np.zeros(self.key.itemsize, np.uint8)
        _, code = self._lookup_batch((0, _address(cursor)), keys, values)
        if code in NO_BATCHES:
            return self._array_one_by_one()
        if code:
            raise error_of(Command.MAP_LOOKUP_BATCH, code)
        return values

    def keys(self) -> Rows:
        """All keys by BPF_MAP_GET_NEXT_KEY: for maps without batches (devmaps), and small ones."""
        found: list[Rows] = []
        while True:
            after, into = found[-1] if found else None, np.empty(1, self.key)
            pointer = 0 if after is None else _address(after)
            attr = struct.pack("=IIQQQ", self.fd, 0, pointer, _address(into), 0)
            _, _, code = try_bpf(Command.MAP_GET_NEXT_KEY, attr)
            if code == errno.ENOENT:
                return np.concatenate(found) if found else np.empty(0, self.key)
            if code:
                raise error_of(Command.MAP_GET_NEXT_KEY, code)
            found.append(into)

    def mapped(self) -> Rows:
        """All values of an ARRAY that is mmapable, to be read and stored in place."""
        octets = self.value.itemsize * self.max_entries
        # the kernel rounds the length up to pages; the mapping lives as long as an array looks at it
        memory = mmap.mmap(self.fd, octets, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        return np.frombuffer(memory, self.value, self.max_entries)

    def growing(self, *, whole: bool) -> Growing:
        """The same, mapped as far as somebody asks for it, or all (`whole`)."""
        return Growing(self.fd, self.value, self.max_entries, whole=whole)

    def close(self) -> None:
        """Give the fd back; pins and attached programs keep the map alive."""
        for first in self.closing:
            first()
        os.close(self.fd)

    def _rows(self, rows: Any, dtype: np.dtype[Any]) -> Rows:
        """As contiguous rows of exactly this dtype: the kernel reads `itemsize` octets for each."""
        return np.ascontiguousarray(np.atleast_1d(np.asarray(rows, dtype)))

    def _empty(self, count: int) -> Rows:
        return np.empty((count, self.per_cpu) if self.per_cpu else count, self.value)

    def _batch(self, command: Command, keys: Rows, values: int) -> tuple[int, int]:
        if not len(keys):
            return 0, 0
        attr = struct.pack("=QQQQIIQQ", 0, 0, _address(keys), values, len(keys), self.fd, 0, 0)
        _, out, code = try_bpf(command, attr)
        if code in NO_BATCHES:
            return self._one_by_one(command, keys, values)
        # generic_map_update_batch leaves `count` alone when it refuses the request before the first element
        done = int(struct.unpack_from("=I", out, 32)[0])
        return (0 if code and done == len(keys) else done), code

    def _one_by_one(self, command: Command, keys: Rows, values: int) -> tuple[int, int]:
        """A batch for a kernel (before 5.6) or a kind of map that has none."""
        single = Command.MAP_UPDATE_ELEM if command is Command.MAP_UPDATE_BATCH else Command.MAP_DELETE_ELEM
        key, size = _address(keys), self.value.itemsize * (self.per_cpu or 1)
        for at in range(len(keys)):
            attr = struct.pack("=IIQQQ", self.fd, 0, key + at * self.key.itemsize, values and values + at * size, 0)
            _, _, code = try_bpf(single, attr)
            if code:
                return at, code
        return len(keys), 0

    def _dump_one_by_one(self) -> tuple[Rows, Rows]:
        """The same for a dump. What goes meanwhile is left out."""
        if map_info(self.fd).type in ARRAYS:
            return np.arange(self.max_entries).astype(self.key), self._array_one_by_one()
        keys = self.keys()
        pairs = [(at, value) for at in range(len(keys)) if (value := self.lookup(keys[at])) is not None]
        values = self._empty(len(pairs))
        for row, (_, value) in enumerate(pairs):
            values[row] = value
        return keys[[at for at, _ in pairs]], values

    def _array_one_by_one(self) -> Rows:
        values, key = self._empty(self.max_entries), np.zeros(1, self.key)
        pointer, into, size = _address(key), _address(values), self.value.itemsize * (self.per_cpu or 1)
        for at in range(self.max_entries):
            key[0] = at
            bpf(Command.MAP_LOOKUP_ELEM, struct.pack("=IIQQQ", self.fd, 0, pointer, into + at * size, 0))
        return values

    def _lookup_batch(self, pointers: tuple[int, int], keys: Rows, values: Rows) -> tuple[int, int]:
        attr = struct.pack("=QQQQIIQQ", *pointers, _address(keys), _address(values), len(keys), self.fd, 0, 0)
        _, out, code = try_bpf(Command.MAP_LOOKUP_BATCH, attr)
        return int(struct.unpack_from("=I", out, 32)[0]), code
