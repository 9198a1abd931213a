"""UDP: an echo service (RFC 862) that sends the token back, or ICMP port unreachable from the target itself.

A host sends few ICMP errors (Linux: one a second to each asker), so a port that is closed on purpose should be probed
no more often than every two seconds, or losses are seen that are none.
"""

from __future__ import annotations

import struct

from bgpbridge.enrich.packets import UDP, with_checksum
from bgpbridge.types import IPAddress

__all__ = ["TOKEN_OCTETS", "compose", "token_of"]

TOKEN_OCTETS = 16


def compose(source: IPAddress, target: IPAddress, ports: tuple[int, int], token: bytes) -> bytes:
    """A datagram from `ports[0]` to `ports[1]` that holds the token."""
    datagram = struct.pack("!HHHH", *ports, 8 + len(token), 0) + token
    return with_checksum(source, target, UDP, datagram, 6)


def token_of(payload: bytes) -> bytes | None:
    """The token of an echo; None for a payload of another length."""
    return payload if len(payload) == TOKEN_OCTETS else None
