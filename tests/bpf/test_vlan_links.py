"""VLAN interfaces in the pipeline's datapath: where their packets are taken, as the links come, change and go.

The kernel that tests run on may have no 802.1Q: veth stand in for the VLAN interfaces, whose kind, parent and tag are
what netlink would tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.datapath.abi import Place, TagFlag
from bgpbridge.datapath.attach import Attached
from bgpbridge.datapath.links import Mode
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.events import EventLog
from bgpbridge.fib.observed import Link
from bgpbridge.pipeline.datapath import Datapath

pytestmark = pytest.mark.root
MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
VRF = Link(77, "blue", b"", 1500, up=True, kind="vrf")
TAG, INNER = TagFlag.PRESENT | 100, TagFlag.PRESENT | 7


@dataclass
class Room:
    datapath: Datapath
    links: dict[int, Link]

    def tell(self, link: Link, present: bool = True) -> None:
        if present:
            self.links[link.ifindex] = link
        else:
            del self.links[link.ifindex]
        self.datapath.follow_link(link, present)

    @property
    def taken(self) -> dict[Place, int]:
        """Places where packets are taken, with the interface that they are of."""
        places, values = self.datapath.maps.interfaces.dump()
        numbers = values["ifindex"].tolist()
        return {Place.of(place): number for place, number in zip(places.tolist(), numbers, strict=True)}

    @property
    def ports(self) -> set[int]:
        return set(self.datapath.maps.tx_ports.keys().tolist())


@pytest.fixture
def room(namespace) -> Iterator[Room]:
    for name in ("p", "q"):
        namespace.ip(f"link add {name}0 type veth peer name {name}1")
    maps = Maps.create(Sizes(100, 100, indexed=False))
    links: dict[int, Link] = {}
    made = Datapath(Settings(), EventLog(), maps, adopted=False, all_links=links)
    made.attached[0] = Attached(0, "elsewhere", Mode.GENERIC, 1)  # generic XDP sends by any interface
    yield Room(made, links)
    maps.close()


@pytest.fixture
def port(namespace, room: Room) -> Link:
    return Link(namespace.index("p0"), "eth0", MAC, 1500, up=True)


@pytest.fixture
def vlan(namespace, port: Link) -> Link:
    index = namespace.index("q0")
    return Link(index, "eth0.100", MAC, 1500, up=True, kind="vlan", peer=port.ifindex, vlan=TAG)


def test_a_vlan_interface_is_taken_at_its_port(room: Room, port: Link, vlan: Link) -> None:
    room.tell(port)
    room.tell(vlan)
    assert room.taken == {Place(port.ifindex): port.ifindex, Place(port.ifindex, TAG): vlan.ifindex}
    assert room.ports == {port.ifindex}


def test_a_vlan_interface_that_is_told_before_its_port_moves_there(room: Room, port: Link, vlan: Link) -> None:
    room.tell(vlan)
    assert room.taken == {Place(vlan.ifindex): vlan.ifindex}
    room.tell(port)
    assert room.taken == {Place(port.ifindex): port.ifindex, Place(port.ifindex, TAG): vlan.ifindex}
    assert room.ports == {port.ifindex}


def test_a_vlan_interface_that_is_set_down_takes_nothing(room: Room, port: Link, vlan: Link) -> None:
    room.tell(port)
    room.tell(vlan)
    room.tell(replace(vlan, up=False, admin_up=False))
    assert room.taken == {Place(port.ifindex): port.ifindex}
    room.tell(vlan)
    assert Place(port.ifindex, TAG) in room.taken
    room.tell(vlan, present=False)
    assert room.taken == {Place(port.ifindex): port.ifindex}


def test_a_vlan_interface_in_a_vrf_takes_nothing_and_its_port_does(room: Room, port: Link, vlan: Link) -> None:
    room.links[77] = VRF
    room.tell(port)
    room.tell(vlan)
    room.tell(replace(vlan, master=77))
    assert room.taken == {Place(port.ifindex): port.ifindex}
    room.tell(vlan)
    assert Place(port.ifindex, TAG) in room.taken


def test_a_port_in_a_vrf_takes_nothing_and_lets_nothing_out(room: Room, port: Link, vlan: Link) -> None:
    room.links[77] = VRF
    room.tell(port)
    room.tell(vlan)
    room.tell(replace(port, master=77))
    assert (room.taken, room.ports) == ({Place(port.ifindex, TAG): vlan.ifindex}, set())


def test_a_vlan_on_a_vlan_has_both_tags(namespace, room: Room, port: Link, vlan: Link) -> None:
    stacked = Link(
        namespace.index("q1"), "eth0.100.7", OTHER, 1496, up=True, kind="vlan", peer=vlan.ifindex, vlan=INNER
    )
    for link in (port, vlan, stacked):
        room.tell(link)
    assert room.taken[Place(port.ifindex, TAG, INNER)] == stacked.ifindex


def test_a_vlan_interface_named_alone_is_taken_in_itself_too(room: Room, port: Link, vlan: Link) -> None:
    """XDP would sit on the VLAN interface (generic), and see its frames there without the tag."""
    room.datapath.settings = Settings(interfaces=("eth0.100",))
    room.datapath.attached[vlan.ifindex] = Attached(vlan.ifindex, vlan.name, Mode.GENERIC, 1)
    room.tell(port)
    room.tell(vlan)
    assert room.taken == {
        Place(port.ifindex): port.ifindex,
        Place(port.ifindex, TAG): vlan.ifindex,
        Place(vlan.ifindex): vlan.ifindex,
    }
    ingress = room.datapath.maps.ingress
    words = room.datapath.maps.interfaces.dump()[1]
    numbers = {int(word) >> 48 for word in words["word"][words["ifindex"] == vlan.ifindex]}
    assert numbers == {ingress.number_of(Place(port.ifindex, TAG).word)}, "one link to a strict check"
