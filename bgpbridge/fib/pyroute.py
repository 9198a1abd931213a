"""pyroute2's netlink socket and the kernel's numbers, without the rest of it.

To import any part of a package runs the package first, and pyroute2 then loads every protocol that it knows, and a
database: 0.3 s and 20 MiB, when a bridge that starts again has better things to do. So what we use is loaded beneath
a package of its name that has not been run, and all of that is forgotten again: whoever imports pyroute2 afterwards
gets the whole, as if nobody had been here.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "NLMSG_DONE",
    "NLMSG_ERROR",
    "NLM_F_ACK",
    "NLM_F_APPEND",
    "NLM_F_CREATE",
    "NLM_F_DUMP",
    "NLM_F_DUMP_INTR",
    "NLM_F_EXCL",
    "NLM_F_REPLACE",
    "NLM_F_REQUEST",
    "RTM_DELROUTE",
    "RTM_GETADDR",
    "RTM_GETLINK",
    "RTM_GETNEIGH",
    "RTM_GETROUTE",
    "RTM_GETRULE",
    "RTM_NEWADDR",
    "RTM_NEWLINK",
    "RTM_NEWNEIGH",
    "RTM_NEWROUTE",
    "RTM_NEWRULE",
    "AsyncNetlinkSocket",
    "NetlinkSocket",
    "rtnl",
]

PACKAGE = "pyroute2"


@contextmanager
def _alone() -> Iterator[None]:
    """Parts of pyroute2 are imported by themselves meanwhile."""
    spec = importlib.util.find_spec(PACKAGE) if PACKAGE not in sys.modules else None
    if spec is None:  # it is there already; or nowhere, which the import tells in its own words
        yield
        return
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


with _alone():
    from pyroute2.netlink import (
        NLM_F_ACK,
        NLM_F_APPEND,
        NLM_F_CREATE,
        NLM_F_DUMP,
        NLM_F_DUMP_INTR,
        NLM_F_EXCL,
        NLM_F_REPLACE,
        NLM_F_REQUEST,
        NLMSG_DONE,
        NLMSG_ERROR,
        rtnl,
    )
    from pyroute2.netlink.nlsocket import AsyncNetlinkSocket, NetlinkSocket
    from pyroute2.netlink.rtnl import (
        RTM_DELROUTE,
        RTM_GETADDR,
        RTM_GETLINK,
        RTM_GETNEIGH,
        RTM_GETROUTE,
        RTM_GETRULE,
        RTM_NEWADDR,
        RTM_NEWLINK,
        RTM_NEWNEIGH,
        RTM_NEWROUTE,
        RTM_NEWRULE,
    )
