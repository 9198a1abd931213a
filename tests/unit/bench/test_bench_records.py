from __future__ import annotations

from pathlib import Path

import pytest

from bgpbridge.bench.records import Row, Suite, percentile, ratio_to_best_peer, read, summarise, write
from bgpbridge.errors import LabError

ROWS = (
    summarise("load", "bgpbridge", [0.5, 0.4, 0.6], "s"),
    summarise("load", "bird", [1.0, 1.0, 1.2], "s"),
    summarise("load", "frr", [2.0, 2.0, 2.0], "s"),
)


def test_a_row_is_the_median_with_the_least_and_the_most() -> None:
    assert ROWS[0] == Row("load", "bgpbridge", 0.5, 0.4, 0.6, "s", 3)


@pytest.mark.parametrize("values", [[], [1.0, None]])
def test_a_run_that_did_not_end_leaves_no_figure(values: list[float | None]) -> None:
    row = summarise("load", "frr", values, "s", timeout_s=60)
    assert (row.median, row.min, row.max, row.timeout_s, row.runs) == (None, None, None, 60, len(values))


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.0, 1), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_the_median_of_few_is_the_lower_one() -> None:
    assert percentile([3.0, 1.0], 0.5) == 1.0
    assert percentile([7.0], 0.99) == 7.0


def test_the_ratio_is_that_of_the_best_peer() -> None:
    assert ratio_to_best_peer(ROWS, "load") == 2.0


def test_there_is_no_ratio_without_ours_or_without_peers() -> None:
    assert ratio_to_best_peer(ROWS[1:], "load") is None
    assert ratio_to_best_peer(ROWS[:1], "load") is None
    late = (ROWS[0], summarise("load", "bird", [None], "s", timeout_s=60))
    assert ratio_to_best_peer(late, "load") is None


def test_a_suite_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    suite = Suite("load", "2026-01-01 00:00 UTC", {"kernel": "6.1"}, (0.5, 1.5), ROWS, "a note")
    assert read(write(suite, tmp_path / "build" / "bench")) == suite


@pytest.mark.parametrize("text", ["", "{}", '{"rows": [], "load": [1]}', '{"rows": [{"x": 1}], "load": [1, 2]}'])
def test_a_damaged_record_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "load.json"
    path.write_text(text)
    with pytest.raises(LabError, match=r"load\.json"):
        read(path)
