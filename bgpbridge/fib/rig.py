"""A small datapath in which every kind of route has its place: for the self-test of a program, and for the packet
tests. The routes stand in the tries and in the indexes as the FIB writes them (`fib.table`).

    destination                       group           what happens
    198.51.100.0/24, 2001:db8:1::/48     16   adjacency 1: NEXT_HOP_MAC, MTU 1500
    203.0.113.0/24,  2001:db8:2::/48     17   adjacencies 1 and 2, half of the slots each
    198.18.1.0/24,   2001:db8:a::/48     18   adjacency 3, down
    198.18.2.0/24,   2001:db8:b::/48     19   adjacency 4, egress interface not in tx_ports
    198.18.3.0/24,   2001:db8:c::/48     20   valid, all slots empty
    198.18.4.0/24,   2001:db8:d::/48     21   never filled
    198.18.5.0/24,   2001:db8:e::/48     22   adjacency 5, MTU 576 (for IPv6 as well)
    198.18.6.0/24                     40000   no such group
    198.18.7.0/24                         0   an entry that says "no route"
    198.51.100.1/32, 2001:db8:1::1        1   own address: punt
    192.0.2.0/24,    2001:db8:f::/48      1   connected: punt
    198.51.100.66/32, 2001:db8:1::66      2   blackhole
    198.18.8.0/24,   2001:db8:10::/48    23   adjacency 6, VLAN 10
    198.18.9.0/24,   2001:db8:11::/48    24   adjacency 7, service VLAN 20 and in it VLAN 30
    198.18.10.0/24,  2001:db8:12::/48    25   adjacency 8, service VLAN 40
    198.18.11.0/24                       26   adjacency 9, of the gateway fe80::2 (RFC 8950)

Test runs come in by ifindex 1 (loopback's number stands in for "no interface given"): untagged, and in the VLANs of
`VLANS`, each with the MAC that it has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

import numpy as np

from bgpbridge.datapath import abi
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, Place
from bgpbridge.datapath.frames import NEXT_HOP_MAC, ROUTER_MAC, mac
from bgpbridge.datapath.maps import Maps
from bgpbridge.fib.adjacency_words import identity_of
from bgpbridge.fib.table import Table, tables
from bgpbridge.types import Family, Prefix

__all__ = ["LOOPBACK", "NO_PORT", "PLACES", "ROUTES", "SECOND_HOP_MAC", "VLANS", "VLAN_MAC", "lay", "route"]

LOOPBACK: Final = 1
NO_PORT: Final = 4_000_000
SECOND_HOP_MAC, VLAN_MAC = mac("00:00:5e:00:53:04"), mac("00:00:5e:00:53:05")
PRESENT, SERVICE = abi.TagFlag.PRESENT, abi.TagFlag.PRESENT | abi.TagFlag.SERVICE
UNTAGGED: Final = Place(LOOPBACK)
PLACES: Final = (
    Place(LOOPBACK, PRESENT | 100),
    Place(LOOPBACK, PRESENT | 10),
    Place(LOOPBACK, SERVICE | 40),
    Place(LOOPBACK, SERVICE | 20, PRESENT | 30),
    Place(LOOPBACK, PRESENT | 100, PRESENT | 7),
)
VLANS: Final = {place: VLAN_MAC if place is PLACES[2] else ROUTER_MAC for place in PLACES}
ROUTES: Final[Mapping[int, tuple[str, ...]]] = {
    16: ("198.51.100.0/24", "2001:db8:1::/48"),
    17: ("203.0.113.0/24", "2001:db8:2::/48"),
    18: ("198.18.1.0/24", "2001:db8:a::/48"),
    19: ("198.18.2.0/24", "2001:db8:b::/48"),
    20: ("198.18.3.0/24", "2001:db8:c::/48"),
    21: ("198.18.4.0/24", "2001:db8:d::/48"),
    22: ("198.18.5.0/24", "2001:db8:e::/48"),
    23: ("198.18.8.0/24", "2001:db8:10::/48"),
    24: ("198.18.9.0/24", "2001:db8:11::/48"),
    25: ("198.18.10.0/24", "2001:db8:12::/48"),
    26: ("198.18.11.0/24",),
    40000: ("198.18.6.0/24",),
    abi.GROUP_NONE: ("198.18.7.0/24",),
    abi.GROUP_PUNT: ("198.51.100.1/32", "2001:db8:1::1/128", "192.0.2.0/24", "2001:db8:f::/48"),
    abi.GROUP_BLACKHOLE: ("198.51.100.66/32", "2001:db8:1::66/128"),
}


def lay(maps: Maps) -> dict[Family, Table]:
    """All of the above, into maps that are empty; the tables that wrote it. The tries answer, until `Maps.use_index`
    says otherwise."""
    maps.accept_interface(LOOPBACK, ROUTER_MAC)
    for place, address in VLANS.items():
        maps.accept_interface(LOOPBACK, address, place)
    maps.store_adjacency(1, _adjacency())
    maps.store_adjacency(2, _adjacency(SECOND_HOP_MAC))
    maps.store_adjacency(3, _adjacency(state=AdjacencyState.DOWN))
    maps.store_adjacency(4, _adjacency(place=Place(NO_PORT)))
    maps.store_adjacency(5, _adjacency(mtu=576))
    for number, place in {6: PLACES[1], 7: PLACES[3], 8: PLACES[2]}.items():
        maps.store_adjacency(number, _adjacency(place=place))
    maps.adjacencies["reserved"][9] = identity_of(ip_address("fe80::2"))
    maps.store_adjacency(9, _adjacency())
    for group, adjacency in {16: 1, 18: 3, 19: 4, 20: 0, 22: 5, 23: 6, 24: 7, 25: 8, 26: 9}.items():
        maps.store_group(group, adjacency)
    maps.store_group(17, np.repeat([1, 2], maps.slots.shape[1] // 2))
    by_family = tables(maps)
    for group, prefixes in ROUTES.items():
        for text in prefixes:
            route(by_family, text, group)
    maps.enable(True)
    return by_family


def _adjacency(
    dmac: bytes = NEXT_HOP_MAC,
    mtu: int = 1500,
    state: AdjacencyState = AdjacencyState.UP,
    place: Place = UNTAGGED,
) -> Adjacency:
    return Adjacency(dmac, ROUTER_MAC, mtu, state, place.ifindex, place.outer, place.inner)


def route(by_family: Mapping[Family, Table], text: str, group: int) -> None:
    """One route more."""
    prefix = Prefix.parse(text)
    by_family[prefix.family].store_one(*divmod(prefix.value, 1 << 64), prefix.length, group)
