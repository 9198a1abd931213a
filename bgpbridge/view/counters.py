"""`counters`: what became of every packet that XDP saw."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.datapath.counters import read_reasons
from bgpbridge.pipeline.bridge import Bridge

__all__ = ["CounterView", "counters"]


@dataclass(frozen=True, slots=True)
class CounterView:
    """Packets and octets that met one end. `verdict`: redirect, pass or drop."""

    reason: str
    verdict: str
    packets: int
    octets: int


def counters(bridge: Bridge) -> list[CounterView]:
    """All reasons in the datapath's order, those that never happened too; empty without XDP."""
    if bridge.datapath is None:
        return []
    found = read_reasons(bridge.datapath.maps)
    return [
        CounterView(reason.label, reason.verdict.name.lower(), count.packets, count.octets)
        for reason, count in found.items()
    ]
