"""Whole tables: what is announced, configured, asked of the kernel, and what becomes of turns that do not end."""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpbridge.bench.feeds import made
from bgpbridge.bench.records import summarise
from bgpbridge.bench.results import Figure, Results
from bgpbridge.bench.whole import aims, command, configurations, growth, histogram, suite, tables
from bgpbridge.bench.whole.contenders import Who
from bgpbridge.bench.whole.exabgp_ip import Table as IpTable
from bgpbridge.bench.whole.kernel import counted_ipv4, counted_ipv6, question
from bgpbridge.bench.whole.movers import movers
from bgpbridge.bench.whole.note import note
from bgpbridge.bench.whole.on_time import late_s, longest_s
from bgpbridge.bench.whole.scale import Scale, words
from bgpbridge.config import load_config
from bgpbridge.errors import UsageError
from bgpbridge.types import Family, Prefix, Session
from bgpbridge.wire.message import iter_messages
from bgpbridge.wire.update import decode_update

COUNT = 2000


@pytest.mark.parametrize("longer", [0, 1])
def test_a_feed_from_another_neighbour_is_the_one_that_would_have_been_made(longer: int) -> None:
    for number in (1, 3):
        origin = tables.neighbour(number).origin(longer)
        assert tables.table(COUNT, number, 10, longer=longer).feed.octets == made(COUNT, origin).octets


@pytest.mark.parametrize("family", Family)
def test_the_mark_is_the_last_prefix_and_its_sample_the_last(
    family: Family, make_session: Callable[..., Session]
) -> None:
    table = tables.table(COUNT, 1, 10, family)
    session = make_session(local_as=64700, peer_as=64602)
    updates = [decode_update(message, session) for message in iter_messages(table.octets)]
    last = updates[-1].announced[0].prefix
    assert last.covers(table.samples[-1])
    assert not any(last.covers(table.feed.prefix(row)) for row in range(COUNT))
    assert sum(len(update.announced) for update in updates) == table.least == COUNT + 1
    assert len(table.samples) == 11


def test_neighbours_have_addresses_and_marks_of_their_own() -> None:
    for family in Family:
        assert len({tables.neighbour(number, family).theirs for number in range(8)}) == 8
        marks = {tables.table(100, number, 5, family).samples[-1] for number in range(8)}
        assert len(marks) == 8
    assert [tables.neighbour(number).interface for number in range(4)] == ["eth1", "eth2"] * 2


def test_a_recorded_table_loses_its_default_route_and_its_next_hops(
    shared_data: Path, make_session: Callable[..., Session]
) -> None:
    path = shared_data / "mrt" / "nlri-trailing-bits.mrt.gz"
    table = tables.recorded(path, 2)
    session = make_session(local_as=64700, peer_as=64700)
    announced = [
        route for message in iter_messages(table.octets) for route in decode_update(message, session).announced
    ]
    assert announced
    assert Prefix.parse("0.0.0.0/0") not in {route.prefix for route in announced}


def test_prefixes_move_by_a_near_and_a_far_path() -> None:
    feed = tables.table(COUNT, 0, 10).feed
    moving = movers(feed)
    assert len(moving.targets) == 40
    assert not {prefix for prefix, _ in moving.targets} & set(moving.others)
    flip, other = moving.probed()[0], moving.noise(1)[0]
    assert len(flip.by_port["eth1"]) < len(flip.by_port["eth2"])
    assert len(other.by_port["eth2"]) < len(other.by_port["eth1"])


# --- subjects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", Who)
@pytest.mark.parametrize("family", Family)
def test_every_subject_is_configured_with_every_neighbour(who: Who, family: Family, tmp_path: Path) -> None:
    peers = [tables.neighbour(number, family) for number in (0, 1, 3)]
    text = configurations.of(who, peers, tmp_path / "zserv.api", 2_000_000)
    assert all(str(peer.theirs) in text for peer in peers)
    if who is Who.OURS:
        path = tmp_path / "bgpbridge.yaml"
        path.write_text(text)
        config = load_config(path)
        assert [peer.families for peer in config.peers] == [(family,)] * 3
        assert config.datapath.max_ipv4 == 2_400_000


def event(peer: str, path: list[int], announced: list[str] = [], withdrawn: list[str] = []) -> dict[str, object]:  # noqa: B006
    update = {
        "attribute": {"as-path": {"0": {"element": "as-sequence", "value": path}}},
        "announce": {"ipv4 unicast": {peer: [{"nlri": prefix} for prefix in announced]}},
        "withdraw": {"ipv4 unicast": [{"nlri": prefix} for prefix in withdrawn]},
    }
    return {"type": "update", "neighbor": {"address": {"peer": peer}, "message": {"update": update}}}


