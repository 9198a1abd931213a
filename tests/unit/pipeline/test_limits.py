"""max-prefix: a peer that sends more than its limit is warned of, blocked or disconnected, and never in a loop."""

from __future__ import annotations

import random

import pytest

from bgpbridge.feed.control import Hold, RequestRefresh, Teardown
from bgpbridge.feed.frames import DownReason, Notice, NoticeKind
from bgpbridge.pipeline.hold_off import LATCHED_S
from bgpbridge.pipeline.latches import Latch, read_latches, write_latches
from bgpbridge.types import Family
from bgpbridge.view.peers import limits_of, why_not_up
from bgpbridge.view.peers import peer as view_of
from bgpbridge.view.status import _alarms

V4, V6 = Family.IPV4, Family.IPV6


def limited(**keys):
    words = ", ".join(f"{key}: {value}" for key, value in keys.items())
    return {"a": f", max_prefix: {{ipv4: {{{words}}}}}", "b": "", "c": ""}


def nets(count, first=0):
    return [f"198.18.{number}.0/24" for number in range(first, first + count)]


def send(world, *texts, bulk=False, **more):
    """One UPDATE for each prefix."""
    world.says("a", *(world.route("a", text, **more) for text in texts), bulk=bulk)


def there(world):
    return sorted(prefix for prefix in world.ways() if prefix.startswith("198.18."))


def seen(world, family=V4):
    return limits_of(world.bridge, world.peer("a"))[family]


def orders(world, kind):
    return [command for command in world.commands() if isinstance(command, kind)]


@pytest.fixture(params=[False, True], ids=["one by one", "bulk"])
def bulk(request):
    return request.param


# -- warn -------------------------------------------------------------------------------------------------------


def test_warn_tells_at_the_threshold_and_at_the_limit_and_takes_everything(make_world, bulk):
    world = make_world(limited(limit=8, action="warn"))
    world.up("a")
    send(world, *nets(5), bulk=bulk)
    assert world.events("prefix-limit*") == []
    send(world, *nets(1, 5), bulk=bulk)
    assert world.events("prefix-limit*") == ["ipv4: 6 prefixes received, 75% of the limit of 8"]
    send(world, *nets(2, 6), bulk=bulk)
    assert world.events("prefix-limit") == []
    send(world, *nets(4, 8), bulk=bulk)
    assert len(world.events("prefix-limit")) == 1
    assert (len(there(world)), seen(world).level, seen(world).blocked) == (12, "beyond", 0)
    assert orders(world, Teardown) == []


def test_a_count_that_wavers_at_the_threshold_is_told_once(make_world, octets):
    world = make_world(limited(limit=20, warn_at=50, action="warn"))
    world.up("a")
    send(world, *nets(10))
    for _ in range(5):
        world.says("a", octets.withdraw(*nets(1, 9)))
        send(world, *nets(1, 9))
    assert len(world.events("prefix-limit-near")) == 1
    for number in range(10):
        world.says("a", octets.withdraw(*nets(1, number)))
    send(world, *nets(10))
    assert len(world.events("prefix-limit-near")) == 2


# -- block ------------------------------------------------------------------------------------------------------


def test_block_keeps_out_what_is_new_and_lets_known_routes_change_and_go(make_world, bulk, octets):
    world = make_world(limited(limit=3, action="block"))
    world.up("a")
    send(world, *nets(5), bulk=bulk)
    assert there(world) == nets(3)
    assert (seen(world).used, seen(world).blocked, seen(world).level) == (3, 2, "beyond")
    assert len(world.events("prefix-limit")) == 1
    send(world, *nets(3), longer=2, bulk=bulk)
    assert seen(world).blocked == 2
    world.says("a", octets.withdraw(*nets(1)), bulk=bulk)
    send(world, *nets(1, 4), bulk=bulk)
    assert there(world) == [*nets(2, 1), *nets(1, 4)]
    assert world.peer("a").phase == "established"
    assert [(one.peer, one.level, one.blocked) for one in _alarms(world.bridge)] == [("a", "beyond", 2)]
    world.assert_in_step()


