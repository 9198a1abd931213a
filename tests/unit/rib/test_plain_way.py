"""The short way of a single UPDATE: what it takes, what it leaves to others, and rehearsals, which do nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from bgpbridge.rib.changes import Changes
from bgpbridge.wire.message import build_update
from tests.unit.rib.test_loc_rib import NET, V4, World, announce, attributes, nlri, withdraw

OTHER = "203.0.113.0/24"


@pytest.fixture
def world() -> World:
    """A route of each peer, and a second path that peer 0 has used before."""
    made = World()
    made.one(announce(str(NET), hop="192.0.2.2", path=(65001, 2)), peer=1)
    made.one(announce(str(NET), path=(65001, 2, 3)))
    made.one(announce(str(NET)))
    return made


def drive(work: Iterable[Changes]) -> int:
    return sum(len(changes) for changes in work)


def plain(world: World, message: bytes, peer: int = 0) -> list[tuple[int, int]] | None:
    few = world.rib.apply_plain(peer, message)
    return None if few is None else [(old, new) for _, old, new in few]


def test_a_known_prefix_with_known_attributes_takes_it(world: World) -> None:
    before, near = world.group(), announce(str(NET))
    [(near_group, far_group)] = plain(world, announce(str(NET), path=(65001, 2, 3))) or []
    assert world.group() != before
    assert plain(world, near) == [(far_group, near_group)]
    assert plain(world, near) == []
    assert plain(world, withdraw(str(NET))) is not None
    assert world.group() is not None
    assert world.group() != before
    assert plain(world, withdraw(str(NET))) == []
    assert plain(world, withdraw(str(NET)), peer=1) is not None
    assert world.group() is None
    assert world.rib.families[V4].routes == 0


@pytest.mark.parametrize(
    "message",
    [
        announce(OTHER),
        withdraw(OTHER),
        announce(str(NET), path=(65001, 9)),
        announce(str(NET), "198.51.100.0/25"),
        withdraw(str(NET), "198.51.100.0/25"),
        build_update(attributes(65001), nlri(str(NET)), nlri(str(NET))),
        build_update(b"", nlri(str(NET))),
        build_update(b"", b"\x21\xc6\x33\x64\x00\x00"),
        build_update(),
        announce(str(NET))[:-1],
        b"\x00" + announce(str(NET))[1:],
    ],
)
def test_all_else_is_left_alone(world: World, message: bytes) -> None:
    before = world.group(), world.counts()
    assert plain(world, message) is None
    assert (world.group(), world.counts()) == before


def test_nobody_takes_it_with_path_ids_stale_routes_near_the_limit_or_while_ids_are_collected(world: World) -> None:
    near = announce(str(NET))
    assert plain(world, near) == []
    collection = world.rib.collect()
    next(collection)
    assert plain(world, near) is None
    for _ in collection:
        pass
    world.one(near)
    world.rib.mark_stale(0, V4)
    assert plain(world, near) is None
    world.one(near)
    assert not drive(world.rib.sweep_stale(0, V4))
    assert plain(world, near) == []
    assert World(add_path=True).rib.apply_plain(0, announce(str(NET), path_id=1)) is None
    assert plain(world, near, peer=7) is None


def test_attributes_whose_ids_are_released_are_not_known_any_more(world: World) -> None:
    far = announce(str(NET), path=(65001, 2, 3))
    for _ in world.rib.collect():
        pass
    assert plain(world, far) is None
    world.one(far)
    assert plain(world, far) == []


def test_a_new_session_knows_nothing(world: World) -> None:
    world.rib.session_up(world.sessions[0])
    assert plain(world, announce(str(NET))) is None


def test_a_rehearsal_changes_nothing(world: World) -> None:
    families = world.rib.families
    for message in (announce(str(NET)), announce(str(NET), path=(65001, 2, 3)), withdraw(str(NET))):
        before = [np.copy(families[V4].group), np.copy(families[V4].best), world.counts(), world.group()]
        refs = np.copy(world.rib.groups.refs)
        move = world.rib.rehearse(0, message)
        assert move is not None
        assert move[4] == move[5] == families[V4].group[move[0]]
        assert (families[V4].group == before[0]).all()
        assert (families[V4].best == before[1]).all()
        assert [world.counts(), world.group()] == before[2:]
        assert (world.rib.groups.refs == refs).all()
    assert world.rib.rehearse(0, announce(OTHER)) is None
    assert world.rib.rehearse(9, announce(str(NET))) is None


def test_a_rehearsal_leaves_stale_what_is_stale(world: World) -> None:
    """Else a route that its peer does not send again would stay for ever."""
    near = announce(str(NET))
    world.one(near)
    world.rib.mark_stale(0, V4)
    world.rib.rehearse(0, near)
    assert world.rib.counts(0)[V4].stale == 1
    assert drive(world.rib.sweep_stale(0, V4))
    assert world.rib.counts(0)[V4].received == 0
    world.one(near)
    going = world.rib.session_down(0)
    world.rib.rehearse(0, near)
    assert drive(going)
    assert world.rib.counts(0)[V4].received == 0
