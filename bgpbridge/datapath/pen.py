"""Single elements of one map, written and read without an array or an allocation on the way: what one UPDATE waits for.

Key, value and request are laid out once. The call keeps the GIL, other than those of `syscalls`: it takes a few
microseconds, and to give the interpreter to another thread in between would take hundreds.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.syscalls import NR_BPF, Command, error_of

__all__ = ["Pen"]

_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong)
_REQUEST = struct.Struct("=IIQQQ")  # union bpf_attr: map_fd, pad, key, value, flags


class Pen:
    """Writer of one map with keys of `key.itemsize` octets and values of four."""

    def __init__(self, bpf_map: BpfMap) -> None:
        self._key = ctypes.create_string_buffer(bpf_map.key.itemsize)
        self._value = ctypes.c_uint32()
        request = _REQUEST.pack(bpf_map.fd, 0, ctypes.addressof(self._key), ctypes.addressof(self._value), 0)
        self._request = ctypes.create_string_buffer(request, _REQUEST.size)
        self._at = ctypes.addressof(self._request)
        # a request to delete must have nothing behind the key: CHECK_ATTR() of kernel/bpf/syscall.c
        request = _REQUEST.pack(bpf_map.fd, 0, ctypes.addressof(self._key), 0, 0)
        self._key_request = ctypes.create_string_buffer(request, _REQUEST.size)
        self._key_at = ctypes.addressof(self._key_request)

    def update(self, key: bytes, value: int) -> None:
        """Write one element, new or over the old one. Raises BpfSyscallError."""
        self._key.raw = key
        self._value.value = value
        if _syscall(NR_BPF, Command.MAP_UPDATE_ELEM, self._at, _REQUEST.size):
            raise error_of(Command.MAP_UPDATE_ELEM, ctypes.get_errno())

    def delete(self, key: bytes) -> None:
        """Take one element out; one that is not there is gone already. Raises BpfSyscallError."""
        self._key.raw = key
        if _syscall(NR_BPF, Command.MAP_DELETE_ELEM, self._key_at, _REQUEST.size):
            code = ctypes.get_errno()
            if code != errno.ENOENT:
                raise error_of(Command.MAP_DELETE_ELEM, code)

    def lookup(self, key: bytes) -> int:
        """The value under a key (of a trie: of the longest match up to the key's length), 0 where there is none."""
        self._key.raw = key
        if _syscall(NR_BPF, Command.MAP_LOOKUP_ELEM, self._at, _REQUEST.size):
            code = ctypes.get_errno()
            if code != errno.ENOENT:
                raise error_of(Command.MAP_LOOKUP_ELEM, code)
            return 0
        return self._value.value