def test_one_message_that_takes_back_and_announces_counts_what_is_left(make_world, bulk, octets):
    world = make_world(limited(limit=2, action="block"))
    world.up("a")
    send(world, *nets(2), bulk=bulk)
    world.says("a", octets.withdraw(*nets(2)), world.route("a", *nets(2, 7)), bulk=bulk)
    assert (there(world), seen(world).blocked) == (nets(2, 7), 0)


def test_a_prefix_that_is_said_twice_counts_once(make_world, bulk):
    world = make_world(limited(limit=2, action="disconnect"))
    world.up("a")
    send(world, *nets(2), *nets(2), *nets(2), bulk=bulk)
    assert (there(world), orders(world, Teardown)) == (nets(2), [])


def test_what_is_blocked_takes_no_room_in_the_table(make_world, bulk):
    world = make_world(limited(limit=2, action="block"))
    world.up("a")
    rows = world.bridge.rib.families[V4].top
    for _ in range(3):
        send(world, *nets(40), bulk=bulk)
    assert world.bridge.rib.families[V4].top == rows + 2


def with_path_id(message, path_id):
    """An UPDATE of one /24, with a path identifier (RFC 7911) before its prefix."""
    body = message[19:-4] + path_id.to_bytes(4, "big") + message[-4:]
    return message[:16] + (19 + len(body)).to_bytes(2, "big") + message[18:19] + body


def test_with_several_paths_each_path_counts(make_world, bulk):
    world = make_world({"a": ", add_path: [ipv4], max_prefix: {ipv4: {limit: 3, action: block}}", "b": ""})
    world.up("a", add_path=frozenset({V4}))
    messages = [with_path_id(world.route("a", text), path_id) for text in nets(2) for path_id in (1, 2)]
    world.says("a", *messages, bulk=bulk)
    assert (seen(world).used, seen(world).blocked) == (3, 1)
    assert there(world) == nets(2)


def test_families_are_counted_apart(make_world):
    world = make_world(limited(limit=1, action="block"))
    world.up("a")
    send(world, *nets(2))
    world.says("a", world.route("a", "2001:db8:100::/48", "2001:db8:200::/48"))
    assert (world.bridge.rib.counts(1)[V4].received, world.bridge.rib.counts(1)[V6].received) == (1, 2)


def test_accepted_counts_what_policy_left(make_world, tmp_path, bulk):
    text = "policies: {p: {terms: [{term: no, match: {prefix: 198.18.0.0/21 or-longer}, then: reject}, "
    (tmp_path / "p.yml").write_text(text + "{term: rest, then: accept}]}}")
    keys = ", import: p, max_prefix: {ipv4: {limit: 3, action: block, count: accepted}}"
    world = make_world({"a": keys, "b": ""}, policies="[p.yml]")
    world.up("a")
    send(world, *nets(8), *nets(5, 8), bulk=bulk)
    assert there(world) == sorted(nets(3, 8))
    assert (seen(world).used, seen(world).blocked, world.bridge.rib.counts(1)[V4].received) == (3, 2, 11)


def test_stale_routes_do_not_count_until_they_are_sent_again(make_world, bulk, octets):
    world = make_world(limited(limit=3, action="block"))
    world.up("a")
    send(world, *nets(3))
    world.down("a", graceful=True)
    world.up("a", forwarding=True)
    send(world, *nets(2, 10), *nets(2), bulk=bulk)
    assert seen(world).blocked == 1
    world.says("a", octets.end_of_rib(V4))
    world.finish()
    assert there(world) == sorted([*nets(1), *nets(2, 10)])
    assert seen(world).used == 3


def test_bulk_and_one_by_one_come_to_the_same(make_world, octets):
    """Random announcements and withdrawals around a limit."""
    tables = []
    for in_bulk in (False, True):
        world = make_world(limited(limit=6, action="block"))
        world.up("a")
        chance = random.Random(5)
        for _ in range(40):
            text = nets(1, chance.randrange(20))
            world.says("a", world.route("a", *text) if chance.random() < 0.6 else octets.withdraw(*text), bulk=in_bulk)
        world.assert_in_step()
        tables.append((there(world), seen(world)))
    assert tables[0] == tables[1]
    assert tables[0][1].blocked


# -- disconnect -------------------------------------------------------------------------------------------------


