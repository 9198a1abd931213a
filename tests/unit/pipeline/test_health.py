"""What results of checks and of BFD do to paths and announcements; time passes when the test says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgpbridge.config import loads_config
from bgpbridge.feed.control import Reload, Teardown
from bgpbridge.health.bfd_words import BfdStatus
from bgpbridge.health.checks import NOT_BEFORE_A_RESTART
from bgpbridge.health.commands import Commands
from bgpbridge.health.damping import Verdict
from bgpbridge.health.results import CheckResult, Said
from bgpbridge.pipeline.reload import reload

from .conftest import ETH1, ETH2, text_of

PEERS = {"a": ", health: [ping], local_address: 10.0.1.1, announce: [{prefix: 192.0.2.80/32}]", "b": ", health: [ping]"}
HEALTH = """
health:
  checks:
    - {name: ping, kind: icmp, rise: 2, fall: 2, hold_down_s: 30}
    - {name: web, kind: command, command: [/bin/true], rise: 1, fall: 1, hold_down_s: 0}
  services: [{prefix: 192.0.2.80/32, checks: [web]}]
"""
GOOD, BAD, NONE = (CheckResult(said, said.value, 0.001) for said in (Said.PASS, Said.FAIL, Said.UNKNOWN))
NET = "198.18.0.0/24"
WEB = ("service 192.0.2.80/32", "web")
A, B = {"10.0.1.2"}, {"10.0.2.2"}
UP = BfdStatus("eth1", "10.0.1.2", state="up", remote_state="up")
GONE = replace(UP, state="down", remote_state="down", diagnostic="detection-time-expired", detection_us=150_000)


def take_over(world, peers, more=""):
    with world.running():
        reload(world.bridge, loads_config(text_of(peers) + more, world.folder / "bgpbridge.yaml"))


def two_ways(world):
    """A prefix from both; the way by a is the better one."""
    for name, address, ifindex in (("a", "10.0.1.2", ETH1), ("b", "10.0.2.2", ETH2)):
        world.neighbour(address, ifindex)
        world.up(name)
    for name in "ab":
        world.says(name, world.route(name, NET, longer="ab".index(name)))
        world.neighbour({"a": "10.0.1.2", "b": "10.0.2.2"}[name], ETH1 if name == "a" else ETH2)
    world.commands()
    return world


@pytest.fixture
def checked(world):
    take_over(world, PEERS, HEALTH)
    return two_ways(world)


def hear(world, name, *results):
    with world.running():
        for result in results:
            world.bridge.health.heard((f"peer {name}", "ping"), result)


def test_unhealthy_acts_at_once_and_recovery_waits(checked):
    assert checked.ways()[NET] == A
    hear(checked, "a", BAD)
    assert checked.ways()[NET] == A
    hear(checked, "a", BAD)
    assert checked.ways()[NET] == B
    hear(checked, "a", GOOD, GOOD)
    checked.wait(29)
    assert checked.ways()[NET] == B
    checked.wait(2)
    assert checked.ways()[NET] == A
    assert len(checked.events("health-*")) == 3


def test_what_cannot_be_asked_changes_nothing_and_is_said_once(checked):
    hear(checked, "a", NONE, NONE, NONE)
    assert checked.ways()[NET] == A
    hear(checked, "a", BAD, BAD, NONE, NONE)
    assert checked.ways()[NET] == B
    assert len(checked.events("check-unknown")) == 2


def test_where_all_are_unhealthy_traffic_stays(checked):
    hear(checked, "a", BAD, BAD)
    hear(checked, "b", BAD, BAD)
    assert checked.ways()[NET] == A
    assert checked.bridge.health.why_peer("a") == "ping of peer a is unhealthy"


def test_a_check_that_goes_lets_go_of_what_it_held(checked):
    hear(checked, "a", BAD, BAD)
    take_over(checked, dict.fromkeys("ab", ""))
    assert checked.ways()[NET] == A


def test_other_patience_keeps_what_is_known(checked):
    hear(checked, "a", BAD, BAD)
    take_over(checked, PEERS, HEALTH.replace("hold_down_s: 30", "hold_down_s: 3"))
    assert checked.ways()[NET] == B
    hear(checked, "a", GOOD, GOOD)
    checked.wait(4)
    assert checked.ways()[NET] == A


HOPS = """
health:
  checks: [{name: ping, kind: icmp, rise: 1, fall: 1, hold_down_s: 0}]
  next_hops: [{address: 10.0.1.2, checks: [ping]}, {address: "2001:db8:1::2", checks: [ping]}]
