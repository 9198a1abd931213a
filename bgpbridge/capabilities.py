"""Capabilities of this process (capabilities(7)): keep some, give up the rest. Raw prctl(2) and capset(2), because
Python has neither. Used by the speaker, which becomes another user, and by the bridge, which stays root's."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Set as AbstractSet

from bgpbridge.errors import BridgeError

__all__ = ["Capability", "keep_across_setuid", "limit_bounding", "limit_permitted", "no_new_privileges"]

LAST = 63  # the kernel refuses numbers that it does not know
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 8, 24, 38  # linux/prctl.h
VERSION_3 = 0x20080522  # linux/capability.h

_libc = ctypes.CDLL(None, use_errno=True)


class Capability:
    """Numbers of linux/capability.h."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    PERFMON = 38
    BPF = 39


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def limit_bounding(kept: AbstractSet[int]) -> None:
    """Nothing that this process executes will have more than `kept`. Needs CAP_SETPCAP: call it first."""
    for capability in set(range(LAST + 1)) - kept:
        _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)


def limit_permitted(kept: AbstractSet[int]) -> None:
    """Permitted and effective become `kept`, as far as we have it (a container may have given less); inheritable
    nothing. Raises BridgeError."""
    header, data = _Header(VERSION_3, 0), (_Data * 2)()
    if _libc.capget(ctypes.byref(header), ctypes.byref(data)):
        raise _refused("capget")
    mask = sum(1 << capability for capability in kept) & (data[0].permitted | data[1].permitted << 32)
    words = (_Data * 2)()
    for index, word in enumerate((mask & 0xFFFFFFFF, mask >> 32)):
        words[index].effective = words[index].permitted = word
    if _libc.capset(ctypes.byref(header), ctypes.byref(words)):
        raise _refused("capset")


def keep_across_setuid(on: bool) -> None:
    """Whether the permitted set survives a change of user. Raises BridgeError."""
    _prctl(PR_SET_KEEPCAPS, int(on))


def no_new_privileges() -> None:
    """Never gain anything again, by set-user-id files or otherwise. Raises BridgeError."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise _refused(f"prctl({option})")


def _refused(call: str) -> BridgeError:
    return BridgeError(f"privileges could not be given up: {call}: {os.strerror(ctypes.get_errno())}")
