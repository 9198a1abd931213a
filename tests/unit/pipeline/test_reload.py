"""A reload changes what differs, all of it or nothing, and blinks at nobody else."""

from __future__ import annotations

import pytest

from bgpbridge.errors import BridgeError, CapacityError, DocumentError, SpeakerError
from bgpbridge.feed.control import Reload
from bgpbridge.feed.frames import DownReason, SessionUp
from bgpbridge.pipeline import reload as room
from bgpbridge.pipeline.peers import Phase
from bgpbridge.types import Prefix

NET, OTHER = "203.0.113.0/24", "198.51.100.0/24"
A, B, C = "10.0.1.2", "10.0.2.2", "10.0.1.3"
ALL = {"a": "", "b": "", "c": ""}


@pytest.fixture
def both(world):
    """a and b with the same route, a's the better one; c is configured only."""
    for name in "ab":
        world.up(name)
        world.says(name, world.route(name, NET, longer=name == "b"))
    for address, ifindex in ((A, 11), (B, 12)):
        world.neighbour(address, ifindex)
    world.reload(ALL)
    world.commands()
    return world


def everything(world):
    """All that a refused reload must leave as it is."""
    path = world.bridge.files.speaker_config
    return (
        world.bridge.config,
        path.read_text() if path.exists() else "",
        {peer.name: (peer.index, peer.config, peer.phase) for peer in world.bridge.peers},
        dict(world.xdp.routes),
        len(world.bridge.work),
        world.bridge.judge.policies,
        set(world.bridge.roster.leaving),
    )


def test_the_same_file_changes_nothing(both):
    before = everything(both)
    report = both.reload(ALL)
    assert (report.done, report.restart) == ((), ())
    assert both.commands() == []
    assert everything(both)[1:] == before[1:]


def test_a_new_peer_gets_a_lane_and_the_speaker_hears_of_it(make_world):
    world = make_world({"a": ""})
    world.up("a")
    world.reload({"a": "", "b": ""})
    assert world.commands() == [Reload(token=1)]
    assert world.peer("b").index == 2
    assert world.bridge.lane_memory.read_peers() == {"a": 1, "b": 2}
    world.up("b")
    world.says("b", world.route("b", NET))
    assert world.ways() == {NET: {B}}
    assert world.peer("a").phase is Phase.ESTABLISHED


def test_a_removed_peers_routes_go_at_once_by_their_groups_then_one_by_one(both):
    both.reload({"b": "", "c": ""})
    assert both.ways() == {NET: {B}}
    assert both.bridge.roster.leaving == {1}
    both.finish()
    both.assert_in_step()
    assert both.bridge.roster.leaving == set()
    assert [peer.info.name for peer in both.bridge.rib.peers()] == ["b", "c"]


def test_what_a_removed_peers_lane_still_holds_is_not_read(both):
    index = both.peer("a").index
    both.reload({"b": "", "c": ""})
    with both.running():
        both.bridge.ingest.one(index, SessionUp(both.session("b", peer=index)))
    both.finish()
    assert both.ways() == {NET: {B}}


def test_a_peer_that_is_removed_in_the_middle_of_its_bulk_run_leaves_nothing(both):
    routes = [both.route("a", f"10.{number // 250}.{number % 250}.0/24") for number in range(500)]
    with both.running():
        run = both.bridge.ingest.run(both.peer("a").index, b"".join(routes))
        next(run)
        both.reload({"b": "", "c": ""})
        for _ in run:
            pass
    both.finish()
    assert both.ways() == {NET: {B}}
    both.assert_in_step()
    assert both.bridge.roster.leaving == set()


def test_a_peer_that_comes_back_while_its_routes_are_leaving_gets_another_lane(both):
    both.reload({"b": "", "c": ""})
    both.reload(ALL)
    assert both.peer("a").index == 4
    both.up("a")
    both.says("a", both.route("a", OTHER))
    both.finish()
    assert both.ways() == {NET: {B}, OTHER: {A}}
    both.assert_in_step()


def test_one_peer_goes_and_another_comes_in_one_go(both):
    both.reload({"b": "", "c": "", "a2": ""})
    assert both.peer("a2").index == 4, "not the lane that still holds a's words"
    both.up("a2")
    both.says("a2", both.route("a2", OTHER))
    both.finish()
    assert both.ways() == {NET: {B}, OTHER: {A}}


def test_a_peer_that_became_another_router_keeps_nothing(both, monkeypatch):
    monkeypatch.setitem(both.hops, "a", ("10.0.1.9", 11, 65009))
    both.reload(ALL)
    assert both.commands() == [Reload(token=1)]
    both.down("a", DownReason.CONFIGURATION, graceful=True)
    both.finish()
    assert both.ways() == {NET: {B}}
    assert both.peer("a").index == 1
    both.up("a")
    both.says("a", both.route("a", OTHER))
    assert both.ways()[OTHER] == {"10.0.1.9"}


def test_another_hold_time_keeps_the_routes_over_the_new_session(both):
    both.reload(ALL | {"a": ", hold_time_s: 30"})
    both.down("a", DownReason.CONFIGURATION, graceful=True)
    both.finish()
    assert both.ways() == {NET: {A}}


