"""The bridge is killed with a whole table and comes back: how long until everything is adopted and refreshed and an
audit is clean, and how many packets are lost meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bgpbridge.bench.results import Figure
from bgpbridge.bench.whole.scale import words
from bgpbridge.bench.whole.tables import Table
from bgpbridge.bench.whole.turn import AUDIT, Late, Turn
from bgpbridge.errors import LabError, UnreachableError

__all__ = ["metrics", "restarted"]

BRIDGE: Final = b"bgpbridge.daemon.bridge"
RATE_PPS: Final = 1000
LOOK_S: Final = 0.05


def metrics(size: str) -> dict[str, str]:
    """What is measured, by unit."""
    return {f"restart_{size}": "s", f"restart_{size}_lost": "packets"}


def restarted(turn: Turn, table: Table) -> Iterator[Figure]:
    """The table is loaded first. The audit's time is in the figure."""
    turn.tester(0, table.octets)
    turn.forwards(table.samples, turn.port(0), "loading")
    turn.rest()
    over, lost = threading.Event(), list[int]()
    stream = threading.Thread(
        target=lambda: lost.append(turn.prober.stream(table.samples, turn.port(0), RATE_PPS, over)), daemon=True
    )
    stream.start()
    try:
        before = _bridge(turn)
        began = time.monotonic()
        os.kill(before, signal.SIGKILL)
        report = _clean_again(turn, before, turn.left_s("a restart"))
        took = time.monotonic() - began
    finally:
        over.set()
        stream.join()
    size = words(len(table.feed))
    yield Figure(f"restart_{size}", "s", took)
    yield Figure(f"restart_{size}_lost", "packets", float(lost[0]))
    yield Figure(AUDIT, "prefixes", float(sum(report["divergent"].values())))


def _bridge(turn: Turn) -> int:
    for pid in turn.contender.pids:
        if BRIDGE in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise LabError("there is no bridge process")


def _clean_again(turn: Turn, before: int, left_s: float) -> Any:
    """The report of the first audit that is clean once nothing is left to do."""
    deadline = time.monotonic() + left_s
    while time.monotonic() < deadline:
        try:
            status = turn.contender.client.get("/v1/status")
            busy = status["work"] or status["adopting"] or status["kernel"]["behind"] or status["process"] == before
            if not busy:
                report = turn.contender.client.post("/v1/audit", {})
                if report["clean"]:
                    return report
        except UnreachableError:
            pass
        time.sleep(LOOK_S)
    raise Late("a restart", left_s)
