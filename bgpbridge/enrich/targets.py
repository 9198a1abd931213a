"""What is probed, through what, and what came of it: the values of this room."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bgpbridge.enrich.facts import Way
from bgpbridge.errors import UsageError
from bgpbridge.types import IPAddress

__all__ = ["Exit", "How", "Method", "Outcome", "Target"]


class Method(enum.StrEnum):
    """How a target is asked."""

    ICMP = "icmp"
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Target:
    """An address that is asked. `port` is that of TCP and UDP, 0 for ICMP."""

    name: str
    address: IPAddress
    method: Method = Method.ICMP
    port: int = 0

    def __post_init__(self) -> None:
        if (self.method is Method.ICMP) != (self.port == 0) or not 0 <= self.port <= 0xFFFF:
            raise UsageError(
                f"target {self.name}: port {self.port} does not go with {self.method}",
                mend="tcp and udp need a port from 1 to 65535, icmp has none",
            )
        if self.address.is_multicast or self.address.is_unspecified:
            raise UsageError(f"target {self.name}: {self.address} is no host", mend="give the address of one host")


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out. `sources` are addresses of ours that answers find the way back to, one of each family that is probed.

    With `mac` (6 octets) it is a next hop on an Ethernet, and probes are sent to just that neighbour; without, it is
    the link as a whole (a tunnel, a point-to-point link) and the kernel's routes over it say the rest.
    """

    name: str
    ifindex: int
    sources: tuple[IPAddress, ...]
    mac: bytes | None = None

    def __post_init__(self) -> None:
        if self.mac is not None and len(self.mac) != 6:
            raise UsageError(f"exit {self.name}: a MAC has 6 octets, this one {len(self.mac)}")

    def source_for(self, target: IPAddress) -> IPAddress | None:
        """The address that a probe of this target bears; None where there is none of its family."""
        return next((source for source in self.sources if source.version == target.version), None)


class How(enum.StrEnum):
    """What became of a probe. `UNSENT` says nothing about the path: no fact comes of it."""

    ANSWERED = "answered"
    LOST = "lost"
    UNREACHABLE = "unreachable"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One probe's end, known at `at_s` (monotonic). `rtt_s` is there for answers only; `by_kernel` tells whether both
    its ends are the kernel's timestamps; `words` name the kind of answer, or why there is none."""

    way: Way
    at_s: float
    how: How
    rtt_s: float | None = None
    by_kernel: bool = False
    words: str = ""
