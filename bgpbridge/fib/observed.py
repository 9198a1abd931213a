"""What the kernel told us: frozen values of links, addresses, neighbours, routes, nexthop objects and rules.

`rtnetlink` decodes netlink messages into these, `kernel_state` keeps the current ones, `netlink` hands the
changes to a `KernelListener`. Nothing here knows a socket. Numbers are the kernel's (uapi/linux/rtnetlink.h,
neighbour.h), so that a reader may compare with `ip -d`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from bgpbridge.rib.next_hops import Hop
from bgpbridge.types import IPAddress, Prefix

__all__ = [
    "TABLE_LOCAL",
    "TABLE_MAIN",
    "Address",
    "ForeignRoute",
    "KernelListener",
    "Link",
    "Neighbour",
    "NeighbourState",
    "Nexthop",
    "OwnRouteChange",
    "OwnRouteEvent",
    "PuntChange",
    "Resync",
    "RouteType",
    "Rule",
]

TABLE_MAIN = 254
TABLE_LOCAL = 255


class RouteType(enum.IntEnum):
    """RTN_*: what the kernel does with a packet that matches."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9


class NeighbourState(enum.IntFlag):
    """NUD_*: how sure the kernel is of a neighbour's MAC (RFC 4861 s7.3.2 for most of them)."""

    NONE = 0x00
    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80

    @property
    def usable(self) -> bool:
        """The MAC may be sent to: the kernel itself would (NUD_VALID)."""
        return bool(self & (0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80))

    @property
    def probed(self) -> bool:
        """The kernel asks this neighbour now and then; PERMANENT and NOARP entries are never asked."""
        return not self & (0x40 | 0x80)


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `up` means: set up, carrier there, operational, so a packet may leave. `peer` is the other
    end of a veth, the parent of a VLAN interface; `vlan` is the latter's tag as datapath.abi.Place has it, 0 for none
    and for one that only the kernel can apply."""

    ifindex: int
    name: str
    mac: bytes
    mtu: int
    up: bool
    kind: str = ""
    master: int = 0
    peer: int = 0
    admin_up: bool = True
    loopback: bool = False
    vlan: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """An address of this machine with the length of its on-link prefix; `peer` for point-to-point links."""

    ifindex: int
    address: IPAddress
    length: int
    peer: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One entry of the kernel's neighbour table. `mac` is empty where it is not known."""

    ifindex: int
    address: IPAddress
    mac: bytes
    state: NeighbourState
    router: bool = False


@dataclass(frozen=True, slots=True)
class ForeignRoute:
    """A route that is not ours, in any table. `hops` of a route by nexthop object are those of the object.

    `tos` and `source_length` other than 0 make it match only part of the packets to `prefix`.
    """

    prefix: Prefix
    table: int
    protocol: int
    metric: int
    type: RouteType
    hops: tuple[Hop, ...] = ()
    scope: int = 0
    tos: int = 0
    source_length: int = 0
    nexthop_id: int = 0


@dataclass(frozen=True, slots=True)
class Nexthop:
    """A nexthop object (ip-nexthop(8)): a hop of its own, a blackhole, or a group of (id, weight)."""

    id: int
    protocol: int
    hop: Hop | None = None
    group: tuple[tuple[int, int], ...] = ()
    blackhole: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """An ip rule beyond the three that every machine has: it can send packets past our tables."""

    family: int
    priority: int
    table: int
    action: int


class OwnRouteEvent(enum.Enum):
    """What somebody else did to a route of ours."""

    DELETED = "deleted"
    OVERWRITTEN = "overwritten"


@dataclass(frozen=True, slots=True)
class OwnRouteChange:
    """A foreign hand on our route: `by_protocol` and `by_port` (netlink port id, usually a pid) tell whose."""

    prefix: Prefix
    table: int
    metric: int
    event: OwnRouteEvent
    by_protocol: int
    by_port: int


@dataclass(frozen=True, slots=True)
class PuntChange:
    """The foreign routes of one prefix changed: what the XDP overlay has to do.

    `rank` is the metric that a BGP route for the prefix has to undercut, -1 when none can, None when no foreign
    route is left. `subtree`: BGP prefixes inside are hidden or laid open as well (a local prefix shorter than an
    address); ask `ForeignTable.punts` for each.
    """

    prefix: Prefix
    rank: int | None
    subtree: bool = False

    @property
    def punt(self) -> bool:
        """The prefix is the kernel's while BGP has no route for it."""
        return self.rank is not None

    def beats(self, our_metric: int) -> bool:
        """The prefix is the kernel's even if BGP has a route for it."""
        return self.rank is not None and self.rank <= our_metric


@dataclass(frozen=True, slots=True)
class Resync:
    """The whole kernel state was read again: why, and how many differences the events had not told.

    After `cause` "overrun" events were lost, and with them perhaps word of a foreign hand on our own routes
    or nexthops: the kernel FIB should audit itself.
    """

    cause: str
    differences: int
    interrupted: bool = False


class KernelListener:
    """Who wants to hear of the kernel. Subclass it and override what you need: the bodies do nothing.

    Called in the event loop, state first: `KernelState` holds the new value already when a call is made.
    `present` False means the thing is gone, and the value is its last one.
    """

    def on_link(self, link: Link, present: bool) -> None:
        """A link came, changed or went."""

    def on_address(self, address: Address, present: bool) -> None:
        """An own address came or went."""

    def on_neighbour(self, neighbour: Neighbour, present: bool) -> None:
        """A neighbour entry came, changed or went."""

    def on_foreign_route(self, route: ForeignRoute, present: bool) -> None:
        """A route of somebody else came or went; a change is the old one going and the new one coming."""

    def on_punt_change(self, change: PuntChange) -> None:
        """What XDP must leave to the kernel at one prefix changed; comes before `on_foreign_route`."""

    def on_own_route_changed(self, change: OwnRouteChange) -> None:
        """Somebody deleted or overwrote a route of ours."""

    def on_nexthop(self, nexthop: Nexthop, present: bool) -> None:
        """A nexthop object came, changed or went by another hand than ours."""

    def on_resync(self, resync: Resync) -> None:
        """The state was compared with a whole dump; the differences have been told by the calls above."""
