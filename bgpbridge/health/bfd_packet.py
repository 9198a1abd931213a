"""BFD Control packets (RFC 5880 s4.1): octets to a value and back, and every reason to discard one (s6.8.6).

`decode` makes the checks that need no session; the rest needs to know who asks and is the engine's (`bfd_engine`).
A refusal is a value and not an exception: strangers can send many.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

__all__ = ["LENGTH", "BfdState", "ControlPacket", "Diagnostic", "Refusal", "decode", "encode"]

VERSION = 1
LENGTH = 24  # octets, without authentication section
LENGTH_AUTHENTICATED = 26  # the least with one
_LAYOUT = struct.Struct("!BBBBIIIII")
_POLL, _FINAL, _INDEPENDENT, _AUTHENTICATED, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01


class BfdState(enum.IntEnum):
    """The Sta field (RFC 5880 s4.1)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def label(self) -> str:
        """The word in JSON and events, such as `admin-down`."""
        return self.name.lower().replace("_", "-")


class Diagnostic(enum.IntEnum):
    """Why a session left Up last (RFC 5880 s4.1). Numbers that the RFC reserves are kept as they came."""

    NONE = 0
    DETECTION_TIME_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOUR_SAID_DOWN = 3
    FORWARDING_PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8

    @property
    def label(self) -> str:
        """The word in JSON and events."""
        return self.name.lower().replace("_", "-")


class Refusal(enum.StrEnum):
    """Why a packet was discarded; counted by these words. Those up to `NO_SUCH_STATE` are `decode`'s."""

    SHORT = "shorter than a control packet"
    VERSION = "another version than 1"
    LENGTH = "length field does not fit"
    MULTIPLIER = "detect multiplier is 0"
    MULTIPOINT = "multipoint bit is set"
    MY_DISCRIMINATOR = "my discriminator is 0"
    NO_SUCH_STATE = "your discriminator is 0 in a session that is init or up"
    AUTHENTICATION = "authentication is not in use"
    TTL = "TTL or hop limit is not 255"
    STRANGER = "no session with this sender"
    DISCRIMINATOR = "no session with this discriminator"


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One BFD Control packet without authentication. Intervals in microseconds; `diagnostic` is a number since a
    peer may send one that has no name."""

    state: BfdState
    my_discriminator: int
    your_discriminator: int
    desired_min_tx_us: int
    required_min_rx_us: int
    multiplier: int
    diagnostic: int = 0
    poll: bool = False
    final: bool = False
    control_plane_independent: bool = False
    demand: bool = False
    required_min_echo_rx_us: int = 0


def encode(packet: ControlPacket) -> bytes:
    """The 24 octets of a packet (RFC 5880 s4.1)."""
    flags = (
        (_POLL if packet.poll else 0)
        | (_FINAL if packet.final else 0)
        | (_INDEPENDENT if packet.control_plane_independent else 0)
        | (_DEMAND if packet.demand else 0)
    )
    return _LAYOUT.pack(
        VERSION << 5 | packet.diagnostic,
        packet.state << 6 | flags,
        packet.multiplier,
        LENGTH,
        packet.my_discriminator,
        packet.your_discriminator,
        packet.desired_min_tx_us,
        packet.required_min_rx_us,
        packet.required_min_echo_rx_us,
    )


def decode(payload: bytes) -> ControlPacket | Refusal:
    """The packet in a UDP payload, or the first check of RFC 5880 s6.8.6 that it fails, in the RFC's order."""
    if len(payload) < LENGTH:
        return Refusal.SHORT
    first, flags, multiplier, length, mine, yours, tx_us, rx_us, echo_us = _LAYOUT.unpack_from(payload)
    state = BfdState(flags >> 6)
    if first >> 5 != VERSION:
        return Refusal.VERSION
    authenticated = bool(flags & _AUTHENTICATED)
    if not (LENGTH_AUTHENTICATED if authenticated else LENGTH) <= length <= len(payload):
        return Refusal.LENGTH
    if multiplier == 0:
        return Refusal.MULTIPLIER
    if flags & _MULTIPOINT:
        return Refusal.MULTIPOINT
    if mine == 0:
        return Refusal.MY_DISCRIMINATOR
    if yours == 0 and state in {BfdState.INIT, BfdState.UP}:
        return Refusal.NO_SUCH_STATE
    if authenticated:
        return Refusal.AUTHENTICATION
    return ControlPacket(
        state=state,
        my_discriminator=mine,
        your_discriminator=yours,
        desired_min_tx_us=tx_us,
        required_min_rx_us=rx_us,
        multiplier=multiplier,
        diagnostic=first & 0x1F,
        poll=bool(flags & _POLL),
        final=bool(flags & _FINAL),
        control_plane_independent=bool(flags & _INDEPENDENT),
        demand=bool(flags & _DEMAND),
        required_min_echo_rx_us=echo_us,
    )
