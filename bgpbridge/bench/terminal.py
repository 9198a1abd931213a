"""Records as a table for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bgpbridge.bench.datapath.aims import Reached, reached
from bgpbridge.bench.records import OURS, Row, Suite, ratio_to_best_peer
from bgpbridge.bench.whole import aims as whole
from bgpbridge.bench.whole.growth import grown

TESTER = "tester"  # what feeds the subjects, as a subject of its own: no peer
__all__ = ["TESTER", "digits", "figure", "show", "subjects_of", "tables_of"]


def figure(row: Row | None) -> str:
    """A median with what it needs of digits; its spread when there were several runs."""
    if row is None:
        return ""
    if row.median is None or row.min is None or row.max is None:
        return f"over {row.timeout_s:.0f} {'s' if row.timeout_s else ''}" if row.timeout_s else "none"
    spread = f" ({digits(row.min)} to {digits(row.max)})" if row.runs > 1 else ""
    return digits(row.median) + spread


def digits(value: float) -> str:
    """Three figures that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def subjects_of(rows: tuple[Row, ...]) -> list[str]:
    """Ours first, then the others in the order in which they came."""
    found = dict.fromkeys(row.subject for row in rows)
    return [OURS, *[subject for subject in found if subject != OURS]]


def tables_of(suite: Suite) -> list[tuple[list[str], list[list[str]]]]:
    """The head and the lines, a metric each; the last column compares where there are peers. What each aim came to,
    where there are any, is the last table."""
    if not suite.grouped:
        alone = tuple(row for row in suite.rows if row.subject == TESTER)
        own = [_group(suite, (TESTER,), [row.metric for row in alone])] if alone else []
        return [_compared(suite), *own, *(_whole(suite) if own else [])]
    groups: dict[tuple[str, ...], list[str]] = {}
    for metric in dict.fromkeys(row.metric for row in suite.rows):
        groups.setdefault(tuple(row.subject for row in suite.rows if row.metric == metric), []).append(metric)
    tables = [_group(suite, subjects, metrics) for subjects, metrics in groups.items()]
    return [*tables, *_aims(reached(suite.rows))]


def _whole(suite: Suite) -> list[tuple[list[str], list[list[str]]]]:
    """What whole tables came to, and how their loads grow."""
    head = ["loads", "into", "neighbours", "routes", "s", "us a route"]
    lines = [
        [one.subject, one.plane, str(one.neighbours), f"{one.routes:,}", digits(one.seconds), digits(one.each_us)]
        for one in grown(suite.rows)
    ]
    return [*_aims(whole.reached(suite.rows)), *([(head, lines)] if lines else [])]


def _aims(found: list[Reached]) -> list[tuple[list[str], list[list[str]]]]:
    lines = [[one.aim.words, _wanted(one), digits(one.value), "yes" if one.met else "no"] for one in found]
    return [(["aim", "wanted", "reached", "met"], lines)] if lines else []


def _group(suite: Suite, subjects: tuple[str, ...], metrics: list[str]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for metric in metrics:
        rows = [row for row in suite.rows if row.metric == metric]
        lines.append([metric, rows[0].unit, *map(figure, rows)])
    return ["metric", "unit", *subjects], lines


def _wanted(one: Reached) -> str:
    aim = one.aim
    return f"< {digits(aim.under)}" if aim.under is not None else f">= {digits(aim.at_least)}"


def _compared(suite: Suite) -> tuple[list[str], list[list[str]]]:
    shown = [row for row in suite.rows if row.subject != TESTER]
    subjects = subjects_of(tuple(shown))
    compared = len(subjects) > 1
    lines = []
    for metric in dict.fromkeys(row.metric for row in shown):
        rows = {row.subject: row for row in shown if row.metric == metric}
        ratio = ratio_to_best_peer(suite.rows, metric)
        last = [digits(ratio) if ratio else ""] if compared else []
        cells = [figure(rows.get(subject)) for subject in subjects]
        lines.append([metric, next(iter(rows.values())).unit, *cells, *last])
    return ["metric", "unit", *subjects, *(["best peer / ours"] if compared else [])], lines


def show(console: Console, suite: Suite) -> None:
    """One suite."""
    title = f"{suite.name}: median (least to most of the runs)"
    for head, lines in tables_of(suite):
        table = Table(title=title, title_justify="left")
        for number, name in enumerate(head):
            table.add_column(name, justify="left" if number < 2 else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)
        title = ""
