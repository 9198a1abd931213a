"""What the bridge process may do, once it has started: no more than it needs.

Raw capset(2) and prctl(2), because Python has neither. Files are root's still (the speaker's configuration is given
to its user), so the two capabilities for that stay.
"""

from __future__ import annotations

import ctypes
import os
import struct

from bgpbridge.errors import BridgeError

__all__ = ["KEPT", "drop"]

KEPT = {
    "CAP_CHOWN": 0,  # the speaker's configuration is given to the speaker's user
    "CAP_DAC_OVERRIDE": 1,  # a runtime folder or pins that another user made
    "CAP_FOWNER": 3,
    "CAP_NET_ADMIN": 12,  # routes, nexthops, neighbours, XDP links
    "CAP_PERFMON": 38,  # the verifier lets the program read its own stack and pointers freely
    "CAP_BPF": 39,  # maps and programs
}
VERSION_3 = 0x20080522  # linux/capability.h
PR_CAPBSET_DROP = 24
LAST = 63

_libc = ctypes.CDLL(None, use_errno=True)


def drop() -> None:
    """Keep `KEPT` and give up the rest, for this process and what it starts. Nothing to do for one that has
    less already. Raises BridgeError when the kernel refuses."""
    if os.geteuid() != 0:
        return
    for capability in set(range(LAST + 1)) - set(KEPT.values()):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL: this kernel does not know it
    mask = sum(1 << bit for bit in KEPT.values())
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", VERSION_3, 0))
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    if _libc.capset(header, data):
        raise BridgeError(f"capabilities could not be given up: {os.strerror(ctypes.get_errno())}")
