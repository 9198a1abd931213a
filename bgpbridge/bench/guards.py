"""How each subject of the enrichment suite watches its way out by uplink a: the configuration that does the same, as
far as it can. What a subject has no means for it does not get, which is what the suite then shows."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from bgpbridge.bench.rig import bridge_config, uplink
from bgpbridge.bench.subjects import configuration
from bgpbridge.config.health import BfdOptions, Check
from bgpbridge.config.latency import Latency
from bgpbridge.lab.topology import Daemon

__all__ = ["FAR_BFD", "HOLD_S", "Guard", "guarded", "quicker"]

HOLD_S: Final = 9
# Behind uplink a, for all subjects alike: BIRD's BFD.
FAR_BFD: Final = """router id 10.0.1.2;
protocol device { scan time 60; }
protocol bfd {
  interface "eth1" { interval 50 ms; multiplier 3; };
  neighbor 10.0.1.1 dev "eth1" local 10.0.1.2;
}
"""
LATENCY: Final[dict[str, Any]] = {
    "mode": "act",
    "interval_s": 0.1,
    "timeout_s": 0.5,
    "budget_pps": 100,
    "least_samples": 10,
    "hold_s": 1,
    "window_s": 10,
}
PING: Final[dict[str, Any]] = {"name": "ping", "kind": "icmp", "interval_ms": 100, "timeout_ms": 100, "hold_down_s": 1}
BFD: Final[dict[str, Any]] = {"interval_ms": 50, "multiplier": 3, "hold_down_s": 1}
BIRD_BFD: Final = 'protocol bfd { interface "eth1" { interval 50 ms; multiplier 3; }; }\n'
FRR_BFD: Final = """bfd
 profile fast
  detect-multiplier 3
  receive-interval 50
  transmit-interval 50
 exit
exit
"""


class Guard(enum.StrEnum):
    """What a subject is given to find out with."""

    BFD = "BFD 3 x 50 ms"
    CHECK = "no BFD"
    LATENCY = "latency"


def quicker() -> str:
    """Every setting of ours that is not the default, with the default behind it, as the configuration names them."""
    parts = (("latency", LATENCY, Latency), ("check", PING, Check), ("bfd", BFD, BfdOptions))
    return "; ".join(f"{name}: {', '.join(_differing(given, model))}" for name, given, model in parts)


def _differing(given: Mapping[str, Any], model: type[BaseModel]) -> Iterator[str]:
    for key, value in given.items():
        default = model.model_fields[key].default
        if isinstance(value, int | float) and value != default:
            yield f"`{key}` {value:g} ({default:g})"


def guarded(daemon: Daemon, guard: Guard) -> str:
    """The configuration of a subject under a guard. BIRD and FRR have the hold timer alone but for BFD."""
    if daemon is Daemon.BGPBRIDGE:
        return _ours(guard)
    if guard is not Guard.BFD:
        return configuration(daemon)
    if daemon is Daemon.BIRD:
        return configuration(daemon, BIRD_BFD, "bfd on;")
    return configuration(daemon, FRR_BFD, "neighbor {theirs} bfd profile fast")


def _ours(guard: Guard) -> str:
    peers: list[dict[str, Any]] = [
        {"name": up.name, "address": str(up.theirs), "asn": up.asn} for up in map(uplink, "ab")
    ]
    if guard is Guard.BFD:
        peers[0]["bfd"] = BFD
        return bridge_config(peers)
    if guard is Guard.LATENCY:
        return bridge_config(peers, latency=LATENCY)
    peers[0]["health"] = ["ping"]
    return bridge_config(peers, health={"checks": [PING]})
