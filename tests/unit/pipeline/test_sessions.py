"""Sessions come and go: graceful restart, refresh, resets, and whose fault it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpbridge.feed.control import Teardown
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind, RefreshKind, SessionUp
from bgpbridge.pipeline.peers import Phase
from bgpbridge.types import Family, Verdict
from bgpbridge.wire.verdicts import Finding

V4, V6 = Family.IPV4, Family.IPV6
NET, OTHER, SIX = "203.0.113.0/24", "198.51.100.0/24", "2001:db8:9::/48"
A, B = "10.0.1.2", "10.0.2.2"
OURS = [DownReason.SPEAKER_DIED, DownReason.SHUTDOWN]


@pytest.fixture
def both(world):
    """a and b are up with the same route; a's is the better one, and a has one of its own."""
    for name in "ab":
        world.up(name)
        world.says(name, world.route(name, NET, longer=name == "b"))
    world.says("a", world.route("a", OTHER))
    for address, ifindex in ((A, 11), (B, 12)):
        world.neighbour(address, ifindex)
    assert world.ways() == {NET: {A}, OTHER: {A}}
    return world


# -- a session is lost ---------------------------------------------------------------------------------------------


def test_a_lost_session_moves_groups_before_any_prefix(both):
    both.down("a")
    assert both.ways()[NET] == {B}, "by its group: no job has run yet"
    assert both.peer("a").phase is Phase.DOWN
    both.finish()
    assert both.ways() == {NET: {B}}
    both.assert_in_step()


@pytest.mark.parametrize("reason", [DownReason.NOTIFICATION_RECEIVED, DownReason.HOLD_TIMER, DownReason.REMOVED])
def test_a_session_that_did_not_end_by_tcp_alone_keeps_nothing(both, reason):
    both.down("a", reason, graceful=False)
    both.finish()
    assert both.ways() == {NET: {B}}


def test_routes_outlive_a_graceful_loss_until_the_restart_time_is_up(both):
    both.down("a", graceful=True)
    both.finish()
    assert both.ways() == {NET: {A}, OTHER: {A}}
    assert (both.peer("a").phase, both.stale("a")) == (Phase.STALE, 2)
    both.wait(119)
    both.finish()
    assert both.ways()[OTHER] == {A}
    both.wait(2)
    both.finish()
    assert both.ways() == {NET: {B}}
    assert both.peer("a").phase is Phase.DOWN
    both.assert_in_step()


def test_a_restart_time_of_zero_is_zero(world):
    world.up("a", restart_s=0)
    world.says("a", world.route("a", NET))
    world.down("a", graceful=True)
    world.wait(0.1)
    world.finish()
    assert world.ways() == {}


def test_a_peer_that_did_not_offer_graceful_restart_keeps_nothing(world):
    world.up("a", restart_s=None)
    world.says("a", world.route("a", NET))
    world.down("a", graceful=True)
    world.finish()
    assert world.ways() == {}


@pytest.mark.parametrize("reason", OURS)
def test_when_it_is_our_speaker_that_ends_every_peers_routes_are_kept(world, reason):
    world.up("a", restart_s=None)
    world.says("a", world.route("a", NET))
    world.down("a", reason)
    world.finish()
    assert world.ways() == {NET: {A}}
    assert world.stale("a") == 1


def test_a_session_that_came_back_by_forwarding_bits_sweeps_at_end_of_rib(both, octets):
    both.down("a", graceful=True)
    both.up("a", forwarding=True)
    both.says("a", both.route("a", NET))
    both.finish()
    assert both.ways() == {NET: {A}, OTHER: {A}}
    both.says("a", octets.end_of_rib(V4))
    both.finish()
    assert both.ways() == {NET: {A}}
    assert both.stale("a") == 0


def test_a_peer_that_lost_its_forwarding_state_keeps_nothing_over_the_restart(both):
    both.down("a", graceful=True)
    both.up("a", forwarding=False)
    both.finish()
    assert both.ways() == {NET: {B}}


def test_a_second_restart_drops_what_the_first_left_stale(both):
    both.down("a", graceful=True)
    both.up("a", forwarding=True)
    both.says("a", both.route("a", NET))
    both.down("a", graceful=True)
    both.finish()
    assert both.ways() == {NET: {A}}, "RFC 4724 s4.2: 198.51.100.0/24 had its chance"


def test_a_second_death_of_our_own_speaker_drops_nothing(both):
    both.down("a", DownReason.SPEAKER_DIED)
    both.up("a")
    both.says("a", both.route("a", NET))
    both.down("a", DownReason.SPEAKER_DIED)
    both.finish()
    assert both.ways() == {NET: {A}, OTHER: {A}}


