"""`python -m bgpbridge.bench`: measures, keeps the records, shows them, and writes the page.

decode | policy | load | update | failover | enrichment | idle    one suite
all (or nothing)                                                  all of these, then the page
datapath                                                          packets: lookups and forwarding, whole tables
table                                                             whole tables beside BIRD, FRR, GoBGP and ExaBGP
soak                                                              a recording of 35 peers, looped at 50 times its pace
page                                                              docs/benchmarks.md and README.md from the records
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bgpbridge.bench import decode, enrichment, failover, idle, load, machine, policy, records, soak, update
from bgpbridge.bench.datapath import suite as datapath
from bgpbridge.bench.driver import Bench, measure
from bgpbridge.bench.page import write_pages
from bgpbridge.bench.plan import Plan, Tell
from bgpbridge.bench.records import Suite
from bgpbridge.bench.rig import rig
from bgpbridge.bench.terminal import show
from bgpbridge.bench.whole import command as whole
from bgpbridge.errors import BridgeError, LabError
from bgpbridge.lab.interrupts import interruptible
from bgpbridge.lab.topology import Daemon

SWITCH_S = 0.0002  # a tester's thread gives the processor back to the prober this soon
BENCHES: tuple[Bench[Any], ...] = (load.BENCH, update.BENCH, failover.BENCH, enrichment.BENCH, idle.BENCH)
ON_RIG = {bench.name: bench for bench in BENCHES}
ALONE = {"decode": (decode.measure, decode.NOTE), "policy": (policy.measure, policy.NOTE)}
NAMES = (*ON_RIG, *ALONE)
DATAPATH = "datapath"
TABLE = "table"
SOAK = "soak"
RECORDED = (*NAMES, DATAPATH, TABLE, SOAK)


def main(words: Sequence[str] | None = None) -> int:
    """0 when all was measured, else the exit code of what stood in the way."""
    chosen = _parser().parse_args(words)
    console = Console()
    sys.setswitchinterval(SWITCH_S)
    try:
        if chosen.what in (TABLE, SOAK):
            with interruptible():
                return soak.run(chosen, console) if chosen.what == SOAK else whole.run(chosen, console)
        names = NAMES if chosen.what == "all" else () if chosen.what == "page" else (chosen.what,)
        plan = _plan(chosen)
        with interruptible():
            for name in names:
                suite = _measured(name, plan, lambda text: console.print(f"[dim]{text}[/dim]"))
                if not chosen.quick:
                    records.write(suite)
                show(console, suite)
        if chosen.what == "page" or (chosen.what == "all" and not chosen.quick):
            write_pages(_kept(), Path())
            console.print("docs/benchmarks.md and README.md are written")
    except BridgeError as error:
        Console(stderr=True).print(str(error), style="red")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _plan(chosen: argparse.Namespace) -> Plan:
    plan = Plan.quick() if chosen.quick else Plan()
    subjects = tuple(Daemon(name) for name in (chosen.subjects or "bgpbridge,bird,frr").split(","))
    return dataclasses.replace(plan, runs=chosen.runs or plan.runs, subjects=subjects)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bgpbridge.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", nargs="?", default="all", choices=[*RECORDED, "all", "page"])
    parser.add_argument("--quick", action="store_true", help="one run, under 5 minutes for all; shown, not kept")
    parser.add_argument("--runs", type=int, default=0, help="how often each subject takes its turn (3)")
    parser.add_argument(
        "--subjects", default="", help="who is measured, in this order (bgpbridge,bird,frr; table: all)"
    )
    parser.add_argument("--parts", default="", help=f"of table only these, shown and not kept: {','.join(whole.NAMES)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long soak runs (10)")
    parser.add_argument("--file", default="", help="what soak loops: an MRT file of BGP4MP messages")
    return parser


def _measured(name: str, plan: Plan, tell: Tell) -> Suite:
    """One suite, on a rig of its own."""
    before = machine.load_average()
    if name in ON_RIG:
        with rig(wired=ON_RIG[name].wired) as place:
            rows = measure(ON_RIG[name], place, plan, tell)
        note = ON_RIG[name].note(plan)
    elif name == DATAPATH:
        rows, note = datapath.measure(plan, tell), datapath.NOTE
    else:
        work, note = ALONE[name]
        rows = work(plan, tell)
    when = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Suite(name, when, machine.describe(), (before, machine.load_average()), rows, note, name == DATAPATH)


def _kept() -> list[Suite]:
    """All suites that have been measured."""
    found = [records.FOLDER / f"{name}.json" for name in RECORDED]
    suites = [records.read(path) for path in found if path.exists()]
    if not suites:
        raise LabError(f"there are no records in {records.FOLDER}", mend="make bench measures")
    return suites


if __name__ == "__main__":
    sys.exit(main())