def test_the_script_behind_exabgp_follows_the_shorter_path() -> None:
    table, prefix = IpTable(), "198.51.100.0/24"
    down = {"type": "state", "neighbor": {"address": {"peer": "b"}, "state": "down"}}
    events = [
        (event("a", [1, 2], [prefix]), [f"route replace {prefix} via a proto 202"]),
        (event("b", [1, 2, 3], [prefix]), []),
        (event("b", [1], [prefix]), [f"route replace {prefix} via b proto 202"]),
        (event("b", [1], [prefix]), []),
        (down, [f"route replace {prefix} via a proto 202"]),
        (event("a", [], [], [prefix]), [f"route del {prefix} proto 202"]),
        (event("a", [], [], [prefix]), []),
    ]
    for heard, expected in events:
        assert list(table.heard(json.loads(json.dumps(heard)))) == expected


# --- the kernel ----------------------------------------------------------------------------------------------


def test_the_kernel_is_asked_for_the_entry_of_one_address() -> None:
    asked = question(tables.neighbour(0).theirs)
    length, kind = struct.unpack_from("=IH", asked)
    assert (length, kind) == (len(asked), 26) == (36, 26)
    assert asked.endswith(bytes([10, 0, 1, 2]))


def test_counts_are_read_as_the_kernel_writes_them() -> None:
    assert counted_ipv4(b"Basic info:\nMain:\n\tAver depth:     1.5\n\tPrefixes:       1234\n\tLocal:\n") == 1234
    assert counted_ipv6(b"0017 0011 000a 0014 0000 000a 0000\n") == 20


# --- the suite ------------------------------------------------------------------------------------------------


def asked(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**({"quick": False, "subjects": "", "runs": 0, "parts": ""} | given))


def test_the_quick_take_turns_and_the_slow_come_once() -> None:
    turns = Scale().turns(tuple(Who))
    assert [str(who) for run, who in turns if run == 0] == [str(who) for who in Who]
    assert [str(who) for run, who in turns if run] == ["bgpbridge", "bird"] * 2


def test_a_quick_run_gives_the_slow_ones_the_whole_table_and_nothing_else() -> None:
    whole, *others = suite.chosen(Scale.quick(), ())
    assert whole.metrics(Who.GOBGP) == {"load_v4_100k": "s", "memory_100k": "MB"}
    assert "update_p50" in whole.metrics(Who.BIRD)
    assert not any({Who.FRR, Who.GOBGP, Who.EXABGP} & set(part.who) for part in others)


def test_all_metrics_of_the_issue_are_given_or_said_to_be_missing() -> None:
    names: set[str] = set()
    for part in suite.chosen(Scale(), ()):
        names |= set(part.metrics(Who.OURS))
    wanted = "load_v4_1m_xdp load_v4_1m load_v6_220k_xdp load_v6_220k update_p50 update_p99 update_p50_1000 storm_p99 "
    wanted += "memory_1m memory_1m_x2 peer_loss_last_1k peer_loss_last_100k peer_loss_last_1m link_loss_last_1m "
    wanted += "withdraw_all_1m policy_reload_1m restart_1m restart_1m_lost bridge_p50 bridge_p99 peers_2x1m "
    wanted += "peers_8x1m audit_divergent loop_lag_p99_load status_p99_load "
    wanted += "probe_late_p99_load keepalive_gap_load"
    assert set(wanted.split()) <= names


def test_a_probe_is_as_late_as_the_pause_before_it_was_too_long() -> None:
    arrivals = [10.0, 10.05, 10.12, 10.14, 10.19]  # 20 ms late, then early
    assert late_s(arrivals, 1.0) == pytest.approx(0.02)
    assert late_s(arrivals, 0.5) == pytest.approx(0.0)


def test_the_longest_pause_reaches_from_before_the_beginning_to_after_the_end() -> None:
    assert longest_s([1.0, 5.0, 6.0, 7.0], began_s=5.5, ended_s=6.5) == pytest.approx(1.0)
    assert longest_s([1.0, 5.0, 6.0], began_s=4.0, ended_s=6.5) == pytest.approx(4.0)
    assert longest_s([5.0, 6.0], began_s=5.5, ended_s=9.0) == pytest.approx(3.0)
    assert longest_s([], began_s=5.5, ended_s=9.0) == pytest.approx(3.5)


