"""ICMP echo (RFC 792, RFC 4443 s4). The token is the payload: 16 random octets that only the one asked has seen."""

from __future__ import annotations

import struct

from bgpbridge.enrich.packets import ICMP, ICMPV6, with_checksum
from bgpbridge.types import IPAddress

__all__ = ["TOKEN_OCTETS", "compose", "protocol", "token_of"]

TOKEN_OCTETS = 16
REQUEST, REPLY = 8, 0
REQUEST_V6, REPLY_V6 = 128, 129


def protocol(version: int) -> int:
    """The protocol number in the IP header."""
    return ICMP if version == 4 else ICMPV6


def compose(source: IPAddress, target: IPAddress, ident: int, sequence: int, token: bytes) -> bytes:
    """An echo request."""
    kind = REQUEST if source.version == 4 else REQUEST_V6
    message = struct.pack("!BBHHH", kind, 0, 0, ident, sequence & 0xFFFF) + token
    return with_checksum(source, target, protocol(source.version), message, 2)


def token_of(message: bytes, version: int) -> bytes | None:
    """The token of an echo reply; None for everything else. The kernel has verified the checksum of ICMPv6 and not
    that of ICMP, where the token does: any other octets are no token of ours."""
    if len(message) != 8 + TOKEN_OCTETS or message[0] != (REPLY if version == 4 else REPLY_V6) or message[1]:
        return None
    return message[8:]
