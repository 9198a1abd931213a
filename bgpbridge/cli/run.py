"""`run`: the daemon in the foreground, as systemd wants it."""

from __future__ import annotations

from pathlib import Path

import click

from bgpbridge.cli.commands import CONFIG, Command
from bgpbridge.daemon.supervisor import run as supervise

__all__ = ["run"]


@click.command(cls=Command)
@CONFIG
@click.pass_context
def run(context: click.Context, config: Path) -> None:
    """Run the bridge and its speaker in the foreground, until SIGTERM. SIGHUP reloads. Needs root."""
    context.exit(supervise(config))
