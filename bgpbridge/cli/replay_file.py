"""How `replay` goes through a file: as fast as it goes or at a pace, with a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from bgpbridge.errors import UsageError, WireError
from bgpbridge.wire.mrt import Record, read_mrt

__all__ = ["Pace", "pace_of", "read_through"]


def pace_of(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """`recorded`, or how many times as fast as recorded."""
    if value is None:
        return None
    try:
        factor = 1.0 if value == "recorded" else float(value.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise click.BadParameter(f"{value!r} is no pace; `recorded` is, and so is 10x", context, parameter)
    return factor


class Pace:
    """Holds records back until their time has come, `factor` times as fast as they were recorded. Steps back in
    recorded time cost none."""

    def __init__(
        self,
        factor: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._factor, self._clock, self._sleep = factor, clock, sleep
        self._began: tuple[float, float] | None = None

    def wait(self, recorded_s: float, before: Callable[[], None]) -> None:
        """Until a record of that time is due; `before` is called when that takes a while."""
        now = self._clock()
        if self._began is None:
            self._began = now, recorded_s
        due = self._began[0] + (recorded_s - self._began[1]) / self._factor
        if due > now:
            before()
            self._sleep(due - now)


def read_through(
    file: Path, factor: float | None, take: Callable[[Record], object], finish: Callable[[], None]
) -> str | None:
    """The whole file, each record to `take`, and `finish` where a pause comes; what was wrong with it. Raises
    UsageError where there is none."""
    pace = Pace(factor) if factor is not None else None
    taken = 0
    damage = None
    try:
        for taken, record in enumerate(_with_bar(file), 1):  # noqa: B007 - says where it stopped
            if pace is not None:
                pace.wait(record.time_s, finish)
            take(record)
    except WireError as error:
        where = "" if error.what.startswith(str(file)) else f"{file}: record {taken}: "
        damage = f"{where}{error}"
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", mend="name an MRT file that can be read") from None
    finish()
    return damage


def _with_bar(file: Path) -> Iterator[Record]:
    """The records; how far the file has been read is shown on a terminal."""
    bar = Progress(
        TextColumn(file.name, markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("", total=file.stat().st_size)
        yield from read_mrt(file, lambda octets: bar.update(task, completed=octets))
