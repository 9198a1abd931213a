"""What goes wrong in a router's life, under traffic: nothing that still works may notice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from bgpbridge.bench.feeds import Feed, made, update, withdrawal
from bgpbridge.bench.rig import uplink
from bgpbridge.datapath.pins import layout_folder
from bgpbridge.lab import namespaces
from bgpbridge.lab.measure import Report
from bgpbridge.types import Family
from bgpbridge.wire.message import build_update

pytestmark = pytest.mark.root

ROUTES = {"ipv4": 3000, "ipv6": 0}
BRIDGE, SPEAKER = "bgpbridge.daemon.bridge", "bgpbridge.speaker.main"


@pytest.fixture
def both(edge: Any, feeds: dict[str, Feed]) -> Any:
    """Both providers up with their tables, all of it in both planes; the way by `a` is the better one."""
    for letter in "ab":
        edge.tester(letter, table=feeds[letter].octets)
    for tester in edge.testers:
        tester.until_up()
    edge.until(lambda: all(peer["routes"]["ipv4"]["received"] == 3000 for peer in edge.get("/v1/peers")), "both tables")
    edge.settled(ROUTES)
    return edge


def during(edge: Any, feeds: dict[str, Feed], act: Callable[[], None], after_s: float = 0.5) -> Report:
    """What became of a stream of packets while something happened."""
    stream = edge.stream(feeds["a"].alone(40))
    time.sleep(0.3)
    act()
    time.sleep(after_s)
    return stream.stop()


# --- our own processes end ----------------------------------------------------------------------------------


def test_a_killed_bridge_loses_no_packet_and_comes_back_in_step(both: Any, feeds: dict[str, Feed]) -> None:
    before = both.status()

    def kill() -> None:
        both.kill(BRIDGE)
        both.until(lambda: both.status()["process"] != before["process"], "a new bridge")
        both.settled(ROUTES)

    report = during(both, feeds, kill)
    assert report.lost == 0
    assert report.ways == {"eth1": report.received}
    assert [tester.sessions for tester in both.testers] == [1, 1]
    both.assert_clean()
    assert both.events("adoption-finished")


def test_a_bridge_of_another_version_starts_anew_and_no_packet_goes_astray(both: Any, feeds: dict[str, Feed]) -> None:
    before, pins = both.status()["process"], layout_folder(both.folder / "bpf" / "bgpbridge")

    def kill() -> None:
        pins.rename(pins.with_name("v2"))
        both.kill(BRIDGE)
        both.until(lambda: both.status()["process"] != before, "a new bridge")
        both.settled(ROUTES)
        both.until(lambda: both.status()["xdp"]["enabled"], "XDP forwards")

    report = during(both, feeds, kill)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    assert "until the peers have sent their tables" in both.events("other-layout")[0]["text"]
    assert not pins.with_name("v2").exists()
    both.assert_clean()


def test_routes_that_went_while_the_bridge_was_dead_are_swept(both: Any, feeds: dict[str, Feed]) -> None:
    before = both.status()["process"]
    kept = made_shorter(feeds["a"].octets)
    both.kill(BRIDGE)
    for tester in both.testers:
        tester.table = kept
    both.until(lambda: both.status()["process"] != before, "a new bridge")
    count = both.until(lambda: (now := both.status()["routes"]["ipv4"]) < 3000 and now, "fewer routes")
    both.settled({"ipv4": count, "ipv6": 0})
    both.assert_clean()


def made_shorter(octets: bytes) -> bytes:
    """The first half of a run of messages."""
    position = 0
    while position < len(octets) // 2:
        position += int.from_bytes(octets[position + 16 : position + 18], "big")
    return octets[:position]


def test_a_killed_speaker_loses_no_packet_and_its_routes_are_held(both: Any, feeds: dict[str, Feed]) -> None:
    phases: list[str] = []

    def kill() -> None:
        both.kill(SPEAKER)
        both.until(lambda: phases.append(both.peer("up-a")["state"]) or phases[-1] == "stale", "stale routes")
        assert both.status()["routes"] == ROUTES
        for tester in both.testers:
            tester.until_up(sessions=2)
        both.until(lambda: both.peer("up-a")["state"] == "established", "sessions again")
        both.settled(ROUTES)

    report = during(both, feeds, kill)
    assert report.lost == 0
    assert report.ways == {"eth1": report.received}
    both.assert_clean()


def test_everything_killed_at_once_loses_no_packet_and_a_new_run_adopts(both: Any, feeds: dict[str, Feed]) -> None:
    def kill() -> None:
        for pid in (both.child(BRIDGE), both.child(SPEAKER), both.supervisor):
            os.kill(pid, signal.SIGKILL)
        both.stop()
        both.start()
        for tester in both.testers:
            tester.until_up(sessions=2)
        both.settled(ROUTES)

    report = during(both, feeds, kill)
    assert report.lost == 0
    both.assert_clean()


def test_a_run_after_a_crash_waits_for_a_provider_that_comes_back_late(edge: Any, feeds: dict[str, Feed]) -> None:
    """Prefixes that only `b` has are kept until `b` is back: `a` being complete is not the end of it."""
    half = made_shorter(feeds["a"].octets)
    edge.tester("a", table=half).until_up()
    late = edge.tester("b", table=feeds["b"].octets).until_up()
    edge.until(lambda: edge.peer("up-b")["routes"]["ipv4"]["received"] == 3000, "b's table")
    edge.settled(ROUTES)

    def crash() -> None:
        late.drop()
        for pid in (edge.supervisor, edge.child(BRIDGE), edge.child(SPEAKER)):
            os.kill(pid, signal.SIGKILL)
        edge.stop()
        edge.start()
        edge.testers[0].until_up(sessions=2)
        edge.until(lambda: "ipv4" in edge.peer("up-a")["end_of_rib"], "all of a's table")
        time.sleep(1)
        edge.testers.append(edge.rig.tester("b", table=feeds["b"].octets).start().until_up())
        edge.settled(ROUTES)

    report = during(edge, feeds, crash)
    assert report.lost == 0
    assert set(report.ways) == {"eth1", "eth2"}
    edge.assert_clean()


def test_a_bridge_that_is_killed_while_a_table_comes_in_ends_in_step(edge: Any) -> None:
    big = made(60_000, uplink("a").origin())
    first = edge.tester("a", table=big.octets).until_up()
    for _ in range(3):
        before = edge.status()["process"]
        edge.until(lambda: edge.status()["routes"]["ipv4"], "the first routes")
        edge.kill(BRIDGE)
        edge.until(lambda before=before: edge.status()["process"] != before, "a new bridge")
    edge.settled({"ipv4": 60_000, "ipv6": 0})
    assert first.sessions == 1
    edge.assert_clean()


def test_a_bridge_that_stands_still_costs_no_session(edge: Any, feeds: dict[str, Feed]) -> None:
    """The speaker keeps sessions alive by itself; what came meanwhile waits in the lane."""
    steady = edge.tester("a", table=feeds["a"].octets, hold_time_s=3).until_up()
    edge.settled(ROUTES)

    def stand_still() -> None:
        pid = edge.child(BRIDGE)
        os.kill(pid, signal.SIGSTOP)
        steady.send(withdrawal(feeds["a"].prefix(10)))  # none that the stream goes to
        time.sleep(5)
        os.kill(pid, signal.SIGCONT)
        edge.settled({"ipv4": 2999, "ipv6": 0})

    report = during(edge, feeds, stand_still)
    assert report.lost == 0
    assert steady.sessions == 1
    edge.assert_clean()


def test_a_stopped_daemon_leaves_the_datapath_forwarding(both: Any, feeds: dict[str, Feed]) -> None:
    report = during(both, feeds, both.stop, after_s=1.0)
    assert report.lost == 0
    assert report.ways == {"eth1": report.received}


def test_a_second_daemon_is_refused_with_a_sentence(both: Any) -> None:
    second = both.cli("run", "-c", str(both.folder / "bgpbridge.yaml"))
    assert second.returncode == 2
    assert f"another bgpbridge (process {both.supervisor}) already runs" in second.stderr
    assert "Traceback" not in second.stderr
    assert both.peer("up-a")["state"] == "established"


# --- a way is lost --------------------------------------------------------------------------------------------


def assert_moved(report: Report, since_ns: float) -> None:
    """On the other uplink at the end, and nothing lost from a twentieth of a second after the event on."""
    assert report.last_way == "eth2"
    assert report.ways["eth1"] > 0
    ended_ms = [(outage.began_ns - since_ns) / 1e6 + outage.lasted_ms for outage in report.outages]
    assert max(ended_ms, default=0) < 50, report


def heard_ns(edge: Any, kind: str) -> float:
    """When the bridge heard of something, on the monotonic clock."""
    to_monotonic = time.monotonic() - time.time()
    return (edge.events(kind)[-1]["at"] + to_monotonic) * 1e9


@pytest.mark.alone
def test_a_lost_uplink_moves_traffic_and_comes_back(both: Any, feeds: dict[str, Feed]) -> None:
    # The far end stops taking packets first, and the kernel tells of it when it has waited for readers (RCU): the
    # event is what counts, and how long the kernel takes to tell is its own affair.
    report = during(both, feeds, lambda: both.rig.set_uplink("a", up=False))
    assert_moved(report, heard_ns(both, "link-down"))
    both.settled(ROUTES)
    both.assert_clean()
    both.rig.set_uplink("a", up=True)
    both.until(lambda: both.status()["adjacencies_down"] == 0, "the adjacency again")
    both.settled(ROUTES)
    report = during(both, feeds, lambda: None)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    both.assert_clean()


def test_an_uplink_that_flaps_ends_in_step(both: Any, feeds: dict[str, Feed]) -> None:
    def flap() -> None:
        for _ in range(10):
            both.rig.set_uplink("a", up=False)
            both.rig.set_uplink("a", up=True)

    report = during(both, feeds, flap, after_s=3.0)
    assert report.last_way == "eth1"
    both.settled(ROUTES)
    both.assert_clean()
    report = during(both, feeds, lambda: None)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})


def test_both_uplinks_lost_come_back_by_themselves(both: Any, feeds: dict[str, Feed]) -> None:
    for letter in "ab":
        both.rig.set_uplink(letter, up=False)
    both.until(lambda: both.status()["adjacencies_down"] == 2, "both are down")
    for letter in "ab":
        both.rig.set_uplink(letter, up=True)
    both.until(lambda: both.status()["adjacencies_down"] == 0, "both are up")
    both.settled(ROUTES)
    both.assert_clean()
    report = during(both, feeds, lambda: None)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})


@pytest.mark.alone
def test_a_lost_session_moves_traffic(both: Any, feeds: dict[str, Feed]) -> None:
    report = during(both, feeds, both.testers[0].drop)
    assert_moved(report, heard_ns(both, "session-down"))
    both.settled(ROUTES)
    assert both.peer("up-a")["state"] == "down"
    both.assert_clean()


def test_a_graceful_restart_of_a_peer_moves_nothing(edge: Any, feeds: dict[str, Feed]) -> None:
    for letter in "ab":
        edge.tester(letter, table=feeds[letter].octets, restart_s=30, restarting=True).until_up()
    edge.until(lambda: all(peer["routes"]["ipv4"]["received"] == 3000 for peer in edge.get("/v1/peers")), "both tables")
    edge.settled(ROUTES)

    def restart() -> None:
        edge.testers[0].drop(again=True)
        edge.testers[0].until_up(sessions=2)
        edge.settled(ROUTES)

    report = during(edge, feeds, restart)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    edge.assert_clean()


def test_an_interface_that_vanishes_and_comes_back_is_taken_up_again(both: Any, feeds: dict[str, Feed]) -> None:
    both.ip("link", "del", "eth1")
    try:
        both.until(lambda: both.events("xdp-detached"), "the interface is gone")
        both.settled(ROUTES)
        report = during(both, feeds, lambda: None)
        assert (report.lost, report.ways) == (0, {"eth2": report.received})
        both.assert_clean()
    finally:
        rebuild_uplink_a(both)
    both.until(lambda: "native" in modes(both)["eth1"], "XDP on the new interface")
    both.settled(ROUTES)
    both.until(lambda: both.status()["adjacencies_down"] == 0, "the adjacency again")
    both.until(lambda: all(group["flags"] == "valid" for group in both.get("/v1/groups")), "valid groups")
    report = during(both, feeds, lambda: None)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    both.assert_clean()


def modes(edge: Any) -> dict[str, str]:
    return {interface["name"]: interface["mode"] for interface in edge.status()["interfaces"]}


def rebuild_uplink_a(edge: Any) -> None:
    """The cable of uplink a, made anew: other ifindexes, another MAC on our side."""
    far = edge.rig.inside("far")
    edge.ip("link", "add", "eth1", "index", "901", "type", "veth", "peer", "eth1", "index", "902", "netns", far)
    for namespace, last in ((edge.namespace, 1), (far, 2)):
        for words in (
            f"addr add 10.0.1.{last}/24 dev eth1",
            f"addr add 2001:db8:a::{last}/64 dev eth1 nodad",
            "link set eth1 up",
        ):
            subprocess.run(["ip", "-n", namespace, *words.split()], check=True)
    for namespace in (edge.namespace, far):
        namespaces.inside(namespace, lambda: namespaces.tune("eth1"))


# --- peers that do wrong ------------------------------------------------------------------------------------


def test_a_peer_with_the_wrong_as_is_refused_and_nobody_else_notices(edge: Any, feeds: dict[str, Feed]) -> None:
    good = edge.tester("a", table=feeds["a"].octets).until_up()
    edge.settled(ROUTES)
    wrong = edge.tester("b", asn=64999, table=feeds["b"].octets)

    def wait() -> None:
        edge.until(lambda: len(wrong.ended) > 3, "refusals")

    report = during(edge, feeds, wait)
    assert report.lost == 0
    assert wrong.sessions == 0
    assert "Bad Peer AS" in " ".join(wrong.ended)
    assert good.sessions == 1
    assert any("its AS is 64999, configured is 64602" in notice["text"] for notice in edge.peer("up-b")["notices"])


def test_a_flapping_peer_costs_nobody_else_anything(edge: Any, feeds: dict[str, Feed]) -> None:
    edge.tester("a", table=feeds["a"].octets).until_up()
    edge.settled(ROUTES)
    flapping = edge.tester("b", table=feeds["b"].octets)

    def flap() -> None:
        for number in range(1, 6):
            flapping.until_up(sessions=number)
            flapping.drop(again=True)

    report = during(edge, feeds, flap)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    assert edge.testers[0].sessions == 1
    flapping.until_up(sessions=6)
    edge.settled(ROUTES)
    edge.assert_clean()


def test_a_flood_of_malformed_updates_is_withdrawn_and_counted_and_nobody_else_notices(
    edge: Any, feeds: dict[str, Feed]
) -> None:
    edge.tester("a", table=feeds["a"].octets).until_up()
    edge.settled(ROUTES)
    bad = edge.tester("b", table=feeds["b"].octets).until_up()
    edge.until(lambda: edge.peer("up-b")["routes"]["ipv4"]["received"] == 3000, "b's table")
    good = feeds["a"].octets
    origin_of_9 = bytes.fromhex("40010109") + bytes.fromhex("4002060201") + (64602).to_bytes(4, "big")
    origin_of_9 += bytes.fromhex("400304") + uplink("b").theirs.packed
    nlri = [bytes([24, 50, number >> 8, number & 255]) for number in range(2000)]
    flood = b"".join(build_update(origin_of_9, prefix) for prefix in nlri)

    report = during(edge, feeds, lambda: bad.send(flood * 5))
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    found = edge.until(lambda: edge.peer("up-b")["findings"], "findings")
    edge.until(lambda: edge.peer("up-b")["findings"][0]["count"] == 10_000, "all of them counted")
    assert (found[0]["verdict"], found[0]["attribute"]) == ("treat-as-withdraw", 1)
    assert edge.testers[1].sessions == edge.testers[0].sessions == 1
    edge.settled(ROUTES)
    edge.assert_clean()
    assert good == feeds["a"].octets


def test_an_update_that_cannot_be_framed_ends_that_session_alone(edge: Any, feeds: dict[str, Feed]) -> None:
    edge.tester("a", table=feeds["a"].octets).until_up()
    bad = edge.tester("b", table=feeds["b"].octets).until_up()
    edge.until(lambda: edge.peer("up-b")["routes"]["ipv4"]["received"] == 3000, "b's table")
    # the withdrawn routes are longer than the message: RFC 4271 s6.3, Malformed Attribute List
    broken = bytearray(build_update(withdrawn=bytes([24, 50, 0, 1])))
    broken[19:21] = b"\xff\xff"
    bad.again = False
    bad.send(bytes(broken))
    assert "NOTIFICATION" in bad.until_ended()
    edge.settled(ROUTES)
    assert edge.testers[0].sessions == 1
    edge.assert_clean()


def test_a_silent_peer_is_given_up_by_its_hold_timer(edge: Any, feeds: dict[str, Feed]) -> None:
    edge.tester("b", table=feeds["b"].octets).until_up()
    silent = edge.tester("a", table=feeds["a"].octets, hold_time_s=3)
    silent.mute, silent.again = True, False
    silent.until_up()
    assert "Hold Timer Expired" in silent.until_ended()
    edge.until(lambda: [event for event in edge.events("session-down") if "hold timer" in event["text"]], "it is told")
    edge.settled(ROUTES)
    assert edge.testers[0].sessions == 1


# --- an operator's doings --------------------------------------------------------------------------------------


def test_a_reload_adds_a_peer_and_another_session_never_blinks(edge: Any, feeds: dict[str, Feed]) -> None:
    one = edge.folder / "bgpbridge.yaml"
    data = yaml.safe_load(one.read_text())
    two = data["peers"].pop()
    one.write_text(yaml.safe_dump(data))
    edge.client.post("/v1/reload")
    steady = edge.tester("a", table=feeds["a"].octets).until_up()
    edge.settled(ROUTES)

    def add() -> None:
        data["peers"].append(two)
        one.write_text(yaml.safe_dump(data))
        assert "peer up-b added" in edge.client.post("/v1/reload")["done"]
        edge.tester("b", table=feeds["b"].octets).until_up()
        edge.until(lambda: edge.peer("up-b")["routes"]["ipv4"]["received"] == 3000, "the new peer's table")

    report = during(edge, feeds, add)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    assert steady.sessions == 1
    data["peers"].pop()
    one.write_text(yaml.safe_dump(data))
    assert "peer up-b removed" in edge.client.post("/v1/reload")["done"]
    edge.testers[1].until_ended()
    edge.settled(ROUTES)
    assert steady.sessions == 1
    edge.assert_clean()


def test_a_wrong_file_is_refused_and_everything_goes_on(both: Any) -> None:
    path = both.folder / "bgpbridge.yaml"
    good = path.read_text()
    for wrong in ("", "router: {asn: 64700}\n", good + "\nunknown: 1\n", good[: len(good) // 2]):
        path.write_text(wrong)
        done = both.cli("reload")
        assert done.returncode == 2, (wrong, done)
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr
    path.write_text(good)
    assert [tester.sessions for tester in both.testers] == [1, 1]
    assert both.status()["routes"] == ROUTES


def test_a_foreign_hand_on_our_routes_is_put_right(both: Any, feeds: dict[str, Feed]) -> None:
    deleted, overwritten = (str(feeds["a"].prefix(row)) for row in (0, 1))
    both.ip("route", "del", deleted, "metric", "200")
    both.ip("route", "replace", overwritten, "via", "10.0.2.2", "metric", "200")
    both.until(lambda: both.status()["kernel"]["repaired"] >= 2, "both are put back")
    both.settled(ROUTES)
    both.assert_clean()
    for prefix in (deleted, overwritten):
        assert "proto 203" in both.ip("route", "show", prefix)


def test_a_static_route_wins_in_both_planes_and_gives_way_again(both: Any, feeds: dict[str, Feed]) -> None:
    address = feeds["a"].alone(1)[0]
    both.ip("route", "add", f"{address}/32", "via", "10.0.2.2")
    stream = both.stream([address])
    time.sleep(0.5)
    both.ip("route", "del", f"{address}/32")
    report = stream.stop()
    assert report.lost == 0
    assert "eth2" in report.ways
    both.until(lambda: both.get(f"/v1/fib/{address}")["xdp_value"] > 2, "the group again")
    both.settled(ROUTES)
    both.assert_clean()


def test_off_and_on_lose_no_packet(both: Any, feeds: dict[str, Feed]) -> None:
    def switch() -> None:
        both.client.post("/v1/off")
        assert not both.status()["forwarding"]
        time.sleep(0.3)
        both.client.post("/v1/on")

    report = during(both, feeds, switch)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})


def test_another_program_and_other_maps_lose_no_packet(both: Any, feeds: dict[str, Feed]) -> None:
    path = both.folder / "bgpbridge.yaml"
    data = yaml.safe_load(path.read_text())
    data["datapath"] |= {"engine": "lpm", "max_ipv4": 1_300_000}
    path.write_text(yaml.safe_dump(data))
    assert both.client.post("/v1/reload")["restart"] == ["datapath.engine", "datapath.max_ipv4"]

    def upgrade() -> None:
        done = both.cli("datapath", "upgrade", "--watch", "1")
        assert done.returncode == 0, done
        assert "new maps filled beside the old ones" in done.stdout

    report = during(both, feeds, upgrade, 0)
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    assert both.client.post("/v1/reload")["restart"] == []
    now = both.status()["xdp"]
    assert (now["engine"]["ipv4"], now["capacity"]["ipv4"]) == ("lpm", 1_300_000)
    both.assert_clean()


def test_clear_leaves_nothing_of_ours(both: Any) -> None:
    both.stop()
    done = both.cli("clear", "-c", str(both.folder / "bgpbridge.yaml"))
    assert done.returncode == 0, done
    assert both.ip("route", "show", "protocol", "203") == ""
    assert both.ip("nexthop", "show") == ""
    assert "xdp" not in both.ip("-o", "link", "show")
    assert not (both.folder / "bpf" / "bgpbridge").exists()


# --- routes themselves --------------------------------------------------------------------------------------------


def test_both_families_at_once_stand_and_forward(edge: Any, feeds: dict[str, Feed], feeds6: dict[str, Feed]) -> None:
    path = edge.folder / "bgpbridge.yaml"
    data = yaml.safe_load(path.read_text())
    up = uplink("a", Family.IPV6)
    data["peers"].append({"name": up.name, "address": str(up.theirs), "asn": up.asn, "families": ["ipv6"]})
    path.write_text(yaml.safe_dump(data))
    edge.client.post("/v1/reload")
    edge.tester("a", table=feeds["a"].octets)
    edge.tester("a", Family.IPV6, table=feeds6["a"].octets)
    edge.settled({"ipv4": 3000, "ipv6": 500})
    stream = edge.stream([*feeds["a"].alone(10), *feeds6["a"].alone(10)])
    time.sleep(0.5)
    report = stream.stop()
    assert (report.lost, report.ways) == (0, {"eth1": report.received})
    edge.assert_clean()


def test_a_router_that_flips_one_route_a_thousand_times_ends_in_step(both: Any, feeds: dict[str, Feed]) -> None:
    first = both.testers[0]
    prefix = feeds["a"].prefix(0)
    nlri = bytes([prefix.length]) + prefix.octets[: prefix.length + 7 >> 3]
    better, worse = (update(Family.IPV4, nlri, uplink("a").origin(longer)) for longer in (0, 9))
    first.table += worse  # should the bridge ask for all of it again meanwhile
    first.send((worse + better) * 500 + worse)
    both.until(lambda: both.get(f"/v1/explain/{prefix}")["paths"][0]["peer"] == "up-b", "b's way")
    both.settled(ROUTES)
    both.assert_clean()