def test_disconnect_names_family_and_limit_and_lets_nothing_more_into_the_planes(make_world, bulk):
    world = make_world(limited(limit=3))
    world.up("a")
    send(world, *nets(9), bulk=bulk)
    assert there(world) == nets(3)
    (order,) = orders(world, Teardown)
    assert (order.code, order.subcode, order.data, order.hold_s) == (6, 1, b"\0\1\1\0\0\0\3", LATCHED_S)
    world.down("a", DownReason.NOTIFICATION_SENT)
    world.finish()
    assert there(world) == []
    (told,) = world.events("session-reset")
    assert told == (
        "ipv4: more than 3 prefixes received (NOTIFICATION 6/1); no new session until an operator allows it "
        "(`bgpbridge peers a --clear-hold-off`)"
    )


def trip(world, count=9):
    world.up("a")
    send(world, *nets(count))
    world.down("a", DownReason.NOTIFICATION_SENT)
    world.finish()
    return orders(world, Teardown)


def test_it_is_latched_until_an_operator_clears_it(make_world):
    world = make_world(limited(limit=3))
    trip(world)
    world.wait(30 * 86_400)
    shown = view_of(world.bridge, "a")
    assert (shown.state, shown.hold_off.left_s) == ("idle", None)
    assert why_not_up(world.bridge, world.peer("a")).startswith("held off until an operator clears it")
    assert read_latches(world.folder / "latches.json", 0) == {"a": Latch("ipv4: more than 3 prefixes received")}
    with world.running():
        assert world.bridge.sessions.end_hold_off(world.peer("a"), "by an operator")
    assert [order.seconds for order in orders(world, Hold)] == [0]
    assert read_latches(world.folder / "latches.json", 0) == {}
    world.up("a")
    send(world, *nets(3))
    assert len(there(world)) == 3


def test_one_timer_lets_it_try_again_and_there_is_no_second_one(make_world):
    world = make_world(limited(limit=3, restart_s=60))
    assert [order.hold_s for order in trip(world)] == [60]
    assert view_of(world.bridge, "a").hold_off.left_s == 60
    world.wait(61)
    assert view_of(world.bridge, "a").state == "down"
    assert [order.hold_s for order in trip(world)] == [LATCHED_S]
    with world.running():
        world.bridge.sessions.end_hold_off(world.peer("a"), "by an operator")
    world.commands()
    assert [order.hold_s for order in trip(world)] == [60]


def test_a_new_speaker_and_a_new_bridge_are_told_of_the_latch(make_world):
    world = make_world(limited(limit=3))
    trip(world)
    with world.running():
        world.bridge.ingest.one(0, Notice(NoticeKind.STARTED, "the speaker runs"))
    assert [order.seconds > LATCHED_S - 100 for order in orders(world, Hold)] == [True]
    other = make_world(limited(limit=3))
    with other.running():
        other.bridge.sessions.latch_again(read_latches(world.folder / "latches.json", 0) | {"gone": Latch("x")})
    assert [order.peer for order in orders(other, Hold)] == [other.peer("a").index]
    assert view_of(other.bridge, "a").hold_off.left_s is None


def after_a_restart(make_world, world, wall_s):
    """Another bridge with the same file, started when the wall clock shows so much more."""
    now = world.bridge.peers.clock() + wall_s
    other = make_world(limited(limit=3, restart_s=60))
    with other.running():
        other.bridge.sessions.latch_again(read_latches(world.folder / "latches.json", now))
    return other


# The clock went on, stood, went back, and went beyond the end.
@pytest.mark.parametrize(("wall_s", "left_s"), [(20, 40), (0, 60), (-86_400, 60), (59, 1)])
def test_a_new_bridge_grants_what_is_left_of_the_timer(make_world, wall_s, left_s):
    world = make_world(limited(limit=3, restart_s=60))
    trip(world)
    other = after_a_restart(make_world, world, wall_s)
    assert [order.seconds for order in orders(other, Hold)] == [left_s]
    assert view_of(other.bridge, "a").hold_off.left_s == left_s
    other.wait(left_s + 1)
    assert view_of(other.bridge, "a").state == "down"
    assert [order.hold_s for order in trip(other)] == [LATCHED_S]


