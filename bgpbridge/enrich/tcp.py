"""TCP up to the answer to a SYN: SYN-ACK and RST are both the round trip's end (RFC 9293 s3.5).

The SYN is a packet of ours and no connect(2): a socket's SYN follows the kernel's routes and cannot be sent to one of
several next hops on a link, it bears no timestamp of its sending, and where it is answered a stranger's server gets a
connection that nobody wants. The port that it comes from is held by a bound socket that does not listen, so nobody
else's connection can have it, and the kernel answers a SYN-ACK with RST: the far end forgets the matter at once.

The token is the initial sequence number, 32 random bits: an answer that acknowledges another is none.
"""

from __future__ import annotations

import struct

from bgpbridge.enrich.packets import TCP, with_checksum
from bgpbridge.types import IPAddress

__all__ = ["TOKEN_OCTETS", "compose", "read"]

TOKEN_OCTETS = 4
FIN, SYN, RST, ACK = 1, 2, 4, 16
WINDOW = 64240
MSS = 1220  # fits the least MTU of IPv6


def compose(source: IPAddress, target: IPAddress, ports: tuple[int, int], token: bytes) -> bytes:
    """A SYN from `ports[0]` to `ports[1]`."""
    (sequence,) = struct.unpack("!I", token)
    option = struct.pack("!BBH", 2, 4, MSS)
    head = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 6 << 4, SYN, WINDOW, 0, 0)
    return with_checksum(source, target, TCP, head + option, 16)


def read(segment: bytes, own_port: int) -> tuple[int, bytes, str] | None:
    """(port that answers, token, `syn-ack` or `rst`) of an answer to one of our SYNs; None for everything else."""
    if len(segment) < 20:
        return None
    port, to, _, acknowledged, _, flags = struct.unpack_from("!HHIIBB", segment)
    kind = {SYN | ACK: "syn-ack", RST | ACK: "rst"}.get(flags & (FIN | SYN | RST | ACK))
    if to != own_port or kind is None:
        return None
    return port, struct.pack("!I", (acknowledged - 1) & 0xFFFFFFFF), kind
