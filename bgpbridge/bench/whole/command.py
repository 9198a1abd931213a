"""`python -m bgpbridge.bench table`: measures, keeps the records after each part, shows them."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt

from rich.console import Console

from bgpbridge.bench import machine, records
from bgpbridge.bench.records import Suite
from bgpbridge.bench.terminal import show
from bgpbridge.bench.whole.contenders import Who
from bgpbridge.bench.whole.note import note
from bgpbridge.bench.whole.scale import Scale
from bgpbridge.bench.whole.suite import NAMES, Found, measure
from bgpbridge.errors import LabError, UsageError

__all__ = ["NAMES", "run", "scale_of"]


def run(chosen: argparse.Namespace, console: Console) -> int:
    """0 when all was measured and is right. Raises LabError for a run that counts as failed, UsageError."""
    scale, names = scale_of(chosen), _parts(chosen.parts)
    before = machine.load_average()
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")

    def suite(found: Found) -> Suite:
        load = (before, machine.load_average())
        return Suite("table", when, machine.describe(), load, found.rows(), note(scale, found.missing))

    def keep(found: Found) -> None:
        if not chosen.quick and not names:
            records.write(suite(found))

    found = measure(scale, names, lambda text: console.print(f"[dim]{text}[/dim]"), keep)
    show(console, suite(found))
    for text in found.missing:
        console.print(f"left out: {text}", style="yellow", markup=False)
    if found.failures:
        raise LabError("the run has failed: " + "; ".join(found.failures))
    return 0


def scale_of(chosen: argparse.Namespace) -> Scale:
    """What the command line asks for. Raises UsageError."""
    scale = Scale.quick() if chosen.quick else Scale()
    if chosen.subjects:
        known = {str(who): who for who in Who}
        if unknown := [name for name in chosen.subjects.split(",") if name not in known]:
            raise UsageError(f"there is no subject {', '.join(unknown)}", mend=f"subjects are: {', '.join(known)}")
        scale = dataclasses.replace(scale, who=tuple(known[name] for name in chosen.subjects.split(",")))
    if chosen.runs:
        scale = dataclasses.replace(scale, runs=chosen.runs)
    return scale


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.split(",")))
    if unknown := [name for name in names if name not in NAMES]:
        raise UsageError(f"table has no part {', '.join(unknown)}", mend=f"parts are: {', '.join(NAMES)}")
    return names