def test_a_new_bridge_knows_that_the_one_timer_was_used(make_world):
    world = make_world(limited(limit=3, restart_s=60))
    trip(world)
    other = after_a_restart(make_world, world, 7_200)
    assert (orders(other, Hold), view_of(other.bridge, "a").state) == ([], "down")
    assert [order.hold_s for order in trip(other)] == [LATCHED_S]


def test_a_peer_that_came_back_is_not_held_again_by_a_new_bridge(make_world):
    world = make_world(limited(limit=3, restart_s=60))
    trip(world)
    world.wait(61)
    world.up("a")
    other = after_a_restart(make_world, world, -86_400)
    assert orders(other, Hold) == []


def test_forgiven_is_forgotten(make_world):
    world = make_world(limited(limit=3, restart_s=60))
    trip(world)
    with world.running():
        world.bridge.sessions.end_hold_off(world.peer("a"), "by an operator")
    assert read_latches(world.folder / "latches.json", 0) == {}


def test_latches_are_read_as_written(tmp_path):
    latches = {"a": Latch("x"), "b": Latch("y", 7.5), "c": Latch("z", 0.0)}
    write_latches(tmp_path / "x", latches, 1e9)
    assert read_latches(tmp_path / "x", 1e9) == latches


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"version": 1}', '{"version": 1, "latched": 7}', '{"version": 2}'),
        *(
            f'{{"version": 1, "latched": {{}}, "timed": {timed}}}'
            for timed in ("7", '{"a": 7}', '{"a": {"why": "x", "left_s": NaN, "ends": 1}}', '{"a": {"left_s": 1}}')
        ),
    ],
)
def test_a_file_of_latches_that_makes_no_sense_is_none(tmp_path, text):
    (tmp_path / "x").write_text(text)
    assert read_latches(tmp_path / "x", 0) == {}


# -- reload -----------------------------------------------------------------------------------------------------


def test_a_larger_limit_takes_effect_at_once_and_asks_for_what_was_kept_out(make_world):
    world = make_world(limited(limit=3, action="block"))
    world.up("a")
    send(world, *nets(5))
    world.commands()
    report = world.reload(limited(limit=6, action="block"))
    assert "peer a: max_prefix (session goes on)" in report.done
    assert [(order.peer, order.family) for order in orders(world, RequestRefresh)] == [(world.peer("a").index, V4)]
    send(world, *nets(5))
    assert (len(there(world)), seen(world).blocked) == (5, 0)


def test_without_route_refresh_the_operator_is_told(make_world):
    world = make_world(limited(limit=3, action="block"))
    world.up("a", route_refresh=False)
    send(world, *nets(5))
    world.reload(limited(limit=6, action="block"))
    assert world.events("no-route-refresh")


def test_a_smaller_limit_acts_on_what_is_there(make_world):
    world = make_world(limited(limit=9))
    world.up("a")
    send(world, *nets(5))
    world.reload(limited(limit=4, action="block"))
    assert (len(there(world)), seen(world).level) == (5, "beyond")
    world.reload(limited(limit=4))
    assert [order.subcode for order in orders(world, Teardown)] == [1]


def test_a_new_limit_ends_the_wait_and_another_key_does_not(make_world):
    world = make_world(limited(limit=3))
    trip(world)
    world.reload({**limited(limit=3), "a": limited(limit=3)["a"] + ", weight: 5"})
    assert view_of(world.bridge, "a").hold_off.left_s is None
    world.reload(limited(limit=30))
    assert view_of(world.bridge, "a").hold_off is None


def test_a_policy_that_lets_more_in_is_held_against_the_limit(make_world, tmp_path):
    text = "policies: {{p: {{terms: [{{term: no, match: {{prefix: {} or-longer}}, then: reject}}, "
    rest = "{term: rest, then: accept}]}}"
    (tmp_path / "p.yml").write_text(text.format("198.18.0.0/16") + rest)
    peers = {"a": ", import: p, max_prefix: {ipv4: {limit: 3, count: accepted}}", "b": ""}
    world = make_world(peers, policies="[p.yml]")
    world.up("a")
    send(world, *nets(5))
    (tmp_path / "p.yml").write_text(text.format("10.0.0.0/8") + rest)
    world.reload(peers, policies="[p.yml]")
    world.finish()
    assert [order.subcode for order in orders(world, Teardown)] == [1]
