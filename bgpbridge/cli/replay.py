"""`replay FILE`: a recorded feed or a dumped table, put through decoder, policies and decision without a daemon."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from bgpbridge.cli.commands import JSON, Asking, Command, pass_asking, say
from bgpbridge.cli.pipe import feed_option
from bgpbridge.cli.replay_file import pace_of, read_through
from bgpbridge.cli.replay_live import run_live
from bgpbridge.cli.text.replay import replay_text
from bgpbridge.cli.text.routes import routes_text
from bgpbridge.config import load_config
from bgpbridge.errors import UsageError
from bgpbridge.pipeline.replay import Replay
from bgpbridge.policy.model import ACCEPT
from bgpbridge.view.plain import plain
from bgpbridge.view.replay import replay_routes, replay_view

__all__ = ["replay"]


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
    callback=pace_of,
    metavar="recorded|Nx",
    help="As fast as it was recorded, or N times so; else as fast as it goes.",
)
@click.option("--routes", "list_routes", is_flag=True, help="List every path that stands at the end.")
@click.option("--live", is_flag=True, help="Into the running bridge, which forwards by it.")
@click.option("--as", "name", metavar="NAME", help="With --live: the file's one peer stands for this one.")
@click.option("--keep", is_flag=True, help="With --live: routes stay when this command ends.")
@feed_option
@JSON
@pass_asking
@click.pass_context
def replay(
    context: click.Context,
    asking: Asking,
    file: Path,
    config: Path | None,
    policy: str,
    pace: float | None,
    list_routes: bool,
    live: bool,
    name: str | None,
    keep: bool,
    feed: Path,
    as_json: bool,
) -> None:
    """Put an MRT FILE through decoder, policies and decision; no daemon is needed.

    Reads plain, gzip and bzip2: BGP4MP, BGP4MP_ET, their ADD-PATH subtypes and TABLE_DUMP_V2. Each peer of the file,
    known by address and AS number, gets a table of its own; a peer that the configuration names has its policy and
    weight. Nothing is forwarded, and every next hop counts as reachable. What stood before a damaged record is shown,
    with exit code 1.

    With --live the running bridge takes the routes, for peers that its configuration has with `source: replay` and the
    same address and AS number, by their policies and limits. When all is taken in this command stays, and the routes
    with it: an interrupt takes them back, and so does its death. With --keep it ends and the routes stay, until the
    next replay of that peer or a restart of the bridge.
    """
    if live:
        wrong = "; ".join(
            word for word, given in (("-c", config), ("--import", policy != ACCEPT), ("--routes", list_routes)) if given
        )
        if wrong:
            raise UsageError(f"{wrong} has no meaning with --live", mend="the running bridge's configuration counts")
        context.exit(run_live(asking, file, pace, name, feed, keep=keep, as_json=as_json))
    if name or keep:
        raise UsageError("--as and --keep are for --live", mend="add --live, or leave them away")
    run = Replay(load_config(config) if config is not None else None, policy)
    began = time.monotonic()
    damage = read_through(file, pace, run.take, run.finish)
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
