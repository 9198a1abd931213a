"""`latency`: what is probed through every way out, and when the figures may move traffic between a group's members."""

from __future__ import annotations

import enum
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from bgpbridge.config.values import Address, Name, Port
from bgpbridge.documents import Strict, refuse

__all__ = ["Latency", "LatencyMode", "Probe", "ProbeKind", "Threshold"]


class LatencyMode(enum.StrEnum):
    """What becomes of the figures."""

    OFF = "off"
    OBSERVE = "observe"
    ACT = "act"


class ProbeKind(enum.StrEnum):
    """How an address is asked."""

    ICMP = "icmp"
    TCP = "tcp"
    UDP = "udp"


class Probe(Strict):
    """How an address is asked: echo, a SYN that is taken back, or a datagram."""

    synonyms: ClassVar[dict[str, str]] = {"method": "probe", "kind": "probe", "type": "probe", "ip": "address"}

    address: Address = Field(examples=["192.0.2.53"])
    """The host that is asked through every exit of its family."""
    probe: ProbeKind = ProbeKind.ICMP
    """icmp (echo), tcp (connect) or udp (an echo, or port unreachable)."""
    port: Port | None = None
    """The port of tcp and udp."""
    name: Name | None = None
    """Our name for it; its address where it has none."""

    @model_validator(mode="after")
    def _port_fits(self) -> Self:
        if (self.port is None) != (self.probe is ProbeKind.ICMP):
            problem = "icmp has no port" if self.port is not None else f"`probe: {self.probe}` needs a port"
            raise refuse(problem, "a port with tcp and udp, none with icmp", "such as {probe: tcp, port: 443}")
        return self

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or str(self.address)


class Threshold(Strict):
    """A member is worse only where its figure is above the best one's by more than both."""

    absolute_ms: float = Field(default=10.0, ge=0, le=10_000, allow_inf_nan=False)
    """Milliseconds above the best figure in the group."""
    relative_percent: float = Field(default=20.0, ge=0, le=1000, allow_inf_nan=False)
    """Per cent of the best figure."""


class Latency(Strict):
    """Probes of the ways out, and what follows from them."""

    synonyms: ClassVar[dict[str, str]] = {
        "budget": "budget_pps",
        "interval": "interval_s",
        "hold": "hold_s",
        "thresholds": "threshold",
        "target": "targets",
        "samples": "least_samples",
        "change_budget": "moves_per_minute",
        "passive": "handshakes",
    }

    mode: LatencyMode = LatencyMode.OBSERVE
    """off, observe (probe, and say what would be done) or act."""
    targets: tuple[Probe, ...] = Field(default=(), max_length=16)
    """What is probed through each exit; with none of an exit's family, the next hop itself."""
    interval_s: float = Field(default=1.0, ge=0.05, le=3600)
    """Seconds between two probes of one target through one exit; more where the budget is short."""
    timeout_s: float = Field(default=1.0, ge=0.01, le=60)
    """Seconds after which a probe without answer is lost."""
    budget_pps: float = Field(default=20.0, gt=0, le=10_000)
    """The most probes per second in all."""
    exits: int = Field(default=64, ge=1, le=1024)
    """The most exits that are probed: those that most next hops lead to."""
    threshold: Threshold = Threshold()
    """How much worse a member has to be."""
    least_samples: int = Field(default=20, ge=1, le=256)
    """Probes of a member that are wanted before it is compared."""
    hold_s: float = Field(default=60.0, ge=0, le=86_400)
    """Seconds between two moves of the same traffic; doubled for a member that keeps turning bad."""
    back_off_s: float = Field(default=3600.0, ge=0, le=86_400)
    """The most seconds that doubling leads to."""
    stale_after_s: float = Field(default=10.0, ge=0.5, le=86_400)
    """Facts without news for so long are stale: plain BGP."""
    window_s: float = Field(default=300.0, ge=1, le=86_400)
    """Percentiles and loss are those of the last so many seconds."""
    moves_per_minute: int = Field(default=30, ge=1, le=100_000)
    """The change budget: so many moves within any minute, in all. Going back to plain BGP is never held up by it."""

    handshakes: int = Field(default=0, ge=0, le=65_536)
    """One TCP connection in so many (a power of two) has the round-trip time of its handshake measured as it passes,
    whatever the mode; 0: none. It is shown, and decides nothing."""

    @field_validator("handshakes")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            lower = 1 << value.bit_length() - 1
            raise refuse(f"{value} is no power of two", "0, 1, 2, 4, 8 ... 65536", f"{lower} or {2 * lower}")
        return value

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if self.stale_after_s <= self.interval_s + self.timeout_s:
            raise refuse(
                f"`stale_after_s: {self.stale_after_s:g}` is over before a lost probe is known "
                f"(`interval_s` and `timeout_s` are {self.interval_s + self.timeout_s:g} s together)",
                "more than `interval_s` and `timeout_s` together",
            )
        names = [target.label for target in self.targets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise refuse(f"two targets are called `{twice}`", "a `name` of its own for each target")
        return self
