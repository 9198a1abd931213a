"""`paths` and `paths --would`: ways out with their figures, and what latency makes of them."""

from __future__ import annotations

from collections.abc import Sequence

from bgpbridge.cli.text.words import Json, bad, columns, counted, duration, good, labelled, warn

__all__ = ["paths_text", "would_text"]

FIGURES = ("srtt_s", "jitter_s", "p50_s", "p95_s", "p99_s")


def paths_text(seen: Json) -> list[str]:
    """The answer of /v1/paths: a line for each target through each exit."""
    counts = seen["counts"]
    head = f"latency: {_mode(seen['mode'])}"
    if seen["mode"] != "off":
        head += f", {counted(counts['moved'], 'move')}, {counts['would']} would-be, {counts['returned']} back to BGP"
    lines = [head]
    if seen["trouble"]:
        lines.append(bad(f"nothing can be probed: {seen['trouble']}"))
    if seen["left_out"]:
        lines.append(warn(f"{counted(seen['left_out'], 'exit')} left out: raise latency.exits or latency.budget_pps"))
    if not seen["exits"]:
        return [*lines, "", "no exits: no next hop is reached"]
    heads = ("exit", "peers", "target", "srtt", "jitter", "p50", "p95", "p99", "loss", "samples", "age", "state")
    rows = [row for exit_ in seen["exits"] for row in _rows(exit_)]
    right = ("srtt", "jitter", "p50", "p95", "p99", "loss", "samples", "age")
    return [*lines, "", *columns(heads, rows, right=right)]


def _mode(mode: str) -> str:
    words = {"act": good("act"), "observe": "observe (says, does not do)"}
    return words.get(mode, "off (section `latency` of the configuration)")


def _rows(exit_: Json) -> list[tuple[str, ...]]:
    name, peers = f"{exit_['gateway']} {exit_['link']}", ", ".join(exit_["peers"])
    rows: list[tuple[str, ...]] = []
    if not exit_["targets"]:
        state = exit_["state"]
        rows.append((name, peers, *("",) * 9, state if state in ("not probed", "left out") else bad(state)))
    for way in exit_["targets"]:
        asked = way["probe"] + (f" {way['port']}" if way["port"] else "")
        rows.append((name, peers, f"{way['target']} ({asked})", *_figures(way["facts"]), _state(way)))
        name = peers = ""
    if len(exit_["targets"]) > 1:
        rows.append(("", "", "together", *_figures(exit_["figure"]), ""))
    if exit_["handshakes"] is not None:
        *times, _, samples, age = _figures(exit_["handshakes"])
        rows.append(("", "", "TCP handshakes", *times, "-", samples, age, "seen passing"))
    return rows


def _figures(facts: Json | None) -> tuple[str, ...]:
    if facts is None:
        return ("",) * 8
    times = tuple("-" if facts[key] is None else f"{facts[key] * 1000:.2f}ms" for key in FIGURES)
    return (*times, f"{facts['loss']:.1%}", f"{facts['samples']:,}", duration(facts["age_s"]))


def _state(way: Json) -> str:
    facts = way["facts"]
    if facts is None:
        return warn(way["trouble"] or "no probe has ended yet")
    if facts["stale"]:
        return bad("stale" + (f": {way['trouble']}" if way["trouble"] else ""))
    return warn(way["trouble"]) if way["trouble"] else good("fresh")


def would_text(rows: Sequence[Json]) -> list[str]:
    """The answer of /v1/paths/would."""
    if not rows:
        return ["nothing to choose: no group has members by different exits, or latency is off"]
    lines: list[str] = []
    for row in rows:
        lines += [*_would(row), ""]
    return lines[:-1]


def _would(row: Json) -> list[str]:
    title = f"{counted(row['prefixes'], 'prefix', 'prefixes')} of {counted(len(row['groups']), 'group')}"
    if row["examples"]:
        more = ", ..." if row["prefixes"] > len(row["examples"]) else ""
        title += f" ({', '.join(row['examples'])}{more})"
    wants = _carriers(row["latency"])
    if row["differs"]:
        wants = warn(f"{'has moved it to' if row['acts'] else 'would move it to'} {wants}")
    else:
        wants = "the same"
    return [
        title,
        *labelled("  BGP", [_carriers(row["bgp"])]),
        *labelled("  latency", [wants]),
        *labelled("  why", row["why"]),
    ]


def _carriers(carriers: Sequence[Json]) -> str:
    return ", ".join(f"{one['exit']} (weight {one['weight']})" for one in carriers)
