"""From lanes to planes: one by one and in runs, what is wrong with them, and tables that are full."""

from __future__ import annotations

import time

import pytest

from bgpbridge.feed.control import Teardown
from bgpbridge.feed.frames import DownReason
from bgpbridge.pipeline.peers import Phase
from bgpbridge.rib.pieces import Pieces, Size
from bgpbridge.types import Family, Prefix, Verdict
from bgpbridge.wire.attributes import encode_attribute
from bgpbridge.wire.message import build_update

V4, V6 = Family.IPV4, Family.IPV6
NET, SIX = "203.0.113.0/24", "2001:db8:9::/48"
A, B = "10.0.1.2", "10.0.2.2"


@pytest.fixture
def up(world):
    for name in "ab":
        world.up(name)
    return world


@pytest.mark.parametrize("bulk", [False, True])
def test_a_route_reaches_both_planes_and_leaves_them(up, octets, bulk):
    up.says("a", up.route("a", NET), up.route("a", SIX), bulk=bulk)
    assert up.ways() == {NET: {A}, SIX: {"2001:db8:1::2"}}
    up.says("a", octets.withdraw(NET), octets.withdraw(SIX), bulk=bulk)
    assert up.ways() == {}
    assert up.peer("a").updates == 4


def test_how_long_it_took_is_counted_for_single_updates_that_move_a_prefix(up):
    counted = lambda: up.bridge.ingest.store_times.buckets()[-1][1]  # noqa: E731
    up.bridge.ingest.begin(time.monotonic())
    up.says("a", up.route("a", NET))
    assert counted() == 1
    up.says("a", up.route("a", NET))
    up.says("a", up.route("a", "198.51.100.0/24"), bulk=True)
    assert counted() == 1
    assert 0 < up.bridge.ingest.store_times.sum_s < 1


@pytest.mark.parametrize("bulk", [False, True])
def test_the_end_of_a_table_is_noted(up, octets, bulk):
    up.says("a", octets.end_of_rib(V4), octets.end_of_rib(V6), bulk=bulk)
    assert up.peer("a").end_of_rib == set(Family)
    assert up.events("end-of-rib") == ["ipv4", "ipv6"]


@pytest.mark.parametrize("bulk", [False, True])
def test_a_malformed_attribute_withdraws_and_is_counted(up, octets, bulk):
    up.says("a", up.route("a", NET))
    bad = octets.announce(NET, path=(65001,), hop=A, more=encode_attribute(4, b"\0\0\0\0\5"))
    up.says("a", bad, bad, bulk=bulk)
    assert up.ways() == {}
    [(finding, times)] = up.peer("a").findings.items()
    assert (finding.verdict, finding.code, times) == (Verdict.TREAT_AS_WITHDRAW, 4, 2)


@pytest.mark.parametrize("bulk", [False, True])
def test_what_cannot_be_framed_ends_the_session_and_what_came_before_it_stands(up, bulk):
    broken = bytearray(build_update(withdrawn=b"\x18\xcb\0\x71"))
    broken[19:21] = b"\xff\xff"
    up.says("a", up.route("a", NET), bytes(broken), up.route("a", "198.51.100.0/24"), bulk=bulk)
    assert up.ways() == {NET: {A}}
    assert up.peer("a").phase is Phase.RESETTING
    [order] = up.commands()
    assert isinstance(order, Teardown)
    assert (order.peer, order.code) == (up.peer("a").index, 3)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_damaged_family_is_disabled_and_the_other_goes_on(up, bulk):
    up.says("a", up.route("a", SIX))
    reach = b"\0\2\1\x05" + bytes(5) + b"\0" + b"\x30\x20\1\r\xb8\0\1"  # a next hop of 5 octets: RFC 7606 s7.11
    bad = build_update(
        encode_attribute(1, b"\0") + encode_attribute(2, b"\2\1\0\0\xfd\xe9") + encode_attribute(14, reach)
    )
    up.says("a", bad, up.route("a", NET), bulk=bulk)
    up.finish()
    verdicts = {finding.verdict for finding in up.peer("a").findings}
    if Verdict.AFI_SAFI_DISABLE in verdicts:
        assert up.ways() == {NET: {A}}
        assert up.peer("a").families == {V4}
    else:
        assert verdicts == {Verdict.SESSION_RESET}
        assert up.peer("a").phase is Phase.RESETTING


def test_updates_without_a_session_are_not_for_us(world):
    world.says("a", world.route("a", NET))
    world.says("a", world.route("a", NET), bulk=True)
    assert world.ways() == {}


# -- points in a run -------------------------------------------------------------------------------------------------


def test_pieces_of_a_run_are_small_while_somebody_waits_for_each(up):
    up.bridge.rib.pieces = Pieces(Size(1, 32, 64), Size(1, 32, 64))
    points = []
    for run, hurried in enumerate((False, True, False)):
        up.bridge.rib.pieces.rows.now = 1.0 if hurried else 64.0
        up.bridge.ingest.pace(hurried=hurried)
        with up.running():
            octets = b"".join(many(up, 64, 64 * run))
            points.append(sum(1 for _ in up.bridge.ingest.run(up.peer("b").index, octets)))
    assert points[0] < points[1] > points[2]
    assert len(up.ways()) == 192


def test_a_session_that_ends_while_its_run_is_decoded_takes_nothing_more_in(up):
    with up.running():
        run = up.bridge.ingest.run(up.peer("a").index, up.route("a", NET))
        next(run)
    up.down("a")
    with up.running():
        assert list(run) != []
    assert up.ways() == {}
    assert up.peer("a").updates == 0


