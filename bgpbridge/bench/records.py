"""What a benchmark found, as values: rows of median, least and most over runs, kept as JSON beside a description of
the machine. Pure but for `write` and `read`; the terminal and the page print from these."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgpbridge.errors import LabError

__all__ = ["FOLDER", "OURS", "Row", "Suite", "percentile", "ratio_to_best_peer", "read", "summarise", "write"]

FOLDER = Path("build/bench")
OURS = "bgpbridge"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one subject. `median` None: some run did not end within `timeout_s`."""

    metric: str
    subject: str
    median: float | None
    min: float | None
    max: float | None
    unit: str
    runs: int
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """The rows of one subcommand, and where and when they were measured. `load` is the machine's load average
    before and after: others may have used it too. `grouped`: its metrics have subjects of their own, so that metrics
    with the same subjects make a table."""

    name: str
    when: str
    machine: dict[str, str]
    load: tuple[float, float]
    rows: tuple[Row, ...]
    note: str = ""
    grouped: bool = False


def summarise(
    metric: str, subject: str, values: Sequence[float | None], unit: str, *, timeout_s: float | None = None
) -> Row:
    """One value a run; None for a run that did not end within `timeout_s`."""
    ended = [value for value in values if value is not None]
    if not values or len(ended) < len(values):
        return Row(metric, subject, None, None, None, unit, len(values), timeout_s)
    return Row(metric, subject, statistics.median(ended), min(ended), max(ended), unit, len(ended))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0 to 1) of all do not exceed: always one that was measured."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def ratio_to_best_peer(rows: Iterable[Row], metric: str) -> float | None:
    """How many times as much as ours the best peer took (less is better in every compared metric); None where
    there is none to compare."""
    found = {row.subject: row.median for row in rows if row.metric == metric and row.median}
    ours = found.pop(OURS, None)
    peers = [value for value in found.values() if value is not None]
    return min(peers) / ours if ours and peers else None


def write(suite: Suite, folder: Path = FOLDER) -> Path:
    """Keep a suite; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{suite.name}.json"
    path.write_text(json.dumps(dataclasses.asdict(suite), indent=1) + "\n")
    return path


def read(path: Path) -> Suite:
    """A suite that was kept. Raises LabError."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        rows = tuple(Row(**row) for row in data.pop("rows"))
        before, after = data.pop("load")
        return Suite(rows=rows, load=(before, after), **data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path} is no record of a benchmark: {error}", mend="make bench writes it anew") from None
