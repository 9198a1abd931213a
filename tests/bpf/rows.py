"""What the rows of the packet table are made of: a frame in, the reason that is counted, and the frame out.

A row with `out` is forwarded and must leave as exactly those octets, summed from scratch by the builder. All others
must pass (or drop) untouched. `setting` is what the datapath is told before (`SETTINGS` in test_packet_table.py).
The routes behind the addresses are in bgpbridge/fib/rig.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bgpbridge.datapath.abi import Reason
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, ethernet, ipv4, ipv6, udp

V4, V6 = 0x0800, 0x86DD
TO4, TO6 = "198.51.100.7", "2001:db8:1::7"


@dataclass(frozen=True)
class Row:
    name: str
    frame: bytes
    reason: Reason
    out: bytes | None = None
    setting: str = ""

    @property
    def family(self) -> str:
        """Of a row with a setting: such rows of both families stand together."""
        return " IPv6" if self.setting and V6.to_bytes(2, "big") in (self.frame[12:14], self.frame[16:18]) else ""


def sent4(name: str, payload: bytes, pad: int = 0, ttl: int = 64, setting: str = "", **header: object) -> Row:
    """An IPv4 packet that must be forwarded with its TTL down by one and a checksum that is right."""
    fields = {"dst": TO4, **header}
    before = ethernet(ipv4(payload, ttl=ttl, **fields), pad=pad)
    after = ethernet(ipv4(payload, ttl=ttl - 1, **fields), dst=NEXT_HOP_MAC, src=ROUTER_MAC, pad=pad)
    return Row(name, before, Reason.FORWARDED, after, setting)


def sent6(name: str, payload: bytes, pad: int = 0, hop_limit: int = 64, setting: str = "", **header: object) -> Row:
    fields = {"dst": TO6, **header}
    before = ethernet(ipv6(payload, hop_limit=hop_limit, **fields), V6, pad=pad)
    after = ethernet(ipv6(payload, hop_limit=hop_limit - 1, **fields), V6, dst=NEXT_HOP_MAC, src=ROUTER_MAC, pad=pad)
    return Row(name, before, Reason.FORWARDED, after, setting)


def kept4(name: str, reason: Reason, payload: bytes | None = None, setting: str = "", **header: object) -> Row:
    """An IPv4 packet to a good destination (unless told otherwise) that is not forwarded, for `reason`."""
    packet = ipv4(udp() if payload is None else payload, **{"dst": TO4, **header})
    return Row(name, ethernet(packet), reason, setting=setting)


def kept6(name: str, reason: Reason, payload: bytes | None = None, setting: str = "", **header: object) -> Row:
    packet = ipv6(udp() if payload is None else payload, **{"dst": TO6, **header})
    return Row(name, ethernet(packet, V6), reason, setting=setting)


def extension(following: int, octets: int = 8) -> bytes:
    """An IPv6 extension header of the common form: next header, length in 8 octets less one, padding."""
    return bytes([following, octets // 8 - 1]) + b"\x01" + bytes([octets - 4]) + bytes(octets - 4)


def fragment6(following: int, offset: int, more: bool) -> bytes:
    return struct.pack("!BBHI", following, 0, offset << 3 | more, 0xCAFE)
