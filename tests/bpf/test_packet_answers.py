"""`packet` asks the program's second instance: every row of the packet table gets its reason and its frame, as from the
first one, and nothing that live packets write moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.datapath.abi import Reason, XdpVerdict
from bgpbridge.datapath.frames import ethernet, ipv4, ipv6, udp
from bgpbridge.datapath.specs import Sizes, specs
from bgpbridge.datapath.syscalls import MapType
from bgpbridge.datapath.twin import Twin
from bgpbridge.errors import UsageError
from bgpbridge.fib.rig import LOOPBACK
from tests.bpf.conftest import Rig
from tests.bpf.test_packet_table import TABLE

pytestmark = pytest.mark.root
LISTED = (MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.HASH, MapType.LRU_HASH)
WATCHED = [spec.name for spec in specs(Sizes()) if spec.type in LISTED and not spec.name.startswith("index")]


@pytest.fixture(scope="module")
def twin(rig: Rig, compiled: Path) -> Iterator[Twin]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(compiled))
        made = Twin.load(rig.maps, rig.program)
    yield made
    made.close()


def test_it_is_the_same_program_by_the_kernels_own_tag(rig: Rig, twin: Twin) -> None:
    assert twin.is_of(rig.program)
    assert twin.program.info.program_id != rig.program.info.program_id


def test_every_row_of_the_table_gets_its_reason_and_no_octet_moves(rig: Rig, twin: Twin) -> None:
    rig.maps.measure_handshakes(1)
    try:
        before = {name: rig.maps.by_name[name].dump() for name in WATCHED}
        for name, row in ((name, row) for name, row in TABLE.items() if not row.setting):
            answer = twin.run(row.frame, LOOPBACK)
            assert (answer.noted.reason, answer.run.verdict) == (row.reason, row.reason.verdict), name
            assert answer.run.frame == (row.frame if row.out is None else row.out), name
            assert (answer.noted.octets, answer.noted.ifindex) == (len(row.frame), LOOPBACK), name
            assert answer.noted.head == answer.run.frame[:128], name
        for name in WATCHED:
            for was, now in zip(before[name], rig.maps.by_name[name].dump(), strict=True):
                assert np.array_equal(was, now), name
    finally:
        rig.maps.measure_handshakes(0)


@pytest.mark.parametrize("port", range(5000, 5040))
def test_group_slot_and_adjacency_are_those_of_the_maps(rig: Rig, twin: Twin, port: int) -> None:
    for frame in (
        ethernet(ipv4(udp(port), dst="203.0.113.9")),
        ethernet(ipv6(udp(port), dst="2001:db8:2::9"), 0x86DD),
    ):
        noted = twin.run(frame, LOOPBACK).noted
        assert noted.group == 17
        assert noted.adjacency == int(rig.maps.slots[17][noted.slot])


@pytest.mark.parametrize(
    ("destination", "reason", "group", "adjacency"),
    [
        ("198.18.1.1", Reason.PASS_ADJACENCY_DOWN, 18, 3),
        ("198.18.2.1", Reason.PASS_TX_PORT, 19, 4),
        ("198.18.3.1", Reason.PASS_NO_ADJACENCY, 20, 0),
        ("198.18.4.1", Reason.PASS_GROUP_INVALID, 21, 0),
        ("198.51.100.1", Reason.PASS_PUNT, 1, 0),
        ("198.51.100.66", Reason.DROP_BLACKHOLE, 2, 0),
        ("198.18.99.1", Reason.PASS_NO_ROUTE, 0, 0),
    ],
)
def test_how_far_a_packet_came_is_noted(
    twin: Twin, destination: str, reason: Reason, group: int, adjacency: int
) -> None:
    noted = twin.run(ethernet(ipv4(udp(), dst=destination)), LOOPBACK).noted
    assert (noted.reason, noted.group, noted.adjacency) == (reason, group, adjacency)
    assert (noted.slot is None) == (group < 16 or reason is Reason.PASS_GROUP_INVALID)


def test_it_follows_the_live_switch_and_the_live_tables(rig: Rig, twin: Twin) -> None:
    frame = ethernet(ipv4(udp(), dst="198.51.100.7"))
    rig.maps.enable(False)
    try:
        assert twin.run(frame, LOOPBACK).noted.reason is Reason.PASS_DISABLED
    finally:
        rig.maps.enable(True)
    slots = rig.maps.slots[16].copy()
    rig.maps.store_group(16, 2)
    try:
        assert twin.run(frame, LOOPBACK).noted.adjacency == 2
    finally:
        rig.maps.store_group(16, slots)


def test_the_largest_frame_is_tried_and_a_larger_one_refused(twin: Twin) -> None:
    def frame(octets: int) -> bytes:
        return ethernet(ipv4(udp(data=bytes(octets - 42)), dst="198.51.100.7"))

    answer = twin.run(frame(3498), LOOPBACK)
    assert (answer.noted.reason, answer.run.verdict) == (Reason.PASS_MTU, XdpVerdict.PASS)
    for octets in (13, 3499):
        with pytest.raises(UsageError, match=f"a frame of {octets} octets cannot be tried") as told:
            twin.run(frame(3499)[:octets], LOOPBACK)
        assert "14 to 3498" in told.value.mend


def test_an_interface_that_is_not_there_is_told(twin: Twin) -> None:
    with pytest.raises(UsageError, match="there is no interface 4000000"):
        twin.run(bytes(60), 4_000_000)
