"""Machines that can do less, simulated by forbidding one feature after another: packets still go through, or it is said
why not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Engine as WantedEngine
from bgpbridge.datapath import attach, forbid, seats
from bgpbridge.datapath.abi import Adjacency, AdjacencyState, ControlFlag, Place, Reason
from bgpbridge.datapath.attach import NO_LINKS
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.links import Mode, holders
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.maps import Maps
from bgpbridge.datapath.specs import Sizes
from bgpbridge.doctor.features import check_features
from bgpbridge.errors import DatapathError
from bgpbridge.events import EventLog
from bgpbridge.fib.adjacency_words import AdjacencyWords
from bgpbridge.fib.xdp import Engine
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.types import Family
from tests.bpf.live_box import GROUP, ROUTES, Box, box_of, routes, settings_of
from tests.bpf.live_frames import HEAD, K0, R1, TX, path_of, send_live, verdict_program

pytestmark = pytest.mark.root
FRAMES = 500
MakeBox = Callable[[str], AbstractContextManager[Box]]


@pytest.fixture
def made(namespaces: Callable[[str], object], pin_path: Path, compiled: Path, monkeypatch) -> MakeBox:
    """A box on a machine without these features."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    monkeypatch.setattr("bgpbridge.pipeline.upgrade.BEFORE_S", 0)
    settings = settings_of(pin_path, WantedEngine.INDEX)

    @contextmanager
    def make(words: str) -> Iterator[Box]:
        with path_of(namespaces) as path:
            monkeypatch.setattr(forbid, "active", forbid.read(words))
            with box_of(path, settings) as box:
                yield box

    return make


def carried(box: Box) -> int:
    """How many of FRAMES frames came out."""
    before = box.path.received(box.path.sink, "k0")
    index = box.path.sender.index("s0")
    with box.path.sender.inside():
        program = verdict_program(TX, box.path.frame[:HEAD])
        send_live(program, box.path.frame, index, FRAMES)
        os.close(program)
    until = time.monotonic() + 0.2
    while (came := box.path.received(box.path.sink, "k0") - before) < FRAMES and time.monotonic() < until:
        time.sleep(0.01)
    return came


@pytest.mark.parametrize("words", ["native", "links", "mmapable", "batch", "linux-5.4,native"])
def test_packets_go_through_without(made: MakeBox, words: str) -> None:
    with made(words) as box:
        assert carried(box) == FRAMES
        assert read_reasons(box.datapath.maps)[Reason.FORWARDED].packets == FRAMES
        seats_there = list(box.datapath.attached.values())
        assert {seat.mode for seat in seats_there} == {Mode.GENERIC if "native" in words else Mode.NATIVE}
        assert all((NO_LINKS in seat.note) == (words not in {"native", "mmapable", "batch"}) for seat in seats_there)
        mapped = words in {"native", "links", "batch"}
        assert (box.datapath.maps.mapped, box.xdp.engine_of(Family.IPV4) is Engine.INDEX) == (mapped, mapped)
        kept = [event for event in box.upgrade.events.tail() if event.kind == "maps-kept"]
        assert bool(kept) is not mapped
        keys, groups = box.xdp.table(Family.IPV4)
        assert (len(keys), set(groups.tolist())) == (ROUTES, {GROUP})
        assert box.run(watch_s=0).stayed
        assert box.run(watch_s=0, max_ipv4=6000).maps_replaced
        assert carried(box) == FRAMES


def test_changes_reach_a_map_that_nobody_maps(made: MakeBox) -> None:
    with made("mmapable") as box:
        maps = box.datapath.maps
        steps: list[int] = []
        words = AdjacencyWords(maps.adjacencies, lambda number: (steps.append(number), maps.stored_adjacency(number)))
        words.store_ends(1, bytes(6), bytes(6), 1500)
        assert len(steps) == 3  # down, changed, up: an element is not stored at once
        value = maps.by_name["adjacencies"].lookup(np.uint32(1))
        assert Adjacency.of(value).dmac == bytes(6)
        words.store_state(1, up=False)
        assert carried(box) == 0
        assert read_reasons(maps)[Reason.PASS_ADJACENCY_DOWN].packets == FRAMES
        maps.store_adjacency(1, Adjacency(K0, R1, 1500, AdjacencyState.UP, box.path.router.index("r1")))
        box.xdp.write_blackhole(GROUP)
        assert carried(box) == 0
        assert read_reasons(maps)[Reason.DROP_BLACKHOLE].packets == FRAMES
        box.xdp.apply(routes(ROUTES, 0))
        assert len(box.xdp.table(Family.IPV4)[0]) == 0
        box.xdp.enabled = False
        assert carried(box) == 0
        assert read_reasons(maps)[Reason.PASS_DISABLED].packets == FRAMES


