"""Interfaces that become others while packets flow: never a packet by the wrong table, always a word about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Loader as ByLoader
from bgpbridge.datapath import abi
from bgpbridge.datapath.links import holders
from bgpbridge.fib.observed import Link
from tests.bpf.live_box import Box, box_of
from tests.bpf.live_frames import R0, S0, path_of

pytestmark = pytest.mark.root
VRF = Link(77, "blue", b"", 1500, True, "vrf")


@pytest.fixture
def box(namespaces: Callable[[str], object], pin_path: Path, compiled: Path, monkeypatch) -> Iterator[Box]:
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    settings = Settings(
        interfaces=("r0", "r1"), pin_path=pin_path, max_ipv4=5000, max_ipv6=5000, loader=ByLoader.LIBBPF
    )
    with path_of(namespaces) as path, box_of(path, settings) as made:
        made.datapath.all_links = {77: VRF}
        with path.router.inside():
            yield made


def ingress(box: Box) -> Link:
    return Link(box.path.router.index("r0"), "r0", R0, 1500, True, "veth")


def last(box: Box) -> tuple[str, str]:
    event = box.upgrade.events.tail()[-1]
    return event.kind, event.text


def test_an_interface_in_a_vrf_is_the_kernels_until_it_is_out_again(box: Box) -> None:
    datapath, link = box.datapath, ingress(box)
    for _ in range(2):  # told once
        datapath.follow_link(replace(link, master=77), True)
    assert last(box) == ("xdp-refused", "is in VRF blue: its packets are that table's, the kernel forwards them")
    assert sum(event.kind == "xdp-refused" for event in box.upgrade.events.tail()) == 1
    assert (holders(link.ifindex), datapath.refused[link.ifindex][:13]) == ((), "is in VRF blu")
    assert datapath.maps.interfaces.lookup(link.ifindex) is None
    assert link.ifindex not in datapath.maps.tx_ports.keys().tolist()
    datapath.follow_link(link, True)
    assert (len(holders(link.ifindex)), datapath.refused) == (1, {})
    datapath.main_table = False  # our routes are in the VRF's table: then its packets are ours
    datapath.follow_link(replace(link, master=77), True)
    assert len(holders(link.ifindex)) == 1


def test_another_mac_is_taken_over_and_told(box: Box) -> None:
    link = ingress(box)
    box.datapath.follow_link(replace(link, mac=S0), True)
    assert int(box.datapath.maps.interfaces.lookup(link.ifindex)["word"]) == abi.interface_word(S0)
    assert last(box) == ("mac-changed", f"MAC {R0.hex(':')} -> {S0.hex(':')}: packets to the new one are taken")


def test_a_name_that_nobody_asked_for_loses_the_program(box: Box) -> None:
    link = ingress(box)
    box.datapath.follow_link(replace(link, name="other"), True)
    assert last(box) == ("xdp-detached", "was r0; its name is not in datapath.interfaces, packets go by the kernel")
    assert holders(link.ifindex) == ()
    box.datapath.follow_link(link, True)
    assert len(holders(link.ifindex)) == 1
