from __future__ import annotations

import pytest

from bgpbridge.bench.page import BEGIN, END, block, page, replaced
from bgpbridge.bench.records import Suite, summarise
from bgpbridge.bench.terminal import digits, figure
from bgpbridge.errors import LabError

METRIC = "100,000 prefixes: wire to forwarding"
SUITE = Suite(
    "load",
    "2026-01-01 00:00 UTC",
    {"processors": "2 x a CPU", "kernel": "6.1"},
    (0.5, 1.5),
    (
        summarise(METRIC, "bgpbridge", [0.5, 0.4, 0.6], "s"),
        summarise(METRIC, "bird", [1.0], "s"),
        summarise(METRIC, "frr", [None], "s", timeout_s=60),
    ),
    "How it was seen.",
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1_533_982.4, "1,533,982"), (100.4, "100"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.012"), (0.0, "0.000")],
)
def test_figures_have_the_digits_that_mean_something(value: float, expected: str) -> None:
    assert digits(value) == expected


def test_a_figure_has_its_spread_where_there_were_runs() -> None:
    assert [figure(row) for row in (*SUITE.rows, None)] == ["0.50 (0.40 to 0.60)", "1.00", "over 60 s", ""]


def test_the_page_tells_the_machine_its_load_and_every_row() -> None:
    lines = page([SUITE]).splitlines()
    assert "| kernel | 6.1 |" in lines
    assert "| load average around the runs | up to 1.5, the runs' own included |" in lines
    assert "How it was seen." in lines
    assert f"| {METRIC} | s | 0.50 (0.40 to 0.60) | 1.00 | over 60 s | 2.00 |" in lines


def test_a_suite_without_peers_has_no_column_of_ratios() -> None:
    alone = Suite("decode", "", {}, (0, 0), (summarise("decode, bulk", "bgpbridge", [1e6], "prefixes/s"),))
    assert "| metric | unit | bgpbridge |" in page([alone]).splitlines()


def test_the_block_holds_the_chosen_medians() -> None:
    assert block([SUITE]).splitlines() == [
        "| measured by `make bench` | bgpbridge | BIRD | FRR |",
        "| --- | ---: | ---: | ---: |",
        "| 100,000 prefixes, wire to forwarding (ours: in XDP) | 0.50 s | 1.00 s | not in 60 s |",
        "",
        "(2 x a CPU; load average up to 1.5 while it was measured; more in [docs/benchmarks.md](docs/benchmarks.md))",
    ]


def test_only_what_is_between_the_marks_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(text, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert replaced(replaced(text, "new"), "new") == replaced(text, "new")


@pytest.mark.parametrize("text", ["nothing", BEGIN, END])
def test_without_marks_nothing_is_written(text: str) -> None:
    with pytest.raises(LabError, match="measured:begin"):
        replaced(text, "new")
