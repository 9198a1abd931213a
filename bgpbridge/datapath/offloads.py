"""Offloads that would blind the program: VLAN tags taken off before XDP sees the frame.

A NIC with rx-vlan-offload, or a veth whose PEER has tx-vlan-offload, hands the tag over beside the frame. The
program then takes a frame of VLAN 5 for an untagged one and would forward it: measured on 6.18, native and
generic alike. So tag stripping is turned off on what we attach to; at a veth's far end only its owner can.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct

__all__ = ["expose_tags", "receives_tags_stripped"]

SIOCETHTOOL = 0x8946
ETHTOOL_GDRVINFO, ETHTOOL_GFLAGS, ETHTOOL_SFLAGS = 0x03, 0x25, 0x26
ETH_FLAG_RXVLAN = 1 << 8
DRVINFO_OCTETS = 196


def _ethtool(interface: str, request: bytes) -> bytes:
    """One SIOCETHTOOL; raises OSError."""
    buffer = ctypes.create_string_buffer(request, len(request))
    ifreq = struct.pack("16sP", interface.encode(), ctypes.addressof(buffer)) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, ifreq)
    return buffer.raw


def _flags(interface: str) -> int:
    return int(struct.unpack_from("=I", _ethtool(interface, struct.pack("=II", ETHTOOL_GFLAGS, 0)), 4)[0])


def receives_tags_stripped(interface: str) -> bool:
    """True when this interface takes VLAN tags off on receive (rx-vlan-offload)."""
    return bool(_flags(interface) & ETH_FLAG_RXVLAN)


def _driver(interface: str) -> str:
    raw = _ethtool(interface, struct.pack("=I", ETHTOOL_GDRVINFO) + bytes(DRVINFO_OCTETS - 4))
    return raw[4:36].split(b"\0")[0].decode(errors="replace")


def expose_tags(interface: str) -> str:
    """Turn tag stripping off. Returns what remains to be told to the operator, or nothing."""
    try:
        if _driver(interface) == "veth":
            return (
                f"{interface} is a veth: a VLAN tag that its other end offloads cannot be seen here; "
                "turn tx-vlan-offload off at the other end where VLANs are in use"
            )
        flags = _flags(interface)
        if flags & ETH_FLAG_RXVLAN:
            _ethtool(interface, struct.pack("=II", ETHTOOL_SFLAGS, flags & ~ETH_FLAG_RXVLAN))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # a device without ethtool strips nothing
            return f"{interface}: rx-vlan-offload cannot be turned off ({error.strerror}); VLAN tags may go unseen"
    return ""
