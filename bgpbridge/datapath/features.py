"""Which interfaces take frames that XDP redirects to them (generic netlink family `netdev`, Linux 6.3).

A native redirect to an interface without this feature is counted as forwarded and lost: a veth whose peer has
neither XDP nor GRO, or a driver without ndo_xdp_xmit. So such an interface is kept out of `tx_ports`; the program
then passes the packet untouched (pass_tx_port) and the kernel forwards it.

Two small requests by hand: pyroute2's generic netlink socket drives an event loop of its own and cannot be asked
from inside ours.
"""

from __future__ import annotations

import socket
import struct
from functools import cache

from bgpbridge.datapath.links import attributes

__all__ = ["takes_redirects"]

NETLINK_GENERIC = 16
NLMSG_ERROR = 2
CONTROL, CTRL_GET_FAMILY, CTRL_ATTR_ID, CTRL_ATTR_NAME = 16, 3, 1, 2  # linux/genetlink.h
DEV_GET, ATTR_IFINDEX, ATTR_XDP_FEATURES = 1, 1, 3  # linux/netdev.h
NDO_XMIT = 1 << 2  # NETDEV_XDP_ACT_NDO_XMIT


def takes_redirects(ifindex: int) -> bool:
    """True when frames can be redirected to the interface; also where the kernel is too old to say."""
    family = _family()
    if not family:
        return True
    found = _ask(family, DEV_GET, ATTR_IFINDEX, struct.pack("=I", ifindex)).get(ATTR_XDP_FEATURES)
    return found is None or bool(int.from_bytes(found, "little") & NDO_XMIT)


@cache
def _family() -> int:
    """The number of the family `netdev`, 0 where the kernel has none."""
    return int.from_bytes(_ask(CONTROL, CTRL_GET_FAMILY, CTRL_ATTR_NAME, b"netdev\0").get(CTRL_ATTR_ID, b""), "little")


def _ask(family: int, command: int, kind: int, value: bytes) -> dict[int, bytes]:
    """One request with one attribute; the attributes of the answer, none when it was refused."""
    attribute = struct.pack("=HH", 4 + len(value), kind) + value
    body = struct.pack("=BBxx", command, 1) + attribute + bytes(-len(attribute) % 4)
    message = struct.pack("=IHHII", 16 + len(body), family, 1, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC) as netlink:
        netlink.send(message)
        answer = netlink.recv(1 << 16)
    length, answered = struct.unpack_from("=IH", answer)
    if answered == NLMSG_ERROR:
        return {}
    return dict(attributes(answer[20:length]))
