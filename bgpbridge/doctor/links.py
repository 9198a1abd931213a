"""What XDP needs of the links: native mode, receivers that take redirected frames, no offloads in the way.

Features are asked with ethtool's ioctls (include/uapi/linux/ethtool.h), so nothing has to be installed.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence

from bgpbridge.datapath.forbid import Feature, forbidden
from bgpbridge.doctor.finding import Finding, Level

__all__ = ["check_links", "driver_of", "feature"]

SIOCETHTOOL = 0x8946
ETHTOOL_GDRVINFO = 0x03
ETHTOOL_GGRO, ETHTOOL_GTXCSUM, ETHTOOL_GFLAGS = 0x2B, 0x16, 0x25
ETH_FLAG_LRO = 1 << 15
NATIVE = frozenset(
    [
        "veth",
        "virtio_net",
        "tun",
        "ixgbe",
        "ixgbevf",
        "i40e",
        "iavf",
        "ice",
        "igb",
        "igc",
        "e1000e",
        "mlx4_en",
        "mlx5_core",
        "bnxt_en",
        "ena",
        "nfp",
        "qede",
        "sfc",
        "thunder-nicvf",
        "stmmac",
        "netvsc",
        "hv_netvsc",
        "gve",
        "mana",
        "bond",
        "fm10k",
        "cxgb4",
        "atlantic",
        "tsnep",
        "lan966x",
        "vmxnet3",
    ]
)


def _ethtool(name: str, command: int, size: int) -> bytes | None:
    """The answer to an ethtool request, or None where the driver does not know it."""
    buffer = ctypes.create_string_buffer(struct.pack("=I", command).ljust(size, b"\0"), size)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(buffer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asker:
        try:
            fcntl.ioctl(asker, SIOCETHTOOL, request)
        except OSError:
            return None
    return buffer.raw


def driver_of(name: str) -> str:
    """The driver's name, or `unknown`."""
    answer = _ethtool(name, ETHTOOL_GDRVINFO, 196)
    return answer[4:36].split(b"\0")[0].decode("ascii", "replace") if answer else "unknown"


def feature(name: str, command: int) -> int | None:
    """The u32 value of a simple ethtool feature."""
    answer = _ethtool(name, command, 8)
    return struct.unpack_from("=I", answer, 4)[0] if answer else None


def check_links(interfaces: Sequence[str]) -> Iterator[Finding]:
    """Every interface of the configuration that is here, and those that are not."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - a third of a second, and the bridge knows this module as well

    with IPRoute() as netlink:
        links = {link.get_attr("IFLA_IFNAME"): link for link in netlink.get_links()}
    names = {link["index"]: name for name, link in links.items()}
    for name in interfaces:
        link = links.get(name)
        if link is None:
            yield Finding(f"link {name}", Level.FAIL, "no such interface here", "mend datapath.interfaces")
            continue
        # A peer in another namespace carries IFLA_LINK_NETNSID: its index means nothing here.
        elsewhere = link.get_attr("IFLA_LINK_NETNSID") is not None
        yield from _check_link(name, None if elsewhere else names.get(link.get_attr("IFLA_LINK")))


def _check_link(name: str, peer: str | None) -> Iterator[Finding]:
    """One interface; `peer` is a veth's other end where it is in this namespace too."""
    driver = driver_of(name)
    if driver in NATIVE and not forbidden(Feature.NATIVE):
        yield Finding(f"link {name}", Level.OK, f"{driver}: native XDP")
    else:
        yield Finding(
            f"link {name}", Level.WARN, f"{driver}: generic XDP, several times slower", "use a NIC with native XDP"
        )
    flags = feature(name, ETHTOOL_GFLAGS)
    if flags is not None and flags & ETH_FLAG_LRO:
        yield Finding(f"link {name}", Level.FAIL, "LRO is on: XDP cannot be attached", f"ethtool -K {name} lro off")
    if driver == "veth":
        yield from _check_veth(name, peer)


def _check_veth(name: str, peer: str | None) -> Iterator[Finding]:
    """A veth takes redirected frames only when its peer has XDP or GRO; and a sender that leaves checksums
    to the NIC sends frames whose checksums nobody fills in."""
    if feature(name, ETHTOOL_GTXCSUM):
        mend = f"ethtool -K {name} tx off, on both ends"
        yield Finding(f"link {name}", Level.WARN, "veth leaves checksums to a NIC that is not there", mend)
    if peer and not feature(peer, ETHTOOL_GGRO):
        mend = f"ethtool -K {peer} gro on"
        yield Finding(f"link {name}", Level.WARN, f"its peer {peer} has no GRO: redirected frames are lost", mend)
