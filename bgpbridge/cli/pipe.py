"""`pipe`: run by a stock ExaBGP as one of its processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bgpbridge.cli.commands import Command
from bgpbridge.errors import UsageError
from bgpbridge.feed.pipe import Pipe

__all__ = ["feed_option", "pipe"]

F = TypeVar("F", bound=Callable[..., Any])


def feed_option(command: F) -> F:
    """`--feed`: where a feeder connects."""
    return click.option(
        "--feed",
        type=click.Path(path_type=Path, readable=False),
        default=Path("/run/bgpbridge/feed.sock"),
        show_default=True,
        envvar="BGPBRIDGE_FEED",
        help="The running bridge's socket for feeds, in its runtime.directory.",
    )(command)


@click.command(cls=Command)
@feed_option
def pipe(feed: Path) -> None:
    """Take routes from an ExaBGP that runs already; ExaBGP starts this itself.

    In its configuration: `process bgpbridge { run bgpbridge pipe; encoder json; }`, and in each neighbor an `api`
    section as in exabgp/stock-4.2.conf and stock-5.0.conf. ExaBGP 4.2 and 5.0. The bridge takes neighbours that its own
    configuration has with `source: pipe` and the same address and AS number. ExaBGP never waits for this command: with
    no bridge it reads on, and asks for a route refresh when there is one again. What goes wrong stands in ExaBGP's log.
    """
    if sys.stdin.isatty():
        raise UsageError(
            "this command is for ExaBGP to run, which then writes JSON to it",
            mend="add `process bgpbridge { run bgpbridge pipe; encoder json; }` to its configuration",
        )
    Pipe(feed, lambda text: click.echo(f"bgpbridge pipe: {text}", err=True)).run()