"""
NET6 = "2001:db8:ff::/48"


def test_a_next_hop_is_held_down_whoever_announces_it(world):
    """`a` and `c` announce the same next hop; `b` another. The two families have nothing to do with each other."""
    take_over(world, dict.fromkeys("abc", ""), HOPS)
    two_ways(world)
    world.up("c")
    world.says("c", world.route("c", "198.18.1.0/24", hop="10.0.1.2"))
    world.says("b", world.route("b", "198.18.1.0/24", longer=1))
    for name, longer in (("a", 0), ("b", 1)):
        world.says(name, world.route(name, NET6, longer=longer))
    for hop, ifindex in (("2001:db8:1::2", ETH1), ("2001:db8:2::2", ETH2)):
        world.neighbour(hop, ifindex)
    good, bad6 = {NET: A, "198.18.1.0/24": A, NET6: {"2001:db8:1::2"}}, {NET6: {"2001:db8:2::2"}}
    assert world.ways() == good

    def say(hop, result):
        with world.running():
            world.bridge.health.heard((f"next-hop {hop}", "ping"), result)

    say("10.0.1.2", BAD)
    assert world.ways() == good | {NET: B, "198.18.1.0/24": B}
    say("10.0.1.2", GOOD)
    assert world.ways() == good
    say("2001:db8:1::2", BAD)
    assert world.ways() == good | bad6
    number = next(n for n in world.bridge.rib.next_hops.ids() if world.bridge.rib.next_hops[n].address.version == 6)
    assert "ping of next-hop 2001:db8:1::2 is unhealthy" in world.bridge.health.why(world.peer("a").index, number)
    say("2001:db8:1::2", GOOD)
    assert world.ways() == good


def test_a_next_hop_that_comes_while_it_is_unhealthy_is_not_used(world):
    take_over(world, dict.fromkeys("abc", ""), HOPS)
    with world.running():
        world.bridge.health.heard(("next-hop 10.0.1.2", "ping"), BAD)
    two_ways(world)
    with world.running():
        world.bridge.health._act("next hops")  # as every second
    assert world.ways()[NET] == B


def test_a_command_check_that_waits_for_a_restart_says_so_while_it_does(world):
    """A bridge without checks gives up the right to change users when it starts."""
    with world.running():
        report = reload(world.bridge, loads_config(text_of(PEERS) + HEALTH, world.folder / "bgpbridge.yaml"))
    assert report.restart == ("health.checks.web",)
    row = world.bridge.health.rows[WEB]
    assert (row.verdict, row.last) == (Verdict.UNKNOWN, NOT_BEFORE_A_RESTART)
    with world.running():
        world.bridge.health.heard(WEB, NOT_BEFORE_A_RESTART)
    take_over(world, PEERS, HEALTH)
    assert len(world.events("restart-needed")) == 1
    assert not world.events("check-unknown"), "said once"
    take_over(world, dict.fromkeys("ab", ""))
    assert not world.bridge.health.waiting
    take_over(world, PEERS, HEALTH)
    assert len(world.events("restart-needed")) == 2


def test_the_first_command_check_is_asked_for_and_begins_when_the_answer_comes(world):
    health, asked = world.bridge.health, []
    health.ask = lambda: asked.append(health.waiting)
    with world.running():
        report = reload(world.bridge, loads_config(text_of(PEERS) + HEALTH, world.folder / "bgpbridge.yaml"))
    assert (report.restart, asked) == ((), [()])
    take_over(world, PEERS, HEALTH)
    assert len(asked) == 1, "one question at a time"
    with world.running():
        health.commands_refused("no process to be had")
    assert health.waiting == ("health.checks.web",)
    assert "no process to be had" in world.events("restart-needed")[0]
    take_over(world, PEERS, HEALTH)
    assert (len(asked), health.waiting) == (2, ())
    with world.running():
        health.take_commands(Commands())
    assert health.waiting == ()
    take_over(world, PEERS, HEALTH)
    assert len(asked) == 2


def test_a_service_is_withdrawn_and_announced_as_configured_and_remembered(checked):
    conf = checked.folder / "exabgp.conf"
    before = conf.read_text()
    assert "192.0.2.80" in before
    with checked.running():
        checked.bridge.health.heard(WEB, BAD)
    assert "192.0.2.80" not in conf.read_text()
    assert [type(command) for command in checked.commands()] == [Reload]
    take_over(checked, PEERS, HEALTH)
    assert "192.0.2.80" not in conf.read_text(), "a reload announces nothing that is not well"
    watch = checked.bridge.health
    assert watch.withdrawals._remembered() == {"192.0.2.80/32"}
    with checked.running():
        watch.heard(WEB, GOOD)
    assert conf.read_text() == before


@pytest.fixture
def bfd(world):
    take_over(world, {"a": ", bfd: {hold_down_s: 5}", "b": ""})
    two_ways(world)
    watch = world.bridge.health.bfd
    with world.running():
        one = watch.watched["a"]
        watch._look_for_way(one)
        watch._there[one.wanted.key] = (one.name, one.wanted, one.ifindex)
    assert one.wanted.key == ("eth1", "10.0.1.2")
    return world


def says(world, *statuses):
    with world.running():
        for status in statuses:
            world.bridge.health.bfd.heard(status)


def test_bfd_down_holds_the_paths_down_and_ends_the_session(bfd):
    says(bfd, UP)
    assert bfd.ways()[NET] == A
    says(bfd, GONE)
    assert bfd.ways()[NET] == B
    ended = [command for command in bfd.commands() if isinstance(command, Teardown)]
    assert [(order.code, order.subcode, order.hold_s) for order in ended] == [(6, 10, 0)]
    bfd.down("a")
    bfd.finish()
    bfd.up("a")
    bfd.says("a", bfd.route("a", NET))
    assert bfd.ways()[NET] == B, "the session is back, BFD is not"
    says(bfd, UP)
    assert bfd.ways()[NET] == B, "recovery waits"
    bfd.wait(6)
    assert bfd.ways()[NET] == A


@pytest.mark.parametrize(
    "status",
    [
        replace(UP, state="down", remote_state="admin-down", diagnostic="neighbour-said-down"),
        replace(UP, known=False),
        replace(UP, state="init"),
    ],
)
def test_what_says_nothing_of_the_path_does_nothing(bfd, status):
    says(bfd, UP, status)
    assert bfd.ways()[NET] == A
    assert not bfd.events("bfd-down")


def test_a_session_that_was_never_up_does_nothing(bfd):
    says(bfd, GONE)
    assert bfd.ways()[NET] == A


def test_a_peer_that_gave_bfd_up_without_a_word_is_used_again(bfd):
    says(bfd, UP, GONE)
    bfd.down("a")
    bfd.finish()
    bfd.up("a")
    bfd.says("a", bfd.route("a", NET))
    watch = bfd.bridge.health.bfd
    one = watch.watched["a"]
    for _ in range(2):
        with bfd.running():
            watch._look_if_silent(one, bfd.loop.time())
            watch.judge(one, bfd.loop.time())
        bfd.loop.now += 11
    assert bfd.ways()[NET] == A
    assert bfd.events("bfd-silent")
