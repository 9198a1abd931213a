"""Giving up root for good: another user, one capability or none, and no way back.

Called once, early, in the speaker's own process after the modules are loaded (the installation may lie
where the new user cannot read) and before a configuration or a socket is touched. There is no exec after
it, so what is left in the permitted set is all that there will ever be.
"""

from __future__ import annotations

import os
import pwd

from bgpbridge.capabilities import (
    Capability,
    keep_across_setuid,
    limit_bounding,
    limit_permitted,
    no_new_privileges,
)
from bgpbridge.errors import SpeakerError

__all__ = ["descriptors_are_private", "drop"]

KEPT = frozenset({Capability.NET_BIND_SERVICE})  # BGP's port 179 is below 1024


def drop(user: str) -> None:
    """Become `user`, keeping CAP_NET_BIND_SERVICE alone, and never gain anything again. Does nothing but the
    last when we are not root. Raises SpeakerError or BridgeError."""
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise SpeakerError(f"no user {user!r} to run the speaker as", mend="set speaker.user") from None
        if entry.pw_uid == 0:
            raise SpeakerError("the speaker does not run as root", mend="set speaker.user, e.g. to nobody")
        limit_bounding(KEPT)
        keep_across_setuid(True)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        keep_across_setuid(False)
        limit_permitted(KEPT)
    no_new_privileges()


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
