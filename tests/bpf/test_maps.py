"""Maps as a whole: made, pinned, adopted, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath import abi, bpffs, pins
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, GroupFlag
from bgpbridge.datapath.elements import BpfMap
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes, specs
from bgpbridge.datapath.syscalls import MapType, map_create, object_pin
from bgpbridge.errors import LayoutError, NetlinkError

pytestmark = pytest.mark.root
SIZES = Sizes(100, 50)


def test_new_maps_forward_nothing_and_hold_the_reserved_groups() -> None:
    maps = Maps.create(SIZES)
    assert not maps.enabled
    assert int(maps.control["layout"][0]) == abi.LAYOUT
    assert maps.groups["flags"][:3].tolist() == [
        0,
        GroupFlag.VALID | GroupFlag.PUNT,
        GroupFlag.VALID | GroupFlag.BLACKHOLE,
    ]
    assert not maps.groups["flags"][3:].any()
    maps.close()


def test_each_set_of_maps_has_a_hash_seed_of_its_own() -> None:
    made = [Maps.create(SIZES) for _ in range(2)]
    assert made[0].control["hash_seed"][0] != made[1].control["hash_seed"][0]
    for maps in made:
        maps.close()


def test_what_is_pinned_is_adopted_with_all_that_is_in_it(pin_path: Path) -> None:
    first, adopted = Maps.open(pin_path / "bb", SIZES)
    assert not adopted
    first.store_group(16, np.arange(64))
    first.store_adjacency(3, Adjacency(b"\2" * 6, b"\4" * 6, 1500, AdjacencyState.UP, 9))
    first.lpm4.update(abi.lpm4_keys(np.array([0x0A000000]), np.array([8])), 16)
    first.enable(True)
    first.close()
    second, adopted = Maps.open(pin_path / "bb", SIZES)
    assert adopted
    assert second.enabled
    assert second.slots[16].tolist() == list(range(64))
    assert Adjacency.of(second.adjacencies[3]).ifindex == 9
    assert second.lpm4.dump()[1].tolist() == [16]
    second.close()


def test_pins_appear_as_one_folder_and_go_as_one(pin_path: Path) -> None:
    maps, _ = Maps.open(pin_path / "bb", SIZES)
    names = {path.name for path in pins.layout_folder(pin_path / "bb").iterdir()}
    assert names == {spec.name for spec in specs(SIZES)}
    with pytest.raises(LayoutError, match="exists already"):
        maps.pin(pin_path / "bb")
    maps.close()
    pins.remove(pin_path / "bb")
    assert not (pin_path / "bb").exists()


def test_a_killed_run_that_pinned_half_is_cleared_away(pin_path: Path) -> None:
    half = pin_path / f"new{abi.LAYOUT}"
    half.mkdir()
    maps = Maps.create(SIZES)
    object_pin(maps.lpm4.fd, half / "lpm4")
    maps.close()
    Maps.open(pin_path, SIZES)[0].close()
    assert {path.name for path in pin_path.iterdir()} & {f"v{abi.LAYOUT}", f"new{abi.LAYOUT}"} == {f"v{abi.LAYOUT}"}


def test_other_sizes_than_the_pinned_ones_are_refused_with_both_ways_out(pin_path: Path) -> None:
    Maps.open(pin_path, SIZES)[0].close()
    message = rf"v{abi.LAYOUT}/lpm4 is not laid out as ours: entries 100, expected 200"
    with pytest.raises(LayoutError, match=message) as caught:
        Maps.adopt(pin_path, Sizes(200, 50))
    assert "set datapath.max_ipv4 back" in caught.value.mend
    assert "bgpbridge clear" in caught.value.mend


def test_a_foreign_map_under_our_name_is_refused(pin_path: Path) -> None:
    Maps.open(pin_path, SIZES)[0].close()
    path = pins.layout_folder(pin_path) / "groups"
    path.unlink()
    foreign = BpfMap(map_create(MapType.HASH, 8, 8, 5, 0, "foreign"), "foreign", np.dtype("<u8"), np.dtype("<u8"), 5)
    object_pin(foreign.fd, path)
    foreign.close()
    with pytest.raises(LayoutError, match="type 1, expected 2; key size 8, expected 4"):
        Maps.adopt(pin_path, SIZES)


def test_a_missing_pin_is_refused(pin_path: Path) -> None:
    Maps.open(pin_path, SIZES)[0].close()
    (pins.layout_folder(pin_path) / "counters").unlink()
    with pytest.raises(LayoutError, match="counters is missing"):
        Maps.adopt(pin_path, SIZES)


def test_another_layout_number_inside_is_refused(pin_path: Path) -> None:
    maps, _ = Maps.open(pin_path, SIZES)
    maps.control["layout"] = 99
    with pytest.raises(LayoutError, match=f"layout 99, not {abi.LAYOUT}"):
        Maps.adopt(pin_path, SIZES)
    maps.close()


def test_adopting_and_refusing_leak_no_fd(pin_path: Path) -> None:
    def fds() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    Maps.open(pin_path, SIZES)[0].close()
    with pytest.raises(LayoutError):
        Maps.adopt(pin_path, Sizes(1, 1))
    before = fds()
    for _ in range(3):
        Maps.adopt(pin_path, SIZES).close()
        with pytest.raises(LayoutError):
            Maps.adopt(pin_path, Sizes(1, 1))
    assert fds() <= before + 9  # mappings keep a dup each until their arrays are collected


def test_a_store_is_seen_by_whoever_else_maps_it(pin_path: Path) -> None:
    writer, _ = Maps.open(pin_path, SIZES)
    reader = Maps.adopt(pin_path, SIZES)
    writer.store_adjacency(5, Adjacency(b"\2" * 6, b"\4" * 6, 9000, AdjacencyState.UP, 3))
    assert Adjacency.of(reader.adjacencies[5]).mtu == 9000
    writer.set_adjacency_state(5, AdjacencyState.DOWN)
    seen = Adjacency.of(reader.adjacencies[5])
    assert (seen.state, seen.smac, seen.mtu) == (AdjacencyState.DOWN, b"\4" * 6, 9000)
    writer.close()
    reader.close()


def test_an_interface_goes_in_and_out_of_both_maps() -> None:
    maps = Maps.create(SIZES)
    maps.accept_interface(1, b"\2\0\0\0\0\1")
    assert maps.tx_ports.keys().tolist() == [1]
    assert maps.interfaces.dump()[1]["word"].tolist() == [abi.interface_word(b"\2\0\0\0\0\1")]
    maps.forget_interface(1)
    assert len(maps.tx_ports.keys()) == len(maps.interfaces.dump()[0]) == 0
    maps.close()


def test_a_vlan_interface_is_taken_at_its_port_and_lets_nothing_out_itself() -> None:
    maps = Maps.create(SIZES)
    place = abi.Place(7, abi.TagFlag.PRESENT | 100)
    maps.accept_interface(1, b"\2\0\0\0\0\1", place)
    assert maps.interfaces.dump()[0].tolist() == [place.word] == [7 | 0x1064 << 32]
    assert maps.interfaces.dump()[1]["ifindex"].tolist() == [1]
    assert len(maps.tx_ports.keys()) == 0
    maps.forget_interface(1, place)
    assert len(maps.interfaces.dump()[0]) == 0
    maps.close()


def test_interfaces_of_an_earlier_run_that_are_gone_are_forgotten(pin_path: Path) -> None:
    earlier, _ = Maps.open(pin_path, SIZES)
    stays, goes = abi.Place(1), abi.Place(1, abi.TagFlag.PRESENT | 5)
    earlier.accept_interface(1, bytes(6), stays)
    earlier.accept_interface(1, bytes(6), goes)
    later = Maps.adopt(pin_path, SIZES)
    assert later.ingress.keep_only([stays]) == 1
    assert later.interfaces.dump()[0].tolist() == [stays.word]
    assert later.tx_ports.keys().tolist() == [1]
    for maps in (earlier, later):
        maps.close()


def test_a_number_comes_back_with_its_interface_and_is_used_anew_only_when_all_are_taken(pin_path: Path) -> None:
    maps, _ = Maps.open(pin_path, SIZES)
    places = [abi.Place(1, abi.TagFlag.PRESENT | n) for n in range(abi.SOURCE_BITS + 2)]
    for place in places[:3]:
        maps.accept_interface(1, bytes(6), place)
    maps.forget_interface(1, places[1])
    adopted = Maps.adopt(pin_path, SIZES)
    assert [adopted.ingress.number_of(places[n].word) for n in (0, 2)] == [0, 2]
    adopted.close()
    assert maps.ingress.number_of(places[3].word) == 3
    assert maps.ingress.number_of(places[1].word) == 1
    maps.forget_interface(1, places[1])
    numbers = [maps.ingress.number_of(place.word) for place in places[4:]]
    assert numbers == [*range(4, abi.SOURCE_BITS - 1), 1, abi.SOURCE_BITS - 1, abi.SOURCE_BITS - 1]
    maps.close()


def test_the_links_of_a_group_are_known_while_sources_are_checked_strictly() -> None:
    maps = Maps.create(SIZES)
    places = [abi.Place(4), abi.Place(4, abi.TagFlag.PRESENT | 9), abi.Place(5)]
    for number, place in enumerate(places, 1):
        maps.store_adjacency(
            number,
            Adjacency(b"\2" * 6, b"\4" * 6, 1500, AdjacencyState.UP, place.ifindex, place.outer),
        )
    maps.store_group(16, np.repeat([1, 3], 32))
    sources = maps.by_name["group_sources"]
    assert sources.lookup(16) == 0
    maps.check_sources(strict=True)
    bits = [1 << maps.ingress.number_of(place.word) for place in places]
    assert sources.lookup(16) == bits[0] | bits[2]
    maps.store_group(16, 2)
    assert sources.lookup(16) == bits[1]
    maps.store_group(17, np.repeat([2, 3], 32))
    maps.store_adjacency(2, Adjacency(b"\2" * 6, b"\4" * 6, 1500, AdjacencyState.DOWN, 4))
    maps.adjacency_moved(2)
    assert [sources.lookup(n) for n in (16, 17)] == [bits[0], bits[0] | bits[2]], "at another place now"
    maps.check_sources(loose=True)
    assert int(maps.control["flags"][0]) & abi.ControlFlag.LOOSE
    assert not int(maps.control["flags"][0]) & abi.ControlFlag.STRICT
    maps.close()


def test_an_interface_that_does_not_exist_is_said_to_be_none() -> None:
    maps = Maps.create(SIZES)
    with pytest.raises(NetlinkError, match="interface 4000000: No such device"):
        maps.accept_interface(4_000_000, bytes(6))
    assert len(maps.interfaces.dump()[0]) == 0
    maps.close()


def test_a_bpffs_is_mounted_where_there_is_none_and_only_once(pin_path: Path) -> None:
    assert bpffs.is_bpffs(pin_path)
    assert not bpffs.ensure_bpffs(pin_path / "deeper" / "still")