def test_options_reach_maps_that_nobody_maps(made: MakeBox) -> None:
    with made("mmapable") as box:
        maps = box.datapath.maps
        sources, bit = (
            maps.by_name["group_sources"],
            1 << maps.ingress.number_of(Place(box.path.router.index("r1")).word),
        )
        maps.check_sources(strict=True)
        assert sources.lookup(np.uint32(GROUP)) == bit
        maps.store_group(GROUP, 0)
        assert sources.lookup(np.uint32(GROUP)) == 0
        maps.use_flow_label(True)
        maps.limit_punts(1000)
        control = maps.by_name["control"].lookup(np.uint32(0))
        assert int(control["flags"]) & ControlFlag.STRICT
        assert int(control["flags"]) & ControlFlag.FLOW_LABEL
        assert int(control["punt_cost_ns"]) == 1_000_000
        maps.clear_group(GROUP)
        assert int(maps.by_name["groups"].lookup(np.uint32(GROUP))["flags"]) == 0


def test_a_seat_without_a_link_is_known_again_and_given_back(made: MakeBox) -> None:
    with made("links") as box, box.path.router.inside():
        pin_path = box.datapath.pin_path
        assert [seat.name for seat in attach.attached(pin_path)] == ["r0", "r1"]
        index = box.path.router.index("r0")
        other = load(box.datapath.maps.fds, Loader.LIBBPF)
        with pytest.raises(DatapathError, match="r0 is held by"):
            attach.attach(other.fd, index, pin_path / "theirs")
        found = attach.attach(other.fd, index, pin_path)
        assert (found.adopted, found.program_id) == (True, other.info.program_id)
        assert attach.detach(index, pin_path)
        assert (holders(index), attach.detach(index, pin_path)) == ((), False)
        other.close()
        seats.remove_seats(pin_path)
        assert holders(box.path.router.index("r1")) == ()


@pytest.mark.parametrize("words", ["devmap-hash", "linux-4.19"])
def test_a_kernel_too_old_to_forward_is_refused_in_words(pin_path: Path, monkeypatch, words: str) -> None:
    monkeypatch.setattr(forbid, "active", forbid.read(words))
    with pytest.raises(DatapathError, match="too old to forward by XDP") as caught:
        Datapath.open(Settings(interfaces=("r0",), pin_path=pin_path), EventLog())
    assert "the kernel forwards alone" in caught.value.mend
    assert "fail" in {finding.level for finding in check_features()}


@pytest.mark.parametrize(("words", "taken"), [("bcc", Loader.LIBBPF), ("libbpf", Loader.BCC)])
def test_one_loader_is_enough(monkeypatch, compiled: Path, words: str, taken: Loader) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    maps = Maps.create(Sizes(10, 10))
    monkeypatch.setattr(forbid, "active", forbid.read(words))
    program = load(maps.fds)
    assert program.loader is taken
    assert ("BGPBRIDGE_FORBID" in program.note) == (words == "bcc")
    program.close()
    maps.close()


def test_neither_loader_is_refused_in_words(monkeypatch, compiled: Path) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    monkeypatch.setattr(forbid, "active", forbid.read("bcc,libbpf"))
    with pytest.raises(DatapathError, match="neither loader works"):
        asyncio.run(asyncio.to_thread(load, {}))


@pytest.mark.parametrize(
    ("words", "worse"),
    [
        ("", set()),
        ("links", {"xdp-links"}),
        ("mmapable", {"mapped-arrays"}),
        ("batch", {"batches"}),
        ("linux-4.19", {"xdp-links", "mapped-arrays", "batches", "devmap-hash"}),
    ],
)
def test_the_doctor_tries_each_feature(monkeypatch, words: str, worse: set[str]) -> None:
    monkeypatch.setattr(forbid, "active", forbid.read(words))
    found = list(check_features())
    assert {finding.check for finding in found if finding.level != "ok"} == worse
    assert all(finding.mend for finding in found if finding.level != "ok")
