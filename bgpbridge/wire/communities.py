"""Communities as text: standard (RFC 1997), extended (RFC 4360, 5668, 9012), large (RFC 8092).

One spelling for configuration, policy, CLI and JSON. `parse_*(format_*(x)) == x` for every value, so what
`bgpbridge routes` prints can be pasted into a policy file. Parsers raise ValueError with what is expected.
"""

from __future__ import annotations

import ipaddress
import math
import re
import struct
from collections.abc import Iterable

__all__ = [
    "WELL_KNOWN",
    "Large",
    "format_community",
    "format_extended",
    "format_large",
    "link_bandwidth",
    "parse_community",
    "parse_extended",
    "parse_large",
]

Large = tuple[int, int, int]

WELL_KNOWN = {
    "graceful-shutdown": 0xFFFF0000,  # RFC 8326
    "accept-own": 0xFFFF0001,  # RFC 7611
    "llgr-stale": 0xFFFF0006,  # RFC 9494
    "no-llgr": 0xFFFF0007,  # RFC 9494
    "blackhole": 0xFFFF029A,  # RFC 7999
    "no-export": 0xFFFFFF01,  # RFC 1997
    "no-advertise": 0xFFFFFF02,  # RFC 1997
    "no-export-subconfed": 0xFFFFFF03,  # RFC 1997
    "no-peer": 0xFFFFFF04,  # RFC 3765
}
_NAMES = {value: name for name, value in WELL_KNOWN.items()}


def _number(text: str, bits: int) -> int:
    """A decimal number below 2**bits."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >> bits:
        raise ValueError(f"{text!r} is not a number from 0 to {(1 << bits) - 1}")
    return int(text)


def format_community(value: int) -> str:
    """`65001:100`, or the name of a well-known one."""
    return _NAMES.get(value) or f"{value >> 16}:{value & 0xFFFF}"


def parse_community(text: str) -> int:
    """From `65001:100` or a well-known name such as `no-export`."""
    named = WELL_KNOWN.get(text.strip().lower().replace("_", "-"))
    if named is not None:
        return named
    parts = text.strip().split(":")
    if len(parts) != 2:
        raise ValueError(f"community {text!r}: expected AS:VALUE such as 65001:100, or one of {', '.join(WELL_KNOWN)}")
    return _number(parts[0], 16) << 16 | _number(parts[1], 16)


def format_large(value: Large) -> str:
    """`65001:1:2`."""
    return ":".join(map(str, value))


def parse_large(text: str) -> Large:
    """From `65001:1:2`."""
    parts = text.strip().split(":")
    if len(parts) != 3:
        raise ValueError(f"large community {text!r}: expected GLOBAL:LOCAL1:LOCAL2 such as 65001:1:2")
    return _number(parts[0], 32), _number(parts[1], 32), _number(parts[2], 32)


# The transitive types whose administrator is an AS of 2 octets, an IPv4 address, an AS of 4 octets
_ROUTE_KINDS = {0x02: "rt", 0x03: "soo"}
_ROUTE_SUBTYPES = {name: subtype for subtype, name in _ROUTE_KINDS.items()} | {
    "target": 0x02,
    "origin": 0x03,
    "ro": 0x03,
}
_BANDWIDTH = {0x40: "bandwidth", 0x00: "bandwidth-transitive"}


def format_extended(value: bytes) -> str:
    """`rt:65001:1`, `soo:192.0.2.1:7`, `color:100`, `bandwidth:65001:0x4b989680`; others `0x` and 16 hex
    digits. A four-octet AS that would fit two octets is written with an L: `rt:65001L:1`."""
    kind, subtype = value[0], value[1]
    if kind in {0, 1, 2} and subtype in _ROUTE_KINDS:
        if kind == 0:
            asn, local = struct.unpack_from("!HI", value, 2)
            return f"{_ROUTE_KINDS[subtype]}:{asn}:{local}"
        local = int.from_bytes(value[6:8], "big")
        if kind == 1:
            return f"{_ROUTE_KINDS[subtype]}:{ipaddress.IPv4Address(value[2:6])}:{local}"
        asn = int.from_bytes(value[2:6], "big")
        return f"{_ROUTE_KINDS[subtype]}:{asn}{'' if asn >> 16 else 'L'}:{local}"
    if kind in _BANDWIDTH and subtype == 0x04:
        return f"{_BANDWIDTH[kind]}:{int.from_bytes(value[2:4], 'big')}:0x{value[4:8].hex()}"
    if value[:4] == b"\x03\x0b\0\0":  # RFC 9012 s4.3, without flags
        return f"color:{int.from_bytes(value[4:8], 'big')}"
    return f"0x{value.hex()}"


def parse_extended(text: str) -> bytes:
    """From any form that `format_extended` gives; `target`, `origin` and `ro` are understood as well, and
    a bandwidth may be a number of octets per second."""
    plain = text.strip().lower()
    if re.fullmatch(r"0x[0-9a-f]{16}", plain):
        return bytes.fromhex(plain[2:])
    name, _, rest = plain.partition(":")
    parts = rest.split(":")
    if name == "color" and len(parts) == 1:
        return b"\x03\x0b\0\0" + _number(parts[0], 32).to_bytes(4, "big")
    if name in _ROUTE_SUBTYPES and len(parts) == 2:
        return _route_extended(_ROUTE_SUBTYPES[name], parts[0], parts[1])
    for kind, known in _BANDWIDTH.items():
        if name == known and len(parts) == 2:
            return bytes([kind, 0x04]) + _number(parts[0], 16).to_bytes(2, "big") + _bandwidth_octets(parts[1])
    raise ValueError(
        f"extended community {text!r}: expected rt:AS:VALUE, soo:AS:VALUE, color:VALUE, "
        "bandwidth:AS:OCTETS_PER_SECOND or 0x and 16 hex digits"
    )


def _route_extended(subtype: int, administrator: str, local: str) -> bytes:
    """Route target or site of origin: the administrator's form decides on the type."""
    if "." in administrator:
        return bytes([1, subtype]) + ipaddress.IPv4Address(administrator).packed + _number(local, 16).to_bytes(2, "big")
    asn = _number(administrator.removesuffix("l"), 32)
    if asn >> 16 or administrator.endswith("l"):
        return bytes([2, subtype]) + asn.to_bytes(4, "big") + _number(local, 16).to_bytes(2, "big")
    return bytes([0, subtype]) + asn.to_bytes(2, "big") + _number(local, 32).to_bytes(4, "big")


def _bandwidth_octets(text: str) -> bytes:
    """The four octets of a bandwidth: as they stand (0x...), or from octets per second."""
    if re.fullmatch(r"0x[0-9a-f]{8}", text):
        return bytes.fromhex(text[2:])
    if not re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,9})?", text):
        raise ValueError(f"{text!r} is not a bandwidth in octets per second")
    return struct.pack("!f", float(text))


def link_bandwidth(communities: Iterable[bytes]) -> float | None:
    """Octets per second of the first link-bandwidth community that holds a usable number
    (draft-ietf-idr-link-bandwidth), or None. Infinity, NaN, zero and negative numbers are not usable."""
    for value in communities:
        if value[0] in _BANDWIDTH and value[1] == 0x04:
            bandwidth: float = struct.unpack_from("!f", value, 4)[0]
            if math.isfinite(bandwidth) and bandwidth > 0:
                return bandwidth
    return None
