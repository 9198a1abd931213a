"""Who forwards: each subject put in its place for the time of a block.

bgpbridge    our program, the index in front of the trie
lpm          our program, the trie alone
fib_lookup   an XDP program that asks the kernel's table (bpf/bench/traffic.c): what xdp-forward does
kernel       no program: ip_forward
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from typing import Final

from bgpbridge.bench.datapath.place import PORTS
from bgpbridge.bench.datapath.stand import Stand
from bgpbridge.bench.records import OURS
from bgpbridge.datapath.links import Mode, link_create
from bgpbridge.datapath.sources import PROGRAM
from bgpbridge.datapath.syscalls import Command, error_of
from bgpbridge.lab import namespaces
from bgpbridge.types import Family

__all__ = ["FIB_LOOKUP", "INDEX", "KERNEL", "LPM", "ROUTERS", "attached", "routing", "sinking"]

INDEX, LPM, FIB_LOOKUP, KERNEL = "index", "lpm", "fib_lookup", "kernel"
ROUTERS: Final = (OURS, LPM, FIB_LOOKUP, KERNEL)


@contextlib.contextmanager
def attached(stand: Stand, program: str, port: str) -> Iterator[int]:
    """A program on a port; its link."""

    def attach() -> int:
        link, code = link_create(stand.programs.fds[program], PORTS[port], Mode.NATIVE)
        if code:
            raise error_of(Command.LINK_CREATE, code)
        return link

    link = stand.place.at(port, attach)
    try:
        yield link
    finally:
        os.close(link)
        # where there was a program, only GRO that is switched on anew makes the port take frames without one
        stand.place.at(port, partial(namespaces.tune, port))


@contextlib.contextmanager
def sinking(stand: Stand, program: str = "sink") -> Iterator[None]:
    """The sinks behind both uplinks."""
    with attached(stand, program, "s0"), attached(stand, program, "s1"):
        yield


@contextlib.contextmanager
def routing(stand: Stand, subject: str, family: Family) -> Iterator[None]:
    """A subject as the router."""
    stand.maps.use_index(family, subject == OURS)
    with contextlib.ExitStack() as attachment:
        if subject != KERNEL:
            program = "fib_forward" if subject == FIB_LOOKUP else PROGRAM
            attachment.enter_context(attached(stand, program, "r0"))
        yield