def test_a_graceful_loss_in_the_middle_of_a_refresh_drops_nothing(both, octets):
    both.tell("a", octets.refresh(RefreshKind.BORR, V4))
    both.says("a", both.route("a", NET))
    both.down("a", graceful=True)
    both.finish()
    assert both.ways() == {NET: {A}, OTHER: {A}}


def test_after_our_speakers_death_a_peer_that_marks_no_end_is_swept_when_it_is_quiet(world):
    world.up("a", restart_s=None)
    world.says("a", world.route("a", NET, OTHER))
    world.down("a", DownReason.SPEAKER_DIED)
    world.up("a", restart_s=None)
    world.wait(1)
    world.says("a", world.route("a", NET))
    world.wait(4)
    world.finish()
    assert OTHER in world.ways(), "not quiet for long enough"
    world.wait(3)
    world.finish()
    assert world.ways() == {NET: {A}}


def test_a_quiet_peer_that_has_not_begun_keeps_its_stale_routes(world):
    world.up("a", restart_s=None)
    world.says("a", world.route("a", NET))
    world.down("a", DownReason.SPEAKER_DIED)
    world.up("a", restart_s=None)
    world.wait(60)
    world.finish()
    assert world.ways() == {NET: {A}}
    world.wait(400)
    world.finish()
    assert world.ways() == {}


def test_a_family_that_the_new_session_lacks_is_not_kept(world):
    world.up("a")
    world.says("a", world.route("a", SIX))
    world.down("a", DownReason.SPEAKER_DIED)
    world.up("a", families=frozenset({V4}))
    world.finish()
    assert world.ways() == {}


def test_a_session_that_comes_up_before_the_old_ones_routes_are_gone_gets_its_groups_back(both):
    both.down("a")
    assert both.ways()[NET] == {B}
    both.up("a")
    assert both.ways()[NET] == {A}
    both.says("a", both.route("a", NET))
    both.finish()
    assert both.ways() == {NET: {A}}, "what was announced anew stays, the rest is swept"


# -- refresh (RFC 7313) --------------------------------------------------------------------------------------------


def test_a_refresh_sweeps_what_was_not_sent_again(both, octets):
    both.tell("a", octets.refresh(RefreshKind.BORR, V4))
    both.says("a", both.route("a", NET))
    both.finish()
    assert both.ways() == {NET: {A}, OTHER: {A}}
    both.tell("a", octets.refresh(RefreshKind.EORR, V4))
    both.finish()
    assert both.ways() == {NET: {A}}


def test_an_end_without_a_beginning_sweeps_nothing(both, octets):
    both.tell("a", octets.refresh(RefreshKind.EORR, V4))
    both.finish()
    assert both.ways() == {NET: {A}, OTHER: {A}}


def test_an_end_of_rib_does_not_end_a_refresh(both, octets):
    both.tell("a", octets.refresh(RefreshKind.BORR, V4))
    both.says("a", octets.end_of_rib(V4))
    both.finish()
    assert OTHER in both.ways()


def test_demarcation_means_nothing_without_the_capability(world, octets):
    world.up("a", enhanced_refresh=False)
    world.says("a", world.route("a", NET))
    world.tell("a", octets.refresh(RefreshKind.BORR, V4))
    assert world.stale("a") == 0
    world.tell("a", octets.refresh(RefreshKind.EORR, V4))
    world.finish()
    assert world.ways() == {NET: {A}}


def test_a_refresh_that_does_not_end_is_ended_by_a_timer(both, octets):
    both.tell("a", octets.refresh(RefreshKind.BORR, V4))
    both.tell("a", octets.refresh(RefreshKind.BORR, V4))
    both.wait(361)
    both.finish()
    assert both.ways() == {NET: {B}}
    assert both.events("stale-expired") == ["ipv4: stale routes given up"]


def test_a_plain_refresh_changes_nothing_that_is_sent_again(both):
    before = dict(both.xdp.routes)
    both.says("a", both.route("a", NET), both.route("a", OTHER))
    assert both.xdp.routes == before


# -- errors ----------------------------------------------------------------------------------------------------------

RESET = Finding(Verdict.SESSION_RESET, 0, "message: it does not frame", (3, 1))
DISABLE = Finding(Verdict.AFI_SAFI_DISABLE, 14, "mp_reach: it does not parse", None, V6)


def reset(world, name="a"):
    with world.running():
        world.bridge.sessions.reset(world.peer(name), RESET)


def test_after_a_reset_nothing_more_is_read_until_the_session_has_ended(both):
    reset(both)
    assert both.commands() == [Teardown(both.peer("a").index, 3, 1, RESET.reason, hold_s=30, token=1)]
    both.says("a", both.route("a", "192.0.2.0/24"))
    both.says("a", both.route("a", "192.0.2.0/24"), bulk=True)
    assert "192.0.2.0/24" not in both.ways()
    both.down("a", DownReason.NOTIFICATION_SENT)
    both.up("a")
    both.says("a", both.route("a", "192.0.2.0/24"))
    both.finish()
    assert both.ways() == {NET: {B}, "192.0.2.0/24": {A}}


