"""Another program, and other maps, under traffic at full rate: nothing is lost, and what fails changes nothing."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bgpbridge.config.model import Datapath as Settings
from bgpbridge.config.model import Engine, ReversePath
from bgpbridge.datapath import attach, carry, pins
from bgpbridge.datapath.abi import ControlFlag, Place, Reason, TagFlag
from bgpbridge.datapath.counters import read_reasons
from bgpbridge.datapath.links import holders
from bgpbridge.datapath.loader import Loader, load
from bgpbridge.datapath.sources import Sources
from bgpbridge.datapath.trace import TraceFilter
from bgpbridge.datapath.twin import Twin
from bgpbridge.errors import DatapathError, VerifierError
from bgpbridge.events import EventLog
from bgpbridge.fib.observed import Link
from bgpbridge.fib.xdp import XdpFib
from bgpbridge.pipeline.datapath import Datapath
from bgpbridge.pipeline.tracing import Tracing
from bgpbridge.pipeline.upgrade import Upgrade
from bgpbridge.types import Family, Prefix
from tests.bpf.live_box import GROUP, ROUTES, Box, box_of, routes, settings_of
from tests.bpf.live_frames import R0, R1, path_of

pytestmark = pytest.mark.root


@pytest.fixture
def box(namespaces: Callable[[str], object], pin_path: Path, compiled: Path, monkeypatch) -> Iterator[Box]:
    monkeypatch.setenv("CACHE_DIRECTORY", str(compiled))
    monkeypatch.setattr("bgpbridge.pipeline.upgrade.BEFORE_S", 0.3)
    with path_of(namespaces) as path, box_of(path, settings_of(pin_path, Engine.LPM)) as made:
        yield made


def copy_with(tmp_path: Path, file: str, old: str, new: str) -> Sources:
    """The sources with one edit."""
    folder = tmp_path / "bpf"
    subprocess.run(["cp", "-r", str(Sources.ours().folder), str(folder)], check=True)
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    return Sources(folder)


@pytest.fixture
def edited(tmp_path: Path, monkeypatch) -> Callable[[str, str, str], None]:
    """Let the next upgrade compile sources with one edit."""

    def edit(file: str, old: str, new: str) -> None:
        sources = copy_with(tmp_path, file, old, new)
        monkeypatch.setattr("bgpbridge.pipeline.upgrade.Sources.ours", lambda: sources)

    return edit


def test_a_program_and_then_maps_are_changed_at_full_rate_with_no_packet_lost(box: Box) -> None:
    first, tracing = box.in_force(), Tracing(box.datapath.maps)
    box.upgrade.movers += (tracing.move,)
    with tracing.one(TraceFilter(Prefix.parse("203.0.8.0/24")), "a test") as tracer:
        with box.path.traffic():
            one = box.run()
            same_maps = box.datapath.maps
            two = box.run(engine=Engine.INDEX, max_ipv4=20_000, group_slots=256)
        came, lost = box.path.lost()
        traced = tracer.take()
    assert (lost, box.share_forwarded()) == (0, 1.0)
    assert sum(batch.packets for batch in traced) == came, "the trace has gone on over both"
    assert {noted.reason for batch in traced for noted in batch.noted} == {Reason.FORWARDED}
    assert not int(box.datapath.maps.control["flags"][0]) & ControlFlag.TRACE
    assert came > 50_000
    assert (one.stayed, one.maps_replaced, two.stayed, two.maps_replaced) == (True, False, True, True)
    assert box.in_force() == {two.program} != first
    assert box.datapath.maps is not same_maps
    assert box.moved == [box.datapath.maps]
    assert (box.xdp.engine_of(Family.IPV4).value, box.xdp.status().capacity[Family.IPV4]) == ("index", 20_000)
    keys, groups = box.xdp.table(Family.IPV4)
    assert (len(keys), set(groups.tolist())) == (ROUTES, {GROUP})
    # a bridge that starts now finds the new maps behind the pins
    again = Datapath.open(
        box.datapath.settings.model_copy(update={"max_ipv4": 20_000, "engine": Engine.INDEX, "group_slots": 256}),
        EventLog(),
    )
    assert (again.adopted, again.maps.lpm4.max_entries) == (True, 20_000)
    again.maps.close()


def test_changes_while_new_maps_are_filled_are_in_them(box: Box, monkeypatch) -> None:
    filled: list[int] = []
    fill = Upgrade._fill

    async def fill_and_change(self: Upgrade, mirrors) -> None:
        await fill(self, mirrors)
        box.xdp.apply(routes(10, 0))  # withdrawn
        box.xdp.apply(routes(5, GROUP, first=ROUTES + 1))  # new ones
        filled.append(1)

    monkeypatch.setattr(Upgrade, "_fill", fill_and_change)
    monkeypatch.setattr("bgpbridge.pipeline.upgrade.BEFORE_S", 0)
    assert box.run(max_ipv6=6000).maps_replaced
    keys, _ = box.xdp.table(Family.IPV4)
    assert (filled, len(keys), box.xdp.status().entries[Family.IPV4]) == ([1], ROUTES - 5, ROUTES - 5)


def test_options_and_what_a_strict_check_knows_go_along(box: Box, monkeypatch) -> None:
    monkeypatch.setattr("bgpbridge.pipeline.upgrade.BEFORE_S", 0)
    old, egress, gone = box.datapath.maps, Place(box.path.router.index("r1")), Place(1, TagFlag.PRESENT | 5)
    options = Settings(reverse_path=ReversePath.STRICT, flow_label=True, punt_rate=1000, max_ipv4=2000)
    with box.path.router.inside():
        old.accept_interface(1, R0, gone)
        numbers = [old.ingress.number_of(place.word) for place in (egress, gone)]
        old.forget_interface(1, gone)
        box.datapath.take_options(options)
    assert box.run(watch_s=0, max_ipv4=6000).maps_replaced
    new = box.datapath.maps
    assert (new is old, new.strict, int(new.group_sources[GROUP])) == (False, True, 1 << numbers[0])
    assert [new.ingress.number_of(place.word) for place in (egress, gone)] == numbers
    wanted = ControlFlag.STRICT | ControlFlag.FLOW_LABEL
    assert int(new.control["flags"][0]) & (wanted | ControlFlag.LOOSE) == wanted
    assert (int(new.control["punt_cost_ns"][0]), int(new.control["punt_burst_ns"][0])) == (1_000_000, 100_000_000)


def test_who_asks_for_the_second_instance_meanwhile_gets_one_over_the_new_maps(box: Box, monkeypatch) -> None:
    real, before = Twin.load, []

    def load_slowly(live, program, fds):
        if not before:
            before.append(live)
            assert box.run(watch_s=0, max_ipv4=6000).maps_replaced
        return real(live, program, fds)

    monkeypatch.setattr(Twin, "load", load_slowly)
    twin = asyncio.run(box.datapath.twin())
    assert before[0] is not box.datapath.maps
    assert twin.live is box.datapath.maps
    with box.path.router.inside():
        assert twin.run(box.path.frame, box.path.router.index("r0")).noted.group == GROUP


def test_a_program_that_does_badly_with_real_packets_goes_by_itself(box: Box, edited) -> None:
    before, maps = box.in_force(), box.datapath.maps
    # fine in the self-test, which comes in by interface 1
    shunned = "if (frame->ctx->ingress_ifindex != 1)\n\t\treturn PASS_NO_ROUTE;\n\ttype = parse_ethernet"
    edited("bgpbridge.c", "type = parse_ethernet", shunned)
    with box.path.traffic():
        report = box.run(watch_s=5, max_ipv4=6000)
    assert not report.stayed
    assert "nothing is forwarded any more" in report.text
    assert (box.in_force(), box.datapath.maps, box.moved[-1]) == (before, maps, maps)
    assert [event.kind for event in box.upgrade.events.tail()][-1] == "datapath-went-back"
    with box.path.traffic():
        box.run()  # and it still can be upgraded


@pytest.mark.parametrize(
    ("file", "old", "new", "kind", "said"),
    [
        ("edit.h", "ip->ttl--;", "", DatapathError, "fails"),
        ("lookup6.h", "- 0x200000;", "- 0x200001;", DatapathError, "by the index: IPv6 UDP"),
        ("parse.h", "if ((void *)(eth + 1) > cursor->end)", "if (0)", VerifierError, "invalid access to packet"),
        ("abi.h", "#define LAYOUT 3", "#define LAYOUT 4", DatapathError, "restart bgpbridge"),
    ],
    ids=["wrong", "index", "refused", "another-version"],
)
def test_a_program_that_is_no_good_changes_nothing(box: Box, edited, monkeypatch, file, old, new, kind, said) -> None:
    before, maps, tables = box.in_force(), box.datapath.maps, box.xdp.tries[Family.IPV4].table
    edited(file, old, new)
    monkeypatch.setattr("bgpbridge.pipeline.upgrade.BEFORE_S", 0)
    with pytest.raises(kind) as caught:
        box.run(max_ipv4=6000, engine=Engine.INDEX)
    assert said in str(caught.value) + getattr(caught.value, "log", "")
    if isinstance(caught.value, VerifierError):
        assert Path(caught.value.file).read_text() == caught.value.log
    assert (box.in_force(), box.datapath.maps, box.xdp.tries[Family.IPV4].table) == (before, maps, tables)
    assert box.upgrade.events.tail()[-1].kind == "datapath-upgrade-refused"


def test_an_interface_that_will_not_have_it_leaves_all_as_they_were(box: Box) -> None:
    before, taken = box.in_force(), box.path.router.index("r1")
    with box.path.router.inside():
        attach.detach(taken, box.datapath.pin_path)
        other = load(box.datapath.maps.fds, Loader.LIBBPF)
        attach.attach(other.fd, taken, box.datapath.pin_path / "theirs")
        with pytest.raises(DatapathError, match="r1 does not take the new program: r1 is held by"):
            box.run(max_ipv4=6000)
        assert {holder.program_id for holder in holders(box.path.router.index("r0"))} == before
        assert box.xdp.maps is box.datapath.maps
        attach.detach_all(box.datapath.pin_path / "theirs")
    other.close()


def test_a_restart_with_other_sizes_or_another_layout_takes_the_routes_along(box: Box, monkeypatch) -> None:
    pin_path = box.datapath.pin_path
    events = EventLog()
    wider = Datapath.open(box.datapath.settings.model_copy(update={"max_ipv4": 9000}), events)
    assert (wider.adopted, [event.kind for event in events.tail()]) == (True, ["maps-remade"])
    assert len(XdpFib(wider.maps).table(Family.IPV4)[0]) == ROUTES
    assert np.array_equal(wider.maps.groups, box.datapath.maps.groups)
    assert np.array_equal(wider.maps.slots, box.datapath.maps.slots)
    wider.maps.close()
    pins.layout_folder(pin_path).rename(pin_path / "v2")
    monkeypatch.setattr(carry, "ALIKE", {2})
    events = EventLog()
    later = Datapath.open(box.datapath.settings, events)
    assert (later.adopted, len(XdpFib(later.maps).table(Family.IPV4)[0])) == (True, ROUTES)
    assert "carried over" in events.tail()[-1].text
    later.maps.close()


def test_maps_of_another_version_are_not_believed_and_no_packet_goes_astray(box: Box) -> None:
    pin_path, events = box.datapath.pin_path, EventLog()
    pins.layout_folder(pin_path).rename(pin_path / "v2")
    with box.path.traffic():
        later = started_after(box, events)
    assert (later.adopted, later.begins, later.maps.enabled) == (False, True, False)
    assert "packets go by the kernel until the peers" in events.tail()[0].text
    assert "unpinned" in events.tail()[-1].text
    assert pins.other_layouts(pin_path) == []
    came, lost = box.path.lost()
    passed = read_reasons(later.maps)
    assert (passed[Reason.PASS_DISABLED].packets, passed[Reason.FORWARDED].packets) == (lost, 0)
    assert 0 < lost < came, "the program of before forwards until ours is there"
    again = Datapath.open(box.datapath.settings, EventLog())
    assert (again.adopted, again.begins) == (True, True), "one that was killed before it began"
    again.begin()
    again.maps.enable(False)
    pins.layout_folder(pin_path).rename(pin_path / "v2")
    last = Datapath.open(box.datapath.settings, events)
    assert "forwarding is switched off" in events.tail()[-1].text
    last.begin()
    assert not last.maps.enabled
    for datapath in (later, again, last):
        datapath.close()


def started_after(box: Box, events: EventLog, memory: Path | None = None) -> Datapath:
    """A bridge that starts on what is pinned, to the point where its program is on the interfaces."""
    with box.path.router.inside():
        later = Datapath.open(box.datapath.settings, events, memory)
        asyncio.run(later.load())
        for name, mac in (("r0", R0), ("r1", R1)):
            later.follow_link(Link(box.path.router.index(name), name, mac, 1500, True), True)
        later.leave_earlier()
    return later


def test_no_packet_meets_maps_made_anew_without_the_options(box: Box, monkeypatch) -> None:
    wanted = {"max_ipv4": 9000, "reverse_path": ReversePath.STRICT, "flow_label": True, "punt_rate": 1000}
    later = Datapath.open(box.datapath.settings.model_copy(update=wanted), EventLog())
    known: list[tuple[int, int, int]] = []

    def look_and_attach(*arguments: object) -> attach.Attached:
        control = later.maps.control
        flags, cost = int(control["flags"][0]), int(control["punt_cost_ns"][0])
        known.append(
            (flags & (ControlFlag.STRICT | ControlFlag.FLOW_LABEL), cost, int(later.maps.group_sources[GROUP]))
        )
        return attach.attach(*arguments)

    monkeypatch.setattr("bgpbridge.pipeline.datapath.attach", look_and_attach)
    with box.path.router.inside():
        asyncio.run(later.load())
        for name, mac in (("r0", R0), ("r1", R1)):
            later.follow_link(Link(box.path.router.index(name), name, mac, 1500, True), True)
    behind = 1 << later.maps.ingress.number_of(Place(box.path.router.index("r1")).word)
    assert known == [(ControlFlag.STRICT | ControlFlag.FLOW_LABEL, 1_000_000, behind)] * 2
    later.close()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("edit.h", "ip->ttl--;", ""), ("parse.h", "if ((void *)(eth + 1) > cursor->end)", "if (0)")],
    ids=["wrong", "refused"],
)
def test_a_start_with_a_program_that_is_no_good_goes_on_with_the_earlier_one(
    box: Box, tmp_path: Path, monkeypatch, file, old, new
) -> None:
    with box.path.router.inside():
        box.datapath.leave_earlier()
    sources, events = copy_with(tmp_path, file, old, new), EventLog()
    monkeypatch.setattr("bgpbridge.datapath.loader.Sources.ours", lambda: sources)
    later = started_after(box, events)
    assert {later.program.info.program_id} == box.in_force()
    assert events.tail()[0].kind == "program-kept"
    later.close()


def loaded(events: EventLog) -> str:
    """What was said of the program that was loaded last."""
    return [event.text for event in events.tail() if event.kind == "datapath-loaded"][-1]


def test_a_start_with_the_same_sources_goes_on_with_the_program_that_is_there(
    box: Box, tmp_path: Path, monkeypatch
) -> None:
    with box.path.router.inside():
        box.datapath.leave_earlier()
    memory, events = tmp_path / "program.json", EventLog()
    first = started_after(box, events, memory)
    known, forwards = memory.read_text(), box.in_force()
    with box.path.traffic():
        second = started_after(box, events, memory)
    assert loaded(events) == "by libbpf for an earlier bridge, from the sources that are here"
    assert (box.in_force(), {second.program.info.program_id}, memory.read_text()) == (forwards, forwards, known)
    assert box.path.lost()[1] == 0
    memory.write_text(known.replace('"version": 1', '"version": 2'))
    third = started_after(box, events, memory)
    assert (box.in_force(), memory.read_text()) != (forwards, known)
    sources = copy_with(tmp_path, "edit.h", "ip->ttl--;", "ip->ttl--; /* other octets */")
    monkeypatch.setattr("bgpbridge.pipeline.datapath.Sources.ours", lambda: sources)
    fourth = started_after(box, events, memory)
    assert {fourth.program.info.program_id} == box.in_force() != {third.program.info.program_id}
    assert loaded(events).startswith("by libbpf in ")
    for datapath in (first, second, third, fourth):
        datapath.close()
