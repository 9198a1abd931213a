"""Do the counters look wrong since another program forwards? Compared with those of the moments before.

    a reason's share of the packets   more than `SHARE` above the share before (a drop: more than `DROP_SHARE`)
    packets come, none is counted     the program ends before it counts, or does not run
    forwarding stopped                there was some before, there is none now, and packets come in

Shares are compared from `LEAST` packets on, so that a quiet network is not judged by three packets; what comes in is
what the interfaces themselves have counted. Traffic may change its mind in these seconds as well: going back costs
nothing but another try.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bgpbridge.datapath.abi import Reason, XdpVerdict
from bgpbridge.datapath.counters import Count

__all__ = ["DROP_SHARE", "LEAST", "SHARE", "Seen", "received", "wrong"]

LEAST = 1000
SHARE = 0.10
DROP_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Seen:
    """The counters at one moment: packets by reason, and those that the interfaces have received."""

    reasons: Mapping[Reason, Count]
    received: int

    def since(self, earlier: Seen) -> Moved:
        """What came between."""
        packets = {reason: count.packets - earlier.reasons[reason].packets for reason, count in self.reasons.items()}
        return Moved(packets, max(0, self.received - earlier.received))


@dataclass(frozen=True, slots=True)
class Moved:
    """Packets by reason in a while, and packets received by the interfaces."""

    packets: Mapping[Reason, int]
    received: int

    @property
    def counted(self) -> int:
        """All that the program has seen to."""
        return sum(self.packets.values())

    def share(self, reason: Reason) -> float:
        """The part of the packets that met this end."""
        return self.packets[reason] / self.counted if self.counted else 0.0


def wrong(before: Moved, now: Moved) -> str:
    """Why the new program should not stay; empty when nothing speaks against it."""
    if now.received >= LEAST and not now.counted:
        return f"{now.received:,} packets came in and none was counted"
    stopped = before.packets[Reason.FORWARDED] >= LEAST and not now.packets[Reason.FORWARDED]
    if stopped and max(now.received, now.counted) >= LEAST:
        return f"nothing is forwarded any more, {before.share(Reason.FORWARDED):.0%} of the packets were"
    if min(before.counted, now.counted) < LEAST:
        return ""
    for reason in now.packets:
        if reason is Reason.FORWARDED:
            continue
        most = DROP_SHARE if reason.verdict is XdpVerdict.DROP else SHARE
        if now.share(reason) - before.share(reason) > most:
            return f"{reason.label} went from {before.share(reason):.1%} to {now.share(reason):.1%} of the packets"
    return ""


def received(interfaces: frozenset[str], table: Path = Path("/proc/thread-self/net/dev")) -> int:
    """Packets that these interfaces have received since they are there (proc_net_dev: name, octets, packets)."""
    rows = (line.split(":", 1) for line in table.read_text(encoding="ascii").splitlines() if ":" in line)
    return sum(int(fields.split()[1]) for name, fields in rows if name.strip() in interfaces)
