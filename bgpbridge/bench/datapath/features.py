"""What each feature adds to the way of a packet, in ns: forwarding with it and without it in slices of a few hundredths
of a second, one after the other, ten routes; the median of the differences of neighbours.

A feature is a flag of `control` (by its name: one that this build does not have is left out), or a program in which
something is missing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bgpbridge.bench.datapath.forwarding import FEW
from bgpbridge.bench.datapath.programs import UNCOUNTED, UNTRACED
from bgpbridge.bench.datapath.routers import attached, sinking
from bgpbridge.bench.datapath.stand import Stand
from bgpbridge.bench.results import Figure
from bgpbridge.datapath.abi import ControlFlag
from bgpbridge.datapath.links import link_update
from bgpbridge.datapath.sources import PROGRAM
from bgpbridge.types import Family

__all__ = ["FLAGS", "Feature", "features", "features_of"]

SLICE_S: Final = 0.03
# What features are called, by their flag in `control`.
FLAGS: Final = {
    "RTT": "handshakes timed",
    "TRACE": "trace, on",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """`switch(True)` lets packets go with it."""

    name: str
    switch: Callable[[bool], object]


def features_of(stand: Stand, link: int) -> Iterator[Feature]:
    """Those of this build, for a program that sits under a link."""
    fds = stand.programs.fds
    yield Feature("counters", lambda on: link_update(link, fds[PROGRAM if on else UNCOUNTED]))
    yield Feature("trace, off", lambda on: link_update(link, fds[PROGRAM if on else UNTRACED]))
    check = stand.maps.check_sources  # the strict one needs more than its flag
    yield Feature("reverse-path check, loose", lambda on: check(loose=on))
    yield Feature("reverse-path check, strict", lambda on: check(strict=on))
    for flag, name in FLAGS.items():
        if flag in ControlFlag.__members__:
            yield Feature(name, _Flag(stand, ControlFlag[flag]))


@dataclass(frozen=True, slots=True)
class _Flag:
    stand: Stand
    flag: ControlFlag

    def __call__(self, on: bool) -> None:
        self.stand.maps.control_word.set_flag(self.flag, on=on)


def features(stand: Stand, family: Family = Family.IPV4) -> Iterator[tuple[str, Figure]]:
    """Each feature in each run."""
    stand.aim(stand.table(family).destinations(stand.plan.walked, "random", among=FEW), family)
    stand.maps.use_index(family, on=True)
    pairs = max(1, round(stand.plan.turn_s / (2 * SLICE_S)))
    with sinking(stand), attached(stand, PROGRAM, "r0") as link:
        for _ in range(stand.plan.runs):
            for feature in features_of(stand, link):
                yield feature.name, Figure("features_cost", "ns", _cost_ns(stand, family, feature, pairs))


def _cost_ns(stand: Stand, family: Family, feature: Feature, pairs: int) -> float:
    differences = []
    with stand.sending(family, stand.cpus[-1:]):
        for number in range(pairs):
            took = {}
            for on in (True, False) if number % 2 else (False, True):
                feature.switch(on)
                took[on] = 1e3 / stand.counted(SLICE_S)
            differences.append(took[True] - took[False])
    feature.switch(feature.name in ("counters", "trace, off"))
    return statistics.median(differences)
