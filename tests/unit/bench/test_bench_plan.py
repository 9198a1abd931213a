from __future__ import annotations

import pytest

from bgpbridge.bench import enrichment
from bgpbridge.bench.__main__ import NAMES, ON_RIG, RECORDED, _parser
from bgpbridge.bench.guards import Guard, guarded
from bgpbridge.bench.plan import Plan
from bgpbridge.bench.results import Figure, Results, spread
from bgpbridge.bench.subjects import SUBJECTS, configuration
from bgpbridge.bench.update import Flip, Table
from bgpbridge.config import load_config
from bgpbridge.lab.topology import Daemon


def test_subjects_take_turns() -> None:
    turns = [str(daemon) for _, daemon in Plan(runs=2).turns()]
    assert turns == ["bgpbridge", "bird", "frr"] * 2


def test_results_keep_one_value_a_run() -> None:
    results = Results(60)
    for run in (1.0, 2.0, 3.0):
        results.add("bird", Figure("a", "s", run))
    for figure in spread("b", "ms", [1.0, 2.0, 9.0]):
        results.add("bird", figure)
    for figure in spread("c", "ms", []):
        results.add("frr", figure)
    found = {(row.metric, row.subject): row.median for row in results.rows()}
    assert found == {
        ("a", "bird"): 2.0,
        ("b, p50", "bird"): 2.0,
        ("b, p99", "bird"): 9.0,
        ("c, p50", "frr"): None,
        ("c, p99", "frr"): None,
    }


def test_a_figure_says_what_it_is() -> None:
    assert str(Figure("idle, processor", "% of a core", 0.123)) == "idle, processor 0.12 % of a core"
    assert str(Figure("memory", "MiB", None)) == "memory too late"


@pytest.mark.parametrize("name", ON_RIG)
def test_every_suite_says_how_it_measures_and_has_cases(name: str) -> None:
    plan = Plan(prefixes=3000, samples=17, updates=50, busy_s=2.0)
    bench = ON_RIG[name]
    assert bench.name == name
    assert "{" not in bench.note(plan)
    assert len(list(bench.cases(plan))) == {"failover": 2, "enrichment": 4}.get(name, 1)


def test_a_prefix_moves_to_and_fro() -> None:
    table = Table.of(Plan(prefixes=5000))
    prefix, address = table.targets[0]
    assert prefix.covers(address)
    assert len(table.targets) == 40
    assert not {prefix for prefix, _ in table.targets} & set(table.others)
    flip = Flip.of(prefix, address)
    away, back, again = flip.move(), flip.move(), flip.move()
    assert away == again != back
    assert flip.port == "eth2"


def test_every_subject_has_both_providers(tmp_path) -> None:
    for daemon in SUBJECTS:
        text = configuration(daemon)
        assert "10.0.1.2" in text
        assert "10.0.2.2" in text
    path = tmp_path / "bgpbridge.yaml"
    path.write_text(configuration(Daemon.BGPBRIDGE))
    assert [peer.name for peer in load_config(path).peers] == ["up-a", "up-b"]


@pytest.mark.parametrize("guard", Guard)
def test_every_guard_is_a_configuration(guard: Guard, tmp_path) -> None:
    path = tmp_path / "bgpbridge.yaml"
    path.write_text(guarded(Daemon.BGPBRIDGE, guard))
    config = load_config(path)
    assert (config.peers[0].bfd is not None) == (guard is Guard.BFD)
    assert bool(config.peers[0].health) == (guard is Guard.CHECK)
    assert (config.latency is not None and config.latency.mode == "act") == (guard is Guard.LATENCY)
    assert "bfd" not in guarded(Daemon.FRR, Guard.CHECK) + guarded(Daemon.BIRD, Guard.LATENCY)
    assert "neighbor 10.0.1.2 bfd profile fast" in guarded(Daemon.FRR, Guard.BFD)
    assert "bfd on;" in guarded(Daemon.BIRD, Guard.BFD)


def test_every_scenario_is_met_once() -> None:
    met = [scenario for case in enrichment.BENCH.cases(Plan()) for scenario in case.scenarios]
    assert met == list(enrichment.SCENARIOS)


def test_everything_is_measured_by_default() -> None:
    assert _parser().parse_args([]).what == "all"
    assert set(NAMES) == {"decode", "policy", "load", "update", "failover", "enrichment", "idle"}
    assert set(RECORDED) == {*NAMES, "datapath", "table", "soak"}


def test_the_page_names_whatever_of_ours_is_quicker_than_by_default() -> None:
    note = ON_RIG["enrichment"].note(Plan())
    for words in ("`hold_s` 1 (60)", "`timeout_s` 0.5 (1)", "`window_s` 10 (300)", "`hold_down_s` 1 (10)"):
        assert words in note, note
    assert "bfd: `interval_ms` 50 (300), `hold_down_s` 1 (2)" in note
