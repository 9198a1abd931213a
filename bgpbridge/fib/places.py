"""Where an interface's frames come in and go out: itself, or the port below a VLAN interface, with tags.

XDP sits on ports and writes and reads tags itself, so a VLAN interface is a port and one tag to it, or two where it
stands on another VLAN interface. What it cannot do alike is left to the kernel, whose interface then is a place of its
own that no port is: three tags, a parent in another namespace, priorities by a map (`egress-qos-map`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bgpbridge.datapath.abi import Place
from bgpbridge.fib.observed import Link

__all__ = ["ifindex_at", "largest_packet", "place_of", "vlans_over"]

TAG_OCTETS = 4
FREE_TAG = 4  # octets beyond its MTU that a port takes for one tag (VLAN_HLEN in __dev_xdp_ok)


def place_of(links: Mapping[int, Link], ifindex: int) -> Place:
    """The place of an interface; its own index where there are no tags, or none that we can write."""
    tags: list[int] = []
    at = links.get(ifindex)
    while at is not None and at.kind == "vlan" and at.vlan and len(tags) < 2:
        tags.append(at.vlan)
        at = links.get(at.peer)
    if not tags or at is None or at.kind == "vlan":
        return Place(ifindex)
    return Place(at.ifindex, *reversed(tags))


def ifindex_at(links: Mapping[int, Link], place: Place) -> int:
    """The interface of a place, the port where no VLAN interface is (any more)."""
    if not place.tags:
        return place.ifindex
    found = (number for number, link in links.items() if link.vlan and place_of(links, number) == place)
    return next(found, place.ifindex)


def vlans_over(links: Mapping[int, Link], ifindex: int) -> Iterator[Link]:
    """The VLAN interfaces that stand on an interface, at any height."""
    for link in links.values():
        if link.vlan and link.peer == ifindex and link.ifindex != ifindex:
            yield link
            yield from vlans_over(links, link.ifindex)


def largest_packet(links: Mapping[int, Link], link: Link, place: Place) -> int:
    """Octets of the largest packet that leaves there in one frame. A port has room for one tag beyond its MTU; the
    second one's is taken from the packet."""
    port = links.get(place.ifindex)
    if not place.tags or port is None:
        return link.mtu
    return min(link.mtu, port.mtu + FREE_TAG - TAG_OCTETS * place.tags)
