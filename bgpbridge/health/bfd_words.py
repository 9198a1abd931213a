"""What the bridge and its BFD process say to each other: JSON, one object in one message of a socketpair.

Orders carry an `id` that the answer repeats; changes of state come unasked, as `{"status": {...}}`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from bgpbridge.health.bfd_engine import BfdPeer, Entry
from bgpbridge.health.bfd_packet import BfdState, Diagnostic
from bgpbridge.health.bfd_timers import BfdTimers
from bgpbridge.types import parse_address

__all__ = ["ROOM", "BfdStatus", "pack", "peer_from", "peer_words", "status_of", "timers_from", "timers_words", "unpack"]

ROOM = 1 << 16  # octets of a message; a session's status is some 500


@dataclass(frozen=True, slots=True)
class BfdStatus:
    """A session as operators see it. Times in microseconds; `at_us` is the monotonic clock when the state began,
    `detection_us` how long nothing had come when it was found down (0: found otherwise), `send_errno` why the kernel
    did not send the last packet (0: it did). `known` is false while the process that has the sessions is gone."""

    interface: str
    peer: str
    state: str = "down"
    diagnostic: str = "none"
    remote_state: str = "down"
    remote_diagnostic: int = 0
    local_discriminator: int = 0
    remote_discriminator: int = 0
    transmit_us: int = 0
    detect_us: int = 0
    at_us: int = 0
    detection_us: int = 0
    sent: int = 0
    received: int = 0
    send_errno: int = 0
    known: bool = True

    @property
    def up(self) -> bool:
        """True when BFD vouches for the path."""
        return self.known and self.state == BfdState.UP.label

    @property
    def failed(self) -> bool:
        """True when BFD says that the path is broken: not for AdminDown on either side, and not when BFD itself is
        gone, which both say nothing of the path (RFC 5882 s3.2)."""
        signalled = self.remote_state == BfdState.ADMIN_DOWN.label
        return self.known and self.state == BfdState.DOWN.label and not signalled and self.diagnostic != "none"


def status_of(entry: Entry, at_us: int, detection_us: int) -> BfdStatus:
    """The status of a session whose last change was at `at_us`."""
    session = entry.session
    return BfdStatus(
        interface=entry.peer.interface,
        peer=str(entry.peer.peer),
        state=session.state.label,
        diagnostic=Diagnostic(session.diagnostic).label,
        remote_state=session.remote_state.label,
        remote_diagnostic=session.remote_diagnostic,
        local_discriminator=session.discriminator,
        remote_discriminator=session.remote_discriminator,
        transmit_us=session.transmit_interval_us,
        detect_us=session.detection_us,
        at_us=at_us,
        detection_us=detection_us,
        sent=session.sent,
        received=session.received,
        send_errno=entry.send_errno,
    )


def pack(message: dict[str, Any]) -> bytes:
    """One message."""
    return json.dumps(message, separators=(",", ":")).encode()


def unpack(octets: bytes) -> dict[str, Any]:
    """The object in a message. Raises ValueError."""
    message = json.loads(octets)
    if not isinstance(message, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- one error for all that is wrong with a message
    return message


def timers_words(timers: BfdTimers) -> dict[str, int]:
    """Timers as JSON."""
    return asdict(timers)


def timers_from(words: dict[str, int]) -> BfdTimers:
    """Timers that came as JSON. Raises UsageError."""
    return BfdTimers(**words)


def peer_words(peer: BfdPeer) -> dict[str, Any]:
    """A peer as JSON."""
    return {
        "interface": peer.interface,
        "local": str(peer.local),
        "peer": str(peer.peer),
        "timers": timers_words(peer.timers),
        "passive": peer.passive,
    }


def peer_from(words: dict[str, Any]) -> BfdPeer:
    """A peer that came as JSON. Raises UsageError."""
    return BfdPeer(
        words["interface"],
        parse_address(words["local"]),
        parse_address(words["peer"]),
        timers_from(words["timers"]),
        words["passive"],
    )