# -- full tables -----------------------------------------------------------------------------------------------------


def many(up, count, start=0):
    return [up.route("b", f"10.{100 + number // 256}.{number % 256}.0/24") for number in range(start, start + count)]


@pytest.mark.parametrize("bulk", [False, True])
def test_a_peer_that_fills_the_table_loses_its_session_and_nobody_else_anything(up, bulk):
    up.says("a", up.route("a", NET))
    up.says("b", *many(up, 1100), bulk=bulk)
    assert up.peer("b").phase is Phase.RESETTING
    assert [(order.code, order.subcode) for order in up.commands()] == [(6, 8)]
    assert "ipv4 prefixes are known" in up.events("out-of-resources")[0]
    up.assert_in_step()
    up.down("b", DownReason.NOTIFICATION_SENT)
    up.finish()
    assert up.ways() == {NET: {A}}
    assert up.peer("a").phase is Phase.ESTABLISHED


def test_when_one_family_of_an_update_does_not_fit_the_other_still_reaches_the_planes(up):
    up.says("b", *many(up, 1024)[:1023])
    up.says("a", up.route("a", SIX), up.route("a", NET))
    reach = b"\0\2\1\x10" + bytes.fromhex("20010db8000100000000000000000002") + b"\0"
    octets = encode_attribute(1, b"\0") + encode_attribute(2, b"\2\1\0\0\xfd\xe9") + encode_attribute(3, b"\n\0\1\2")
    octets += encode_attribute(14, reach + bytes.fromhex("3020010db80077"))
    up.says("a", build_update(octets, bytes([24, 192, 0, 2])))
    up.assert_in_step()


@pytest.fixture
def few_groups(up):
    """Two free ids are left."""
    ids = up.bridge.rib.groups._free
    ids.limit = ids._next + 1
    return up


@pytest.mark.parametrize("bulk", [False, True])
def test_without_a_free_group_rows_keep_what_they_have_and_are_made_good_later(few_groups, octets, bulk):
    up = few_groups
    up.says("a", up.route("a", NET), up.route("a", "198.51.100.0/24"), bulk=bulk)
    up.says("b", up.route("b", "192.0.2.0/24"), bulk=bulk)
    up.says("b", up.route("b", NET, longer=1), bulk=bulk)  # a with b behind it: backups are left out
    up.up("c")
    up.says("c", up.route("c", "192.88.0.0/24"), bulk=bulk)
    up.assert_in_step()
    assert up.bridge.rib.undecided == 1
    assert "192.88.0.0/24" not in up.ways()
    assert {up.peer(name).phase for name in "abc"} == {Phase.ESTABLISHED}
    up.house()
    up.says("b", octets.withdraw("192.0.2.0/24"), octets.withdraw(NET), bulk=bulk)
    up.house()
    up.finish()
    assert up.ways()["192.88.0.0/24"] == {"10.0.1.3"}
    assert up.bridge.rib.undecided == 0
    up.assert_in_step()
    told = sorted(text.partition(" ")[0] for text in up.events("out-of-resources"))
    assert told == ["1", "backups"]


@pytest.mark.parametrize("bulk", [False, True])
def test_backups_that_were_left_out_come_back_when_there_is_room(few_groups, bulk):
    up = few_groups
    up.says("a", up.route("a", NET), bulk=bulk)
    up.says("b", up.route("b", "192.0.2.0/24"), bulk=bulk)
    up.says("b", up.route("b", NET, longer=1), bulk=bulk)
    rib = up.bridge.rib

    def backups():
        row = rib.families[Family.IPV4].prefixes.find_one(0, Prefix.parse(NET).value, 24)
        return [member.peer for member in rib.groups[int(rib.families[Family.IPV4].group[row])].backup]

    up.house()
    up.finish()
    assert backups() == []
    rib.groups._free.limit = rib.groups.limit
    for _ in range(2):
        up.house()
        up.finish()
        assert backups() == [up.peer("b").index]
        assert rib.groups.thinned == 0
    assert up.events("out-of-resources") == [
        "backups are left out of next-hop groups until there is room: all ids are in use"
    ]


def test_a_lost_peers_routes_go_even_when_no_group_is_free(few_groups):
    up = few_groups
    up.says("a", up.route("a", NET), up.route("a", "198.51.100.0/24", longer=2))
    up.says("b", up.route("b", "198.51.100.0/24"))
    up.down("b")
    up.down("a")
    up.finish()
    assert up.ways() == {}
    up.assert_in_step()


def test_a_group_that_a_plane_still_holds_keeps_its_id(up, octets):
    up.says("a", up.route("a", NET))
    [group] = set(up.xdp.routes.values())
    up.says("a", octets.withdraw(NET))
    up.xdp.stuck = {group}
    up.house()
    assert up.xdp.freed == []
    up.xdp.stuck, up.kernel.stuck = set(), {group}
    up.house()
    assert up.xdp.freed == []
    up.kernel.stuck = set()
    up.house()
    assert up.xdp.freed == up.kernel.freed == [group]


def test_a_group_is_stored_anew_when_its_id_is_given_out_again(up, octets):
    up.says("a", up.route("a", NET))
    [group] = set(up.xdp.routes.values())
    up.says("a", octets.withdraw(NET))
    up.house()
    up.says("b", up.route("b", NET))
    assert set(up.xdp.routes.values()) == {group}
    assert up.ways() == {NET: {B}}