def test_an_order_to_reset_that_was_lost_is_given_again(both):
    reset(both)
    both.commands()
    both.wait(11)
    assert [type(command) for command in both.commands()] == [Teardown]
    both.down("a", DownReason.NOTIFICATION_SENT)
    both.wait(60)
    assert both.commands() == []


def test_routes_of_a_session_that_was_being_reset_are_not_kept_when_the_speaker_dies(both):
    reset(both)
    both.down("a", DownReason.SPEAKER_DIED)
    both.finish()
    assert both.ways() == {NET: {B}}


def test_a_loop_of_resets_leaves_nothing_behind(both):
    for number in range(5):
        reset(both)
        both.down("a", DownReason.NOTIFICATION_SENT)
        both.up("a")
        both.says("a", both.route("a", f"192.0.{number}.0/24"))
    both.finish()
    both.assert_in_step()
    assert both.ways() == {NET: {B}, "192.0.4.0/24": {A}}


def test_a_disabled_family_stays_out_whichever_way_its_routes_come(both):
    both.says("a", both.route("a", SIX))
    with both.running():
        both.bridge.sessions.disable(both.peer("a"), V6, DISABLE)
        both.bridge.sessions.disable(both.peer("a"), V6, DISABLE)
    both.says("a", both.route("a", SIX))
    both.says("a", both.route("a", SIX), bulk=True)
    both.finish()
    assert SIX not in both.ways()
    assert len(both.events("family-disabled")) == 1
    both.says("a", both.route("a", "192.0.2.0/24"))
    assert both.ways()["192.0.2.0/24"] == {A}, "the other family goes on"


def test_a_session_made_anew_carries_the_family_again(both):
    with both.running():
        both.bridge.sessions.disable(both.peer("a"), V6, DISABLE)
    both.down("a", graceful=True)
    both.up("a", forwarding=True)
    both.says("a", both.route("a", SIX))
    assert SIX in both.ways()


def test_a_disabled_family_is_not_waited_for(both, octets):
    with both.running():
        both.bridge.sessions.disable(both.peer("a"), V6, DISABLE)
    both.says("a", octets.end_of_rib(V4))
    assert both.peer("a").complete


# -- after a restart of ours ---------------------------------------------------------------------------------------


def synced(world):
    return world.bridge.adoption.synced.is_set()


def test_a_peer_that_had_routes_is_waited_for(world, octets):
    world.bridge.sessions.wait_for({world.peer("a").index, world.peer("b").index})
    for name in "a":
        world.up(name)
        world.says(name, octets.end_of_rib(V4), octets.end_of_rib(V6))
    assert not synced(world), "b is not up yet, and its routes may be good"
    world.up("b")
    world.says("b", octets.end_of_rib(V4), octets.end_of_rib(V6))
    assert synced(world)


def test_a_peer_that_came_and_went_is_waited_for_no_longer(world, octets):
    world.bridge.sessions.wait_for({world.peer("a").index, world.peer("b").index})
    world.up("a")
    world.says("a", octets.end_of_rib(V4), octets.end_of_rib(V6))
    world.up("b")
    world.down("b")
    assert synced(world)


def test_a_peer_that_marks_no_end_is_through_when_it_is_quiet(world):
    world.up("a")
    world.wait(4)
    world.says("a", world.route("a", NET))
    world.wait(4)
    assert not synced(world)
    world.wait(2)
    assert synced(world)


# -- who it is -----------------------------------------------------------------------------------------------------


def test_a_session_with_a_router_that_is_not_configured_is_none_of_ours(world):
    session = replace(world.session("a"), peer_as=64999)
    world.tell("a", SessionUp(session))
    assert world.peer("a").phase is Phase.DOWN


def test_a_session_belongs_to_the_lane_that_it_came_by(world):
    world.tell("a", SessionUp(replace(world.session("a"), peer=77)))
    world.says("a", world.route("a", NET))
    assert world.ways() == {NET: {A}}


def test_records_of_a_lane_that_nobody_has_are_passed_over(world):
    with world.running():
        world.bridge.ingest.one(20, SessionUp(world.session("a")))


def test_a_notice_is_kept_with_its_peer_and_told(world):
    notice = Notice(NoticeKind.OPEN_REFUSED, "its AS is 1, configured is 65001", peer=1, repeated=3)
    with world.running():
        world.bridge.ingest.one(0, notice)
    assert [kept for _, kept in world.peer("a").notices] == [notice]
    assert world.events("open-refused") == [f"{notice.text} (3 more like it)"]
