"""`replay FILE`: a recorded feed or a dumped table, put through decoder, policies and decision without a daemon."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from bgpbridge.cli.commands import JSON, Command, say
from bgpbridge.cli.text.replay import replay_text
from bgpbridge.cli.text.routes import routes_text
from bgpbridge.config import load_config
from bgpbridge.errors import UsageError, WireError
from bgpbridge.pipeline.replay import Replay
from bgpbridge.policy.model import ACCEPT
from bgpbridge.view.plain import plain
from bgpbridge.view.replay import replay_routes, replay_view
from bgpbridge.wire.mrt import Record, read_mrt

__all__ = ["Pace", "replay"]


def _pace(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
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


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Peers, policies and decision of this file.")
@click.option(
    "--import",
    "policy",
    default=ACCEPT,
    show_default=True,
    metavar="POLICY",
    help="The policy of the configuration for peers that it does not name.",
)
@click.option(
    "--pace",
    callback=_pace,
    metavar="recorded|Nx",
    help="As fast as it was recorded, or N times so; else as fast as it goes.",
)
@click.option("--routes", "list_routes", is_flag=True, help="List every path that stands at the end.")
@JSON
@click.pass_context
def replay(
    context: click.Context,
    file: Path,
    config: Path | None,
    policy: str,
    pace: float | None,
    list_routes: bool,
    as_json: bool,
) -> None:
    """Put an MRT FILE through decoder, policies and decision; no daemon is needed.

    Reads plain, gzip and bzip2: BGP4MP, BGP4MP_ET, their ADD-PATH subtypes and TABLE_DUMP_V2. Each peer of the file,
    known by address and AS number, gets a table of its own; a peer that the configuration names has its policy and
    weight. Nothing is forwarded, and every next hop counts as reachable. What stood before a damaged record is shown,
    with exit code 1.
    """
    run = Replay(load_config(config) if config is not None else None, policy)
    began = time.monotonic()
    damage = _feed(run, file, Pace(pace) if pace is not None else None)
    took_s = time.monotonic() - began
    view = plain(replay_view(run, str(file), took_s, damage))
    if not list_routes:
        say(view, as_json, replay_text)
    elif as_json:
        click.echo(json.dumps({**view, "table": [plain(route) for route in replay_routes(run)]}, indent=2))
    else:
        click.echo("\n".join(routes_text([plain(route) for route in replay_routes(run)], run.now_s)))
        click.echo(f"bgpbridge: damaged: {damage}" if damage else "", err=True, nl=bool(damage))
    context.exit(1 if damage else 0)


def _feed(run: Replay, file: Path, pace: Pace | None) -> str | None:
    """The whole file; what was wrong with it. Raises UsageError where there is none."""
    taken = 0
    damage = None
    try:
        for taken, record in enumerate(_with_bar(file), 1):  # noqa: B007 - says where it stopped
            if pace is not None:
                pace.wait(record.time_s, run.finish)
            run.take(record)
    except WireError as error:
        where = "" if error.what.startswith(str(file)) else f"{file}: record {taken}: "
        damage = f"{where}{error}"
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", mend="name an MRT file that can be read") from None
    run.finish()
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
