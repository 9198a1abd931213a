"""Overrides at a bridge that is real but for its planes: what they do to traffic, when they end, what refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bgpbridge.commits import Cause, CauseKind
from bgpbridge.errors import BridgeError, DocumentError, UsageError
from bgpbridge.pipeline.override_state import State, reach
from bgpbridge.pipeline.overrides import CLOCK_SETTLES_S, Overrides
from bgpbridge.policy.override_schema import OverrideText
from bgpbridge.rib import loc_rib
from bgpbridge.rib.groups import BLACKHOLE
from bgpbridge.rib.lookups import group_of
from bgpbridge.types import Prefix
from bgpbridge.view.overrides import override_of
from tests.unit.pipeline.conftest import ETH1, ETH2, HOPS, World, withdraw

NET, INNER, OTHER = "198.51.100.0/24", "198.51.100.128/25", "203.0.113.0/24"
A, B, C = (HOPS[name][0] for name in "abc")
STRANGER = "10.0.2.77"  # on eth2, of no peer
NOW = 1_800_000_000.0
POLICY = """\
sets:
  next_hop_groups: {both: [a, b], far: [10.0.2.77, a]}
overrides:
"""
GIVEN = {"owner": "alice", "reason": "ticket 7"}


class Clocks:
    def __init__(self) -> None:
        self.wall, self.steady = NOW, 100.0

    def go(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def world(make_world, clocks: Clocks) -> World:
    made: World = make_world()
    (made.folder / "over.yaml").write_text(POLICY + "  []\n")
    reload(made)
    made.xdp.groups[BLACKHOLE], made.kernel.groups[BLACKHOLE] = [], []
    overrides = made.bridge.overrides
    overrides.clock, overrides.monotonic = (lambda: clocks.wall), (lambda: clocks.steady)
    for address, ifindex in ((STRANGER, ETH2), (A, ETH1), (B, ETH2)):
        made.neighbour(address, ifindex)
    for name, longer in (("a", 0), ("b", 1)):
        made.up(name)
        made.says(name, made.route(name, NET, INNER, OTHER, longer=longer))
    assert made.ways() == {NET: {A}, INNER: {A}, OTHER: {A}}
    return made


def reload(world: World, *lines: str) -> None:
    text = POLICY + ("".join(f"  - {line}\n" for line in lines) or "  []\n")
    (world.folder / "over.yaml").write_text(text)
    world.reload(dict.fromkeys("abc", ""), policies="[over.yaml]")
    world.finish()


def add(world: World, prefix: str, **intent) -> str:
    one = world.bridge.overrides.add(OverrideText.model_validate({"prefix": prefix, **GIVEN, **intent}), "http")
    world.finish()
    return one.name


def look(world: World) -> None:
    for _ in world.bridge.overrides.look():
        pass


def states(world: World) -> dict[str, State]:
    return {one.scope_text: world.bridge.overrides.state(one).state for one in world.bridge.overrides.all()}


def test_a_pin_moves_one_prefix_or_all_under_it_and_back(world: World) -> None:
    name = add(world, NET, pin={"peer": "b"})
    assert world.ways() == {NET: {B}, INNER: {A}, OTHER: {A}}
    longer = add(world, f"{NET} or-longer", pin={"peer": "b"})
    assert world.ways() == {NET: {B}, INNER: {B}, OTHER: {A}}
    world.bridge.overrides.remove(name)
    world.bridge.overrides.remove(longer)
    world.finish()
    assert world.ways() == {NET: {A}, INNER: {A}, OTHER: {A}}
    assert len(world.events("override-added")) == len(world.events("override-removed")) == 2


def test_a_lost_target_falls_back_at_once_and_says_so(world: World) -> None:
    add(world, NET, pin={"peer": "b"})
    look(world)
    group = group_of(world.bridge.rib, Prefix.parse(NET))
    before = dict(world.xdp.routes)
    world.bridge.committer.groups(world.bridge.paths.peer_lost(world.peer("b").index), Cause(CauseKind.HEALTH))
    assert world.ways()[NET] == {A}
    assert world.xdp.routes == before, "no prefix is touched"
    assert not world.bridge.paths.usable(group).pinned
    look(world)
    assert states(world) == {NET: State.FALLEN_BACK}
    assert world.events("override-target-gone") == ["pin to peer b: the session with b is lost; BGP decides (o1)"]
    world.bridge.committer.groups(world.bridge.paths.peer_back(world.peer("b").index), Cause(CauseKind.HEALTH))
    look(world)
    assert world.ways()[NET] == {B}
    assert len(world.events("override-target-back")) == 1


def test_an_unhealthy_target_falls_back(world: World) -> None:
    add(world, f"{NET} or-longer", pin={"peer": "b"})
    look(world)
    world.bridge.committer.groups(world.bridge.paths.hold_down([world.peer("b").index], []), Cause(CauseKind.HEALTH))
    assert world.ways()[NET] == world.ways()[INNER] == {A}
    look(world)
    assert states(world) == {f"{NET} or-longer": State.FALLEN_BACK}
    seen = override_of(world.bridge, Prefix.parse(INNER))
    assert (seen.state, seen.why) == ("fallen back", "b is unhealthy")


def test_an_unhealthy_target_of_one_prefix_falls_back_says_so_and_returns(world: World) -> None:
    add(world, NET, pin={"peer": "b"})
    look(world)
    before, paths, committer = dict(world.xdp.routes), world.bridge.paths, world.bridge.committer
    committer.groups(paths.hold_down([world.peer("b").index], []), Cause(CauseKind.HEALTH))
    assert world.ways()[NET] == {A}
    look(world)
    look(world)
    assert states(world) == {NET: State.FALLEN_BACK}
    assert world.events("override-target-gone") == ["pin to peer b: b is unhealthy; BGP decides (o1)"]
    committer.groups(paths.hold_down([], []), Cause(CauseKind.HEALTH))
    look(world)
    assert states(world) == {NET: State.IN_FORCE}
    assert world.ways()[NET] == {B}
    assert world.events("override-target-back") == ["pin to peer b is in force again (o1)"]
    assert world.xdp.routes == before, "no prefix is touched"


def test_an_unhealthy_next_hop_of_a_pin_falls_back_and_returns(world: World) -> None:
    add(world, f"{NET} or-longer", pin={"next_hop": B})
    look(world)
    assert world.ways() == {NET: {B}, INNER: {B}, OTHER: {A}}
    paths, committer, hops = world.bridge.paths, world.bridge.committer, world.bridge.rib.next_hops
    held = [number for number in hops.ids() if str(hops[number].address) == B]
    committer.groups(paths.hold_down([], held), Cause(CauseKind.HEALTH))
    assert world.ways() == {NET: {A}, INNER: {A}, OTHER: {A}}
    look(world)
    assert len(world.events("override-target-gone")) == 1
    assert f"next hop {B} is unhealthy" in world.events("override-target-gone")[0]
    committer.groups(paths.hold_down([], []), Cause(CauseKind.HEALTH))
    look(world)
    assert world.ways() == {NET: {B}, INNER: {B}, OTHER: {A}}
    assert len(world.events("override-target-back")) == 1


def test_a_pin_to_a_next_hop_of_no_path_acts_only_where_bgp_has_a_route(world: World) -> None:
    add(world, "198.51.0.0/16 or-longer", pin={"next_hop": STRANGER})
    assert world.ways() == {NET: {STRANGER}, INNER: {STRANGER}, OTHER: {A}}
    world.link(ETH2, up=False)
    world.finish()
    assert world.ways()[NET] == {A}
    world.link(ETH2, up=True)
    world.neighbour(STRANGER, ETH2)
    world.finish()
    assert world.ways()[NET] == {STRANGER}
    world.says("a", withdraw(NET))
    world.says("b", withdraw(NET))
    assert NET not in world.ways()
    world.assert_in_step()


def test_a_group_shares_the_traffic(world: World) -> None:
    add(world, NET, pin={"group": "both"})
    add(world, OTHER, pin={"group": "far"})
    assert world.ways() == {NET: {A, B}, INNER: {A}, OTHER: {A, STRANGER}}


def test_latency_moves_nothing_that_is_pinned(world: World) -> None:
    add(world, NET, pin={"peer": "b"})
    world.bridge.paths.arrange = lambda number, group: (*group.backup, *group.active)[:1]
    world.bridge.committer.groups(set(world.bridge.rib.groups.ids()), Cause(CauseKind.HEALTH))
    assert world.ways() == {NET: {B}, INNER: {B}, OTHER: {B}}


@pytest.mark.parametrize(
    "intent", [{"prefer": {"peer": "b", "local_pref": 300}}, {"weight": {"peer": "b", "weight": 5}}]
)
def test_prefer_and_weight_change_what_is_compared(world: World, intent) -> None:
    add(world, NET, **intent)
    assert world.ways()[NET] == {B}


def test_reject_leaves_paths_out(world: World) -> None:
    add(world, NET, reject={"peer": "a"})
    add(world, OTHER, reject=True)
    assert world.ways() == {NET: {B}, INNER: {A}}


def test_a_blackhole_drops_while_bgp_has_the_prefix(world: World) -> None:
    add(world, NET, blackhole=True)
    assert world.xdp.routes[Prefix.parse(NET)] == world.kernel.routes[Prefix.parse(NET)] == BLACKHOLE
    seen = override_of(world.bridge, Prefix.parse(NET))
    assert (seen.what, seen.state) == ("blackhole", "in force")
    world.assert_in_step()
    world.bridge.overrides.remove(NET)
    world.finish()
    assert world.ways()[NET] == {A}


def test_bulk_and_single_updates_obey_alike(world: World) -> None:
    add(world, "198.51.0.0/16 or-longer", pin={"peer": "b"})
    more = [f"198.51.{n}.0/24" for n in range(60)]
    world.says("a", world.route("a", *more), bulk=True)
    world.says("b", world.route("b", *more, longer=3), bulk=True)
    world.says("a", world.route("a", more[7], longer=1))
    assert {ways.pop() for prefix, ways in world.ways().items() if prefix in more} == {B}
    counted = next(part for part in reach(world.bridge.rib, world.bridge.paths) if part)
    assert counted[Prefix.parse("198.51.0.0/16"), True].prefixes == 62
    assert counted[Prefix.parse("198.51.0.0/16"), True].pinned == 62


def test_the_same_scope_twice_is_refused_with_both_named(world: World) -> None:
    add(world, NET, pin={"peer": "b"})
    with pytest.raises(UsageError, match=r"blackhole\) has an override already: o1, http: pin to peer b, by alice"):
        add(world, NET, blackhole=True)
    with pytest.raises(DocumentError, match=r"over.yaml:4:.*o1, http"):
        reload(world, f"{{prefix: {NET}, blackhole: true, owner: x, reason: y}}")
    assert world.ways()[NET] == {B}
    reload(world, f"{{prefix: {OTHER}, pin: {{peer: b}}, owner: x, reason: y}}")
    with pytest.raises(UsageError, match=r"in .*over.yaml:4: pin to peer b"):
        add(world, OTHER, blackhole=True)
    with pytest.raises(UsageError, match="stands in"):
        world.bridge.overrides.remove(OTHER)


def test_names_that_are_not_there_are_refused(world: World) -> None:
    for target in ({"peer": "x"}, {"group": "x"}):
        with pytest.raises(UsageError, match="there is no"):
            add(world, NET, pin=target)
    with pytest.raises(UsageError, match="no override x"):
        world.bridge.overrides.remove("x")
    assert world.bridge.overrides.all() == []


def test_files_come_and_go_by_reload(world: World) -> None:
    mine = f"{{prefix: {NET}, pin: {{peer: b}}, owner: x, reason: y}}"
    reload(world, mine)
    assert world.ways()[NET] == {B}
    said = len(world.events("override-*"))
    reload(world, "{prefix: 10.9.0.0/16, reject: true, owner: x, reason: y}", mine)
    assert len(world.events("override-*")) == said + 1, "a line that moved is no change"
    reload(world)
    assert world.ways()[NET] == {A}


def test_an_override_ends_at_its_time(world: World, clocks: Clocks) -> None:
    add(world, NET, pin={"peer": "b"}, expires="2027-01-15T08:10:00Z")  # in 600 s
    overrides = world.bridge.overrides
    overrides.expire()
    clocks.go(599)
    overrides.expire()
    assert world.ways()[NET] == {B}
    clocks.go(1)
    overrides.expire()
    world.finish()
    assert world.ways()[NET] == {A}
    assert overrides.all() == []
    assert len(world.events("override-expired")) == 1


def test_a_clock_that_jumps_ends_nothing_for_a_while(world: World, clocks: Clocks) -> None:
    add(world, NET, pin={"peer": "b"}, expires="2027-01-15T08:10:00Z")
    overrides = world.bridge.overrides
    overrides.expire()
    clocks.wall += 1e6
    overrides.expire()
    assert overrides.all()
    clocks.wall -= 1e6
    clocks.go(1)
    overrides.expire()
    clocks.go(CLOCK_SETTLES_S)
    overrides.expire()
    assert overrides.all()
    assert len(world.events("clock-jumped")) == 2


def test_what_was_given_is_kept_over_a_restart(world: World) -> None:
    add(world, NET, pin={"peer": "b"}, expires="2027-01-15T08:10:00Z")
    add(world, f"{OTHER} or-longer", pin={"next_hop": STRANGER})
    before, bridge = world.bridge.overrides, world.bridge
    again = Overrides(bridge.rib, bridge.peers, bridge.paths, bridge.work, bridge.events, before.store, before.clock)
    again.start(bridge.config.policy_set)
    assert again.all() == before.all()
    assert again.active == before.active
    world.bridge.overrides = again
    assert add(world, INNER, blackhole=True) == "o3"


def test_a_file_that_has_one_as_well_holds_at_a_start(world: World) -> None:
    reload(world, f"{{prefix: {NET}, pin: {{peer: b}}, owner: x, reason: y}}")
    bridge = world.bridge
    kept = {
        "version": 1,
        "next": 5,
        "overrides": [
            {
                "name": "o4",
                "prefix": NET,
                "or_longer": False,
                "kind": "blackhole",
                "target": None,
                "value": None,
                "owner": "x",
                "reason": "y",
                "expires": None,
                "source": "http",
            },
            {"name": "odd", "prefix": "x"},
        ],
    }
    bridge.overrides.store.write_text(json.dumps(kept))
    bridge.overrides.start(bridge.config.policy_set)
    assert states(world) == {NET: State.SUSPENDED}
    assert next(bridge.overrides.state(one).state for one in bridge.overrides.all()) is not State.SUSPENDED
    assert len(world.events("override-suspended")) == len(world.events("override-refused")) == 1


def test_a_store_that_makes_no_sense_is_set_aside(world: World) -> None:
    overrides = world.bridge.overrides
    overrides.store.write_text("{")
    overrides.start(world.bridge.config.policy_set)
    assert overrides.all() == []
    assert overrides.store.with_suffix(".unreadable").read_text() == "{"
    assert len(world.events("state-unreadable")) == 1


def test_one_that_cannot_be_kept_is_not_in_force(world: World) -> None:
    world.bridge.overrides.store = Path("/proc/no/such/place.json")
    with pytest.raises(BridgeError, match="cannot be kept"):
        add(world, NET, blackhole=True)
    assert world.ways()[NET] == {A}


def test_next_hops_of_overrides_are_not_collected(world: World) -> None:
    add(world, "100.64.0.0/10 or-longer", pin={"next_hop": STRANGER})
    for _ in world.bridge.rib.collect():
        pass
    world.says("a", world.route("a", "100.64.1.0/24"))
    assert world.ways()["100.64.1.0/24"] == {STRANGER}


def test_an_override_of_everything_is_decided_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loc_rib, "REDECIDED", 16)
    many = [f"100.64.{number}.0/24" for number in range(100)]
    for name, longer in (("a", 0), ("b", 1)):
        world.says(name, world.route(name, *many, longer=longer))
    with world.running():
        world.bridge.overrides.add(
            OverrideText.model_validate({"prefix": "0.0.0.0/0 or-longer", "pin": {"peer": "b"}, **GIVEN}), ""
        )
    assert set().union(*world.ways().values()) == {A}  # nothing is decided in the call itself
    moved, before = [], world.ways()
    while world.step():
        after = world.ways()
        moved.append(sum(after[prefix] != before[prefix] for prefix in after))
        before = after
    assert max(moved) <= 16
    assert sum(moved) == len(many) + 3
    assert set().union(*before.values()) == {B}
