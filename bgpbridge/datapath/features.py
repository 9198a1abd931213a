"""Which interfaces take frames that XDP redirects to them (generic netlink family `netdev`, Linux 6.3).

A native redirect to an interface without this feature is counted as forwarded and lost: a veth whose peer has
neither XDP nor GRO, or a driver without ndo_xdp_xmit. So such an interface is kept out of `tx_ports`; the program
then passes the packet untouched (pass_tx_port) and the kernel forwards it.
"""

from __future__ import annotations

from pyroute2.netlink import NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError as Refused
from pyroute2.netlink.generic import GenericNetlinkSocket

__all__ = ["takes_redirects"]

DEV_GET = 1
NDO_XMIT = 1 << 2  # NETDEV_XDP_ACT_NDO_XMIT, include/uapi/linux/netdev.h


class _Device(genlmsg):  # type: ignore[misc]  # pyroute2 is untyped
    """NETDEV_A_DEV_* attributes."""

    nla_map = (
        ("NETDEV_A_DEV_NONE", "none"),
        ("NETDEV_A_DEV_IFINDEX", "uint32"),
        ("NETDEV_A_DEV_PAD", "none"),
        ("NETDEV_A_DEV_XDP_FEATURES", "uint64"),
    )


def takes_redirects(ifindex: int) -> bool:
    """True when frames can be redirected to the interface; also where the kernel is too old to say."""
    try:
        with GenericNetlinkSocket() as asker:
            asker.bind("netdev", _Device)
            request = _Device()
            request["cmd"], request["version"] = DEV_GET, 1
            request["attrs"] = [("NETDEV_A_DEV_IFINDEX", ifindex)]
            answers = asker.nlm_request(request, msg_type=asker.prid, msg_flags=NLM_F_REQUEST)
            features = [answer.get_attr("NETDEV_A_DEV_XDP_FEATURES") for answer in answers]
    except Refused:
        return True
    return all(found is None or found & NDO_XMIT for found in features)
