"""`fib ADDRESS`: what both planes hold for an address, asked from the planes themselves."""

from __future__ import annotations

from dataclasses import dataclass

from bgpbridge.fib.kernel_lookup import kernel_lookup
from bgpbridge.pipeline.bridge import Bridge
from bgpbridge.rib import lookups
from bgpbridge.rib.groups import BLACKHOLE, LOCAL
from bgpbridge.types import IPAddress, Prefix
from bgpbridge.view.groups import AdjacencyView, GroupView, adjacencies, group

__all__ = ["FibView", "KernelRouteView", "fib", "kernel_route", "protocol_name"]

MOST_REFUSALS = 100_000
XDP_SAYS = {0: "no entry: left to the kernel", LOCAL: "punt: left to the kernel", BLACKHOLE: "blackhole: dropped"}


# include/uapi/linux/rtnetlink.h, and iproute2's rt_protos
PROTOCOLS = {
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    18: "keepalived",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    196: "zebra static",
}


def protocol_name(number: int) -> str:
    """Who put a route there, as `ip route` spells it; the number where it has no name."""
    return PROTOCOLS.get(number, str(number))


@dataclass(frozen=True, slots=True)
class KernelRouteView:
    """The kernel's own entry for the address. `ours`: it carries our protocol number. `gateway` and `link` are
    where a packet to the address goes now, empty where it goes nowhere. Of a route that drops packets the kernel tells
    the `type` alone (blackhole, prohibit)."""

    prefix: str
    ours: bool
    type: str
    protocol: str
    metric: int
    nexthop_id: int
    gateway: str
    link: str


@dataclass(frozen=True, slots=True)
class FibView:
    """`group` is Loc-RIB's for the longest prefix, `xdp_value` the LPM map's own answer, `kernel` the kernel's.
    `detail` is the group that XDP uses, `adjacencies` those in its slots. `refused` has what a plane would not
    take of this prefix, `kernel_behind` how many routes wait to be written."""

    address: str
    prefix: str
    group: int
    xdp_value: int
    xdp_says: str
    kernel: KernelRouteView | None
    kernel_behind: int
    refused: tuple[str, ...]
    detail: GroupView | None
    adjacencies: tuple[AdjacencyView, ...]


def fib(bridge: Bridge, address: IPAddress) -> FibView:
    """What the planes do with an address now."""
    prefix = lookups.longest(bridge.rib, address)
    number = lookups.group_of(bridge.rib, prefix) if prefix is not None else 0
    xdp, kernel = bridge.planes.xdp, bridge.planes.kernel
    value = xdp.lookup(address) if xdp is not None else 0
    shown = value if value in bridge.rib.groups else number
    detail = group(bridge, shown) if shown in bridge.rib.groups else None
    slots = detail.slots if detail is not None else {}
    return FibView(
        address=str(address),
        prefix=str(prefix) if prefix is not None else "",
        group=number,
        xdp_value=value,
        xdp_says=XDP_SAYS.get(value, f"group {value}") if xdp is not None else "XDP is not configured",
        kernel=kernel_route(bridge, address),
        kernel_behind=kernel.behind if kernel is not None else 0,
        refused=_refused(bridge, prefix) if prefix is not None else (),
        detail=detail,
        adjacencies=tuple(view for view in adjacencies(bridge) if view.id in slots) if slots else (),
    )


def kernel_route(bridge: Bridge, address: IPAddress) -> KernelRouteView | None:
    """What the kernel has for an address, None where it has nothing."""
    answer = kernel_lookup(address)
    if answer is None:
        return None
    entry, hop = answer.entry, answer.hop
    if entry is None:
        return KernelRouteView(
            "", ours=False, type=answer.drops, protocol="", metric=0, nexthop_id=0, gateway="", link=""
        )
    link = bridge.watcher.state.links.get(hop.ifindex) if hop is not None else None
    return KernelRouteView(
        prefix=str(entry.prefix),
        ours=entry.protocol == bridge.config.kernel.protocol,
        type=entry.type.name.lower(),
        protocol=protocol_name(entry.protocol),
        metric=entry.metric,
        nexthop_id=entry.nexthop_id,
        gateway=str(hop.gateway) if hop is not None and hop.gateway is not None else "",
        link=link.name if link is not None else "",
    )


def _refused(bridge: Bridge, prefix: Prefix) -> tuple[str, ...]:
    planes = (bridge.planes.xdp, bridge.planes.kernel)
    states = [state for plane in planes if plane is not None for state in plane.refused(MOST_REFUSALS)]
    return tuple(str(state) for state in states if state.prefix == prefix)
