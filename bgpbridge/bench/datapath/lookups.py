"""What a lookup takes, in ns: walks through a list of destinations, each lookup waiting for the last one, minus the
same walk without lookups. `index` and `lpm` are the datapath's own lookup.h, `fib_lookup` is bpf_fib_lookup() over the
same routes, with the neighbour's address, as a router needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Final

from bgpbridge.bench.datapath.place import PORTS
from bgpbridge.bench.datapath.routers import FIB_LOOKUP, INDEX, LPM
from bgpbridge.bench.datapath.stand import Stand, undisturbed
from bgpbridge.bench.datapath.table import DRAWS
from bgpbridge.bench.results import Figure
from bgpbridge.datapath.testrun import run_raw
from bgpbridge.errors import LabError
from bgpbridge.types import Family

__all__ = ["SIZES", "engines", "engines_of", "lookups", "words"]

SLICE: Final = 1 << 16  # lookups to one run of a program: the CPU is not kept from others for long
SIZES: Final = (1, 10, 100, 1_000, 10_000, 100_000)
FRAME: Final = bytes(60)


def words(count: int) -> str:
    """10, 1k, 220k, 1m."""
    for power, letter in ((1_000_000, "m"), (1_000, "k")):
        if count >= power and count % power == 0:
            return f"{count // power}{letter}"
    return str(count)


def lookups(stand: Stand, family: Family) -> Iterator[tuple[str, Figure]]:
    """Every subject over the whole table."""
    table = stand.table(family)
    for draw in DRAWS:
        stand.aim(table.destinations(stand.plan.walked, draw, among=len(table)), family)
        metric = f"lookup_v{_number(family)}_{words(len(table))}_{draw}"
        for _ in range(stand.plan.runs):
            for subject in (*engines_of(stand, family), FIB_LOOKUP):
                yield subject, Figure(metric, "ns", lookup_ns(stand, family, subject))


def engines(stand: Stand, family: Family, *, below: int = 1 << 20) -> Iterator[tuple[str, Figure]]:
    """Both engines over small tables: where `auto` changes from one to the other. Adds routes to XDP, and measures no
    size that it has grown past."""
    table = stand.table(family)
    for size in (size for size in SIZES if stand.planes.in_xdp[family] <= size < min(below, len(table))):
        stand.planes.fill_xdp(family, size)
        stand.aim(table.destinations(stand.plan.walked, "random", among=size), family)
        for _ in range(stand.plan.runs):
            for subject in engines_of(stand, family):
                metric = f"lookup_v{_number(family)}_{words(size)}_random"
                yield subject, Figure(metric, "ns", lookup_ns(stand, family, subject))


def engines_of(stand: Stand, family: Family) -> tuple[str, ...]:
    """What can answer for a family here."""
    return (INDEX, LPM) if stand.planes.has_index(family) else (LPM,)


def lookup_ns(stand: Stand, family: Family, subject: str) -> float:
    """One walk with lookups and one without, on the senders' CPU."""
    stand.maps.use_index(family, subject == INDEX)
    what = "kernel" if subject == FIB_LOOKUP else "table"
    return _walked(stand, family, what) - _walked(stand, family, "none")


def _walked(stand: Stand, family: Family, what: str) -> float:
    """The second of two walks: a router that forwards has its own tables in the caches, and no others."""
    walk = partial(_walk, stand, f"walk{_number(family)}_{what}")
    stand.place.at("r0", walk)
    return stand.place.at("r0", walk)


def _walk(stand: Stand, program: str) -> float:
    """Ns for each address of the list, in the router's namespace."""
    os.sched_setaffinity(0, {stand.cpus[-1]})
    job, took, found = stand.programs.walk, 0, 0
    job["count"], job["ifindex"] = min(SLICE, stand.plan.walked), PORTS["r0"]
    for first in range(0, stand.plan.walked, SLICE):
        job["first"] = first
        with undisturbed():
            run_raw(stand.programs.fds[program], FRAME, ifindex=PORTS["r0"])
        took += int(job["ns"][0])
        found += int(job["found"][0])
    if found < stand.plan.walked and not program.endswith("none"):
        raise LabError(f"{program} found {found:,} of {stand.plan.walked:,} destinations", mend="is the table whole?")
    return took / stand.plan.walked


def _number(family: Family) -> int:
    return 4 if family is Family.IPV4 else 6
