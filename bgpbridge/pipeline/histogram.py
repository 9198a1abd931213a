"""Seconds that were measured, as the cumulative histogram that Prometheus reads."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

__all__ = ["Histogram"]


class Histogram:
    """Counts by upper bound, in seconds and ascending; what is above the last one is counted too."""

    __slots__ = ("_counts", "bounds_s", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.sum_s = 0.0
        self._counts = [0] * (len(bounds_s) + 1)

    def add(self, seconds: float, times: int = 1) -> None:
        """One more, or several that are alike."""
        self.sum_s += seconds * times
        self._counts[bisect_left(self.bounds_s, seconds)] += times

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds as Prometheus writes them, and how many were not above each."""
        names = [*map(str, self.bounds_s), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))