def test_only_ours_has_rows_for_xdp_and_the_audit() -> None:
    for part in suite.chosen(Scale(recorded=False), ()):
        for who in part.who:
            found = set(part.metrics(who))
            assert ("audit_divergent" in found) == (who is Who.OURS)
            assert any(name.endswith("_xdp") for name in found) <= (who is Who.OURS)


def test_a_row_that_did_not_end_says_for_how_long_it_was_watched() -> None:
    results = Results()
    results.add("gobgp", Figure("load_v4_1m", "s", None, 200.0))
    results.add("bird", Figure("load_v4_1m", "s", 8.0))
    found = {row.subject: (row.median, row.timeout_s) for row in results.rows()}
    assert found == {"gobgp": (None, 200.0), "bird": (8.0, None)}


def test_what_the_command_line_asks_for() -> None:
    assert command.scale_of(asked(subjects="bird,exabgp-ip", runs=2)).who == (Who.BIRD, Who.EXABGP)
    assert command.scale_of(asked(quick=True)).ipv4 == 100_000
    with pytest.raises(UsageError, match="no subject quagga"):
        command.scale_of(asked(subjects="quagga"))


def test_the_note_says_how_and_what_is_missing() -> None:
    text = note(Scale(), ["load_real_2015: there is no such file"])
    assert "{" not in text
    assert "Left out: load_real_2015: there is no such file." in text
    assert [words(count) for count in (10_000, 220_000, 1_000_000, 577_703)] == ["10k", "220k", "1m", "577703"]


def exposition(counts: list[int]) -> str:
    name = "bgpbridge_update_store_seconds"
    lines = [
        f'{name}_bucket{{le="{bound}"}} {count}.0'
        for bound, count in zip(("2e-05", "0.0001", "0.001", "+Inf"), counts, strict=True)
    ]
    return "\n".join([f"# TYPE {name} histogram", *lines, f"{name}_sum 1.0"])


def test_the_bridges_own_histogram_is_read_between_two_looks() -> None:
    before, after = (histogram.buckets(exposition(counts)) for counts in ([1, 2, 3, 3], [1, 52, 103, 103]))
    assert histogram.quantile(before, after, 0.5) == pytest.approx(0.0001)
    assert histogram.quantile(before, after, 0.75) == pytest.approx(0.00055)
    assert histogram.quantile(before, before, 0.5) is None
    assert histogram.quantile(before, histogram.buckets(exposition([1, 2, 3, 9])), 0.5) is None


def test_growth_is_told_by_route_over_sizes_and_neighbours() -> None:
    given = {
        "load_v4_2m": [8.0],
        "load_v4_10k": [0.1],
        "load_v4_1m_xdp": [1.5],
        "load_v6_220k": [2.0],
        "load_real_2015": [2.0],
        "peers_8x1m": [20.0],
        "peers_8x1m_memory": [900.0],
        "peers_4x1m": [None],
    }
    rows = [summarise(metric, "bgpbridge", values, "", timeout_s=9) for metric, values in given.items()]
    assert [(one.plane, one.neighbours, one.routes, one.each_us) for one in growth.grown(rows)] == [
        ("XDP", 1, 1_000_000, pytest.approx(1.5)),
        ("kernel", 1, 10_000, pytest.approx(10)),
        ("kernel", 1, 2_000_000, pytest.approx(4)),
        ("kernel", 8, 8_000_000, pytest.approx(2.5)),
    ]


def test_aims_are_held_against_the_best_peer_or_the_one_that_is_named() -> None:
    given = {
        ("load_v4_1m_xdp", "bgpbridge"): 1.0,
        ("load_v4_1m", "bird"): 8.0,
        ("load_v4_1m", "frr"): 20.0,
        ("update_p99", "bgpbridge"): 2.0,
        ("update_p99", "bird"): 5.0,
        ("update_p99", "exabgp-ip"): 1.0,
        ("restart_1m_lost", "bgpbridge"): 0.0,
    }
    rows = [summarise(metric, subject, [value], "") for (metric, subject), value in given.items()]
    found = {one.aim.words: (one.value, one.met) for one in aims.reached(rows)}
    assert found == {
        "load_v4_1m_xdp": (1.0, True),
        "load_v4_1m_xdp: the best peer of load_v4_1m to ours, times": (8.0, True),
        "update_p99: bird to ours, times": (2.5, False),
        "restart_1m_lost": (0.0, True),
    }
