"""What the bridge process may do, once it has started: no more than it needs."""

from __future__ import annotations

import os

from bgpbridge.capabilities import Capability, limit_bounding, limit_permitted

__all__ = ["KEPT", "drop"]

KEPT = frozenset(
    {
        Capability.CHOWN,  # the speaker's configuration is given to the speaker's user
        Capability.DAC_OVERRIDE,  # a runtime folder or pins that another user made
        Capability.FOWNER,
        Capability.NET_ADMIN,  # routes, nexthops, neighbours, XDP links
        Capability.NET_RAW,  # probes of next hops
        Capability.PERFMON,  # the verifier lets the program read its own stack and pointers freely
        Capability.BPF,  # maps and programs
    }
)


def drop() -> None:
    """Keep `KEPT` and give up the rest, for this process and what it starts. Raises BridgeError."""
    if os.geteuid() == 0:
        limit_bounding(KEPT)
    limit_permitted(KEPT)
