"""`bgpbridge`: the command line. Exit codes: 0 fine, 1 a finding, 2 usage, 3 no daemon."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

import bgpbridge
from bgpbridge.api.client import DEFAULT_SOCKET, Client
from bgpbridge.cli.lab import lab
from bgpbridge.errors import BridgeError

__all__ = ["cli", "main"]


@click.group()
@click.option("-s", "--socket", "socket_path", type=click.Path(path_type=Path), default=DEFAULT_SOCKET, envvar="BGPBRIDGE_SOCKET")
@click.version_option(bgpbridge.__version__)
@click.pass_context
def cli(context: click.Context, socket_path: Path) -> None:
    """BGP in, XDP and kernel out."""
    context.obj = socket_path


@cli.command()
@click.option("-c", "--config", type=click.Path(path_type=Path), required=True)
def run(config: Path) -> None:
    """Run the bridge and its speaker in the foreground."""
    from bgpbridge.daemon.supervisor import run as supervise

    sys.exit(supervise(config))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a configuration file."""
    from bgpbridge.config import load_config

    load_config(file)
    click.echo(f"{file}: fine")


@cli.command()
@click.argument("path")
@click.argument("query", nargs=-1)
@click.option("--post", is_flag=True)
@click.pass_obj
def api(socket_path: Path, path: str, query: tuple[str, ...], post: bool) -> None:
    """Ask the control API."""
    client = Client(socket_path)
    value = client.post(path) if post else client.get(path, dict(item.split("=", 1) for item in query))
    click.echo(json.dumps(value, indent=1))


cli.add_command(lab)


def main() -> None:
    """Entry point."""
    try:
        cli.main(standalone_mode=True)
    except BridgeError as error:
        sys.stderr.write(f"bgpbridge: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
