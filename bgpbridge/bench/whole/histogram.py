"""A histogram of the bridge's own, as Prometheus would read it (mostly that of single UPDATEs): what came between two
looks."""

from __future__ import annotations

import http.client
import re
from typing import Final

from bgpbridge.bench.rig import Rig
from bgpbridge.config.http import Http
from bgpbridge.errors import LabError
from bgpbridge.lab import namespaces

__all__ = ["Buckets", "buckets", "quantile", "read"]

NAME: Final = "bgpbridge_update_store_seconds"
Buckets = list[tuple[float, float]]  # upper bound in seconds, how many were not above it


def read(place: Rig, name: str = NAME) -> Buckets:
    """What stands in /metrics of the bridge on the edge now. Raises LabError."""

    def ask() -> str:
        asked = http.client.HTTPConnection("127.0.0.1", int(Http().port), timeout=10)
        asked.request("GET", "/metrics")
        return asked.getresponse().read().decode()

    found = buckets(namespaces.inside(place.inside("edge"), ask), name)
    if not found:
        raise LabError(f"/metrics has no {name}")
    return found


def buckets(text: str, name: str = NAME) -> Buckets:
    """The histogram in an exposition."""
    lines = re.findall(rf'^{name}_bucket\{{le="([^"]+)"\}} (\S+)$', text, re.MULTILINE)
    return [(float(bound), float(count)) for bound, count in lines]


def quantile(before: Buckets, after: Buckets, share: float) -> float | None:
    """Seconds that `share` of what came in between did not exceed, within a bucket in proportion; None when nothing
    came, or when it is beyond the last bound."""
    counts = [(bound, now - then) for (bound, now), (_, then) in zip(after, before, strict=True)]
    wanted, lower, below = counts[-1][1] * share, 0.0, 0.0
    for bound, count in counts[:-1]:
        if count >= wanted > 0:
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return None
