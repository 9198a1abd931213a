"""The groups of an earlier run: written down whole, read with mistrust, adopted and given back in order."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
import pytest

from bgpbridge.pipeline.remembered import read_groups, write_groups
from bgpbridge.rib.groups import Group, GroupTable, Member
from bgpbridge.rib.next_hops import NextHopTable
from bgpbridge.types import Family

NET, OTHER, GONE = "203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"
A, B = "10.0.1.2", "10.0.2.2"
NAMES = {1: "a", 2: "b"}


def index(name: str) -> int | None:
    return next((number for number, known in NAMES.items() if known == name), None)


@pytest.fixture
def written(tmp_path):
    hops, groups = NextHopTable(), GroupTable()
    plain, scoped = hops.intern(IPv4Address(A)), hops.intern(IPv6Address("2001:db8::2"), IPv6Address("fe80::2"), 2)
    first = groups.intern(Group((Member(1, plain),), (Member(2, scoped, 1),)))
    second = groups.intern(Group((Member(2, scoped, 3),)))
    path = tmp_path / "groups.json"
    write_groups(path, groups, hops, NAMES.__getitem__)
    return path, {first: groups[first], second: groups[second]}


def test_what_was_written_is_read_with_other_next_hop_ids(written):
    path, before = written
    hops = NextHopTable()
    hops.intern(IPv4Address("192.0.2.200"))
    found = read_groups(path, before, index, hops)
    assert found.keys() == before.keys()
    for number, group in found.items():
        assert [m.peer for m in (*group.active, *group.backup)] == [
            m.peer for m in (*before[number].active, *before[number].backup)
        ]
        assert [m.weight for m in group.active] == [m.weight for m in before[number].active]
    assert {str(hops[m.next_hop].address) for group in found.values() for m in group.active} == {A, "2001:db8::2"}


def test_only_what_stands_in_a_plane_is_read(written):
    path, before = written
    assert read_groups(path, [max(before)], index, NextHopTable()).keys() == {max(before)}
    assert read_groups(path, [999], index, NextHopTable()) == {}


def test_a_group_of_a_peer_that_is_gone_is_passed_over(written):
    path, before = written
    assert read_groups(path, before, lambda name: 1 if name == "a" else None, NextHopTable()) == {}


MEMBER = ["a", A, None, False, 1]
ODD: list[Any] = [
    [],
    [[MEMBER]],
    [[], [MEMBER]],
    [[MEMBER[:4]], []],
    [[["a", "nonsense", None, False, 1]], []],
    [[["a", A, "10.0.0.1", False, 1]], []],
    [[["a", A, None, False, 0]], []],
    [[["a", A, None, False, 1 << 40]], []],
    [[["a", A, None, False, "x"]], []],
    [[MEMBER] * 40, []],
    None,
    7,
]


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_entry_is_passed_over_and_the_others_are_not(tmp_path, odd):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"version": 1, "groups": {"16": odd, "17": [[MEMBER], []]}}))
    assert read_groups(path, [16, 17], index, NextHopTable()).keys() == {17}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"version": 2, "groups": {}}', '{"version": 1, "groups": []}'])
def test_an_odd_file_is_passed_over(tmp_path, text):
    path = tmp_path / "groups.json"
    path.write_text(text)
    assert read_groups(path, [16], index, NextHopTable()) == {}


def test_octets_that_are_no_text_are_passed_over(tmp_path):
    path = tmp_path / "groups.json"
    path.write_bytes(b"\xff\xfe\0")
    assert read_groups(path, [16], index, NextHopTable()) == {}


def test_two_ids_for_one_group_are_one_too_many(tmp_path):
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"version": 1, "groups": {"16": [[MEMBER], []], "17": [[MEMBER], []]}}))
    assert read_groups(path, [16, 17], index, NextHopTable()).keys() == {16}


# -- adoption --------------------------------------------------------------------------------------------------------


class Swept:
    """The leftovers of a plane: which of its prefixes nobody asked for again."""

    def __init__(self, plane: Any) -> None:
        self.plane, self.left, self.seen = plane, dict(plane.routes), set()
        apply = plane.apply

        def follow(changes: Any) -> None:
            self.seen |= {prefix for prefix, _, _ in changes}
            for prefix in self.seen & self.left.keys():
                plane.routes.pop(prefix, None)
                self.left.pop(prefix)
            apply(changes)

        plane.apply = follow

    def sweep(self) -> Any:
        for prefix in self.left:
            del self.plane.routes[prefix]
        yield len(self.left)


def earlier_run(make_world: Any) -> Any:
    world = make_world()
    for name in "ab":
        world.up(name)
    world.says("a", world.route("a", NET), world.route("a", GONE))
    world.says("b", world.route("b", NET, longer=1), world.route("b", OTHER))
    with world.running():
        world.bridge.housekeeping.remember()
    return world


async def restarted(make_world: Any, earlier: Any) -> Any:
    """A new bridge over the planes of an earlier one."""
    world = make_world(loop=asyncio.get_running_loop())
    for plane, before in ((world.xdp, earlier.xdp), (world.kernel, earlier.kernel)):
        plane.routes.update(before.routes)
        plane.groups.update(before.groups)
        plane.left = frozenset(before.routes.values())
        plane.swept = Swept(plane)
    world.xdp.adopt = lambda read=None: type("Adopted", (), {"groups": world.xdp.left})
    world.xdp.sweep = world.xdp.swept.sweep
    world.bridge.watcher.ignore_ports = lambda _: None
    world.bridge._open_kernel()
    await world.bridge.adoption.take_over()
    world.kernel.sweep = lambda: (list(world.kernel.swept.sweep()), done())[1]
    return world


def done() -> Any:
    future: Future[int] = Future()
    future.set_result(0)
    return future


async def until(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


def test_a_restart_moves_nothing_until_every_peer_has_spoken_and_then_only_what_differs(make_world, octets):
    earlier = earlier_run(make_world)

    async def scenario() -> None:
        world = await restarted(make_world, earlier)
        bridge, before = world.bridge, dict(world.xdp.routes)
        adoption = asyncio.create_task(bridge.adoption.finish(lambda: 360))
        work = asyncio.create_task(bridge.work.run())
        world.up("b", resync=True)
        world.says("b", world.route("b", NET, longer=1), world.route("b", OTHER))
        await asyncio.sleep(0)
        assert world.xdp.routes == before, "b answered first: no reason to move a's traffic to it"
        world.up("a", resync=True)
        world.says("a", world.route("a", NET))
        bridge.housekeeping.free_groups()
        assert world.xdp.freed == [], "leftovers may point at any of them"
        for name in "ab":
            world.says(name, *ends(octets))
        await until(lambda: not bridge.adopting)
        assert world.ways() == {NET: {A}, OTHER: {B}}
        assert {str(p): g for p, g in world.xdp.routes.items()} == {
            str(p): g for p, g in before.items() if str(p) != GONE
        }, "ids mean what they meant"
        bridge.housekeeping.look_around()
        assert set(world.xdp.freed) == set(before.values()) - set(world.xdp.routes.values())
        for task in (adoption, work):
            task.cancel()

    asyncio.run(scenario())


def ends(octets: Any) -> list[bytes]:
    return [octets.end_of_rib(family) for family in Family]


def test_groups_whose_meaning_is_lost_are_kept_off_until_no_plane_holds_them(make_world, octets):
    earlier = earlier_run(make_world)
    earlier.bridge.files.groups.unlink()

    async def scenario() -> None:
        world = await restarted(make_world, earlier)
        bridge, strangers = world.bridge, set(earlier.xdp.routes.values())
        world.kernel.stuck = {min(strangers)}
        adoption = asyncio.create_task(bridge.adoption.finish(lambda: 360))
        work = asyncio.create_task(bridge.work.run())
        for name in "ab":
            world.up(name, resync=True)
        world.up("c")
        world.says("a", world.route("a", NET))
        for name in "abc":
            world.says(name, *ends(octets))
        await until(lambda: not bridge.adopting)
        assert world.ways() == {NET: {A}}
        assert not strangers & set(world.xdp.routes.values()), "fresh ids: nobody knows what the old ones meant"
        assert set(world.xdp.freed) == strangers - {min(strangers)}
        world.kernel.stuck = set()
        bridge.housekeeping.look_around()
        assert set(world.xdp.freed) == strangers
        assert not bridge.adoption.left
        for task in (adoption, work):
            task.cancel()

    asyncio.run(scenario())


def test_a_bridge_that_finds_nothing_has_nothing_to_wait_for(make_world):
    async def scenario() -> None:
        world = make_world(loop=asyncio.get_running_loop())
        world.bridge.watcher.ignore_ports = lambda _: None
        world.xdp.adopt = lambda read=None: type("Adopted", (), {"groups": frozenset()})
        world.bridge._open_kernel()
        await world.bridge.adoption.take_over()
        assert not world.bridge.adopting
        world.up("a")
        world.says("a", world.route("a", NET))
        assert world.ways() == {NET: {A}}
        await world.bridge.adoption.finish(lambda: 360)
        assert np.count_nonzero(world.bridge.paths.written) == 1

    asyncio.run(scenario())