def test_a_weight_decides_anew_and_no_session_blinks(both):
    report = both.reload(ALL | {"b": ", weight: 7"})
    assert report.done == ("peer b: weight (session goes on)",)
    both.finish()
    assert both.ways() == {NET: {B}}


def test_a_policy_that_refuses_takes_routes_out_and_one_that_accepts_brings_them_back(both):
    (both.folder / "p.yaml").write_text(
        "policies: {nothing: {terms: [{term: all, then: reject, reason: not wanted}]}}\n", encoding="utf-8"
    )
    both.reload(ALL | {"a": ", import: nothing"}, policies="[p.yaml]")
    both.finish()
    assert both.ways() == {NET: {B}}
    both.reload(ALL)
    both.finish()
    assert both.ways() == {NET: {A}}, "without asking the peer: what it sent is kept"
    both.assert_in_step()


def test_a_rewritten_policy_changes_derived_attributes_and_the_decision(both):
    text = "policies: {{prefer: {{terms: [{{term: all, then: accept, set: {{local_pref: {0}}}}}]}}}}\n"
    path = both.folder / "p.yaml"
    for value, gateway in ((200, B), (50, A), (300, B)):
        path.write_text(text.format(value), encoding="utf-8")
        both.reload(ALL | {"b": ", import: prefer"}, policies="[p.yaml]")
        both.finish()
        assert both.ways() == {NET: {gateway}}
        for _ in both.bridge.rib.collect():
            pass
    both.assert_in_step()


def test_decision_options_are_taken_over_even_with_next_hops_that_nobody_watches_yet(both, octets):
    both.bridge.rib.next_hops.intern(Prefix.parse("192.0.2.9/32").address)
    both.says("b", both.route("b", NET))
    both.reload(ALL, decision="{multipath: {ebgp: 2, relax: true}}")
    both.finish()
    assert both.ways() == {NET: {A, B}}


def test_a_default_route_resolves_next_hops_once_it_is_allowed_to(both, octets):
    both.connected("0.0.0.0/0", 12)
    both.says("a", octets.announce(OTHER, path=(65001,), hop="192.0.2.77"))
    assert OTHER not in both.ways()
    both.reload(ALL, decision="{resolve_via_default: true}")
    both.finish()
    assert both.ways()[OTHER] == {"192.0.2.77"}


# -- refused ---------------------------------------------------------------------------------------------------------


def test_a_password_that_is_not_there_refuses_all_of_it(both):
    before = everything(both)
    with pytest.raises(DocumentError, match="NO_SUCH_VARIABLE"):
        both.reload({"a": ", password: {env: NO_SUCH_VARIABLE}", "b": ", weight: 9"})
    assert everything(both) == before
    assert both.commands() == []


def test_too_few_lanes_refuse_all_of_it(both, monkeypatch):
    before = everything(both)
    monkeypatch.setattr(type(both.bridge), "lanes", property(lambda _: 4))
    with pytest.raises(CapacityError, match="no lane is left for peer a2"):
        both.reload({"b": "", "c": "", "a2": ""})
    assert everything(both) == before


def test_a_disk_that_is_full_refuses_all_of_it(both, monkeypatch):
    before = everything(both)

    def full(*_: object) -> None:
        raise SpeakerError("the speaker's configuration cannot be written: No space left on device")

    monkeypatch.setattr("bgpbridge.pipeline.orders.replace_file", full)
    with pytest.raises(BridgeError, match="No space left"):
        both.reload({"b": ", weight: 9"})
    assert everything(both) == before
    assert set(both.bridge.lane_memory.read_peers()) >= {"a", "b", "c"}
    assert both.commands() == []


# -- what waits for a restart ----------------------------------------------------------------------------------------


def test_what_only_a_restart_can_change_is_named_and_the_old_value_holds(both, monkeypatch):
    changed = both.config.model_copy(
        update={"runtime": both.config.runtime.model_copy(update={"directory": both.folder})}
    )
    for _ in range(2):
        with both.running():
            report = room.reload(both.bridge, changed)
        assert report.restart == ("runtime.directory",), "named as long as it waits"
    assert both.bridge.config.runtime == both.config.runtime


def test_options_of_the_datapath_are_live_beside_what_waits(both):
    wanted = both.config.datapath.model_copy(update={"punt_rate": 9, "max_ipv4": 4096})
    with both.running():
        report = room.reload(both.bridge, both.config.model_copy(update={"datapath": wanted}))
    assert (report.done, report.restart) == (("datapath.punt_rate taken over",), ("datapath.max_ipv4",))
    assert both.bridge.config.datapath == both.config.datapath.model_copy(update={"punt_rate": 9})


def test_the_stale_time_is_taken_over_at_once(both):
    changed = both.config.model_copy(
        update={"graceful_restart": both.config.graceful_restart.model_copy(update={"stale_time_s": 20})}
    )
    with both.running():
        report = room.reload(both.bridge, changed)
    assert report.done == ("graceful_restart.stale_time_s taken over",)
    both.down("a", DownReason.SPEAKER_DIED)
    both.wait(21)
    both.finish()
    assert both.ways() == {NET: {B}}


def test_a_new_bridge_puts_the_speaker_in_step_with_the_file_that_it_read(world):
    with world.running():
        world.bridge.orders.put_in_step()
        assert world.commands() == [Reload(token=1)]
        world.bridge.orders.put_in_step()
    assert world.commands() == []
