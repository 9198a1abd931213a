"""Giving up root for good: another user, one capability or none, and no way back.

Called once, early, in the speaker's own process after the modules are loaded (the installation may lie
where the new user cannot read) and before a configuration or a socket is touched. There is no exec after
it, so what is left in the permitted set is all that there will ever be.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from typing import Final

from bgpbridge.errors import SpeakerError

__all__ = ["descriptors_are_private", "drop"]

_CAP_NET_BIND_SERVICE: Final = 10
_LAST_CAPABILITY: Final = 63  # the kernel refuses the numbers that it does not know
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        code = ctypes.get_errno()
        raise SpeakerError(f"the speaker cannot give up root: prctl({option}): {os.strerror(code)}")


def _set_capabilities(mask: int) -> None:
    """Permitted and effective become `mask` as far as we have it, inheritable nothing."""
    data = (_Data * 2)()
    if _libc.capget(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref(data)):
        raise SpeakerError(f"the speaker cannot give up root: capget: {os.strerror(ctypes.get_errno())}")
    mask &= data[0].permitted  # a container may not have let us have it; a port below 1024 is then refused
    data = (_Data * 2)()
    data[0].effective = data[0].permitted = mask & 0xFFFFFFFF
    if _libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), ctypes.byref(data)):
        raise SpeakerError(f"the speaker cannot give up root: capset: {os.strerror(ctypes.get_errno())}")


def drop(user: str) -> None:
    """Become `user`, keeping CAP_NET_BIND_SERVICE alone (BGP's port 179 is below 1024), and never gain
    anything again. Does nothing but the last when we are not root. Raises SpeakerError."""
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise SpeakerError(f"no user {user!r} to run the speaker as", mend="set speaker.user") from None
        if entry.pw_uid == 0:
            raise SpeakerError("the speaker does not run as root", mend="set speaker.user, e.g. to nobody")
        for capability in range(_LAST_CAPABILITY + 1):
            if capability != _CAP_NET_BIND_SERVICE:
                _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        _prctl(_PR_SET_KEEPCAPS, 0)
        _set_capabilities(1 << _CAP_NET_BIND_SERVICE)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def descriptors_are_private() -> None:
    """Close-on-exec for everything that we were handed. Nothing here ever executes anything; should a
    library do so, it takes no lane along."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        fd = int(name)
        if fd > 2:
            try:
                os.set_inheritable(fd, False)
            except OSError:
                continue  # the descriptor of the listing itself
