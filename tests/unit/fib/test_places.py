"""Where the frames of VLAN interfaces are seen: port and tags, from what the kernel tells of links."""

from __future__ import annotations

import pytest

from bgpbridge.datapath.abi import Place, TagFlag
from bgpbridge.fib.observed import Link
from bgpbridge.fib.places import ifindex_at, largest_packet, place_of, vlans_over

MAC = bytes.fromhex("020000000001")
Q, AD = TagFlag.PRESENT, TagFlag.PRESENT | TagFlag.SERVICE


def vlan(ifindex: int, parent: int, tag: int, mtu: int = 1500) -> Link:
    return Link(ifindex, f"v{ifindex}", MAC, mtu, up=True, kind="vlan", peer=parent, vlan=tag)


LINKS = {
    link.ifindex: link
    for link in (
        Link(5, "eth0", MAC, 1500, up=True, kind="veth", peer=6),
        vlan(10, 5, Q | 100),
        vlan(11, 5, AD | 20),
        vlan(12, 11, Q | 30),
        vlan(13, 12, Q | 40),
        vlan(14, 99, Q | 50),
        vlan(15, 5, 0),
        vlan(16, 15, Q | 60),
    )
}


@pytest.mark.parametrize(
    ("ifindex", "place"),
    [
        (5, Place(5)),
        (10, Place(5, Q | 100)),
        (11, Place(5, AD | 20)),
        (12, Place(5, AD | 20, Q | 30)),
        (13, Place(13)),
        (14, Place(14)),
        (15, Place(15)),
        (16, Place(16)),
        (77, Place(77)),
    ],
    ids=[
        "port",
        "802.1Q",
        "802.1ad",
        "QinQ",
        "three tags",
        "no parent",
        "priority map",
        "on one with a map",
        "unknown",
    ],
)
def test_the_place_of_a_link(ifindex: int, place: Place) -> None:
    assert place_of(LINKS, ifindex) == place
    assert ifindex_at(LINKS, place) == ifindex


def test_a_place_whose_vlan_interface_is_gone_is_its_port() -> None:
    assert ifindex_at(LINKS, Place(5, Q | 999)) == 5


def test_vlans_stand_on_a_port_at_any_height() -> None:
    assert {link.ifindex for link in vlans_over(LINKS, 5)} == {10, 11, 12, 13}
    assert list(vlans_over(LINKS, 10)) == []


def test_a_second_tag_takes_its_room_from_the_packet() -> None:
    sizes = {number: largest_packet(LINKS, LINKS[number], place_of(LINKS, number)) for number in (5, 10, 12, 13)}
    assert sizes == {5: 1500, 10: 1500, 12: 1496, 13: 1500}
    small = vlan(10, 5, Q | 100, mtu=1400)
    assert largest_packet(LINKS, small, place_of(LINKS, 10)) == 1400


def test_a_place_is_one_word() -> None:
    place = Place(5, AD | 20, Q | 30)
    assert Place.of(place.word) == place
    assert (Place(5).tags, Place(5, Q | 1).tags, place.tags) == (0, 1, 2)
