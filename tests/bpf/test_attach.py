"""The program on interfaces: modes, links that outlive us, and other people's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.datapath import attach, links, pins
from bgpbridge.datapath.attach import Wanted
from bgpbridge.datapath.links import Mode
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.datapath.syscalls import object_pin
from bgpbridge.errors import DatapathError, NetlinkError

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def programs(compiled: Path):
    """Two loads of the program, over maps of their own."""
    maps = Maps.create(Sizes(10, 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(compiled))
        made = [load(maps.fds, Loader.LIBBPF) for _ in range(2)]
    yield made
    for program in made:
        program.close()
    maps.close()


@pytest.fixture
def veth(namespace) -> int:
    namespace.ip("link add v0 type veth peer name v1")
    namespace.ip("link set v0 up")
    return namespace.index("v0")


@pytest.fixture
def loopback(namespace) -> int:
    """An interface whose driver has no native XDP."""
    return namespace.index("lo")


def test_a_veth_gets_the_program_natively(programs, veth: int, pin_path: Path) -> None:
    found = attach.attach(programs[0].fd, veth, pin_path)
    assert (found.name, found.mode, found.note, found.adopted) == ("v0", Mode.NATIVE, "", False)
    assert found.program_id == programs[0].info.program_id
    assert [(holder.name, holder.mode) for holder in links.holders(veth)] == [("bgpbridge", Mode.NATIVE)]


def test_a_driver_without_native_xdp_gets_it_generically_and_the_reason(
    programs, loopback: int, pin_path: Path
) -> None:
    found = attach.attach(programs[0].fd, loopback, pin_path)
    assert (found.mode, found.note) == (Mode.GENERIC, "its driver has no native XDP")


def test_native_or_nothing_is_refused_where_there_is_no_native(programs, loopback: int, pin_path: Path) -> None:
    with pytest.raises(DatapathError, match="lo: its driver has no native XDP") as caught:
        attach.attach(programs[0].fd, loopback, pin_path, Wanted.NATIVE)
    assert "datapath.mode: auto" in caught.value.mend
    assert links.holders(loopback) == ()


def test_generic_can_be_asked_for(programs, veth: int, pin_path: Path) -> None:
    found = attach.attach(programs[0].fd, veth, pin_path, Wanted.GENERIC)
    assert (found.mode, found.note) == (Mode.GENERIC, "datapath.mode is generic")
    later = attach.attach(programs[1].fd, veth, pin_path, Wanted.NATIVE)
    assert (later.mode, later.note) == (Mode.GENERIC, "stays generic until it is detached (`bgpbridge clear`)")


def test_a_pinned_link_is_moved_to_a_new_program_and_never_detached(programs, veth: int, pin_path: Path) -> None:
    attach.attach(programs[0].fd, veth, pin_path)
    before = attach.attached(pin_path)
    later = attach.attach(programs[1].fd, veth, pin_path)
    assert later.adopted
    assert [found.program_id for found in before] == [programs[0].info.program_id]
    assert [found.program_id for found in attach.attached(pin_path)] == [programs[1].info.program_id]


def test_detaching_gives_the_interface_back_once(programs, veth: int, pin_path: Path) -> None:
    attach.attach(programs[0].fd, veth, pin_path)
    assert attach.detach(veth, pin_path)
    assert not attach.detach(veth, pin_path)
    assert links.holders(veth) == ()
    assert list(pins.links_folder(pin_path).iterdir()) == []


def test_detach_all_takes_every_interface(programs, veth: int, loopback: int, pin_path: Path) -> None:
    for ifindex in (veth, loopback):
        attach.attach(programs[0].fd, ifindex, pin_path)
    assert sorted(attach.detach_all(pin_path)) == sorted([veth, loopback])
    assert attach.attached(pin_path) == []


def test_removing_the_pins_detaches(programs, veth: int, pin_path: Path) -> None:
    attach.attach(programs[0].fd, veth, pin_path)
    pins.remove(pin_path)
    assert links.holders(veth) == ()


def test_a_pin_whose_interface_has_gone_is_removed_too(programs, namespace, veth: int, pin_path: Path) -> None:
    attach.attach(programs[0].fd, veth, pin_path)
    namespace.ip("link del v0")
    pins.remove(pin_path)
    assert not pins.links_folder(pin_path).exists()


def test_an_interface_that_moved_away_under_another_index_is_given_back(
    programs, namespaces, namespace, veth: int, pin_path: Path
) -> None:
    attach.attach(programs[0].fd, veth, pin_path)
    other = namespaces("o")
    taken = f"link add x0 index {veth} type veth peer name x1"
    other.ip(taken)
    namespace.ip(f"link set v0 netns {other.name}")
    assert attach.attached(pin_path) == []
    with other.inside():
        assert links.holders(other.index("v0")) == ()


def test_a_stranger_among_the_link_pins_is_unpinned(programs, pin_path: Path) -> None:
    folder = pins.links_folder(pin_path)
    folder.mkdir()
    object_pin(programs[0].fd, folder / "7")
    pins.remove(pin_path)
    assert not folder.exists()


def test_who_sits_on_an_interface_is_named_and_stays(programs, veth: int, pin_path: Path) -> None:
    attach.attach(programs[0].fd, veth, pin_path / "theirs")
    with pytest.raises(
        DatapathError, match=rf"v0 is held by program {programs[0].info.program_id} \(bgpbridge, native\)"
    ):
        attach.attach(programs[1].fd, veth, pin_path / "ours")
    assert [holder.program_id for holder in links.holders(veth)] == [programs[0].info.program_id]


def test_the_other_mode_does_not_push_a_holder_off(programs, veth: int, pin_path: Path) -> None:
    attach.attach(programs[0].fd, veth, pin_path / "theirs")
    with pytest.raises(DatapathError, match="v0 is held by"):
        attach.attach(programs[1].fd, veth, pin_path / "ours", Wanted.GENERIC)


def test_an_interface_that_came_back_under_its_index_is_attached_anew(
    programs, namespace, veth: int, pin_path: Path
) -> None:
    attach.attach(programs[0].fd, veth, pin_path)
    namespace.ip("link del v0")
    assert attach.attached(pin_path) == []
    namespace.ip(f"link add v0 index {veth} type veth peer name v1")
    found = attach.attach(programs[0].fd, veth, pin_path)
    assert not found.adopted
    assert [holder.name for holder in links.holders(veth)] == ["bgpbridge"]


def test_no_such_interface_is_told(programs, namespace, pin_path: Path) -> None:
    with pytest.raises(NetlinkError, match="interface 4000000: No such device"):
        attach.attach(programs[0].fd, 4_000_000, pin_path)


def test_an_mtu_too_large_for_native_falls_back(programs, namespace, veth: int, pin_path: Path) -> None:
    namespace.ip("link set v1 mtu 65535")
    found = attach.attach(programs[0].fd, veth, pin_path)
    assert (found.mode, found.note) == (Mode.GENERIC, "its MTU is too large for native XDP")


def test_a_veth_warns_of_tags_that_its_other_end_may_hide(programs, veth: int, loopback: int, pin_path: Path) -> None:
    assert "turn tx-vlan-offload off at the other end" in attach.attach(programs[0].fd, veth, pin_path).warning
    assert attach.attach(programs[0].fd, loopback, pin_path).warning == ""
