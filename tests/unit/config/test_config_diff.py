"""What a reload has to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.config import Config, ConfigDiff, diff, loads_config

BASE = """\
router: {asn: 65000, router_id: 192.0.2.1}
policies: [p.yml]
peers:
  - {name: a, address: 198.51.100.1, asn: 65001, import: in}
  - {name: b, address: 198.51.100.2, asn: 65002, import: accept}
"""
POLICY = "policies: {in: {terms: [{term: all, then: accept}]}}\n"


@pytest.fixture
def load(tmp_path: Path):
    def loader(text: str, policy: str = POLICY) -> Config:
        (tmp_path / "p.yml").write_text(policy)
        return loads_config(text, tmp_path / "c.yml")

    return loader


def test_the_same_file_changes_nothing(load) -> None:
    assert diff(load(BASE), load("# a comment\n\n" + BASE)).empty


def test_peers_come_and_go_without_touching_others(load) -> None:
    new = BASE.replace("name: b", "name: c").replace("198.51.100.2", "198.51.100.3")
    change = diff(load(BASE), load(new))
    assert [peer.name for peer in change.peers_added] == ["c"]
    assert [peer.name for peer in change.peers_removed] == ["b"]
    assert change.peers_changed == ()
    assert change.rejudge == frozenset()


@pytest.mark.parametrize(
    ("was", "becomes", "resets"),
    [
        ("198.51.100.2", "198.51.100.9", True),
        ("asn: 65002", "asn: 65002, hold_time_s: 30", True),
        ("asn: 65002", "asn: 65002, families: [ipv6]", True),
        ("asn: 65002", "asn: 65002, local_asn: 65009", True),
        ("asn: 65002", "asn: 65002, weight: 10", False),
        ("asn: 65002", "asn: 65002, description: x", False),
        ("asn: 65002", "asn: 65002, announce: [{prefix: 192.0.2.0/24, next_hop: 198.51.100.9}]", False),
    ],
)
def test_a_session_is_reset_only_where_it_must(load, was: str, becomes: str, resets: bool) -> None:
    (change,) = diff(load(BASE), load(BASE.replace(was, becomes))).peers_changed
    assert change.new.name == "b"
    assert change.resets_session is resets


def test_another_own_as_resets_every_session_that_used_it(load) -> None:
    change = diff(load(BASE), load(BASE.replace("asn: 65000", "asn: 65010")))
    assert {item.old.name for item in change.peers_changed if item.resets_session} == {"a", "b"}
    assert change.restart == ()


def test_only_peers_of_a_changed_policy_are_judged_again(load) -> None:
    other = POLICY.replace("then: accept", "then: reject")
    change = diff(load(BASE), load(BASE, other))
    assert change.rejudge == {"a"}
    assert change.peers_changed == ()


def test_moved_lines_and_comments_judge_nothing_again(load) -> None:
    assert diff(load(BASE), load(BASE, "# moved\n\n" + POLICY)).empty


def test_another_import_is_judged_again_without_a_reset(load) -> None:
    change = diff(load(BASE), load(BASE.replace("import: accept", "import: in")))
    assert change.rejudge == {"b"}
    assert not change.peers_changed[0].resets_session


def test_what_needs_a_restart_is_named(load) -> None:
    new = BASE + "datapath: {max_ipv4: 2000000}\nkernel: {metric: 30}\nspeaker: {lane_mib: 8}\nlog: {level: debug}\n"
    change = diff(load(BASE), load(new + "decision: {backups: 1}\nhttp: null\n"))
    assert set(change.restart) == {"datapath.max_ipv4", "kernel.metric", "speaker.lane_mib", "http"}
    assert change.live == ("log.level",)
    assert change.decision


def test_what_the_program_is_told_beyond_forwarding_is_live(load) -> None:
    new = BASE + "datapath: {reverse_path: strict, flow_label: true, punt_rate: 9, max_ipv4: 2000000}\n"
    change = diff(load(BASE), load(new))
    assert set(change.live) == {"datapath.reverse_path", "datapath.flow_label", "datapath.punt_rate"}
    assert change.restart == ("datapath.max_ipv4",)


def test_nothing_is_empty() -> None:
    assert ConfigDiff().empty
