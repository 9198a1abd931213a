"""Several facts as one figure: the targets of an exit, and the exits of a next hop that has several. Pure.

The RTT of the figure is the mean of those that were answered, its loss that of all probes together. A target that
nobody reaches through any exit says nothing about exits: it is left out by whoever calls, on all exits alike (`dead`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bgpbridge.enrich.facts import Facts

__all__ = ["combined", "dead"]


def combined(parts: Sequence[Facts | None]) -> Facts | None:
    """One figure, None where a part is missing or there is none. It counts as many probes as the part with the fewest,
    and is as old as the oldest: a figure is no better known than the worst of its parts."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    if len(known) == 1:
        return known[0]
    fewest = min(part.samples + part.lost for part in known)
    probes, lost = sum(part.samples + part.lost for part in known), sum(part.lost for part in known)
    loss = lost / probes if probes else 0.0
    samples = max(round(fewest * (1 - loss)), int(lost < probes))
    return replace(
        known[0],
        samples=samples,
        lost=max(0, fewest - samples),
        loss=loss,
        srtt_s=_mean(part.srtt_s for part in known),
        rttvar_s=_mean(part.rttvar_s for part in known),
        jitter_s=_mean(part.jitter_s for part in known),
        least_s=_mean(part.least_s for part in known),
        p50_s=_mean(part.p50_s for part in known),
        p95_s=_mean(part.p95_s for part in known),
        p99_s=_mean(part.p99_s for part in known),
        last_s=min(part.last_s for part in known),
        age_s=max(part.age_s for part in known),
        stale=any(part.stale for part in known),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def dead(seen: Mapping[str, Collection[Facts]]) -> frozenset[str]:
    """Targets that answer through no exit while another one does; by name, with the facts of all exits."""
    answered = {name for name, facts in seen.items() if any(part.samples for part in facts)}
    return frozenset(seen) - answered if answered else frozenset()
